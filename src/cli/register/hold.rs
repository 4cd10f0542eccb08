//! The loop of `register`.

use std::collections::VecDeque;
use std::future::pending;
use std::io;
use std::process::{Command, ExitCode};
use std::time::Duration;

use nix::sys::signal::kill;
use nix::sys::wait::WaitStatus;
use nix::unistd::Pid;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::args::Register;
use super::check::{self, Outcome};
use super::signals::Arrived;
use crate::action::process_watch::ProcessWatch;
use crate::action::reap::reap;
use crate::cli::shared::exit::{Exit, print_error};
use crate::model::NodePath;
use crate::service::{CheckResult, Turn, Verdict};
use crate::settings::STORE_MEMORY;
use crate::store::{AtEnd, HalfOptions, KeeperEvent, KeeperLink, KeeperOrder, StoreSettings, open_keeper};
use crate::sys;

/// The time between two checks if the command line does not say.
const INTERVAL: Duration = Duration::from_secs(10);

/// How many checks in a row announce the member, and how many withdraw it.
const RISE: u32 = 1;
const FALL: u32 = 2;

/// How long it may take to withdraw the member, and then to close its session or lease. A store that answers
/// does so within a second.
const WITHDRAW_TIMEOUT: Duration = Duration::from_secs(1);
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// How many former owners of the member are remembered.
const MAX_OWNERS: usize = 64;

pub struct Holder<'a> {
    args: &'a Register,
    path: NodePath,
    /// Keeps the member until it is withdrawn for good.
    keeper: Option<KeeperLink>,
    /// The owners that the member has had. What one that is gone left behind is ours.
    owners: VecDeque<String>,
    /// Whether the member is to be there.
    is_wanted: bool,
    is_announced: bool,
    is_connected: bool,
    command: Option<Running>,
    verdict: Verdict,
    /// What the last check said that did not start.
    not_started: Option<String>,
}

/// Why the command was not started.
struct NotStarted {
    reason: String,
    kind: io::ErrorKind,
}

impl NotStarted {
    /// As a shell does: 127 if there is no such program, 126 if it cannot be executed.
    fn exit_code(&self) -> ExitCode {
        match self.kind {
            io::ErrorKind::NotFound => ExitCode::from(127),
            // Those of a shortage, which are not the program's fault.
            io::ErrorKind::OutOfMemory | io::ErrorKind::WouldBlock => ExitCode::FAILURE,
            // The enum is open.
            _ => ExitCode::from(126),
        }
    }
}

/// The command, which was not reaped.
struct Running {
    pid: Pid,
    watch: ProcessWatch,
}

impl<'a> Holder<'a> {
    pub fn new(args: &'a Register, path: NodePath) -> Self {
        Self {
            args,
            path,
            keeper: None,
            owners: VecDeque::new(),
            is_wanted: false,
            is_announced: false,
            is_connected: false,
            command: None,
            verdict: Verdict::new(RISE, FALL),
            not_started: None,
        }
    }

    /// Holds the member until the command ends, or until a signal if there is none.
    pub async fn hold(mut self, settings: StoreSettings, mut signals: UnboundedReceiver<Arrived>) -> Exit {
        let options = HalfOptions { program: "/proc/self/exe".into(), memory: Some(STORE_MEMORY) };
        // If this process is killed, nobody would see the end of the command.
        self.keeper = Some(open_keeper(settings, options, AtEnd::Withdraw, None)?);
        if let Err(failure) = self.start_command() {
            self.withdraw().await;
            print_error(format_args!("twitcher: {}", failure.reason));
            return Ok(failure.exit_code());
        }
        let (outcomes, mut checked) = unbounded_channel();
        let checks = self.args.check.as_ref().map(|_| self.start_checks(outcomes));
        if checks.is_none() {
            self.announce();
        }
        let drain = self.args.drain.unwrap_or_default();
        // The signal that is passed on when clients had the time to see that the member is gone.
        let mut put_off: Option<(Instant, Arrived)> = None;
        let code = loop {
            let due = put_off.as_ref().map(|(until, _)| *until);
            let arrived = tokio::select! {
                arrived = signals.recv() => match arrived {
                    Some(arrived) => {
                        if arrived.is_end() {
                            checks.iter().for_each(JoinHandle::abort);
                            let was_there = self.withdraw().await;
                            if was_there && !drain.is_zero() {
                                let seconds = drain.as_secs_f64();
                                self.say(&format!("clients have {seconds} s to see it"));
                                put_off = Some((Instant::now() + drain, arrived));
                                continue;
                            }
                            put_off = None;
                        }
                        arrived
                    }
                    None => return Err("signals are received no more".into()),
                },
                () = until(due), if due.is_some() => match put_off.take() {
                    Some((_, arrived)) => arrived,
                    None => continue,
                },
                status = ended(self.command.as_ref()) => break status,
                Some(event) = told(self.keeper.as_mut()) => {
                    self.hear(event);
                    continue;
                }
                Some(outcome) = checked.recv() => {
                    self.judge(outcome);
                    continue;
                }
            };
            match &self.command {
                Some(command) => command.signal(arrived),
                None if arrived.is_end() => break ExitCode::SUCCESS,
                None => {}
            }
        };
        checks.iter().for_each(JoinHandle::abort);
        self.withdraw().await;
        Ok(code)
    }

    fn start_command(&mut self) -> Result<(), NotStarted> {
        let Some((program, arguments)) = self.args.program() else { return Ok(()) };
        let name = program.to_string_lossy();
        let mut command = Command::new(program);
        command.args(arguments);
        sys::unblock_signals_of(&mut command);
        let child = command.spawn().map_err(|error| NotStarted {
            reason: format!("cannot start {name:?}: {error}"),
            kind: error.kind(),
        })?;
        sys::note_own_child(child.id().cast_signed());
        let pid = Pid::from_raw(child.id().cast_signed());
        self.command = Some(Running { pid, watch: ProcessWatch::of_child(pid) });
        Ok(())
    }

    /// Runs one check after the other.
    fn start_checks(&self, outcomes: UnboundedSender<Outcome>) -> JoinHandle<()> {
        let script = self.args.check.clone().unwrap_or_default();
        let interval = self.args.interval.unwrap_or(INTERVAL);
        spawn_local(async move {
            while outcomes.send(check::run(script.as_ref()).await).is_ok() {
                sleep(interval).await;
            }
        })
    }

    fn judge(&mut self, Outcome { result, said }: Outcome) {
        if result == CheckResult::NotStarted {
            if self.not_started.as_ref() != Some(&said) {
                self.say(&said);
                self.not_started = Some(said);
            }
            return;
        }
        self.not_started = None;
        match self.verdict.take(result) {
            None => {}
            Some(Turn::Up) => {
                self.say("the check succeeds");
                self.announce();
            }
            Some(Turn::Down) => {
                self.say(&format!("the check fails ({said})"));
                if std::mem::take(&mut self.is_wanted) {
                    self.order(KeeperOrder::Withdraw(self.path.clone()));
                }
            }
        }
    }

    fn announce(&mut self) {
        let own = std::process::id();
        let pid = self.command.as_ref().map_or(own, |command| command.pid.as_raw().cast_unsigned());
        match self.args.member(&self.path, pid) {
            Ok(member) => {
                self.is_wanted = true;
                self.order(KeeperOrder::Announce(member));
            }
            // It was tried before anything was started.
            Err(error) => self.say(&error.to_string()),
        }
    }

    fn order(&mut self, order: KeeperOrder) {
        if let Some(keeper) = &self.keeper {
            // It ends only after this.
            let _ = keeper.orders.send(order);
        }
    }

    fn hear(&mut self, event: KeeperEvent) {
        match event {
            KeeperEvent::Connected { what } => {
                self.is_connected = true;
                print_error(format_args!("twitcher: connected to {what}"));
            }
            KeeperEvent::Opened { owner } => {
                let former = self.owners.iter().cloned().collect();
                self.owners.push_back(owner.clone());
                if self.owners.len() > MAX_OWNERS {
                    self.owners.pop_front();
                }
                self.order(KeeperOrder::Recorded { owner, former });
            }
            KeeperEvent::Announced { .. } => {
                self.is_announced = true;
                self.say("it is announced");
            }
            KeeperEvent::Conflict { holder, .. } => {
                self.is_announced = false;
                self.say(&match holder {
                    Some(holder) => format!(
                        "it is not announced, because another one holds a node of this name (its owner is \
                         {holder}); it is announced when that one goes"
                    ),
                    None => format!(
                        "it is not announced, because a node of this name exists that nobody holds; `{}` \
                         removes it",
                        self.args.removal(&self.path)
                    ),
                });
            }
            KeeperEvent::Waiting { reason, .. } => {
                self.say(&format!("it is not written: {reason}; trying again"));
            }
            KeeperEvent::Withdrawn { .. } => {
                self.is_announced = false;
                self.say("it is withdrawn");
            }
            KeeperEvent::Disconnected { reason } => {
                self.is_connected = false;
                let stays = if self.is_announced { "; the member stays until its owner expires" } else { "" };
                print_error(format_args!("twitcher: not connected: {reason}; trying again{stays}"));
            }
            KeeperEvent::Refused { reason } => {
                print_error(format_args!("twitcher: not connected: {reason}; trying again"));
            }
        }
    }

    fn say(&self, what: &str) {
        print_error(format_args!("twitcher: member {}: {what}", self.path));
    }

    /// Withdraws the member for good, if there is a keeper that has it. Returns whether it was there.
    async fn withdraw(&mut self) -> bool {
        self.is_wanted = false;
        let Some(KeeperLink { orders, mut events, process: _ }) = self.keeper.take() else { return false };
        let was_announced = std::mem::take(&mut self.is_announced);
        if was_announced {
            let withdrawn = async {
                let _ = orders.send(KeeperOrder::Withdraw(self.path.clone()));
                while let Some(event) = events.recv().await {
                    match event {
                        KeeperEvent::Withdrawn { .. } => return true,
                        KeeperEvent::Disconnected { .. } => return false,
                        _ => {}
                    }
                }
                false
            };
            let is_gone = self.is_connected && timeout(WITHDRAW_TIMEOUT, withdrawn).await == Ok(true);
            self.say(match is_gone {
                true => "it is withdrawn",
                false => "nobody knows whether it is withdrawn; it goes when its owner expires",
            });
        }
        drop(orders);
        let closed = async { while events.recv().await.is_some() {} };
        let _ = timeout(CLOSE_TIMEOUT, closed).await;
        was_announced
    }
}

impl Running {
    /// Passes a signal on.
    fn signal(&self, arrived: Arrived) {
        if !arrived.is_from_terminal {
            // It may have ended, and is not reaped.
            let _ = kill(self.pid, arrived.signal);
        }
    }
}

/// Waits for the end of the command, and returns its exit code.
async fn ended(command: Option<&Running>) -> ExitCode {
    let Some(command) = command else { return pending().await };
    let _ = command.watch.ended().await;
    reap(command.pid).await.map_or(ExitCode::FAILURE, exit_code)
}

/// Waits for ever if there is nothing to wait for.
async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => pending().await,
    }
}

/// Waits for what the keeper tells.
async fn told(keeper: Option<&mut KeeperLink>) -> Option<KeeperEvent> {
    match keeper {
        Some(keeper) => keeper.events.recv().await,
        None => pending().await,
    }
}

/// Returns the exit code of a command, as a shell does.
fn exit_code(status: WaitStatus) -> ExitCode {
    match status {
        WaitStatus::Exited(_, code) => ExitCode::from(u8::try_from(code).unwrap_or(1)),
        WaitStatus::Signaled(_, signal, _) => ExitCode::from(u8::try_from(128 + signal as i32).unwrap_or(1)),
        WaitStatus::Stopped(..)
        | WaitStatus::PtraceEvent(..)
        | WaitStatus::PtraceSyscall(_)
        | WaitStatus::Continued(_)
        | WaitStatus::StillAlive => ExitCode::FAILURE,
    }
}
