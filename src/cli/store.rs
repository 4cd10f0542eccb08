//! `twitcher store`: the process that serves one store. Internal; see [`crate::store::serve_half`].

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::process::ExitCode;

use super::shared::exit::Exit;
use crate::{store, sys};

/// Serve one store for the daemon (internal: talks to its parent over stdin, which is a socket)
#[derive(Debug, clap::Args)]
pub struct Store {}

impl Store {
    pub fn run(self) -> Exit {
        sys::use_single_malloc_arena();
        let socket = io::stdin().as_fd().try_clone_to_owned()?;
        nix::unistd::dup2_stdin(File::open("/dev/null")?)?;
        store::serve_half(socket).map_err(|error| format!("store: {error}"))?;
        Ok(ExitCode::SUCCESS)
    }
}
