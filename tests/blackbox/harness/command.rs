//! Starts every program of the suite. None of them inherits what the suite itself happens to be started with,
//! such as environment variables, limits, umask and nice value: no test depends on these.

use std::ffi::OsStr;
use std::fs;
use std::process::Command;
use std::sync::OnceLock;

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, rlim_t, setrlimit};
use nix::sys::stat::{Mode, umask};
use nix::unistd::geteuid;

/// Variables that are passed on: where programs are, and where an instrumented binary reports its coverage.
const PASSED_ON: [&str; 2] = ["PATH", "LLVM_PROFILE_FILE"];

/// Soft and hard limits, as systemd gives them to services, but for open files: some tests hold a thousand
/// clients.
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

/// The program, which is to be started with the same surroundings wherever the suite runs.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = match settle() {
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

/// Gives this process the usual umask and limits. Returns the nice value that its children have to get rid
/// of.
pub fn settle() -> i32 {
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

/// Reads field 19 of proc(5)'s `stat`. The process's name before field 3 may contain anything.
fn inherited_nice() -> i32 {
    let stat = fs::read_to_string("/proc/self/stat").expect("read our state");
    let fields = stat.rsplit_once(") ").expect("a name in parentheses").1;
    fields.split(' ').nth(16).and_then(|nice| nice.parse().ok()).expect("a nice value")
}
