//! `twitcher act FD`: runs one function action. Internal; see [`crate::config::function`].

use std::io::{self, Read, Seek};
use std::process::ExitCode;

use crate::config::function::{ActRequest, act};
use crate::config::sandbox;

/// Runs the order in the file that descriptor `fd` is, which is closed before the function starts. Identity,
/// stdin, environment and limits are those of this process.
pub fn run(fd: i32) -> ExitCode {
    let done = request(fd).map_err(|error| format!("twitcher act: {error}")).and_then(act);
    match done {
        Ok(code) => ExitCode::from(code),
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn request(fd: i32) -> io::Result<ActRequest> {
    let mut file = sandbox::inherited(fd)?;
    // The offset is shared with whoever wrote the file.
    file.rewind()?;
    let mut encoded = Vec::new();
    file.read_to_end(&mut encoded)?;
    ActRequest::decode(&encoded).map_err(io::Error::other)
}
