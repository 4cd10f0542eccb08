//! What a command is denied that was root and talks to a network now.
//!
//! It keeps root's terminal and session. Whoever takes it over could type a command there, or leave a process
//! behind that waits for one. A command does so many things that only what it never does is listed.

use std::io;
use std::process;

use nix::libc::{self, c_long};
use seccompiler::sock_filter;

use super::argument::Argument::{Bits, Is, Other};
use super::argument::{Rules, add, n};

/// What is denied whatever the arguments.
const DENIED: &[c_long] = &[
    // Programs, and processes: what C libraries start a thread by comes below.
    libc::SYS_clone3,
    libc::SYS_execve,
    libc::SYS_execveat,
    // Other processes, of which those of the host's stores have the same user.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_send_signal,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    // It does what it is told without further calls.
    libc::SYS_io_uring_setup,
    // Another session, and other rights in namespaces.
    libc::SYS_setsid,
    libc::SYS_unshare,
    libc::SYS_setns,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_fork,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_vfork,
];

/// The commands of ioctl(2) that have a terminal read something as if it had been typed there.
const TYPING: [u64; 2] = [n!(libc::TIOCSTI), n!(libc::TIOCLINUX)];

pub(super) fn rules() -> io::Result<Rules> {
    let own = u64::from(process::id());
    let mut rules: Rules = DENIED.iter().map(|call| (*call, Vec::new())).collect();
    let mut ways = vec![
        // All but a thread.
        (libc::SYS_clone, vec![Bits(0, n!(libc::CLONE_THREAD), 0)]),
        // It ends itself when it panics.
        (libc::SYS_kill, vec![Other(0, own)]),
        (libc::SYS_tkill, vec![Other(0, own)]),
        (libc::SYS_tgkill, vec![Other(0, own)]),
        // Who is signalled when something comes.
        (libc::SYS_fcntl, vec![Is(1, n!(libc::F_SETOWN))]),
        (libc::SYS_fcntl, vec![Is(1, F_SETOWN_EX)]),
        // The limits of others. Zero is the process itself.
        (libc::SYS_prlimit64, vec![Other(0, 0)]),
    ];
    ways.extend(TYPING.map(|request| (libc::SYS_ioctl, vec![Is(1, request)])));
    add(&mut rules, ways)?;
    Ok(rules)
}

/// The number in the kernel's fcntl.h, which the C library does not have everywhere.
const F_SETOWN_EX: u64 = 15;

/// Denies what stands before all else: system calls by numbers of another table, in which the same calls have
/// numbers that are not listed. On x86-64 that is the table of x32, whose numbers have this bit.
pub(super) const NO_OTHER_NUMBERS: [sock_filter; 3] = {
    const LOAD_WORD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const JUMP_IF_AT_LEAST: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    const OTHER_TABLE: u32 = 0x4000_0000;
    // The number of the call is the first of what the kernel shows a filter.
    [
        sock_filter { code: LOAD_WORD, jt: 0, jf: 0, k: 0 },
        sock_filter { code: JUMP_IF_AT_LEAST, jt: 0, jf: 1, k: OTHER_TABLE },
        sock_filter { code: RETURN, jt: 0, jf: 0, k: libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32 },
    ]
};
