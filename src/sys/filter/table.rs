//! The table of the system calls that are allowed, each group with its reason.
//!
//! It holds for every C library and kernel on which this program runs, so a group has the old and the new
//! call for the same thing. A call that does something for another process, or to a file, is not here.

use std::io;
use std::process;

use nix::libc::{self, c_long};

use super::argument::Argument::{self, Bits, Is, Null};
use super::argument::{Rules, add, n};
use super::work::Work;

/// What all of them do, whatever the arguments.
const BY_EVERYBODY: &[c_long] = &[
    // Memory, and the libraries of name resolution, which are mapped for execution.
    libc::SYS_brk,
    libc::SYS_mmap,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    // Locks between threads.
    libc::SYS_futex,
    libc::SYS_futex_waitv,
    libc::SYS_membarrier,
    libc::SYS_rseq,
    libc::SYS_set_robust_list,
    libc::SYS_set_tid_address,
    libc::SYS_sched_yield,
    // How many threads make sense.
    libc::SYS_sched_getaffinity,
    libc::SYS_getcpu,
    libc::SYS_sysinfo,
    // Time. A call that a stop signal interrupts goes on by `restart_syscall`.
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_restart_syscall,
    // Its own handlers of signals, by which it tells of an overflow of its stack.
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    // Who it is.
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_getppid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_uname,
    libc::SYS_getrusage,
    libc::SYS_getrandom,
    // Descriptors that are open.
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_pread64,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_pwrite64,
    libc::SYS_lseek,
    libc::SYS_close,
    libc::SYS_dup,
    libc::SYS_ppoll,
    // What a file is. Not even Landlock can deny that.
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    // Its end.
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// What both kinds of stores do.
const BY_STORES: &[c_long] = &[
    // Names in directories, and where links lead.
    libc::SYS_getdents64,
    libc::SYS_readlinkat,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_getcwd,
    // Waiting for several descriptors at once.
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    // Waiting for a time that is far away.
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
    libc::SYS_pselect6,
    // Long contents lie in files in memory, which the daemon receives.
    libc::SYS_memfd_create,
    // The socket to the daemon.
    libc::SYS_recvmsg,
    libc::SYS_shutdown,
];

/// What a store on a network does besides: it connects, and resolves names. It never listens.
const ON_A_NETWORK: &[c_long] = &[
    libc::SYS_connect,
    libc::SYS_recvfrom,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_getsockopt,
];

/// What a store that is a directory does besides: it is told of changes.
const IN_A_DIRECTORY: &[c_long] =
    &[libc::SYS_inotify_init1, libc::SYS_inotify_add_watch, libc::SYS_inotify_rm_watch];

/// What a keeper of files in a directory does besides: it makes, replaces and removes them, and holds locks.
const KEEPING_FILES: &[c_long] = &[
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_linkat,
    libc::SYS_unlinkat,
    libc::SYS_ftruncate,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_flock,
];

/// The calls that only this architecture has, beside newer ones that do the same.
#[cfg(target_arch = "x86_64")]
mod older {
    use nix::libc::{self, c_long};

    pub(super) const BY_EVERYBODY: &[c_long] =
        &[libc::SYS_poll, libc::SYS_stat, libc::SYS_lstat, libc::SYS_time];
    pub(super) const BY_STORES: &[c_long] =
        &[libc::SYS_access, libc::SYS_readlink, libc::SYS_epoll_wait, libc::SYS_select];
    pub(super) const KEEPING_FILES: &[c_long] = &[libc::SYS_rename, libc::SYS_link, libc::SYS_unlink];
}

#[cfg(target_arch = "aarch64")]
mod older {
    use nix::libc::c_long;

    pub(super) const BY_EVERYBODY: &[c_long] = &[];
    pub(super) const BY_STORES: &[c_long] = &[];
    pub(super) const KEEPING_FILES: &[c_long] = &[];
}

/// What is allowed with some arguments only: each line is one way to call it.
fn with_arguments(work: Work) -> Vec<(c_long, Vec<Argument>)> {
    let own = u64::from(process::id());
    let mut ways = vec![
        // The process ends itself when it panics or has no memory. It signals nobody else.
        (libc::SYS_tgkill, vec![Is(0, own)]),
        (libc::SYS_tkill, vec![Is(0, own)]),
        // Reads its own limits, and neither changes them nor those of others.
        (libc::SYS_prlimit64, vec![Is(0, 0), Null(2)]),
    ];
    // Names of threads, and of mappings.
    for option in [libc::PR_SET_NAME, libc::PR_GET_NAME, libc::PR_SET_VMA] {
        ways.push((libc::SYS_prctl, vec![Is(0, n!(option))]));
    }
    // It is looked whether somebody else has a lock, and no other one is excluded by that.
    if work == Work::DirectoryStore {
        for operation in [libc::LOCK_SH | libc::LOCK_NB, libc::LOCK_UN] {
            ways.push((libc::SYS_flock, vec![Is(1, n!(operation))]));
        }
    }
    // No owner that would be signalled, no lease, no lock.
    for command in [
        libc::F_DUPFD,
        libc::F_DUPFD_CLOEXEC,
        libc::F_GETFD,
        libc::F_SETFD,
        libc::F_GETFL,
        libc::F_SETFL,
        libc::F_ADD_SEALS,
        libc::F_GET_SEALS,
    ] {
        ways.push((libc::SYS_fcntl, vec![Is(1, n!(command))]));
    }
    // Whether reading blocks, how much there is, and whether it is a terminal: the second version of TCGETS
    // is that of newer C libraries, the size of the window is musl's way to ask.
    for request in [libc::FIONBIO, libc::FIONREAD, libc::TCGETS, libc::TCGETS2, libc::TIOCGWINSZ] {
        ways.push((libc::SYS_ioctl, vec![Is(1, n!(request))]));
    }
    match work {
        Work::Computing => {}
        Work::DirectoryStore => ways.extend(by_stores()),
        Work::DirectoryKeeper => ways.extend(by_stores().into_iter().chain(keeping_files())),
        Work::NetworkStore => ways.extend(by_stores().into_iter().chain(on_a_network())),
    }
    ways
}

fn by_stores() -> Vec<(c_long, Vec<Argument>)> {
    // Threads, but no processes: what has its own memory outlives the kill, and has its own limits.
    let thread = n!(libc::CLONE_THREAD | libc::CLONE_VM | libc::CLONE_SIGHAND);
    let apart = n!(libc::CLONE_VFORK
        | libc::CLONE_PARENT
        | libc::CLONE_PTRACE
        | libc::CLONE_PIDFD
        | libc::CLONE_NEWNS
        | libc::CLONE_NEWCGROUP
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUSER
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNET);
    let written = n!(libc::O_WRONLY | libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC);
    let fast_open = n!(libc::MSG_FASTOPEN);
    vec![
        (libc::SYS_clone, vec![Bits(0, thread | apart, thread)]),
        // Files for reading.
        (libc::SYS_openat, vec![Bits(2, written, 0)]),
        #[cfg(target_arch = "x86_64")]
        (libc::SYS_open, vec![Bits(1, written, 0)]),
        // Landlock does not see the connection that a send with this flag makes.
        (libc::SYS_sendmsg, vec![Bits(2, fast_open, 0)]),
    ]
}

/// The bits of a mode that no new file may have: the kernel runs a program with the first as its owner, who
/// is root in a directory of root's.
const SPECIAL_MODES: u64 = n!(libc::S_ISUID | libc::S_ISGID | libc::S_ISVTX);

/// Files for writing as well, whatever the flags. Which files that are, Landlock decides.
fn keeping_files() -> Vec<(c_long, Vec<Argument>)> {
    vec![
        (libc::SYS_openat, vec![Bits(3, SPECIAL_MODES, 0)]),
        (libc::SYS_mkdirat, vec![Bits(2, SPECIAL_MODES, 0)]),
        #[cfg(target_arch = "x86_64")]
        (libc::SYS_open, vec![Bits(2, SPECIAL_MODES, 0)]),
        #[cfg(target_arch = "x86_64")]
        (libc::SYS_mkdir, vec![Bits(1, SPECIAL_MODES, 0)]),
    ]
}

/// The sizes of addresses to which a socket may be bound. A filter sees the size, and not what kind of
/// address it is: that of netlink is too short for any other socket that can be made, and those that are
/// there [have a name](crate::sys::name_unix_sockets). So no port can be chosen.
#[cfg(not(target_env = "musl"))]
const BOUND: [usize; 1] = [size_of::<libc::sockaddr_nl>()];

/// The resolver of musl binds its UDP sockets to any port. Landlock denies it for TCP.
#[cfg(target_env = "musl")]
const BOUND: [usize; 3] =
    [size_of::<libc::sockaddr_nl>(), size_of::<libc::sockaddr_in>(), size_of::<libc::sockaddr_in6>()];

/// The bits of a socket's type that are no flags.
const SOCKET_TYPE: u64 = 0xf;

fn on_a_network() -> Vec<(c_long, Vec<Argument>)> {
    let fast_open = n!(libc::MSG_FASTOPEN);
    let mut ways = vec![
        (libc::SYS_sendto, vec![Bits(3, fast_open, 0)]),
        (libc::SYS_sendmmsg, vec![Bits(3, fast_open, 0)]),
        // Which addresses this host has decides the order of those of a server. The C library asks the kernel
        // by netlink, for which it binds the socket.
        (libc::SYS_socket, vec![Is(0, n!(libc::AF_NETLINK)), Is(2, n!(libc::NETLINK_ROUTE))]),
    ];
    ways.extend(BOUND.map(|size| (libc::SYS_bind, vec![Is(2, n!(size))])));
    // TCP and UDP. Landlock does not see MPTCP, and UNIX sockets lead to services of this host.
    for family in [libc::AF_INET, libc::AF_INET6] {
        for (kind, protocol) in
            [(libc::SOCK_STREAM, libc::IPPROTO_TCP), (libc::SOCK_DGRAM, libc::IPPROTO_UDP)]
        {
            for protocol in [0, protocol] {
                let kind = Bits(1, SOCKET_TYPE, n!(kind));
                ways.push((libc::SYS_socket, vec![Is(0, n!(family)), kind, Is(2, n!(protocol))]));
            }
        }
    }
    // What this program, resolvers, and name services on netlink set.
    for (level, option) in [
        (libc::SOL_SOCKET, libc::SO_KEEPALIVE),
        (libc::SOL_SOCKET, libc::SO_RCVBUF),
        (libc::SOL_SOCKET, libc::SO_SNDBUF),
        (libc::SOL_SOCKET, libc::SO_RCVTIMEO),
        (libc::SOL_SOCKET, libc::SO_SNDTIMEO),
        (libc::IPPROTO_TCP, libc::TCP_NODELAY),
        (libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT),
        (libc::IPPROTO_TCP, libc::TCP_KEEPIDLE),
        (libc::IPPROTO_TCP, libc::TCP_KEEPINTVL),
        (libc::IPPROTO_TCP, libc::TCP_KEEPCNT),
        (libc::IPPROTO_IP, libc::IP_RECVERR),
        (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER),
        (libc::IPPROTO_IPV6, libc::IPV6_RECVERR),
        (libc::IPPROTO_IPV6, libc::IPV6_V6ONLY),
        (libc::SOL_NETLINK, libc::NETLINK_PKTINFO),
        (libc::SOL_NETLINK, libc::NETLINK_EXT_ACK),
        (libc::SOL_NETLINK, libc::NETLINK_GET_STRICT_CHK),
    ] {
        ways.push((libc::SYS_setsockopt, vec![Is(1, n!(level)), Is(2, n!(option))]));
    }
    ways
}

/// Returns the table for one work, as the compiler of filters reads it.
pub(super) fn rules(work: Work) -> io::Result<Rules> {
    let (by_stores, more): (&[_], &[&[c_long]]) = match work {
        Work::Computing => (&[], &[]),
        Work::NetworkStore => (BY_STORES, &[older::BY_STORES, ON_A_NETWORK]),
        Work::DirectoryStore => (BY_STORES, &[older::BY_STORES, IN_A_DIRECTORY]),
        Work::DirectoryKeeper => (BY_STORES, &[older::BY_STORES, KEEPING_FILES, older::KEEPING_FILES]),
    };
    let groups = [BY_EVERYBODY, older::BY_EVERYBODY, by_stores].into_iter().chain(more.iter().copied());
    let mut rules: Rules = groups.flatten().map(|call| (*call, Vec::new())).collect();
    add(&mut rules, with_arguments(work))?;
    Ok(rules)
}
