//! What a process of a store can reach of its host, by Landlock and seccomp, where the kernel has them.

use std::fs::File;
use std::io;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, NetPort, PathBeneath, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, path_beneath_rules,
};

use super::task::Task;
use crate::store::settings::StoreSettings;
use crate::sys::{Work, allow_only, give_up_capabilities};

/// What this program knows of. An older kernel is asked for what it has.
const KNOWN: ABI = ABI::V6;

/// What the resolution of names reads: its own files, and the libraries that it loads.
const RESOLUTION: [&str; 10] = [
    "/etc",
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/run/systemd/resolve",
    "/run/resolvconf",
    "/run/NetworkManager",
    "/var/lib/sss/mc",
    "/usr/share/zoneinfo",
];

const DNS_PORT: u16 = 53;

/// Confines the calling thread and those that it will start: it can read what name resolution needs, or the
/// store's `directory`, and connect to the store's ports. It can execute nothing, and reach no process
/// outside. It can write nowhere; only a keeper can, into its store's directory. Returns how far that is so,
/// for people.
pub(super) fn enter(settings: &StoreSettings, directory: Option<&File>, task: Task) -> io::Result<String> {
    let landlock = match restrict(settings, directory, task) {
        Ok(RulesetStatus::FullyEnforced) => Ok("by Landlock"),
        Ok(RulesetStatus::PartiallyEnforced) => Ok("by Landlock as far as this kernel can"),
        Ok(RulesetStatus::NotEnforced) => Err("without Landlock, which this kernel does not have".to_owned()),
        Err(error) => Err(format!("without Landlock ({error})")),
    };
    if landlock.is_err() {
        // The capability to read all files is for the store's directory alone.
        give_up_capabilities()?;
    }
    // After Landlock, whose calls are not among those that are allowed then.
    let seccomp = match allow_only(work(settings, task)) {
        Ok(()) => Ok("by seccomp"),
        Err(error) => {
            // With all system calls there may be other ways to use it. Nobody is started with it where it is
            // known that there is no seccomp.
            give_up_capabilities()?;
            Err(format!("without seccomp ({error})"))
        }
    };
    Ok(match (landlock, seccomp) {
        (Ok(landlock), Ok(seccomp)) => format!("confined {landlock} and {seccomp}"),
        (Ok(one), Err(other)) | (Err(other), Ok(one)) => format!("confined {one}, {other}"),
        (Err(landlock), Err(seccomp)) => format!("{landlock}, {seccomp}"),
    })
}

fn work(settings: &StoreSettings, task: Task) -> Work {
    match (settings.capabilities().is_remote, task) {
        (true, Task::Follow | Task::Keep(_)) => Work::NetworkStore,
        (false, Task::Follow) => Work::DirectoryStore,
        (false, Task::Keep(_)) => Work::DirectoryKeeper,
    }
}

/// Returns true if this kernel can keep a process from all files but some.
pub(super) fn has_landlock() -> bool {
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(ABI::V1));
    ruleset.and_then(Ruleset::create).is_ok()
}

fn restrict(
    settings: &StoreSettings,
    directory: Option<&File>,
    task: Task,
) -> Result<RulesetStatus, RulesetError> {
    let mut access: BitFlags<AccessFs> = AccessFs::ReadFile | AccessFs::ReadDir;
    if work(settings, task) == Work::DirectoryKeeper {
        access |= AccessFs::WriteFile | AccessFs::Truncate | AccessFs::RemoveFile;
        access |= AccessFs::MakeReg | AccessFs::MakeDir;
    }
    let ruleset = Ruleset::default()
        .handle_access(AccessFs::from_all(KNOWN))?
        .handle_access(AccessNet::BindTcp | AccessNet::ConnectTcp)?
        .scope(Scope::AbstractUnixSocket | Scope::Signal)?
        .create()?
        // Those that do not exist are left out.
        .add_rules(path_beneath_rules(read_by_resolution(settings), access))?
        .add_rules(directory.map(|directory| Ok::<_, RulesetError>(PathBeneath::new(directory, access))))?;
    let ports = settings.ports();
    let dns = (!ports.is_empty()).then_some(DNS_PORT);
    let mut ports = ports.into_iter().chain(dns);
    let ruleset = ports
        .try_fold(ruleset, |ruleset, port| ruleset.add_rule(NetPort::new(port, AccessNet::ConnectTcp)))?;
    Ok(ruleset.restrict_self()?.ruleset)
}

fn read_by_resolution(settings: &StoreSettings) -> &'static [&'static str] {
    if settings.capabilities().is_remote { &RESOLUTION } else { &[] }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{ErrorKind, Read};
    use std::net::{TcpListener, TcpStream};
    use std::path::Path;
    use std::process::Command;
    use std::thread;

    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;

    use super::*;
    use crate::store::{DirectorySettings, DirectoryUrl, Login, ZooKeeperSettings, ZooKeeperUrl};

    /// Runs `work` in a thread of its own that is confined. Does nothing on a kernel without Landlock.
    fn confined(settings: StoreSettings, work: impl FnOnce() + Send + 'static) {
        confined_for(Task::Follow, settings, work);
    }

    /// What the settings name, while it is there.
    fn opened(settings: &StoreSettings) -> Option<File> {
        settings.directory().and_then(|path| crate::store::directory::permit(path).0)
    }

    fn confined_for(task: Task, settings: StoreSettings, work: impl FnOnce() + Send + 'static) {
        let thread = thread::spawn(move || match restrict(&settings, opened(&settings).as_ref(), task) {
            Ok(RulesetStatus::NotEnforced) | Err(_) => eprintln!("skipped: no Landlock"),
            Ok(_) => work(),
        });
        thread.join().unwrap();
    }

    #[test]
    fn a_half_on_a_network_reaches_its_servers_and_name_resolution_only() {
        let (allowed, other) =
            (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
        let (allowed, other) = (allowed.local_addr().unwrap(), other.local_addr().unwrap());
        let url: ZooKeeperUrl = ZooKeeperUrl::from_servers(&allowed.to_string()).unwrap();
        let settings = ZooKeeperSettings {
            url,
            login: Login::default(),
            session_timeout: std::time::Duration::from_secs(1),
            readonly: false,
        };
        let directory = tempfile::tempdir().unwrap();
        let secret = directory.path().join("secret");
        fs::write(&secret, "secret").unwrap();
        let mut outside = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = Pid::from_raw(outside.id().cast_signed());
        confined(StoreSettings::ZooKeeper(settings), move || {
            let denied = |error: std::io::Error| error.kind() == ErrorKind::PermissionDenied;
            assert!(File::open("/etc/passwd").is_ok());
            assert!(fs::read(&secret).is_err_and(denied));
            assert!(fs::write(directory.path().join("new"), "").is_err_and(denied));
            assert!(fs::remove_file(&secret).is_err_and(denied));
            assert!(fs::read_dir("/proc").is_err_and(denied));
            assert!(File::options().append(true).open("/etc/passwd").is_err_and(denied));
            assert!(Command::new("/bin/true").spawn().is_err_and(denied));
            assert!(!TcpStream::connect(allowed).is_err_and(denied));
            assert!(TcpStream::connect(other).is_err_and(denied));
            assert!(TcpListener::bind("127.0.0.1:0").is_err_and(denied));
            assert!(kill(pid, Signal::SIGTERM).is_err());
            // Its names may be resolved by another process.
            assert!(std::net::ToSocketAddrs::to_socket_addrs("localhost:1").is_ok());
        });
        outside.kill().unwrap();
        outside.wait().unwrap();
    }

    #[test]
    fn a_half_of_a_directory_reads_that_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let (root, secret) = (directory.path().join("nodes"), directory.path().join("secret"));
        fs::create_dir(&root).unwrap();
        fs::write(root.join("node"), "content").unwrap();
        fs::write(&secret, "secret").unwrap();
        let settings = DirectorySettings {
            url: DirectoryUrl { root: root.clone() },
            session_timeout: std::time::Duration::from_secs(1),
            rescan_interval: std::time::Duration::from_secs(60),
            readonly: false,
        };
        confined(StoreSettings::Directory(settings), move || {
            let denied = |error: std::io::Error| error.kind() == ErrorKind::PermissionDenied;
            assert_eq!(fs::read(root.join("node")).unwrap(), b"content");
            assert_eq!(fs::read_dir(&root).unwrap().count(), 1);
            assert!(fs::metadata(&secret).is_ok(), "the way to the directory is followed by such looks");
            assert!(fs::read(&secret).is_err_and(denied));
            assert!(fs::read("/etc/passwd").is_err_and(denied));
            assert!(fs::write(root.join("node"), "").is_err_and(denied));
            assert!(TcpStream::connect("127.0.0.1:9").is_err_and(denied));
        });
    }

    // Another one may be at its path by the time of the sandbox, or none.
    #[test]
    fn a_half_reads_the_directory_that_was_opened_for_it() {
        let top = tempfile::tempdir().unwrap();
        let (root, aside) = (top.path().join("nodes"), top.path().join("aside"));
        let fill = |content: &str| {
            fs::create_dir(&root).unwrap();
            fs::write(root.join("node"), content).unwrap();
        };
        fill("first");
        let settings = StoreSettings::Directory(DirectorySettings {
            url: DirectoryUrl { root: root.clone() },
            session_timeout: std::time::Duration::from_secs(1),
            rescan_interval: std::time::Duration::from_secs(60),
            readonly: false,
        });
        let directory = opened(&settings);
        fs::rename(&root, &aside).unwrap();
        fill("second");
        let thread = thread::spawn(move || match restrict(&settings, directory.as_ref(), Task::Follow) {
            Ok(RulesetStatus::NotEnforced) | Err(_) => eprintln!("skipped: no Landlock"),
            Ok(_) => {
                assert_eq!(fs::read(aside.join("node")).unwrap(), b"first");
                let denied = fs::read(root.join("node")).unwrap_err();
                assert_eq!(denied.kind(), ErrorKind::PermissionDenied);
            }
        });
        thread.join().unwrap();
    }

    #[test]
    fn a_keeper_writes_into_its_directory_and_nowhere_else() {
        let directory = tempfile::tempdir().unwrap();
        let (root, other) = (directory.path().join("nodes"), directory.path().join("other"));
        fs::create_dir(&root).unwrap();
        fs::write(&other, "content").unwrap();
        let settings = DirectorySettings {
            url: DirectoryUrl { root: root.clone() },
            session_timeout: std::time::Duration::from_secs(1),
            rescan_interval: std::time::Duration::from_secs(60),
            readonly: false,
        };
        let task = Task::Keep(crate::store::AtEnd::Leave);
        confined_for(task, StoreSettings::Directory(settings), move || {
            let denied = |error: std::io::Error| error.kind() == ErrorKind::PermissionDenied;
            fs::create_dir_all(root.join("services/web")).unwrap();
            let (draft, member) = (root.join("services/web/.draft"), root.join("services/web/h:1"));
            fs::write(&draft, "long content").unwrap();
            File::options().write(true).open(&draft).unwrap().set_len(4).unwrap();
            fs::rename(&draft, &member).unwrap();
            assert_eq!(fs::read(&member).unwrap(), b"long");
            fs::remove_file(&member).unwrap();
            assert!(fs::read(&other).is_err_and(denied));
            assert!(fs::write(&other, "").is_err_and(denied));
            assert!(fs::remove_file(&other).is_err_and(denied));
            assert!(fs::create_dir(directory.path().join("new")).is_err_and(denied));
            assert!(std::os::unix::fs::symlink("/etc", root.join("link")).is_err_and(denied));
            assert!(Command::new("/bin/true").spawn().is_err_and(denied));
            assert!(TcpStream::connect("127.0.0.1:9").is_err_and(denied));
        });
    }

    // Seccomp can also fail where it was there before.
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    #[test]
    fn a_half_without_seccomp_has_no_capability() {
        use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};
        let directory = tempfile::tempdir().unwrap();
        let settings = StoreSettings::Directory(DirectorySettings {
            url: DirectoryUrl { root: directory.path().to_owned() },
            session_timeout: std::time::Duration::from_secs(1),
            rescan_interval: std::time::Duration::from_secs(60),
            readonly: false,
        });
        let thread = thread::spawn(move || {
            let eperm = SeccompAction::Errno(nix::libc::EPERM.cast_unsigned());
            let denied = [(nix::libc::SYS_seccomp, Vec::new())].into();
            let arch = std::env::consts::ARCH.try_into().unwrap();
            let filter = SeccompFilter::new(denied, SeccompAction::Allow, eperm, arch).unwrap();
            apply_filter(&BpfProgram::try_from(filter).unwrap()).unwrap();
            assert!(!crate::sys::can_allow_only());
            let mut status = File::open("/proc/thread-self/status").unwrap();
            let confinement = enter(&settings, opened(&settings).as_ref(), Task::Follow).unwrap();
            assert!(confinement.contains("without seccomp"), "{confinement}");
            let mut text = String::new();
            status.read_to_string(&mut text).unwrap();
            for set in ["CapEff", "CapPrm", "CapAmb"] {
                let line = text.lines().find(|line| line.starts_with(set)).unwrap();
                assert!(line.ends_with(&"0".repeat(16)), "{line}");
            }
        });
        thread.join().unwrap();
        let can = thread::spawn(|| (crate::sys::can_allow_only(), allow_only(Work::Computing).is_ok()));
        let (said, could) = can.join().unwrap();
        assert_eq!(said, could);
    }

    #[test]
    fn all_of_the_sandbox_leaves_a_half_its_work() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap();
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("node"), "content").unwrap();
        let network = StoreSettings::ZooKeeper(ZooKeeperSettings {
            url: ZooKeeperUrl::from_servers(&address.to_string()).unwrap(),
            login: Login::default(),
            session_timeout: std::time::Duration::from_secs(1),
            readonly: false,
        });
        let files = StoreSettings::Directory(DirectorySettings {
            url: DirectoryUrl { root: directory.path().to_owned() },
            session_timeout: std::time::Duration::from_secs(1),
            rescan_interval: std::time::Duration::from_secs(60),
            readonly: false,
        });
        let own = std::process::id().cast_signed();
        for settings in [network, files] {
            let root = settings.directory().map(Path::to_owned);
            let node = directory.path().join("node");
            let thread = thread::spawn(move || {
                let confinement = enter(&settings, opened(&settings).as_ref(), Task::Follow).unwrap();
                assert!(confinement.ends_with("by seccomp") || !confinement.contains("and"), "{confinement}");
                assert!(Command::new("/bin/true").spawn().is_err());
                assert!(kill(Pid::from_raw(own), None).is_err());
                assert!(std::os::unix::net::UnixStream::pair().is_err());
                assert!(fs::write("/tmp/twitcher-sandbox", "").is_err());
                let has_landlock = confinement.contains("confined by Landlock");
                match root {
                    Some(root) => {
                        assert_eq!(fs::read(root.join("node")).unwrap(), b"content");
                        assert!(TcpStream::connect(address).is_err());
                        assert_eq!(fs::read("/etc/passwd").is_err(), has_landlock);
                    }
                    None => {
                        assert_eq!(fs::read(&node).is_err(), has_landlock);
                        assert!(TcpStream::connect(address).is_ok());
                        assert!(std::net::ToSocketAddrs::to_socket_addrs("localhost:1").is_ok());
                    }
                }
                assert!(thread::spawn(|| ()).join().is_ok());
            });
            thread.join().unwrap();
        }
        drop(server);
    }
}
