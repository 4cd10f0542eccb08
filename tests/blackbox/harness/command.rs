//! Prepares the command of every program that the suite starts. No program inherits the environment
//! variables, limits, umask or nice value with which the suite itself was started, so no test depends on
//! them.

use std::ffi::OsStr;
use std::fs;
use std::process::Command;
use std::sync::OnceLock;

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, rlim_t, setrlimit};
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
    let mut command = match set_umask_and_limits() {
        0 => Command::new(program),
        nice => {
            let mut command = Command::new("nice");
            command.arg(format!("--adjustment={}", -nice)).arg(program);
            command
        }
    };
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

/// Reads the nice value, field 19 in proc(5). The name of the process, field 2, can contain anything, so
/// fields are counted from the state, field 3.
fn inherited_nice() -> i32 {
    let stat = fs::read_to_string("/proc/self/stat").expect("read our state");
    let fields = stat.rsplit_once(") ").expect("a name in parentheses").1;
    fields.split(' ').nth(16).and_then(|nice| nice.parse().ok()).expect("a nice value")
}
