//! The binary under test, as a daemon or as a command that ends.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::pty::{OpenptyResult, Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::command::command;
use super::process::Process;
use super::wait::{DEADLINE, poll, wait_for};

/// The time that a daemon has to end after its test: for TERM, the second TERM, and KILL for its actions.
const END_TIMEOUT: Duration = Duration::from_secs(10);

/// Variables that every command sets to paths where nothing is, so that the program does not find the configs
/// and the socket of the machine's own daemon. Tests pass flags and other variables instead.
const CONFIG_PATH: &str = "TWITCHER_CONFIG_PATH";
const CONTROL_SOCKET: &str = "TWITCHER_CONTROL_SOCKET";

/// A command line that is to be run.
pub struct Twitcher {
    /// Commands that change something and then execute the binary (`prlimit`, `env`...).
    under: Vec<OsString>,
    binary: OsString,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    directory: OsString,
    stdin: Vec<u8>,
}

impl Twitcher {
    pub fn new(directory: &Path) -> Self {
        Self {
            // The kernel kills a daemon whose test has ended in any way.
            under: ["setpriv", "--pdeathsig", "KILL", "--"].map(Into::into).into(),
            binary: env!("CARGO_BIN_EXE_twitcher").into(),
            args: Vec::new(),
            env: vec![
                (CONFIG_PATH.into(), directory.join("no-configs").into()),
                (CONTROL_SOCKET.into(), directory.join("no-daemon.sock").into()),
            ],
            directory: directory.into(),
            stdin: Vec::new(),
        }
    }

    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().into());
        self
    }

    pub fn args<const N: usize>(mut self, args: [&str; N]) -> Self {
        self.args.extend(args.map(Into::into));
        self
    }

    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name.into(), value.as_ref().into()));
        self
    }

    /// Leaves the control socket to the settings and to the default, which may be the machine's own daemon's.
    pub fn with_default_socket(mut self) -> Self {
        self.env.retain(|(name, _)| name != CONTROL_SOCKET);
        self
    }

    pub fn current_dir(mut self, directory: &str) -> Self {
        self.directory = directory.into();
        self
    }

    pub fn stdin(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.stdin = bytes.as_ref().into();
        self
    }

    /// Runs this copy of the binary.
    pub fn binary(mut self, copy: &Path) -> Self {
        self.binary = copy.into();
        self
    }

    /// Runs the binary by way of this command, which must execute its last arguments.
    pub fn under<const N: usize>(mut self, command: [&str; N]) -> Self {
        self.under.extend(command.map(Into::into));
        self
    }

    /// Starts the command and collects its output.
    #[track_caller]
    pub fn start(self) -> Daemon {
        let mut child = self.command().stdin(Stdio::null()).spawn().expect("start twitcher");
        let log = Arc::default();
        let follow = |output: Box<dyn Read + Send>| {
            let log: Arc<Mutex<Vec<String>>> = Arc::clone(&log);
            thread::spawn(move || {
                for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
                    log.lock().unwrap().push(String::from_utf8_lossy(&line).into_owned());
                }
            });
        };
        follow(Box::new(child.stdout.take().expect("piped")));
        follow(Box::new(child.stderr.take().expect("piped")));
        Daemon { child, log }
    }

    /// Runs the command to its end.
    #[track_caller]
    pub fn finish(mut self) -> Finished {
        let input = std::mem::take(&mut self.stdin);
        let mut child = self.command().stdin(Stdio::piped()).spawn().expect("start twitcher");
        let mut stdin = child.stdin.take().expect("piped");
        let writer = thread::spawn(move || {
            // A command that does not read its stdin may end first.
            let _ = stdin.write_all(&input);
        });
        let limit = Limit::of(&child);
        let output = child.wait_with_output().expect("wait for twitcher");
        limit.expect_kept(&self.args);
        writer.join().expect("write stdin");
        Finished::of(output, &self.args)
    }

    /// Runs the command to its end on a terminal of this width. Returns its exit code and what the terminal
    /// got.
    #[track_caller]
    pub fn finish_on_terminal(self, columns: u16) -> (Option<i32>, String) {
        self.on_terminal(columns, None)
    }

    /// Does the same where stdin is the terminal, too, and somebody has typed this.
    #[track_caller]
    pub fn finish_typing(self, typed: &str) -> (Option<i32>, String) {
        self.on_terminal(80, Some(typed))
    }

    #[track_caller]
    fn on_terminal(self, columns: u16, typed: Option<&str>) -> (Option<i32>, String) {
        let size = Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let OpenptyResult { master, slave } = openpty(&size, None).expect("open a terminal");
        // A server that another test starts now would keep the terminal open, and reading would not end.
        for end in [&master, &slave] {
            fcntl(end, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).expect("mark the terminal");
        }
        let end = |terminal: &OwnedFd| terminal.try_clone().expect("another descriptor");
        let mut command = self.command();
        command.stdin(Stdio::null()).stdout(end(&slave)).stderr(end(&slave)).env("TERM", "xterm-256color");
        if let Some(typed) = typed {
            File::from(end(&master)).write_all(typed.as_bytes()).expect("type");
            command.stdin(end(&slave));
        }
        let mut child = command.spawn().expect("start twitcher");
        // The command alone has the terminal open now, so that reading ends when the command does.
        drop((command, slave));
        let limit = Limit::of(&child);
        let mut shown = Vec::new();
        // A terminal ends with the error EIO.
        let _ = File::from(master).read_to_end(&mut shown);
        let code = child.wait().expect("wait for twitcher").code();
        limit.expect_kept(&self.args);
        (code, String::from_utf8_lossy(&shown).replace("\r\n", "\n"))
    }

    fn command(&self) -> Command {
        let mut words = self.under.iter().chain([&self.binary]);
        let mut command = command(words.next().expect("never empty"));
        command.args(words).args(&self.args).current_dir(&self.directory);
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

/// Kills a command that does not end by itself: its test fails, and the tests behind it run.
struct Limit {
    ended: Sender<()>,
    watchdog: thread::JoinHandle<bool>,
}

impl Limit {
    /// The longest command moves 100,000 nodes.
    const TIME: Duration = DEADLINE.saturating_mul(3);

    fn of(command: &Child) -> Self {
        let command = Pid::from_raw(command.id().cast_signed());
        let (ended, end) = channel();
        let watchdog = thread::spawn(move || {
            let is_overdue = end.recv_timeout(Self::TIME).is_err();
            if is_overdue {
                let _ = kill(command, Signal::SIGKILL);
            }
            is_overdue
        });
        Self { ended, watchdog }
    }

    /// Panics if the command was killed.
    #[track_caller]
    fn expect_kept(self, args: &[OsString]) {
        let _ = self.ended.send(());
        let was_killed = self.watchdog.join().expect("watch the time");
        assert!(!was_killed, "{args:?} did not end within {:?}", Self::TIME);
    }
}

/// A command that has ended.
#[derive(Debug)]
pub struct Finished {
    /// `None` if a signal ended it.
    pub code: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: String,
    args: Vec<OsString>,
}

impl Finished {
    fn of(output: Output, args: &[OsString]) -> Self {
        Self {
            code: output.status.code(),
            stdout: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            args: args.to_vec(),
        }
    }

    /// Panics unless the exit code is this: 0 for done, 1 for failed, 2 for wrong usage.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "exit code of {self:#?}");
        if code != 0 {
            assert!(!self.stderr.trim().is_empty(), "errors go to stderr: {self:#?}");
        }
        self
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Panics unless stdout and stderr together contain each of these.
    #[track_caller]
    pub fn expect_said(&self, parts: &[&str]) {
        let said = format!("{}{}", self.text(), self.stderr);
        for part in parts {
            assert!(said.contains(part), "{:?} did not say {part:?}:\n{said}", self.args);
        }
    }
}

/// A running daemon. Dropping it ends it and all of its actions.
pub struct Daemon {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
}

impl Daemon {
    pub fn process(&self) -> Process {
        Process(self.child.id().try_into().expect("process numbers are small"))
    }

    pub fn signal(&self, signal: Signal) {
        self.process().signal(signal);
    }

    /// The lines it has written so far to stdout and stderr.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// The lines that contain all of `parts`.
    pub fn log_lines(&self, parts: &[&str]) -> Vec<String> {
        self.log().into_iter().filter(|line| parts.iter().all(|part| line.contains(part))).collect()
    }

    /// Waits for a line that contains all of `parts`.
    #[track_caller]
    pub fn wait_for_log(&self, parts: &[&str]) -> String {
        wait_for(&format!("a log line with {parts:?}"), || self.log_lines(parts).into_iter().next())
    }

    /// Waits for its end and returns the exit code, or `None` if a signal ended it.
    #[track_caller]
    pub fn wait_for_exit(&mut self) -> Option<i32> {
        self.wait_for_end().code()
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait_for_end(&mut self) -> ExitStatus {
        wait_for("the daemon to end", || self.child.try_wait().expect("wait for the daemon"))
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("look at the daemon").is_none()
    }

    /// Ends it by SIGTERM.
    #[track_caller]
    pub fn stop(&mut self) -> Option<i32> {
        self.signal(Signal::SIGTERM);
        self.wait_for_exit()
    }

    /// Kills it and reaps it.
    pub fn kill(&mut self) {
        self.child.kill().expect("kill the daemon");
        self.child.wait().expect("wait for the daemon");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- the daemon said:\n{}\n---", self.log().join("\n"));
        }
        // The second TERM skips the time that running actions have, so that they end with their daemon. A
        // daemon that hangs is killed: its test has already passed or failed.
        poll(END_TIMEOUT, || {
            let running = self.is_running();
            if running {
                self.signal(Signal::SIGTERM);
            }
            (!running).then_some(())
        });
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
