//! Runs asynchronous code.

use std::io;

use tokio::runtime::Builder;
use tokio::task::LocalSet;

use crate::sys::kernel::{EVENT_CALLS, cannot};

/// Runs `work` to its end on this thread.
pub fn block_on<T>(work: impl Future<Output = T>) -> io::Result<T> {
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(cannot("wait for events", EVENT_CALLS))?;
    let done = LocalSet::new().block_on(&runtime, work);
    // Dropping the runtime would wait for a hanging resolver, or for a reader of stdout that does not read.
    runtime.shutdown_background();
    Ok(done)
}
