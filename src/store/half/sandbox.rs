//! What the half of a store can reach of its host, by Landlock, where the kernel has it.

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, NetPort, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetError, RulesetStatus, Scope, path_beneath_rules,
};

use crate::store::settings::StoreSettings;

/// What this program knows of. An older kernel is asked for what it has.
const KNOWN: ABI = ABI::V6;

/// What the resolution of names reads: its own files, and the libraries that it loads.
const RESOLUTION: [&str; 11] = [
    "/etc",
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/run/systemd/resolve",
    "/run/nscd",
    "/run/resolvconf",
    "/run/NetworkManager",
    "/var/lib/sss/mc",
    "/usr/share/zoneinfo",
];

const DNS_PORT: u16 = 53;

/// Confines the calling thread and those that it will start: it can read what name resolution needs, or the
/// store's directory, and connect to the store's ports. It can write nowhere, execute nothing, and reach no
/// process outside. Returns how far that is so, for people.
pub(super) fn enter(settings: &StoreSettings) -> String {
    match restrict(settings) {
        Ok(RulesetStatus::FullyEnforced) => "confined by Landlock".to_owned(),
        Ok(RulesetStatus::PartiallyEnforced) => "confined by Landlock as far as this kernel can".to_owned(),
        Ok(RulesetStatus::NotEnforced) => "without Landlock, which this kernel does not have".to_owned(),
        Err(error) => format!("without Landlock ({error})"),
    }
}

fn restrict(settings: &StoreSettings) -> Result<RulesetStatus, RulesetError> {
    let read: BitFlags<AccessFs> = AccessFs::ReadFile | AccessFs::ReadDir;
    let ruleset = Ruleset::default()
        .handle_access(AccessFs::from_all(KNOWN))?
        .handle_access(AccessNet::BindTcp | AccessNet::ConnectTcp)?
        .scope(Scope::AbstractUnixSocket | Scope::Signal)?
        .create()?
        // Those that do not exist are left out.
        .add_rules(path_beneath_rules(readable(settings.directory()), read))?;
    let ports = settings.ports();
    let dns = (!ports.is_empty()).then_some(DNS_PORT);
    let mut ports = ports.into_iter().chain(dns);
    let ruleset = ports
        .try_fold(ruleset, |ruleset, port| ruleset.add_rule(NetPort::new(port, AccessNet::ConnectTcp)))?;
    Ok(ruleset.restrict_self()?.ruleset)
}

fn readable(directory: Option<&Path>) -> Vec<PathBuf> {
    match directory {
        Some(directory) => vec![directory.to_owned()],
        None => RESOLUTION.iter().map(PathBuf::from).collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::io::ErrorKind;
    use std::net::{TcpListener, TcpStream};
    use std::process::Command;
    use std::thread;

    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;

    use super::*;
    use crate::store::{DirectorySettings, DirectoryUrl, Login, ZooKeeperSettings, ZooKeeperUrl};

    /// Runs `work` in a thread of its own that is confined. Does nothing on a kernel without Landlock.
    fn confined(settings: StoreSettings, work: impl FnOnce() + Send + 'static) {
        let thread = thread::spawn(move || match restrict(&settings) {
            Ok(RulesetStatus::NotEnforced) | Err(_) => eprintln!("skipped: {}", enter(&settings)),
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
}
