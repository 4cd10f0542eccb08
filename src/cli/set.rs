//! `twitcher set NODE DATA | - | --empty`

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;

use super::shared::exit::{Exit, UsageError};
use super::shared::store::NodeArgs;
use crate::sys::Stdio;

/// Create a node, with its parents, or replace its data
#[derive(Debug, clap::Args)]
pub struct Set {
    #[command(flatten)]
    node: NodeArgs,
    /// The new data, which is not empty; - reads it from stdin
    #[arg(allow_hyphen_values = true)]
    data: Option<OsString>,
    /// Make the node empty. With -, stdin may be empty
    #[arg(long)]
    empty: bool,
}

/// The usage, for a program of this name: what is optional depends on the rest.
pub fn usage(program: &str) -> String {
    format!("{program} set [OPTIONS] <NODE> <DATA | - | --empty>")
}

impl Set {
    pub fn run(self) -> Exit {
        let data = self.data()?;
        self.node.perform(async |client, node| client.set(node, &data).await)
    }

    /// Returns the data. A variable or a pipe that came out empty by accident must not empty a node that a
    /// whole fleet watches, so nothing is empty unless --empty says so.
    fn data(&self) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
        let node = &self.node.node;
        match &self.data {
            Some(data) if data == "-" => {
                // Read before the connection: a session must not wait for a keyboard.
                let read = read_stdin();
                let data = read
                    .map_err(|error| format!("cannot read the data from stdin: {error}; nothing was set"))?;
                if data.is_empty() && !self.empty {
                    return Err(format!(
                        "stdin was empty, so node {node} was not changed; if the command before the pipe \
                         did not fail and the node is to be empty, add --empty"
                    )
                    .into());
                }
                Ok(data)
            }
            Some(data) if data.is_empty() && !self.empty => {
                Err(UsageError(format!("set {node}: DATA is empty; {REMEDIES}")).into())
            }
            Some(data) if self.empty && !data.is_empty() => {
                Err(UsageError(format!("set {node}: DATA and --empty contradict each other; {REMEDIES}"))
                    .into())
            }
            Some(data) => Ok(data.clone().into_vec()),
            None if self.empty => Ok(Vec::new()),
            None => Err(UsageError(format!("set {node}: there is no DATA; {REMEDIES}")).into()),
        }
    }
}

/// Reads stdin itself. The standard library takes a stdin that is closed, or not open for reading, for an
/// empty one.
fn read_stdin() -> io::Result<Vec<u8>> {
    if Stdio::Stdin.was_closed() {
        return Err(io::Error::other("it is closed"));
    }
    let mut data = Vec::new();
    File::from(io::stdin().as_fd().try_clone_to_owned()?).read_to_end(&mut data)?;
    Ok(data)
}

const REMEDIES: &str =
    "give the new content as DATA, or - to read it from stdin, or --empty for an empty node";
