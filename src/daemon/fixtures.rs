//! What the tests of several parts need.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::LocalSet;

use super::clock::Clock;
use super::completion::{Completion, Until};
use super::decoder::Decoder;
use super::effects::Performer;
use super::identities::Identities;
use super::persist::Persist;
use super::places::Places;
use super::registration::Registration;
use super::runs::{RunEvent, Runs};
use super::starter::StartEvent;
use super::stores::Stores;
use super::watches::{WatchId, Watches};
use crate::action::slots::Slots;
use crate::action::spawn::Spawner;
use crate::ledger::Ledger;
use crate::model::{
    Action, Content, ExecContext, Facet, Identity, LogFormat, NodePath, Policy, State, StoreName, Subject,
    Version, WatchKey, WatchSpec,
};
use crate::report::log::Target;
use crate::report::stream::LogStream;
use crate::report::{Count, Level, Log, Report, Reporter};
use crate::store::{DirectorySettings, DirectoryUrl, StoreSettings};
use crate::watch::Input;

struct Uncounted;

impl Count for Uncounted {
    fn count(&self, _: &Report<'_>) {}
}

/// Reports to nobody.
pub fn reporter() -> Reporter {
    let nowhere = File::options().write(true).open("/dev/null").expect("/dev/null");
    let (log, _) =
        Log::start(Target::Stream(LogStream::of("nowhere", nowhere)), Level::Error, LogFormat::Text)
            .expect("a log");
    Reporter::new(log, Arc::new(Uncounted))
}

/// A watch of `a.twc` that runs `true` when the node changes.
pub fn spec(description: &str, node: &str) -> WatchSpec {
    WatchSpec {
        id: key(description),
        store: StoreName::default(),
        subject: subject(node),
        action: Action::Command(["true".into()].into()),
        pipe_stdin: true,
        schema: None,
        run_as: Arc::default(),
        identity: Arc::new(Identity {
            user: "root".into(),
            home: "/".into(),
            shell: "/bin/sh".into(),
            uid: 0,
            gid: 0,
            change: None,
        }),
        policy: Policy::DEFAULT.into(),
        exec_context: Arc::new(ExecContext { cwd: "/".into(), ..ExecContext::default() }),
    }
}

pub fn key(description: &str) -> WatchKey {
    WatchKey { file: "a.twc".into(), description: description.into() }
}

pub fn subject(node: &str) -> Subject {
    Subject { path: NodePath::parse(node).expect("a path"), facet: Facet::Data }
}

pub fn version(revision: i64) -> Version {
    Version { incarnation: 1, revision, number: revision }
}

pub fn present(revision: i64) -> State {
    State::Present {
        version: version(revision),
        origin: Default::default(),
        content: Content::Data([].into()),
    }
}

/// The default store alone, a directory.
fn stores(root: &Path) -> Stores {
    let url = DirectoryUrl { root: root.to_owned() };
    let settings = DirectorySettings {
        url,
        session_timeout: Duration::from_secs(10),
        rescan_interval: Duration::from_secs(60),
        readonly: false,
    };
    Stores::open(StoreSettings::Directory(settings), Default::default(), None, None, |_| None)
}

/// Runs `test` as the daemon runs.
pub fn block_on<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    LocalSet::new().block_on(&runtime, test)
}

/// Runs `test` on parts of their own, as the daemon runs.
pub fn with_parts(until: Until, test: impl AsyncFnOnce(&mut Parts)) {
    let directory = tempfile::tempdir().expect("a directory");
    block_on(async {
        let mut parts = Parts::new(directory.path(), until);
        test(&mut parts).await;
        parts.stores.close().await;
    });
}

/// The parts that effects concern, with the ledger and the store in one directory.
pub struct Parts {
    pub log: Reporter,
    pub watches: Watches,
    pub places: Places,
    pub runs: Runs,
    pub identities: Identities,
    pub persist: Persist,
    pub stores: Stores,
    pub completion: Completion,
    pub decoder: Decoder,
}

impl Parts {
    pub fn new(directory: &Path, until: Until) -> Self {
        let (log, clock) = (reporter(), Clock::start());
        Self {
            watches: Watches::new(clock, 1, None),
            places: Places::new(None),
            runs: Runs::new(log.clone(), clock, Spawner::new().expect("limits"), Slots::open(directory)),
            persist: Persist::new(log.clone(), Ledger::open(directory).expect("a ledger")),
            identities: Identities::new(log.clone()),
            stores: stores(directory),
            completion: Completion::new(until, Duration::ZERO),
            decoder: Decoder::new(log.clone(), "/proc/self/exe".into()),
            log,
        }
    }

    /// Takes what `a.twc` registers.
    pub fn load(&mut self, wanted: Vec<WatchSpec>) {
        let Self { log, watches, persist, stores, completion, .. } = self;
        let is_dry_run = completion.is_dry_run();
        let mut registration = Registration { log, watches, persist, stores, is_dry_run, may_be_older: true };
        let mut load = registration.begin("a.twc", wanted);
        while registration.proceed(&mut load, 2).is_none() {}
    }

    pub fn watch(&self, description: &str) -> WatchId {
        self.watches.find(description).expect("a watch").0
    }

    pub fn observe(&mut self, description: &str) {
        self.watches.step(self.watch(description), Input::Observed(present(1)));
    }

    /// Performs what happens to runs, until one of them is over. Returns its watch.
    pub async fn end_of_run(&mut self) -> WatchId {
        loop {
            let before = self.runs.count();
            let event = self.runs.next_events(1).await.pop().expect("an event");
            let watch = match &event {
                RunEvent::Start(StartEvent::Done { job, .. }) => Some(job.watch),
                RunEvent::End(end) => Some(end.watch),
                RunEvent::Start(StartEvent::LetGo(_)) | RunEvent::KillTimeout(_) | RunEvent::StopStarts => {
                    None
                }
            };
            self.performer().run_event(event);
            if let Some(watch) = watch.filter(|_| self.runs.count() < before) {
                return watch;
            }
        }
    }

    pub fn performer(&mut self) -> Performer<'_> {
        let Self { log, watches, places, runs, identities, persist, stores, completion, decoder } = self;
        Performer { log, watches, places, runs, identities, persist, stores, completion, decoder }
    }

    /// Returns the watches of the runs that have no end in the ledger.
    pub fn recorded(&mut self) -> Vec<String> {
        let runs = self.persist.ledger_mut().unfinished();
        runs.into_iter().map(|run| run.intent.watch.description.to_string()).collect()
    }
}
