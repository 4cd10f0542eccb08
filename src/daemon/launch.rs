//! What the process of a run is started with.

use std::io;

use nix::libc;

use super::starter::Task;
use super::watches::WatchId;
use crate::act::function::{ActEvent, ActRequest};
use crate::action::payload::Payload;
use crate::action::spawn::{Launch, Program, Slot};
use crate::model::{Action, ExecContext, WatchSpec};
use crate::watch::{RunId, Time, Update};

/// A run that is to be started.
pub struct Job {
    pub watch: WatchId,
    pub run: RunId,
    /// The action's `TWITCHER_RUN_ID`.
    pub id: String,
    pub spec: WatchSpec,
    pub update: Update,
    /// What the latency counts from, as in [`crate::watch::Effect::Spawn`].
    pub since: Time,
    pub payload: Payload,
    pub slot: Option<Slot>,
}

impl Task for Job {
    type Key = WatchId;

    fn key(&self) -> WatchId {
        self.watch
    }

    fn exec_context(&self) -> &ExecContext {
        &self.spec.exec_context
    }

    fn launch(&self) -> Launch<'_> {
        launch(&self.spec, &self.id, &self.update, &self.payload)
    }

    fn slot(&self) -> Option<&Slot> {
        self.slot.as_ref()
    }
}

/// The version that the action gets: that of the commit, if the content is one.
fn version(update: &Update) -> i64 {
    let commit = update.decoded.as_ref().and_then(|decoded| decoded.commit.as_ref());
    commit.map_or(update.version.number, |commit| commit.version)
}

fn launch<'a>(spec: &'a WatchSpec, run_id: &str, update: &Update, payload: &'a Payload) -> Launch<'a> {
    let program = match &spec.action {
        Action::Command(words) => Program::Command(words),
        Action::Function(function) => {
            let event = ActEvent {
                znode: spec.subject.path.to_string(),
                event: update.event.as_str().to_owned(),
                version: version(update),
                watch: spec.id.description.to_string(),
                facet: payload.facet(),
                // A deletion has no content.
                format: spec.policy.decode.filter(|_| update.decoded.is_some()),
                commit: update.decoded.as_ref().and_then(|decoded| decoded.commit.clone()),
            };
            let request = ActRequest { program: function.program.clone(), index: function.index, event };
            Program::Function { request: request.encode() }
        }
    };
    let variables = vec![
        ("TWITCHER_WATCH", spec.id.description.to_string()),
        ("TWITCHER_ZNODE", spec.subject.path.to_string()),
        ("TWITCHER_EVENT", update.event.as_str().to_owned()),
        ("TWITCHER_VERSION", version(update).to_string()),
        ("TWITCHER_RUN_ID", run_id.to_owned()),
    ];
    Launch {
        program,
        identity: &spec.identity,
        exec_context: &spec.exec_context,
        payload,
        pipe_stdin: spec.pipe_stdin,
        variables,
    }
}

/// What the log calls the program.
pub fn program_name(spec: &WatchSpec) -> &str {
    match &spec.action {
        Action::Command(words) => &words[0],
        Action::Function(_) => "twitcher act",
    }
}

/// Whether a process could not be started for a reason that passes: the machine had no descriptor, memory or
/// process left for it, or somebody has its program or its output open: to write to it (ETXTBSY), or with a
/// lease (EAGAIN).
pub fn is_starvation(error: &io::Error) -> bool {
    let passing = [libc::EMFILE, libc::ENFILE, libc::EAGAIN, libc::ENOMEM, libc::ENOBUFS, libc::ETXTBSY];
    error.raw_os_error().is_some_and(|error| passing.contains(&error))
}

pub fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}
