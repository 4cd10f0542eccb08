//! The loop: waits for what happens next, and passes it to the part that it concerns.
//!
//! At the end of each turn it has the effects performed that the core asked for meanwhile, the prepared runs
//! started, and the ledger and systemd told what changed.

use std::future::pending;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::mpsc::{Receiver, UnboundedReceiver};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, sleep_until};

use super::clock::Clock;
use super::completion::{Completion, FinalStatus, POLL_INTERVAL, Until};
use super::configs::Configs;
use super::decoder::Decoder;
use super::departure::Departure;
use super::identities::Identities;
use super::parts::Daemon;
use super::persist::Persist;
use super::places::Places;
use super::runs::Runs;
use super::services::Services;
use super::services::checks::Checks;
use super::services::keepers::{Keepers, OpenKeeper};
use super::share::Share;
use super::stores::Stores;
use super::systemd::Systemd;
use super::watches::Watches;
use super::{orphans, signals};
use crate::action::left_behind;
use crate::action::slots::Slots;
use crate::action::spawn::Spawner;
use crate::config::files::{FileChange, Loader};
use crate::control::DaemonRequest;
use crate::ledger::Ledger;
use crate::report::{Report, Reporter};
use crate::sys::{Alarm, FreeMemory};

/// How many events of the stores are taken in one turn after the first, or of runs at once. The first action
/// of a burst waits for all of them, some 50 µs each; the commit of the ledger is shared.
const MAX_EVENT_BATCH: usize = 16;

/// How long further events of the stores are taken in one turn.
const MAX_BATCH_TIME: Duration = Duration::from_millis(10);

/// How long the loop goes on without a break if there is more to do. Each break takes some system calls.
const MAX_TURNS_TIME: Duration = Duration::from_micros(500);

/// What the daemon is started with. Everything is ready to use.
pub struct Setup {
    pub log: Reporter,
    pub ledger: Ledger,
    pub spawner: Spawner,
    /// Where processes note who they are, for the next daemon.
    pub slots: Slots,
    pub stores: Stores,
    /// Opens the keeper of a store in which a member is announced.
    pub open_keeper: OpenKeeper,
    pub config_path: PathBuf,
    /// Whether root's daemon loads files that others can change. Operators are shown that.
    pub untrusted_allowed: bool,
    pub loader: Loader,
    pub config_changes: UnboundedReceiver<FileChange>,
    /// The numbers of the signals in [`signals::received`].
    pub signals: UnboundedReceiver<i32>,
    /// What operators ask. The channel may be closed.
    pub requests: Receiver<DaemonRequest>,
    pub systemd: Systemd,
    /// How long running actions may take to end by themselves when the daemon stops.
    pub stop_timeout: Duration,
    /// The largest number of actions that run at once.
    pub max_actions: Option<usize>,
    /// The largest number of bytes that wait in all watches together.
    pub max_waiting_bytes: Option<u64>,
    pub until: Until,
    /// What a newcomer is told once all configs are loaded.
    pub welcome: Option<String>,
}

/// Runs until the daemon is told to stop, or is done, and the last action has ended. Returns how things stand
/// then; `None` for [`Until::Stopped`].
pub async fn run(setup: Setup) -> Option<FinalStatus> {
    let Setup { log, mut config_changes, mut signals, mut requests, .. } = setup;
    let clock = Clock::start();
    let mut daemon = Daemon {
        clock,
        watches: Watches::new(clock, fastrand::u64(..), setup.max_waiting_bytes),
        places: Places::new(setup.max_actions),
        runs: Runs::new(log.clone(), clock, setup.spawner, setup.slots),
        persist: Persist::new(log.clone(), setup.ledger),
        configs: Configs::new(log.clone(), setup.config_path, setup.untrusted_allowed, setup.loader),
        completion: Completion::new(setup.until, setup.stop_timeout),
        decoder: Decoder::new(log.clone(), "/proc/self/exe".into()),
        identities: Identities::new(log.clone()),
        has_one_store: setup.stores.names().len() == 1,
        stores: setup.stores,
        services: Services::new(clock),
        checks: Checks::new(clock, setup.spawner),
        keepers: Keepers::new(setup.open_keeper),
        departure: Departure::default(),
        systemd: setup.systemd,
        said: signals::Said::default(),
        memory: FreeMemory::since_start(),
        share: Share::new(Instant::now()),
        loading: None,
        welcome: setup.welcome,
        log,
    };
    daemon.runs.report_slots(daemon.persist.ledger().lost_reason().is_none());
    let is_dry_run = daemon.completion.is_dry_run();
    orphans::adopt_all(&daemon.log, &mut daemon.watches, &mut daemon.runs, &mut daemon.persist, is_dry_run);
    let mut alarm = Alarm::start();
    let mut yielded = Instant::now();
    loop {
        if daemon.persist.handle_ledger_events(&daemon.watches, &daemon.runs, &daemon.stores) {
            daemon.services.forget_saved();
        }
        let (polls, due) = (daemon.completion.ends_by_itself(), daemon.due());
        let room = daemon.runs.room();
        tokio::select! {
            (store, event) = daemon.stores.next(), if daemon.stores.untold.has_room() => {
                daemon.store_event(&store, event);
                let began = Instant::now();
                for _ in 0..MAX_EVENT_BATCH {
                    if began.elapsed() > MAX_BATCH_TIME || !daemon.stores.untold.has_room() {
                        break;
                    }
                    let Some((store, event)) = daemon.stores.try_next() else { break };
                    daemon.store_event(&store, event);
                }
            }
            Some(decoded) = daemon.decoder.next() => daemon.performer().decoded(decoded),
            events = daemon.runs.next_events(MAX_EVENT_BATCH) => {
                events.into_iter().for_each(|event| daemon.performer().run_event(event));
            }
            Some(event) = daemon.checks.next_event() => daemon.service_performer().check_event(event),
            Some((keeper, event)) = daemon.keepers.next_event() => {
                daemon.service_performer().keeper_event(keeper, event);
            }
            Some(change) = config_changes.recv(), if daemon.loads_files() => {
                daemon.file_change(change);
            }
            Some(signal) = signals.recv() => daemon.signal(signal),
            Some(request) = next_request(&mut requests, &daemon.share) => daemon.reply(request),
            () = alarm.until(due) => daemon.act_by_time(),
            () = yield_now(), if daemon.has_more_to_do() => {}
            () = room, if daemon.has_starts() => {}
            news = daemon.identities.next() => match news {
                Some(answer) => daemon.identity_answer(answer),
                None => daemon.check_identities(),
            },
            () = until(daemon.persist.flush_at()) => daemon.flush(),
            () = daemon.memory.until_due() => daemon.memory.trim(),
            () = sleep(POLL_INTERVAL), if polls => {}
        }
        daemon.end_turn();
        if daemon.is_over() {
            break;
        }
        // The tasks of the stores and of the runs share this thread. A loop that always finds something to do
        // would keep them waiting.
        if daemon.runs.take_handed_over() || yielded.elapsed() >= MAX_TURNS_TIME {
            yield_now().await;
            yielded = Instant::now();
        }
    }
    while daemon.watches.has_unsaved() || daemon.runs.has_unsaved() || daemon.services.has_unsaved() {
        daemon.flush();
    }
    daemon.flush();
    let ended = daemon.final_status();
    daemon.keepers.close().await;
    daemon.stores.close().await;
    if let Err(error) = left_behind::hand_over() {
        let what = format!("processes that actions left behind will get SIGPIPE when they write: {error}");
        daemon.log.report(&Report::Problem { what: &what });
    }
    daemon.log.report(&Report::Stopped);
    ended
}

/// Waits for a request, and before that for the time at which one may be taken.
async fn next_request(requests: &mut Receiver<DaemonRequest>, share: &Share) -> Option<DaemonRequest> {
    if share.ready_at() > Instant::now() {
        sleep_until(share.ready_at()).await;
    }
    requests.recv().await
}

/// Waits for ever if there is nothing to wait for.
async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => pending().await,
    }
}
