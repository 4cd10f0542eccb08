//! The classes of a ZooKeeper server, read and checked beforehand. A JVM that maps this archive starts in two
//! thirds of the time.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::OnceLock;

use nix::sys::signal::Signal;

use super::{JAR, ZooKeeper, java};
use crate::harness::command::command;
use crate::harness::process::Process;
use crate::harness::server::Server;
use crate::harness::wait::wait_until;

/// The archive, which the first test that needs it makes, if this JVM can. It stays for the next test runs. A
/// JVM that it is not for does without it.
pub(super) fn path() -> Option<&'static Path> {
    static ARCHIVE: OnceLock<Option<PathBuf>> = OnceLock::new();
    let archive = ARCHIVE.get_or_init(|| {
        let archive = Path::new(env!("CARGO_TARGET_TMPDIR")).join("zookeeper.jsa");
        (is_current(&archive) || make(&archive)).then_some(archive)
    });
    archive.as_deref()
}

/// Whether it is newer than what it was made of.
fn is_current(archive: &Path) -> bool {
    let modified = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    let parts = [Some(PathBuf::from(JAR)), java()];
    modified(archive).is_some() && parts.iter().flatten().all(|part| modified(part) < modified(archive))
}

/// Has a server write it when it ends.
fn make(archive: &Path) -> bool {
    let new = archive.with_extension(std::process::id().to_string());
    let server = ZooKeeper::stopped();
    let mut setpriv = command("setpriv");
    setpriv.args(["--pdeathsig", "KILL", "--"]);
    setpriv.args(server.command_line(Some(format!("-XX:ArchiveClassesAtExit={}", new.display()))));
    setpriv.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut jvm = setpriv.spawn().expect("start a server");
    let mut has_ended = false;
    wait_until("a first server to serve, or to refuse the option", || {
        has_ended = jvm.try_wait().expect("look at the server").is_some();
        has_ended || server.is_serving()
    });
    if !has_ended {
        Process(jvm.id().cast_signed()).signal(Signal::SIGTERM);
        wait_until("the server to end", || jvm.try_wait().expect("look at the server").is_some());
    }
    fs::rename(&new, archive).is_ok()
}
