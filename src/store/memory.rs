//! What fits into the memory of a process that serves a store, which has a limit (`store_memory`).
//!
//! An allocation that fails ends the process. So what may be large is asked for first, and what does not fit
//! is the trouble of one node. Large contents lie in files in memory, which the limit does not count. They
//! are counted here, so that a daemon that takes none for a while does not make them many.

use std::sync::OnceLock;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::{SysconfVar, sysconf};
use thiserror::Error;

use crate::model::Blob;

/// What is left free for all that is small.
const RESERVE: u64 = 4 << 20;

/// While so many files of contents wait for the daemon, or so many bytes, no large content is read. A process
/// of a store has 128 descriptors. The bytes are those of four nodes of the largest size, or of one tree.
const MAX_FILES: usize = 32;
const MAX_FILE_BYTES: u64 = 64 << 20;

/// How long to wait before looking again whether the daemon took some.
pub(super) const PAUSE: Duration = Duration::from_millis(5);

/// The limit on the memory of this process, if it serves a store; the inner `None` is no limit.
static LIMIT: OnceLock<Option<u64>> = OnceLock::new();

/// Something does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "it takes {bytes} bytes of memory, and `store_memory` ({limit} bytes) does not leave so many; raise it \
     in twitcher.toml"
)]
pub(super) struct NoRoom {
    pub(super) bytes: u64,
    limit: u64,
}

/// Says that something of so many bytes was found not to fit.
pub(super) fn no_room_for(bytes: u64) -> NoRoom {
    NoRoom { bytes, limit: LIMIT.get().copied().flatten().unwrap_or(u64::MAX) }
}

/// Has this process, which serves a store, heed its limits from now on.
pub(super) fn heed_limits() {
    let limit = getrlimit(Resource::RLIMIT_AS).ok().map(|(soft, _)| soft);
    let limit = limit.filter(|limit| *limit != nix::libc::RLIM_INFINITY);
    LIMIT.get_or_init(|| limit.map(|limit| limit.saturating_sub(of_program())));
}

/// How much of the address space the code of this program takes. The system's limit counts it, and
/// `store_memory` does not: it is the same for all of its processes, and a file's.
pub(super) fn of_program() -> u64 {
    static BYTES: OnceLock<u64> = OnceLock::new();
    *BYTES.get_or_init(|| {
        let sizes = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
        let pages: u64 = sizes.split(' ').nth(3).and_then(|code| code.parse().ok()).unwrap_or(0);
        let page = sysconf(SysconfVar::PAGE_SIZE).ok().flatten().unwrap_or(0);
        pages.saturating_mul(page.unsigned_abs())
    })
}

/// Fails if so many bytes do not fit, or would leave too little for all the rest.
pub(super) fn room_for(bytes: u64) -> Result<(), NoRoom> {
    let Some(Some(limit)) = LIMIT.get() else { return Ok(()) };
    let wanted = bytes.saturating_add(RESERVE);
    // Takes no memory, only room for it.
    let mut probe = Vec::<u8>::new();
    let fits = usize::try_from(wanted).is_ok_and(|wanted| probe.try_reserve_exact(wanted).is_ok());
    // Without this, the compiler may leave the allocation out.
    std::hint::black_box(probe.as_ptr());
    if fits { Ok(()) } else { Err(NoRoom { bytes, limit: *limit }) }
}

/// Returns true while nothing large should be read, because the daemon has not taken what was read before.
pub(super) fn is_crowded() -> bool {
    let (files, bytes) = Blob::files_held();
    LIMIT.get().is_some() && (files >= MAX_FILES || bytes >= MAX_FILE_BYTES)
}
