//! `twitcher act FD`: runs one function action. Internal; see [`crate::act::function`].

use std::io::{self, Read, Seek};
use std::process::ExitCode;
use std::thread;

use crate::act::function::{ActRequest, act};
use crate::sys;

/// Runs the order in the file that descriptor `fd` is, which is closed before the function starts. Identity,
/// stdin, environment and limits are those of this process.
pub fn run(fd: i32) -> ExitCode {
    let done =
        request(fd).and_then(on_large_stack).unwrap_or_else(|error| Err(format!("twitcher act: {error}")));
    match done {
        Ok(code) => ExitCode::from(code),
        Err(message) => {
            super::print_error(message);
            ExitCode::FAILURE
        }
    }
}

/// The interpreter's frames are large, and the stack that a process starts with is whatever its parent had.
const STACK_BYTES: usize = 64 << 20;

fn on_large_stack(request: ActRequest) -> io::Result<Result<u8, String>> {
    let running =
        thread::Builder::new().stack_size(STACK_BYTES).spawn(move || act(request)).map_err(|error| {
            let needs = format!("the interpreter takes a thread with {} MiB of stack", STACK_BYTES >> 20);
            io::Error::other(format!(
                "{needs}: {error}; the `rlimits` `as` and `nproc` must leave room for it"
            ))
        })?;
    running.join().map_err(|_| io::Error::other("the interpreter panicked"))
}

fn request(fd: i32) -> io::Result<ActRequest> {
    let mut file = sys::inherited(fd)?;
    // The offset is shared with whoever wrote the file.
    file.rewind()?;
    let mut encoded = Vec::new();
    file.read_to_end(&mut encoded)?;
    ActRequest::decode(&encoded).map_err(io::Error::other)
}
