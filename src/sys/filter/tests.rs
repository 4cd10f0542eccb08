use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, ToSocketAddrs, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::process::{Child, Command};
use std::thread;

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::libc::{self, c_long};

use super::*;
use crate::sys::descriptors::memfd_create;
use crate::sys::receive_blob;

/// Runs `check` in a thread of its own that is left the calls of `work`.
fn confined(work: Work, check: impl FnOnce() + Send + 'static) {
    let thread = thread::spawn(move || {
        allow_only(work).unwrap();
        check();
    });
    thread.join().unwrap();
}

/// Makes a system call, and returns whether it is denied.
#[track_caller]
fn is_denied(call: c_long, arguments: [c_long; 6]) -> bool {
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: the pointers among them are null, or to what lives until the call returns. Should a call that
    // makes a process succeed, the child ends at once.
    let result = unsafe {
        let result = libc::syscall(call, a, b, c, d, e, f);
        let forked = [libc::SYS_clone, libc::SYS_clone3];
        #[cfg(target_arch = "x86_64")]
        let forked = [&forked[..], &[libc::SYS_fork, libc::SYS_vfork]].concat();
        if result == 0 && forked.contains(&call) {
            libc::_exit(0);
        }
        result
    };
    result < 0 && io::Error::last_os_error().raw_os_error() == Some(libc::ENOSYS)
}

fn denied<const N: usize>(what: &str, call: c_long, arguments: [i64; N]) {
    let mut all = [0; 6];
    all[..N].copy_from_slice(&arguments);
    assert!(is_denied(call, all), "{what} is possible");
}

fn is_unknown(error: io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENOSYS)
}

/// Another process.
struct Other(Child);

impl Other {
    fn start() -> Self {
        Self(Command::new("sleep").arg("60").spawn().unwrap())
    }

    fn pid(&self) -> i64 {
        self.0.id().into()
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const ALL: [Work; 4] = [Work::NetworkStore, Work::DirectoryStore, Work::DirectoryKeeper, Work::Computing];

/// Those that change no file.
const READERS: [Work; 3] = [Work::NetworkStore, Work::DirectoryStore, Work::Computing];

const HERE: i64 = libc::AT_FDCWD as i64;

#[test]
fn nobody_starts_a_process_or_reaches_another() {
    for work in ALL {
        let other = Other::start();
        let (pid, own) = (other.pid(), i64::from(std::process::id()));
        confined(work, move || {
            #[cfg(target_arch = "x86_64")]
            for (what, call) in [("fork", libc::SYS_fork), ("vfork", libc::SYS_vfork)] {
                denied(what, call, []);
            }
            let child = i64::from(libc::SIGCHLD);
            denied("clone", libc::SYS_clone, [child]);
            denied("a user namespace", libc::SYS_clone, [child | i64::from(libc::CLONE_NEWUSER)]);
            let thread = i64::from(libc::CLONE_THREAD | libc::CLONE_VM | libc::CLONE_SIGHAND);
            denied("a thread elsewhere", libc::SYS_clone, [thread | i64::from(libc::CLONE_NEWNET)]);
            denied("clone3", libc::SYS_clone3, [0, 88]);
            denied("execve", libc::SYS_execve, [c"/bin/true".as_ptr() as i64, 0, 0]);
            denied("execveat", libc::SYS_execveat, [HERE, c"/bin/true".as_ptr() as i64, 0, 0, 0]);
            assert!(Command::new("/bin/true").spawn().is_err_and(is_unknown));
            for flag in [0, libc::CLONE_NEWUSER, libc::CLONE_NEWNS] {
                denied("unshare", libc::SYS_unshare, [flag.into()]);
            }
            denied("setns", libc::SYS_setns, [0, 0]);
            denied("ptrace", libc::SYS_ptrace, [libc::PTRACE_SEIZE.into(), pid, 0, 0]);
            denied("process_vm_readv", libc::SYS_process_vm_readv, [pid, 0, 0, 0, 0, 0]);
            denied("process_vm_writev", libc::SYS_process_vm_writev, [pid, 0, 0, 0, 0, 0]);
            for target in [pid, -1, 0, own] {
                denied("kill", libc::SYS_kill, [target, 0]);
            }
            denied("tkill", libc::SYS_tkill, [pid, 0]);
            denied("tgkill", libc::SYS_tgkill, [pid, pid, 0]);
            denied("rt_sigqueueinfo", libc::SYS_rt_sigqueueinfo, [pid, 0, 0]);
            denied("rt_tgsigqueueinfo", libc::SYS_rt_tgsigqueueinfo, [pid, pid, 0, 0]);
            denied("pidfd_open", libc::SYS_pidfd_open, [pid, 0]);
            denied("pidfd_send_signal", libc::SYS_pidfd_send_signal, [0, 0, 0, 0]);
            denied("pidfd_getfd", libc::SYS_pidfd_getfd, [0, 0, 0]);
            let limit = libc::rlimit { rlim_cur: 1, rlim_max: 1 };
            let new = (&raw const limit) as i64;
            denied("prlimit of another", libc::SYS_prlimit64, [pid, 0, 0, (&raw const limit) as i64]);
            denied("prlimit of itself", libc::SYS_prlimit64, [0, 0, new, 0]);
            denied("setpriority", libc::SYS_setpriority, [0, pid, 5]);
            denied("ioprio_set", libc::SYS_ioprio_set, [1, pid, 0]);
            denied("sched_setaffinity", libc::SYS_sched_setaffinity, [pid, 0, 0]);
            denied("sched_setattr", libc::SYS_sched_setattr, [pid, 0, 0]);
            denied("sched_setscheduler", libc::SYS_sched_setscheduler, [pid, 0, 0]);
            // It would outlive the daemon without this signal.
            denied("to live on", libc::SYS_prctl, [libc::PR_SET_PDEATHSIG.into(), 0]);
            denied("to be traced", libc::SYS_prctl, [libc::PR_SET_DUMPABLE.into(), 1]);
            denied("fcntl of an owner", libc::SYS_fcntl, [0, libc::F_SETOWN.into(), pid]);
            denied("fcntl of a lease", libc::SYS_fcntl, [0, libc::F_SETLEASE.into(), 0]);
            denied("a signal of a new file", libc::SYS_fcntl, [0, libc::F_NOTIFY.into(), 1]);
        });
    }
}

#[test]
fn nobody_changes_a_file_or_uses_more_of_the_kernel() {
    for work in READERS {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "content").unwrap();
        let name = CString::new(file.as_os_str().as_bytes()).unwrap();
        let is_reader = work != Work::Computing;
        confined(work, move || {
            let (path, other) = (name.as_ptr() as i64, c"/tmp/other".as_ptr() as i64);
            let write = |flags: i32| denied("openat", libc::SYS_openat, [HERE, path, flags.into(), 0o600]);
            for flags in [libc::O_WRONLY, libc::O_RDWR, libc::O_ACCMODE, libc::O_CREAT, libc::O_TRUNC] {
                write(flags);
                write(flags | libc::O_CLOEXEC);
                #[cfg(target_arch = "x86_64")]
                denied("open", libc::SYS_open, [path, flags.into(), 0o600]);
            }
            write(libc::O_TMPFILE | libc::O_WRONLY);
            // The kernel reads but the lower half.
            denied("openat", libc::SYS_openat, [HERE, path, 1 << 32 | i64::from(libc::O_RDWR), 0]);
            denied("openat2", libc::SYS_openat2, [HERE, path, 0, 0]);
            assert_eq!(fs::read(&file).is_ok(), is_reader, "{work:?}");
            denied("open_by_handle_at", libc::SYS_open_by_handle_at, [HERE, 0, 0]);
            denied("name_to_handle_at", libc::SYS_name_to_handle_at, [HERE, path, 0, 0, 0]);
            denied("fchmodat", libc::SYS_fchmodat, [HERE, path, 0o4777]);
            denied("fchmod", libc::SYS_fchmod, [0, 0o4777]);
            denied("fchownat", libc::SYS_fchownat, [HERE, path, 0, 0, 0]);
            denied("utimensat", libc::SYS_utimensat, [HERE, path, 0, 0]);
            denied("setxattr", libc::SYS_setxattr, [path, other, 0, 0, 0]);
            denied("removexattr", libc::SYS_removexattr, [path, other]);
            denied("truncate", libc::SYS_truncate, [path, 0]);
            denied("ftruncate", libc::SYS_ftruncate, [0, 0]);
            denied("linkat", libc::SYS_linkat, [HERE, path, HERE, other, 0]);
            denied("symlinkat", libc::SYS_symlinkat, [path, HERE, other]);
            denied("renameat2", libc::SYS_renameat2, [HERE, path, HERE, other, 0]);
            denied("unlinkat", libc::SYS_unlinkat, [HERE, path, 0]);
            denied("mkdirat", libc::SYS_mkdirat, [HERE, other, 0o700]);
            denied("mknodat", libc::SYS_mknodat, [HERE, other, 0o600, 0]);
            denied("mount", libc::SYS_mount, [0, 0, 0, 0, 0]);
            denied("open_tree", libc::SYS_open_tree, [HERE, path, 0]);
            denied("chroot", libc::SYS_chroot, [path]);
            denied("chdir", libc::SYS_chdir, [path]);
            denied("setuid", libc::SYS_setuid, [0]);
            denied("capset", libc::SYS_capset, [0, 0]);
            denied("ioctl", libc::SYS_ioctl, [0, libc::TIOCSTI as i64, path]);
            for (what, call) in [
                ("io_uring", libc::SYS_io_uring_setup),
                ("keyctl", libc::SYS_keyctl),
                ("add_key", libc::SYS_add_key),
                ("request_key", libc::SYS_request_key),
                ("shmget", libc::SYS_shmget),
                ("semget", libc::SYS_semget),
                ("msgget", libc::SYS_msgget),
                ("mq_open", libc::SYS_mq_open),
                ("userfaultfd", libc::SYS_userfaultfd),
                ("bpf", libc::SYS_bpf),
                ("perf_event_open", libc::SYS_perf_event_open),
                ("fanotify_init", libc::SYS_fanotify_init),
                ("quotactl", libc::SYS_quotactl),
                ("socketpair", libc::SYS_socketpair),
                ("listen", libc::SYS_listen),
                ("accept", libc::SYS_accept),
                ("accept4", libc::SYS_accept4),
            ] {
                denied(what, call, []);
            }
        });
        assert_eq!(fs::read(directory.path().join("file")).unwrap(), b"content");
    }
}

#[test]
fn only_a_store_on_a_network_has_sockets_and_only_such_of_it() {
    let socket = |family: i32, kind: i32, protocol: i32| -> [i64; 3] {
        [family.into(), (kind | libc::SOCK_CLOEXEC).into(), protocol.into()]
    };
    let useful = [
        socket(libc::AF_INET, libc::SOCK_STREAM, 0),
        socket(libc::AF_INET6, libc::SOCK_STREAM, libc::IPPROTO_TCP),
        socket(libc::AF_INET, libc::SOCK_DGRAM, libc::IPPROTO_UDP),
        socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_ROUTE),
    ];
    let others = [
        socket(libc::AF_UNIX, libc::SOCK_STREAM, 0),
        socket(libc::AF_INET, libc::SOCK_STREAM, libc::IPPROTO_MPTCP),
        socket(libc::AF_INET6, libc::SOCK_STREAM, libc::IPPROTO_SCTP),
        socket(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP),
        socket(libc::AF_INET, libc::SOCK_DGRAM, libc::IPPROTO_ICMP),
        socket(libc::AF_INET, libc::SOCK_STREAM, libc::IPPROTO_UDP),
        socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_AUDIT),
        socket(libc::AF_PACKET, libc::SOCK_RAW, 0),
        socket(libc::AF_VSOCK, libc::SOCK_STREAM, 0),
        socket(libc::AF_ALG, libc::SOCK_SEQPACKET, 0),
    ];
    for work in [Work::DirectoryStore, Work::DirectoryKeeper, Work::Computing] {
        confined(work, move || {
            for arguments in useful.iter().chain(&others) {
                denied("socket", libc::SYS_socket, *arguments);
            }
            denied("connect", libc::SYS_connect, [0, 0, 0]);
            denied("sendto", libc::SYS_sendto, [0, 0, 0, 0, 0, 0]);
        });
    }
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    confined(Work::NetworkStore, move || {
        for [a, b, c] in useful {
            assert!(!is_denied(libc::SYS_socket, [a, b, c, 0, 0, 0]), "{a} {b} {c}");
        }
        for arguments in others {
            denied("socket", libc::SYS_socket, arguments);
        }
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        let number = i64::from(stream.as_raw_fd());
        let fast_open = i64::from(libc::MSG_FASTOPEN);
        denied("sendto", libc::SYS_sendto, [number, 0, 0, fast_open, 0, 0]);
        denied("sendmsg", libc::SYS_sendmsg, [number, 0, fast_open]);
        denied("sendmmsg", libc::SYS_sendmmsg, [number, 0, 0, fast_open]);
        let (level, linger) = (libc::SOL_SOCKET.into(), libc::SO_LINGER.into());
        denied("SO_LINGER", libc::SYS_setsockopt, [number, level, linger, 0, 0]);
        denied("a filter", libc::SYS_setsockopt, [number, level, libc::SO_ATTACH_FILTER.into(), 0, 0]);
        assert!(TcpListener::bind("127.0.0.1:0").is_err_and(is_unknown));
        // It receives nothing on a port that others know.
        for address in ["127.0.0.1:0", "[::1]:0"] {
            assert!(UdpSocket::bind(address).is_err_and(is_unknown), "{address}");
        }
        let size = size_of::<libc::sockaddr_in>() as i64;
        denied("an address behind an upper half", libc::SYS_bind, [number, 0, 1 << 32 | size]);
        assert!(!is_denied(libc::SYS_bind, [number, 0, size_of::<libc::sockaddr_nl>() as i64, 0, 0, 0]));
        let bound = io::Error::last_os_error();
        assert!(
            matches!(bound.raw_os_error(), Some(libc::EFAULT | libc::EINVAL)),
            "{bound}: too short for TCP"
        );
    });
    drop(server);
}

#[test]
fn what_a_store_needs_stays() {
    for work in [Work::NetworkStore, Work::DirectoryStore] {
        confined(work, move || {
            assert_eq!(thread::Builder::new().name("one".into()).spawn(|| 7).unwrap().join().unwrap(), 7);
            let mut file = memfd_create(libc::MFD_ALLOW_SEALING).unwrap();
            file.write_all(&[7; 100_000]).unwrap();
            fcntl(&file, FcntlArg::F_ADD_SEALS(SealFlag::all())).unwrap();
            assert_eq!(receive_blob(file.into()).unwrap().len(), 100_000);
            assert!(fs::read_dir("/etc").unwrap().count() > 1);
            assert!(fs::read_link("/proc/self/exe").unwrap().is_absolute());
            assert!(fs::canonicalize("/etc/../etc").is_ok());
            // SAFETY: signal 0 only asks.
            assert_eq!(unsafe { libc::raise(0) }, 0);
            assert!(nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_AS).is_ok());
            if work == Work::DirectoryStore {
                use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
                let inotify = Inotify::init(InitFlags::IN_CLOEXEC).unwrap();
                inotify.add_watch("/etc", AddWatchFlags::IN_CREATE).unwrap();
            } else {
                let localhost: Vec<SocketAddr> = "localhost:1".to_socket_addrs().unwrap().collect();
                assert!(localhost.iter().any(|address| address.ip() == IpAddr::V4(Ipv4Addr::LOCALHOST)));
            }
        });
    }
    confined(Work::Computing, || assert!(File::open("/etc/passwd").is_err_and(is_unknown)));
}

#[test]
fn a_keeper_of_files_makes_replaces_locks_and_removes_them_and_changes_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let (file, other) = (directory.path().join("file"), directory.path().join("other"));
    let path = CString::new(other.as_os_str().as_bytes()).unwrap();
    confined(Work::DirectoryKeeper, move || {
        let mut made = File::create_new(&file).unwrap();
        made.write_all(b"content").unwrap();
        made.set_len(1).unwrap();
        made.sync_all().unwrap();
        nix::fcntl::Flock::lock(made, nix::fcntl::FlockArg::LockExclusiveNonblock).unwrap();
        fs::rename(&file, &other).unwrap();
        let name = path.as_ptr() as i64;
        denied("chmod", libc::SYS_fchmodat, [HERE, name, 0o777]);
        denied("chown", libc::SYS_fchownat, [HERE, name, 0, 0, 0]);
        denied("a symlink", libc::SYS_symlinkat, [name, HERE, c"/tmp/other".as_ptr() as i64]);
        denied("a device", libc::SYS_mknodat, [HERE, name, libc::S_IFCHR.into(), 0]);
        denied("an attribute", libc::SYS_setxattr, [name, name, name, 0, 0]);
        denied("a mount", libc::SYS_mount, [name, name, 0, 0, 0]);
        fs::remove_file(&other).unwrap();
        // A program of root's that everybody may run as root, for one.
        let (directory, anonymous) = (c"/tmp".as_ptr() as i64, libc::O_TMPFILE | libc::O_WRONLY);
        for mode in [0o4755, 0o2755, 0o1777, 0o7777, 1 << 32 | 0o4755] {
            for flags in [libc::O_CREAT | libc::O_WRONLY, libc::O_CREAT | libc::O_RDWR | libc::O_EXCL] {
                denied("openat", libc::SYS_openat, [HERE, name, flags.into(), mode]);
                #[cfg(target_arch = "x86_64")]
                denied("open", libc::SYS_open, [name, flags.into(), mode]);
            }
            denied("a file without a name", libc::SYS_openat, [HERE, directory, anonymous.into(), mode]);
            denied("mkdirat", libc::SYS_mkdirat, [HERE, name, mode]);
            #[cfg(target_arch = "x86_64")]
            {
                denied("mkdir", libc::SYS_mkdir, [name, mode]);
                denied("creat", libc::SYS_creat, [name, mode]);
            }
        }
        denied("fchmod", libc::SYS_fchmod, [0, 0o4755]);
        denied("umask", libc::SYS_umask, [0]);
        assert!(!other.exists());
        File::options().append(true).create(true).open(&other).unwrap();
        fs::remove_file(&other).unwrap();
        fs::create_dir(&other).unwrap();
    });
}

#[test]
fn a_store_in_a_directory_looks_at_locks_and_keeps_nobody_out() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    confined(Work::DirectoryStore, move || {
        let opened = File::open(&file).unwrap();
        let number = i64::from(opened.as_raw_fd());
        denied("a lock", libc::SYS_flock, [number, i64::from(libc::LOCK_EX | libc::LOCK_NB)]);
        denied("to wait for a lock", libc::SYS_flock, [number, libc::LOCK_SH.into()]);
        drop(nix::fcntl::Flock::lock(opened, nix::fcntl::FlockArg::LockSharedNonblock).unwrap());
    });
}

// What root typed is nobody else's, and what it finds typed it runs.
#[test]
fn a_command_that_was_root_types_nothing_and_starts_and_reaches_no_process() {
    let terminal = nix::pty::openpty(None, None).unwrap();
    let (number, typed) = (i64::from(terminal.slave.as_raw_fd()), c"X".as_ptr() as i64);
    // SAFETY: the pointer is to a literal.
    assert_eq!(unsafe { libc::syscall(libc::SYS_ioctl, number, libc::TIOCSTI, typed) }, 0, "root can");
    let other = Other::start();
    let (pid, own) = (other.pid(), i64::from(std::process::id()));
    let apart = thread::spawn(move || {
        stay_apart().unwrap();
        denied("to type", libc::SYS_ioctl, [number, libc::TIOCSTI as i64, typed]);
        denied("to type", libc::SYS_ioctl, [number, 1 << 32 | libc::TIOCSTI as i64, typed]);
        denied("to paste", libc::SYS_ioctl, [number, libc::TIOCLINUX as i64, typed]);
        let child = i64::from(libc::SIGCHLD);
        denied("clone", libc::SYS_clone, [child]);
        denied("clone3", libc::SYS_clone3, [0, 88]);
        #[cfg(target_arch = "x86_64")]
        for (what, call) in [("fork", libc::SYS_fork), ("vfork", libc::SYS_vfork)] {
            denied(what, call, []);
            // The same calls by their numbers in another table.
            denied(what, 1 << 30 | call, []);
        }
        denied("execve", libc::SYS_execve, [c"/bin/true".as_ptr() as i64, 0, 0]);
        denied("execveat", libc::SYS_execveat, [HERE, c"/bin/true".as_ptr() as i64, 0, 0, 0]);
        assert!(Command::new("/bin/true").spawn().is_err_and(is_unknown));
        for target in [pid, -1, 0] {
            denied("kill", libc::SYS_kill, [target, 0]);
        }
        denied("tkill", libc::SYS_tkill, [pid, 0]);
        denied("tgkill", libc::SYS_tgkill, [pid, pid, 0]);
        denied("rt_sigqueueinfo", libc::SYS_rt_sigqueueinfo, [pid, 0, 0]);
        denied("pidfd_open", libc::SYS_pidfd_open, [pid, 0]);
        denied("ptrace", libc::SYS_ptrace, [libc::PTRACE_SEIZE.into(), pid, 0, 0]);
        denied("process_vm_readv", libc::SYS_process_vm_readv, [pid, 0, 0, 0, 0, 0]);
        denied("prlimit of another", libc::SYS_prlimit64, [pid, 0, 0, 0]);
        denied("fcntl of an owner", libc::SYS_fcntl, [0, libc::F_SETOWN.into(), pid]);
        denied("fcntl of an owner", libc::SYS_fcntl, [0, 15, 0]);
        denied("setsid", libc::SYS_setsid, []);
        denied("unshare", libc::SYS_unshare, [0]);
        denied("io_uring", libc::SYS_io_uring_setup, [0, 0]);
        // All that a command does is left.
        assert_eq!(thread::spawn(|| 7).join().unwrap(), 7);
        // SAFETY: signal 0 only asks.
        assert_eq!(unsafe { (libc::kill(own as i32, 0), libc::raise(0)) }, (0, 0));
        assert!(nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_AS).is_ok());
        assert!(tempfile::tempfile().unwrap().write_all(b"content").is_ok());
        assert!("localhost:1".to_socket_addrs().is_ok());
        assert!(std::os::unix::net::UnixStream::pair().is_ok());
    });
    apart.join().unwrap();
}
