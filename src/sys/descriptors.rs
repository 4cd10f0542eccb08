//! File descriptors that pass from one process to another.

use std::fs::{File, Permissions};
use std::io::{self, Seek, Write};
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::PermissionsExt;

use nix::libc;

use super::syscall::{check, check_long};

/// Creates an anonymous file with `content`, positioned at its beginning. Every user may open it anew, as
/// `/dev/stdin`.
///
/// Where this process may not create a file in memory, the file is a nameless one in the directory for
/// temporary files.
pub fn memfd(content: &[u8]) -> io::Result<File> {
    let mut file = anonymous_file()?;
    file.write_all(content)?;
    file.rewind()?;
    Ok(file)
}

/// Creates an anonymous file as [`memfd`] does, without content.
pub(super) fn anonymous_file() -> io::Result<File> {
    match memfd_create(0) {
        Err(error) if is_denied(&error) => {
            let file = tempfile::tempfile()?;
            file.set_permissions(Permissions::from_mode(0o666))?;
            Ok(file)
        }
        created => created,
    }
}

/// Creates an empty file in memory, with these flags besides the usual ones.
pub(super) fn memfd_create(flags: libc::c_uint) -> io::Result<File> {
    let create = |flags| -> io::Result<File> {
        // SAFETY: the name is a literal with its NUL; the descriptor that it returns is ours alone.
        unsafe {
            let fd = libc::memfd_create(c"twitcher".as_ptr(), flags);
            Ok(File::from(OwnedFd::from_raw_fd(check(fd)?)))
        }
    };
    match create(flags | libc::MFD_CLOEXEC) {
        // With the sysctl vm.memfd_noexec=2, the kernel requires this flag, which older kernels do not know.
        Err(error) if error.raw_os_error() == Some(libc::EACCES) => {
            create(flags | libc::MFD_CLOEXEC | libc::MFD_NOEXEC_SEAL)
        }
        created => created,
    }
}

/// Whether a system call failed because the kernel does not have it, or the container does not allow it.
pub(super) fn is_denied(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM | libc::EACCES | libc::EINVAL))
}

/// Takes over descriptor `number`, which the parent passed on, and marks it close-on-exec.
///
/// Call it once per number, before this process opens files. Refuses 0, 1 and 2.
pub fn inherited(number: i32) -> io::Result<File> {
    if number <= 2 {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: the number is known to be open once F_SETFD succeeded, and per this function's contract nobody
    // else in this process owns it.
    unsafe {
        check(libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC))?;
        Ok(File::from_raw_fd(number))
    }
}

/// Marks every descriptor above 2 except `keep` close-on-exec. Does not close them, because the pipe that
/// reports a failed exec is among them. Async-signal-safe.
///
/// A kernel older than 5.11, or a container, may not offer the call that marks a range. Then the descriptors
/// are marked one by one.
pub(super) fn mark_close_on_exec_except(keep: Option<RawFd>) -> io::Result<()> {
    if close_range(3).is_err() && !each_listed(mark) {
        (3..MAX_DESCRIPTORS as RawFd).for_each(mark);
    }
    let Some(keep) = keep else { return Ok(()) };
    // SAFETY: clears the flags of a descriptor that we hold.
    check(unsafe { libc::fcntl(keep, libc::F_SETFD, 0) }).map(drop)
}

/// The daemon opens no descriptor with this number or a higher one. This bounds the search for open ones.
pub const MAX_DESCRIPTORS: u64 = 1 << 20;

/// Marks the descriptors from `first` on close-on-exec.
pub(super) fn close_range(first: libc::c_uint) -> io::Result<()> {
    // SAFETY: a bare syscall without pointers.
    check_long(unsafe {
        libc::syscall(
            libc::SYS_close_range,
            first,
            libc::c_uint::MAX,
            libc::CLOSE_RANGE_CLOEXEC as libc::c_uint,
        )
    })
}

/// Gives each UNIX socket of this process a name that the kernel chooses, unless it has one. No socket gets a
/// second name. So whoever takes this process over later cannot choose one, which would be a file, or the
/// name that another program listens at.
pub fn name_unix_sockets() {
    let name = |number| {
        let family = libc::AF_UNIX as libc::sa_family_t;
        let length = size_of_val(&family) as libc::socklen_t;
        // SAFETY: `family` is live, and all of the address. The call fails for all other descriptors.
        unsafe { libc::bind(number, (&raw const family).cast(), length) };
    };
    if !each_listed(name) {
        (0..MAX_DESCRIPTORS as RawFd).for_each(name);
    }
}

/// Does something with each descriptor that `/proc` lists. Returns false if it cannot list them.
fn each_listed(work: impl Fn(RawFd)) -> bool {
    // SAFETY: the path ends with its NUL; `records` is a live array of the given size, aligned for the
    // kernel's `struct linux_dirent64`; the descriptor is ours and is closed.
    unsafe {
        let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC;
        let directory = libc::open(c"/proc/self/fd".as_ptr(), flags);
        if directory < 0 {
            return false;
        }
        let mut records = Records([0; RECORDS_BYTES]);
        let read = loop {
            let pointer = records.0.as_mut_ptr();
            match libc::syscall(libc::SYS_getdents64, directory, pointer, RECORDS_BYTES) {
                length @ 1.. => each_record(&records.0[..length as usize], |number| {
                    if number != directory {
                        work(number);
                    }
                }),
                end => break end == 0,
            }
        };
        libc::close(directory);
        read
    }
}

/// Enough for the names of a hundred descriptors at once.
const RECORDS_BYTES: usize = 4096;

#[repr(align(8))]
struct Records([u8; RECORDS_BYTES]);

/// Does something with each descriptor whose number is a name in `records`, the kernel's `struct
/// linux_dirent64`.
fn each_record(mut records: &[u8], work: impl Fn(RawFd)) {
    const LENGTH_AT: usize = 16;
    const NAME_AT: usize = 19;
    while let Some(&[low, high]) = records.get(LENGTH_AT..LENGTH_AT + 2) {
        let length = usize::from(u16::from_ne_bytes([low, high]));
        if let Some(number) = records.get(NAME_AT..length).and_then(leading_number) {
            work(number);
        }
        records = records.get(length.max(NAME_AT)..).unwrap_or_default();
    }
}

fn leading_number(name: &[u8]) -> Option<RawFd> {
    let digits = name.iter().take_while(|byte| byte.is_ascii_digit());
    let number = digits
        .fold(0, |number: RawFd, digit| number.wrapping_mul(10).wrapping_add(RawFd::from(digit - b'0')));
    name.first().is_some_and(u8::is_ascii_digit).then_some(number)
}

/// Marks one descriptor, if it is open.
fn mark(number: RawFd) {
    if number > 2 {
        // SAFETY: a bare syscall without pointers.
        unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
}

/// Closes every descriptor above 2 except those of `kept`. Async-signal-safe. Call it only in a child that is
/// about to execute a program: nobody uses its descriptors any more.
///
/// As in [`mark_close_on_exec_except`], the descriptors are closed one by one where there is no other way.
pub(super) fn close_except(mut kept: [RawFd; 2]) -> io::Result<()> {
    kept.sort_unstable();
    if close_gaps(kept).is_err() {
        let close = |number| {
            if number > 2 && !kept.contains(&number) {
                // SAFETY: nobody uses this descriptor any more.
                unsafe { libc::close(number) };
            }
        };
        if !each_listed(close) {
            (3..MAX_DESCRIPTORS as RawFd).for_each(close);
        }
    }
    Ok(())
}

/// Closes the descriptors above 2 that lie before, between and after `kept`, which is sorted.
fn close_gaps(kept: [RawFd; 2]) -> io::Result<()> {
    let close = |first: libc::c_uint, last: libc::c_uint| {
        if first > last {
            return Ok(());
        }
        // SAFETY: a bare syscall without pointers; see `close_except`.
        check_long(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) })
    };
    let mut first = 3;
    for kept in kept.into_iter().filter(|kept| *kept > 2) {
        let kept = kept as libc::c_uint;
        close(first, kept - 1)?;
        first = kept + 1;
    }
    close(first, libc::c_uint::MAX)
}
