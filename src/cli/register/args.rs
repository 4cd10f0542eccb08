//! The arguments of `register`, and the member that they tell of.

use std::ffi::OsString;
use std::time::{Duration, SystemTime};

use clap::builder::NonEmptyStringValueParser;

use super::data;
use crate::cli::shared::exit::UsageError;
use crate::cli::shared::store::StoreConnection;
use crate::config::facts::hostname;
use crate::model::{MemberAcl, MemberFormat, NodePath};
use crate::settings::{positive_seconds, seconds};
use crate::store::{MAX_MEMBER_DATA, Member};
use crate::sys::local_time;
use crate::text::quoted;
use crate::value::member::{About, encode, host_and_port};

/// Announce a member of a service while a command runs, or until SIGTERM
///
/// The member is a node SERVICE/ADDRESS that is there as long as this command: an ephemeral node of
/// ZooKeeper, a key with a lease of etcd. stdin, stdout, stderr and signals pass to COMMAND, and its exit
/// code is that of this command. When this command is told to end, by SIGTERM, SIGINT or SIGQUIT, the member
/// goes before COMMAND is told. Ctrl-C on a terminal reaches both at once.
///
/// A store that is away is waited for. What another one holds under the same name is left alone, and the
/// member is announced when it goes.
#[derive(Debug, clap::Args)]
pub struct Register {
    #[command(flatten)]
    pub connection: StoreConnection,
    /// The service: a node, which is created with its parents if it is missing
    #[arg(value_parser = NodePath::parse)]
    service: NodePath,
    /// The name of the member, such as web1:8080. Host and port of most formats are taken from it
    address: String,
    /// What the member says of itself: a value by its key, a JSON object, or a JSON string. Several are put
    /// together
    #[arg(long, value_name = "KEY=VALUE|JSON")]
    data: Vec<String>,
    /// How that is written: REGISTRY (ndServiceRegistry, zk_watcher), CURATOR, SERVERSET (Finagle), NERVE, or
    /// RAW, as it is [default: REGISTRY]
    #[arg(long, value_name = "FORMAT", value_parser = data::parse_format)]
    format: Option<MemberFormat>,
    /// Announce the member only while this command of the shell succeeds: after one success, until two
    /// failures in a row. It may take 5 s
    #[arg(long, value_name = "COMMAND", value_parser = NonEmptyStringValueParser::new())]
    pub check: Option<String>,
    /// The time from the end of a check to the next [default: 10]
    #[arg(long, value_name = "SECONDS", value_parser = positive_seconds, requires = "check")]
    pub interval: Option<Duration>,
    /// When this command is told to end, give clients this time to see that the member is gone, before
    /// COMMAND is told. A second signal ends the wait [default: 0]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub drain: Option<Duration>,
    /// The command, with its arguments
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

impl Register {
    pub fn path(&self) -> Result<NodePath, UsageError> {
        let wrong = |what: &str| UsageError(format!("ADDRESS {:?} {what}", self.address));
        if self.address.contains('/') {
            return Err(wrong("has a slash; it is the name of one node, such as web1:8080"));
        }
        let service = self.service.as_str().trim_end_matches('/');
        NodePath::parse(&format!("{service}/{}", self.address))
            .map_err(|error| wrong(&format!("is no name of a node: {error}")))
    }

    /// Returns the member, as it is now. The process `pid` serves.
    pub fn member(&self, path: &NodePath, pid: u32) -> Result<Member, UsageError> {
        let format = self.format.unwrap_or_default();
        let data = data::parse(&self.data, format).map_err(UsageError)?;
        let (host, port) = host_and_port(&self.address);
        let now = SystemTime::now();
        let about = About {
            service: self.service.components().last().unwrap_or_default(),
            name: &self.address,
            host,
            port,
            hostname: &hostname(),
            pid,
            now,
            local_time: &local_time(now),
        };
        let data = encode(format, data, &about)
            .map_err(|error| UsageError(format!("--format {} {error}", format.as_str())))?;
        if data.len() > MAX_MEMBER_DATA {
            return Err(UsageError(format!(
                "--data makes {} bytes, and a member has at most {MAX_MEMBER_DATA}",
                data.len()
            )));
        }
        Ok(Member { path: path.clone(), data, acl: MemberAcl::default() })
    }

    /// Returns the command that removes a node that nobody holds.
    pub fn removal(&self, path: &NodePath) -> String {
        let flags = self.connection.flags();
        let words = flags.iter().map(|word| quoted(&word.to_string_lossy())).chain([quoted(path.as_str())]);
        ["twitcher", "rm"].map(str::to_owned).into_iter().chain(words).collect::<Vec<_>>().join(" ")
    }

    /// Returns the program and its arguments, if there is one.
    pub fn program(&self) -> Option<(&OsString, &[OsString])> {
        self.command.split_first()
    }
}
