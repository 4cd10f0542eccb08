//! The loop of `register`.

use std::collections::VecDeque;
use std::future::pending;
use std::process::{Command, ExitCode};
use std::time::Duration;

use nix::sys::signal::kill;
use nix::sys::wait::WaitStatus;
use nix::unistd::Pid;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{Instant, sleep, sleep_until};

use super::args::Register;
use super::check::{self, Outcome};
use super::keeper::{KeeperProcess, StartError};
use super::signals::Arrived;
use crate::action::process_watch::ProcessWatch;
use crate::action::reap::reap;
use crate::cli::shared::exit::{Exit, print_error};
use crate::model::NodePath;
use crate::service::{CheckResult, Turn, Verdict};
use crate::store::{KeeperEvent, KeeperOrder, Member};
use crate::sys;

/// The time between two checks if the command line does not say.
const INTERVAL: Duration = Duration::from_secs(10);

/// How many checks in a row announce the member, and how many withdraw it.
const RISE: u32 = 1;
const FALL: u32 = 2;

/// The first and the longest pause before a keeper that has ended is started again.
const MIN_PAUSE: Duration = Duration::from_secs(1);
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// How many former owners of the member are remembered.
const MAX_OWNERS: usize = 64;

pub struct Holder<'a> {
    args: &'a Register,
    path: NodePath,
    keeper: Option<KeeperProcess>,
    /// When a keeper that has ended is started again, and the pause before that.
    restart_at: Option<Instant>,
    pause: Duration,
    /// The owners that the member has had. What one that is gone left behind is ours.
    owners: VecDeque<String>,
    /// The member, if it is to be there.
    wanted: Option<Member>,
    is_announced: bool,
    is_connected: bool,
    command: Option<Running>,
    verdict: Verdict,
    /// What the last check said that did not start.
    not_started: Option<String>,
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
            restart_at: None,
            pause: MIN_PAUSE,
            owners: VecDeque::new(),
            wanted: None,
            is_announced: false,
            is_connected: false,
            command: None,
            verdict: Verdict::new(RISE, FALL),
            not_started: None,
        }
    }

    /// Holds the member until the command ends, or until a signal if there is none.
    pub async fn hold(mut self, mut signals: UnboundedReceiver<Arrived>) -> Exit {
        let words = self.args.connection.flags();
        let started = tokio::select! {
            started = KeeperProcess::start(&words) => started,
            () = end(&mut signals) => return Ok(ExitCode::SUCCESS),
        };
        match started {
            Ok(keeper) => self.keeper = Some(keeper),
            Err(StartError::Spawn(error)) => {
                return Err(format!("cannot start the process that keeps the member: {error}").into());
            }
            Err(StartError::Ended(status)) => return Ok(status.map_or(ExitCode::FAILURE, exit_code)),
        }
        if let Err(error) = self.start_command() {
            self.withdraw().await;
            return Err(error.into());
        }
        let (outcomes, mut checked) = unbounded_channel();
        let checks = self.args.check.as_ref().map(|_| self.start_checks(outcomes));
        if checks.is_none() {
            self.announce();
        }
        let code = loop {
            tokio::select! {
                arrived = signals.recv() => match arrived {
                    Some(arrived) => {
                        if arrived.is_end() {
                            checks.iter().for_each(JoinHandle::abort);
                            self.withdraw().await;
                        }
                        match &self.command {
                            Some(command) => command.signal(arrived),
                            None if arrived.is_end() => break ExitCode::SUCCESS,
                            None => {}
                        }
                    }
                    None => return Err("signals are received no more".into()),
                },
                status = ended(self.command.as_ref()) => break status,
                event = told(self.keeper.as_mut()) => match event {
                    Some(event) => self.hear(event),
                    None => self.lost_keeper().await,
                },
                Some(outcome) = checked.recv() => self.judge(outcome),
                () = until(self.restart_at) => self.restart().await,
            }
        };
        checks.iter().for_each(JoinHandle::abort);
        self.withdraw().await;
        Ok(code)
    }

    fn start_command(&mut self) -> Result<(), String> {
        let Some((program, arguments)) = self.args.program() else { return Ok(()) };
        let name = program.to_string_lossy();
        let mut command = Command::new(program);
        command.args(arguments);
        sys::unblock_signals_of(&mut command);
        let child = command.spawn().map_err(|error| format!("cannot start {name:?}: {error}"))?;
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
            while outcomes.send(check::run(&script).await).is_ok() {
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
                if self.wanted.take().is_some() {
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
                self.wanted = Some(member.clone());
                self.order(KeeperOrder::Announce(member));
            }
            // It was tried before anything was started.
            Err(error) => self.say(&error.to_string()),
        }
    }

    fn order(&mut self, order: KeeperOrder) {
        if let Some(keeper) = &mut self.keeper {
            keeper.order(&order);
        }
    }

    fn hear(&mut self, event: KeeperEvent) {
        match event {
            KeeperEvent::Connected { what } => {
                (self.is_connected, self.pause) = (true, MIN_PAUSE);
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
                        "it is not announced, because a node of this name exists that nobody holds; \
                         `twitcher rm {}` removes it",
                        self.path
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

    /// Withdraws the member for good, if there is a keeper that has it.
    async fn withdraw(&mut self) {
        (self.wanted, self.restart_at) = (None, None);
        let Some(keeper) = self.keeper.take() else { return };
        let was_announced = std::mem::take(&mut self.is_announced);
        let is_done = keeper.close().await;
        match (was_announced, is_done && self.is_connected) {
            (true, true) => self.say("it is withdrawn"),
            (true, false) => self.say("nobody knows whether it is withdrawn; it goes when its owner expires"),
            (false, _) => {}
        }
    }

    /// The keeper has ended by itself.
    async fn lost_keeper(&mut self) {
        let status = match self.keeper.take() {
            Some(keeper) => keeper.end().await,
            None => None,
        };
        (self.is_announced, self.is_connected) = (false, false);
        let how = match status {
            Some(WaitStatus::Exited(_, code)) => format!("with code {code}"),
            Some(WaitStatus::Signaled(_, signal, _)) => format!("by {signal}"),
            Some(_) | None => "for an unknown reason".to_owned(),
        };
        let seconds = self.pause.as_secs();
        self.say(&format!("the process that keeps it has ended {how}; another one starts in {seconds} s"));
        self.restart_at = Some(Instant::now() + self.pause);
        self.pause = (self.pause * 2).min(MAX_PAUSE);
    }

    async fn restart(&mut self) {
        self.restart_at = None;
        match KeeperProcess::start(&self.args.connection.flags()).await {
            Ok(mut keeper) => {
                if let Some(member) = &self.wanted {
                    keeper.order(&KeeperOrder::Announce(member.clone()));
                }
                self.keeper = Some(keeper);
            }
            Err(error) => {
                if let StartError::Spawn(error) = error {
                    self.say(&format!("cannot start the process that keeps it: {error}"));
                }
                self.restart_at = Some(Instant::now() + self.pause);
                self.pause = (self.pause * 2).min(MAX_PAUSE);
            }
        }
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

/// Waits until this command is told to end. Nobody is there yet for other signals.
async fn end(signals: &mut UnboundedReceiver<Arrived>) {
    while signals.recv().await.is_some_and(|arrived| !arrived.is_end()) {}
}

/// Waits for what the keeper tells.
async fn told(keeper: Option<&mut KeeperProcess>) -> Option<KeeperEvent> {
    match keeper {
        Some(keeper) => keeper.next().await,
        None => pending().await,
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
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
