//! `twitcher set NODE DATA | - | --empty | --acl ACL`

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::process::ExitCode;
use std::time::Duration;

use super::shared::exit::{Exit, UsageError, print_error};
use super::shared::format::{parse_encoding, write};
use super::shared::number;
use super::shared::runtime::block_on;
use super::shared::store::NodeArgs;
use crate::model::Format;
use crate::settings::positive_seconds;
use crate::store::{Acl, Client, ClientError, Condition, Retry, WriteOptions};
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
    /// Take the data as JSON, and write it in this format: json or properties (compact), or cbor, where
    /// {"$bytes": BASE64} is a byte string
    #[arg(long, value_name = "FORMAT", value_parser = parse_encoding, conflicts_with = "empty")]
    encode: Option<Format>,
    /// Replace the data only if the node's version is N; otherwise exit with 3
    #[arg(long, value_name = "N", value_parser = number::at_least(0_i64), allow_hyphen_values = true)]
    if_version: Option<i64>,
    /// Only create the node; exit with 3 if it exists
    #[arg(long, conflicts_with = "if_version")]
    create: bool,
    /// If the store is away, try again for at most SECONDS. Refusals, such as missing rights, are final
    #[arg(long, value_name = "SECONDS", value_parser = positive_seconds)]
    retry: Option<Duration>,
    /// Who may do what with the node: `open` (everybody everything), `read` (everybody may read, and the
    /// credentials in twitcher.toml may do everything), `owner` (only these), or a list as zkCli.sh takes it,
    /// such as auth::cdrwa,world:anyone:r. Parents that are created get it, too. Without DATA, an existing
    /// node keeps its data. Only on ZooKeeper
    #[arg(long)]
    acl: Option<Acl>,
    /// Remove the node after SECONDS, unless it is set again (etcd, by a lease of whole seconds). Without
    /// --ttl, a node that is set stays
    #[arg(long, value_name = "SECONDS", value_parser = positive_seconds)]
    ttl: Option<Duration>,
}

/// What is to be done with the node.
enum Change {
    Data(Vec<u8>),
    /// Nothing is done to its data.
    Acl(Acl),
}

/// The usage, for a program of this name: what is optional depends on the rest.
pub fn usage(program: &str) -> String {
    format!("{program} set [OPTIONS] <NODE> <DATA | - | --empty | --acl ACL>")
}

impl Set {
    pub fn run(self) -> Exit {
        let change = self.change()?;
        let node = &self.node.node;
        let condition = match (self.if_version, self.create) {
            (Some(number), _) => Condition::Number(number),
            (None, true) => Condition::Absent,
            (None, false) => Condition::None,
        };
        let options = WriteOptions { condition, acl: self.acl.clone(), ttl: self.ttl };
        let set = async |client: &Client| match &change {
            Change::Data(data) => client.set(node, data, &options).await,
            Change::Acl(acl) => client.set_acl(node, acl).await,
        };
        let Some(time) = self.retry else {
            return self.node.perform(async |client, _| set(client).await);
        };
        let settings = self.node.store_settings()?;
        let retry = Retry { time, repeatable: condition == Condition::None };
        let seconds = time.as_secs_f64();
        let failed =
            |error: &ClientError| print_error(format!("twitcher: {error}; trying again for {seconds} s"));
        let done = block_on(retry.run(&settings, node, failed, set))?;
        done.map_err(|error| -> Box<dyn std::error::Error> {
            match error {
                error if error.leaves_doubt() && !retry.repeatable => {
                    format!("{error} (it was not tried again, because the first try may have succeeded)")
                        .into()
                }
                error if error.is_transient() => format!("{error}; tried for {seconds} s (--retry)").into(),
                error => error.into(),
            }
        })?;
        Ok(ExitCode::SUCCESS)
    }

    fn change(&self) -> Result<Change, Box<dyn std::error::Error>> {
        match &self.acl {
            Some(acl) if self.data.is_none() && !self.empty => {
                if self.if_version.is_some() || self.create || self.ttl.is_some() {
                    let node = &self.node.node;
                    return Err(UsageError(format!("set {node}: there is no DATA; {REMEDIES}")).into());
                }
                Ok(Change::Acl(acl.clone()))
            }
            Some(_) | None => self.encoded().map(Change::Data),
        }
    }

    fn encoded(&self) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
        let data = self.data()?;
        match self.encode {
            None => Ok(data),
            Some(format) => {
                let node = &self.node.node;
                write(format, &data).map_err(|why| format!("set {node}: {why}; nothing was set").into())
            }
        }
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
pub fn read_stdin() -> io::Result<Vec<u8>> {
    if Stdio::Stdin.was_closed() {
        return Err(io::Error::other("it is closed"));
    }
    let mut data = Vec::new();
    File::from(io::stdin().as_fd().try_clone_to_owned()?).read_to_end(&mut data)?;
    Ok(data)
}

const REMEDIES: &str =
    "give the new content as DATA, or - to read it from stdin, or --empty for an empty node";
