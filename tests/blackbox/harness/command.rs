//! Prepares the command of every program that the suite starts. No program inherits the environment
//! variables, limits, umask, nice value or ignored signals with which the suite itself was started, so no
//! test depends on them.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::process::Command;
use std::sync::OnceLock;

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, rlim_t, setrlimit};
use nix::sys::signal::Signal;
use nix::sys::stat::{Mode, umask};
use nix::unistd::geteuid;

/// The variables that are passed on: the path of programs, and the file in which an instrumented binary
/// reports its coverage.
const PASSED_ON: [&str; 2] = ["PATH", "LLVM_PROFILE_FILE"];

/// The limits, soft and hard, that systemd gives to services, except for open files: some tests hold a
/// thousand clients.
const LIMITS: [(Resource, rlim_t, rlim_t); 9] = [
    (Resource::RLIMIT_NOFILE, 4096, 524_288),
    (Resource::RLIMIT_CORE, 0, RLIM_INFINITY),
    (Resource::RLIMIT_STACK, 8 << 20, RLIM_INFINITY),
    (Resource::RLIMIT_AS, RLIM_INFINITY, RLIM_INFINITY),
    (Resource::RLIMIT_CPU, RLIM_INFINITY, RLIM_INFINITY),
    (Resource::RLIMIT_DATA, RLIM_INFINITY, RLIM_INFINITY),
    (Resource::RLIMIT_FSIZE, RLIM_INFINITY, RLIM_INFINITY),
    (Resource::RLIMIT_NPROC, RLIM_INFINITY, RLIM_INFINITY),
    (Resource::RLIMIT_RSS, RLIM_INFINITY, RLIM_INFINITY),
];

/// Returns a command that runs `program` in the same environment wherever the suite runs.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let (nice, heeded) = (set_umask_and_limits(), heeds_signals());
    let mut words = Vec::new();
    if nice != 0 {
        words.extend(["nice".into(), format!("--adjustment={}", -nice).into()]);
    }
    if !heeded {
        words.extend(["env", "--default-signal"].map(OsString::from));
    }
    words.push(program.as_ref().to_owned());
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    command.env_clear();
    command.envs(PASSED_ON.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    command
}

/// Gives this process the usual umask and limits, once. Returns the nice value that a command must undo.
pub fn set_umask_and_limits() -> i32 {
    static NICE: OnceLock<i32> = OnceLock::new();
    *NICE.get_or_init(|| {
        umask(Mode::from_bits_truncate(0o022));
        for (resource, soft, hard) in LIMITS {
            if setrlimit(resource, soft, hard).is_err() {
                // A user without privileges, or the root of a container, keeps the hard limit.
                let (_, hard) = getrlimit(resource).expect("read a limit");
                setrlimit(resource, soft.min(hard), hard).expect("set a soft limit");
            }
        }
        // Only root may lower the value.
        if geteuid().is_root() { inherited_nice() } else { 0 }
    })
}

/// Whether no signal is ignored but SIGPIPE, which the standard library ignores here and not in its commands.
/// `nohup` ignores SIGHUP, and a shell without job control SIGINT and SIGQUIT of what it runs in the
/// background. No shell that inherits this can trap them.
fn heeds_signals() -> bool {
    static HEEDS: OnceLock<bool> = OnceLock::new();
    *HEEDS.get_or_init(|| {
        let status = fs::read_to_string("/proc/self/status").expect("read our state");
        let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).expect("ignored signals");
        let ignored = u64::from_str_radix(ignored.trim(), 16).expect("a set of signals");
        ignored & !(1 << (Signal::SIGPIPE as i32 - 1)) == 0
    })
}

/// Reads the nice value, field 19 in proc(5). The name of the process, field 2, can contain anything, so
/// fields are counted from the state, field 3.
fn inherited_nice() -> i32 {
    let stat = fs::read_to_string("/proc/self/stat").expect("read our state");
    let fields = stat.rsplit_once(") ").expect("a name in parentheses").1;
    fields.split(' ').nth(16).and_then(|nice| nice.parse().ok()).expect("a nice value")
}
