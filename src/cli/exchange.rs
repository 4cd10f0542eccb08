//! `twitcher exchange NODE`: the part of `edit` that talks to the store.
//!
//! It is a process of its own, because root's process gives root up before it connects to a store, and the
//! editor must still run as the user who asked for it.

use std::process::ExitCode;
use std::str::FromStr;

use super::set::read_stdin;
use super::shared::exit::Exit;
use super::shared::stdout::print_bytes;
use super::shared::store::NodeArgs;
use crate::model::Version;
use crate::store::{Condition, WriteOptions};

/// Write a node's state and data to stdout, or replace the data with stdin if the state is still the same
#[derive(Debug, clap::Args)]
pub struct Exchange {
    #[command(flatten)]
    node: NodeArgs,
    /// The state of the node to replace
    #[arg(long, allow_hyphen_values = true, requires = "length")]
    replace: Option<StateLine>,
    /// The length of stdin in bytes. If the process that writes it dies, what is there is not the whole text
    #[arg(long)]
    length: Option<usize>,
}

/// The state of a node, as one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct StateLine(Version);

impl FromStr for StateLine {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers: Vec<i64> = text.split(',').map_while(|number| number.parse().ok()).collect();
        match numbers[..] {
            [incarnation, revision, number] => Ok(Self(Version { incarnation, revision, number })),
            _ => Err("no state of a node".to_owned()),
        }
    }
}

impl Exchange {
    pub fn run(self) -> Exit {
        match self.replace {
            None => {
                let read = self.node.with_client(async |client, node| Ok(client.read_node(node).await?))?;
                let Version { incarnation, revision, number } = read.version;
                print_bytes(format!("{incarnation},{revision},{number}\n").as_bytes())?;
                print_bytes(&read.data)?;
                Ok(ExitCode::SUCCESS)
            }
            Some(StateLine(version)) => {
                let data = read_stdin()?;
                if Some(data.len()) != self.length {
                    return Err("the text did not arrive whole, so nothing was written".into());
                }
                let options = WriteOptions { condition: Condition::Same(version), ..WriteOptions::default() };
                self.node.perform(async |client, node| client.set(node, &data, &options).await)
            }
        }
    }
}
