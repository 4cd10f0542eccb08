//! `twitcher act FD`: runs one function action. Internal; see [`crate::act::function`].

use std::io::{self, Read, Seek};
use std::process::ExitCode;
use std::thread;

use super::shared::exit::{Exit, print_error};
use crate::act::function::{ActRequest, act};
use crate::sys;

/// Run a function action for the daemon (internal: reads the request from a descriptor)
#[derive(Debug, clap::Args)]
pub struct Act {
    /// Descriptor of a file with the request. It is closed before the function starts
    descriptor: i32,
}

impl Act {
    /// Runs the function with the identity, stdin, environment and limits of this process.
    pub fn run(self) -> Exit {
        let result = request(self.descriptor).and_then(on_large_stack);
        let code = result.map_err(|error| format!("act: {error}"))?;
        Ok(ExitCode::from(code.unwrap_or_else(|message| {
            print_error(message);
            1
        })))
    }
}

/// The interpreter's frames are large, and the parent's limits decide the size of the stack of `main`.
const STACK_BYTES: usize = 64 << 20;

fn on_large_stack((request, content): (ActRequest, Vec<u8>)) -> io::Result<Result<u8, String>> {
    let running = thread::Builder::new()
        .stack_size(STACK_BYTES)
        .spawn(move || act(request, content))
        .map_err(|error| {
            let needs = format!("the interpreter takes a thread with {} MiB of stack", STACK_BYTES >> 20);
            io::Error::other(format!(
                "{needs}: {error}; the `rlimits` `as` and `nproc` must leave room for it"
            ))
        })?;
    running.join().map_err(|_| io::Error::other("the interpreter panicked"))
}

fn request(fd: i32) -> io::Result<(ActRequest, Vec<u8>)> {
    let mut file = sys::inherited(fd)?;
    // The offset is shared with the process that wrote the file.
    file.rewind()?;
    let mut encoded = Vec::new();
    file.read_to_end(&mut encoded)?;
    ActRequest::decode(encoded).map_err(io::Error::other)
}
