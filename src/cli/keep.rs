//! `twitcher keep`: the process that keeps members in one store. Internal; see
//! [`crate::store::serve_keeper`].

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::process::ExitCode;

use super::shared::exit::Exit;
use crate::{store, sys};

/// Keep members in one store (internal: talks to its parent over stdin, which is a socket)
#[derive(Debug, clap::Args)]
pub struct Keep {}

impl Keep {
    pub fn run(self) -> Exit {
        sys::use_single_malloc_arena();
        let socket = io::stdin().as_fd().try_clone_to_owned()?;
        nix::unistd::dup2_stdin(File::open("/dev/null")?)?;
        store::serve_keeper(socket).map_err(|error| format!("keep: {error}"))?;
        Ok(ExitCode::SUCCESS)
    }
}
