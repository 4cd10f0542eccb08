//! The processes of checks.
//!
//! A check is started like an action, with all that an action is promised, and its output is read and
//! dropped but for the end. It has no place among `max_actions`, and the ledger does not know it: a check
//! changes nothing that would have to be done again.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep};

use super::ServiceId;
use super::check_end::judged;
use crate::act::function::{ActEvent, ActRequest};
use crate::action::payload::Payload;
use crate::action::run::{self, ExitStatus, Handle};
use crate::action::spawn::{Launch, Program, Slot, Spawner};
use crate::daemon::clock::Clock;
use crate::daemon::starter::{Start, StartEvent, Starter, Task};
use crate::model::{Action, Blob, Check, ExecContext, Facet, Identity, RunAs, ServiceSpec};
use crate::service::{CheckId, CheckResult};

/// How long a check waits for the lookup of its user. After that it was not started.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

/// Names a check within the daemon.
pub type CheckKey = (ServiceId, CheckId);

/// A check that is to be started.
pub struct CheckJob {
    key: CheckKey,
    /// The `TWITCHER_RUN_ID`.
    id: String,
    spec: ServiceSpec,
    identity: Arc<Identity>,
    payload: Payload,
}

/// What happens to checks.
pub enum CheckEvent {
    Start(StartEvent<CheckJob>),
    Ended {
        key: CheckKey,
        status: io::Result<ExitStatus>,
        output: Vec<u8>,
    },
    /// The lookup of a check's user takes too long.
    NoUser(CheckKey),
}

impl From<StartEvent<CheckJob>> for CheckEvent {
    fn from(event: StartEvent<CheckJob>) -> Self {
        Self::Start(event)
    }
}

/// What a service is told of its check.
pub enum CheckNews {
    Started { key: CheckKey, executed: Instant },
    Ended { key: CheckKey, result: CheckResult, said: Arc<str> },
}

pub struct Checks {
    starter: Starter<CheckJob, CheckEvent>,
    id_prefix: String,
    live: HashMap<CheckKey, Live>,
    /// The checks that wait for the lookup of their user.
    waiting: HashMap<Arc<RunAs>, BTreeSet<CheckKey>>,
    sender: UnboundedSender<CheckEvent>,
    events: UnboundedReceiver<CheckEvent>,
}

/// A check that has not ended.
struct Live {
    stage: Stage,
    timeout: Duration,
    /// Whether it was killed.
    is_killed: bool,
}

enum Stage {
    /// Its user is being looked up.
    Unidentified,
    Starting(Start),
    Running(Handle),
}

impl Task for CheckJob {
    type Key = ServiceId;

    fn key(&self) -> ServiceId {
        self.key.0
    }

    fn exec_context(&self) -> &ExecContext {
        &self.spec.exec_context
    }

    fn launch(&self) -> Launch<'_> {
        let name = &self.spec.member.name;
        let program = match self.spec.check.as_ref().map(|check| &check.action) {
            Some(Action::Command(words)) => Program::Command(words),
            Some(Action::Function(function)) => {
                let event = ActEvent {
                    znode: name.path.to_string(),
                    event: "check".to_owned(),
                    version: 0,
                    watch: self.spec.id.description.to_string(),
                    facet: Facet::Data,
                    format: None,
                    commit: None,
                };
                let request = ActRequest { program: function.program.clone(), index: function.index, event };
                Program::Function { request: request.encode() }
            }
            None => Program::Command(&[]),
        };
        let mut variables = vec![
            ("TWITCHER_SERVICE", name.service().to_owned()),
            ("TWITCHER_MEMBER", name.address().to_owned()),
            ("TWITCHER_RUN_ID", self.id.clone()),
        ];
        variables.extend(self.spec.port.map(|port| ("TWITCHER_PORT", port.to_string())));
        Launch {
            program,
            identity: &self.identity,
            exec_context: &self.spec.exec_context,
            payload: &self.payload,
            pipe_stdin: false,
            variables,
        }
    }

    fn slot(&self) -> Option<&Slot> {
        None
    }
}

impl Checks {
    pub fn new(clock: Clock, spawner: Spawner) -> Self {
        let started = clock.started().duration_since(UNIX_EPOCH).unwrap_or_default();
        let (sender, events) = unbounded_channel();
        Self {
            starter: Starter::new(spawner, sender.clone()),
            id_prefix: format!("{:x}.{:x}", started.as_millis(), std::process::id()),
            live: HashMap::new(),
            waiting: HashMap::new(),
            sender,
            events,
        }
    }

    /// Starts the check of a service as `identity`. A [`CheckNews::Ended`] follows.
    pub fn start(&mut self, key: CheckKey, spec: &ServiceSpec, identity: Arc<Identity>) {
        let Some(Check { pace, .. }) = &spec.check else { return };
        let (service, check) = (key.0.0, key.1.0);
        let id = format!("{}-s{service}.{check}", self.id_prefix);
        let payload = Payload::Data(Blob::default());
        let start = self.starter.start(CheckJob { key, id, spec: spec.clone(), identity, payload });
        self.enter(key, Stage::Starting(start), pace.timeout);
    }

    /// Notes a check whose user is being looked up. Either [`Self::identified`] returns it, or
    /// [`CheckNews::Ended`] follows.
    pub fn wait(&mut self, key: CheckKey, spec: &ServiceSpec) {
        let Some(Check { pace, .. }) = &spec.check else { return };
        self.waiting.entry(spec.run_as.clone()).or_default().insert(key);
        self.enter(key, Stage::Unidentified, pace.timeout);
        let sender = self.sender.clone();
        spawn_local(async move {
            sleep(LOOKUP_TIMEOUT).await;
            // The daemon may have stopped by now.
            let _ = sender.send(CheckEvent::NoUser(key));
        });
    }

    fn enter(&mut self, key: CheckKey, stage: Stage, timeout: Duration) {
        self.live.insert(key, Live { stage, timeout, is_killed: false });
    }

    /// Takes the checks that waited for the lookup of this user.
    pub fn identified(&mut self, run_as: &Arc<RunAs>) -> BTreeSet<CheckKey> {
        let waited = self.waiting.remove(run_as).unwrap_or_default();
        let is_unidentified =
            |live: Option<&Live>| live.is_some_and(|live| matches!(live.stage, Stage::Unidentified));
        let waited: BTreeSet<_> =
            waited.into_iter().filter(|key| is_unidentified(self.live.get(key))).collect();
        waited.iter().for_each(|key| drop(self.live.remove(key)));
        waited
    }

    /// Kills a check with its process group, or gives its start up.
    pub fn kill(&mut self, key: CheckKey) {
        let Some(live) = self.live.get_mut(&key) else { return };
        live.is_killed = true;
        match &live.stage {
            // Its lookup is no news any more.
            Stage::Unidentified => {}
            Stage::Starting(start) => return start.cancel(),
            // An error: it has ended just now.
            Stage::Running(handle) => return drop(handle.kill()),
        }
        self.live.remove(&key);
    }

    /// What happens next to a check. Can be dropped at any time.
    pub async fn next_event(&mut self) -> Option<CheckEvent> {
        self.events.recv().await
    }

    /// Takes what happened to a check.
    pub fn take(&mut self, event: CheckEvent) -> Option<CheckNews> {
        match event {
            CheckEvent::Start(StartEvent::Done { job, outcome: Ok(process), .. }) => {
                let key = job.key;
                let live = self.live.get_mut(&key)?;
                let executed = Instant::from_std(process.executed);
                let sender = self.sender.clone();
                let handle = run::follow(process, drop, move |status, output| {
                    // The daemon may have stopped by now.
                    let _ = sender.send(CheckEvent::Ended { key, status, output });
                });
                if live.is_killed {
                    let _ = handle.kill();
                }
                live.stage = Stage::Running(handle);
                Some(CheckNews::Started { key, executed })
            }
            CheckEvent::Start(StartEvent::Done { job, outcome: Err(error), .. }) => {
                self.live.remove(&job.key)?;
                let said = format!("the check cannot be started: {error}").into();
                Some(CheckNews::Ended { key: job.key, result: CheckResult::NotStarted, said })
            }
            CheckEvent::Start(StartEvent::LetGo(_)) => None,
            CheckEvent::Ended { key, status, output } => {
                let live = self.live.remove(&key)?;
                let (result, said) = judged(&status, live.is_killed.then_some(live.timeout), &output);
                Some(CheckNews::Ended { key, result, said })
            }
            CheckEvent::NoUser(key) => {
                let live = self.live.get(&key)?;
                if !matches!(live.stage, Stage::Unidentified) {
                    return None;
                }
                self.live.remove(&key);
                let said = "the check cannot be started: the lookup of its user takes too long".into();
                Some(CheckNews::Ended { key, result: CheckResult::NotStarted, said })
            }
        }
    }
}
