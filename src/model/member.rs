//! A member of a service: a node that says "this service is here, and well".

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{NodePath, StoreName};

/// A member, as its store is to have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub name: MemberName,
    pub data: MemberData,
    pub acl: MemberAcl,
}

/// Where a member is. Two members with the same name are the same one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MemberName {
    pub store: StoreName,
    /// The path of the service's node, and the member's address as the last component.
    pub path: NodePath,
}

impl MemberName {
    /// Returns the path of the node whose children are the members.
    pub fn service(&self) -> &str {
        match self.path.as_str().rsplit_once('/') {
            Some(("", _)) | None => "/",
            Some((service, _)) => service,
        }
    }

    /// Returns the name of the member's node.
    pub fn address(&self) -> &str {
        self.path.as_str().rsplit('/').next().unwrap_or_default()
    }
}

/// Who has the node of a member, so that the member cannot be announced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// Another service of this daemon, with this name.
    Service(Arc<str>),
    /// Another process, as the store names it.
    Owner(Arc<str>),
    /// The node hangs on no session, so it does not go by itself.
    Nobody,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Holder::Service(name) => write!(f, "service {name} of this daemon"),
            Holder::Owner(owner) => f.write_str(owner),
            Holder::Nobody => f.write_str("a node that is no member"),
        }
    }
}

/// What a member says of itself. The evaluator writes it; what is known only when the member is announced is
/// left out.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct MemberData(pub Arc<[DataPart]>);

impl MemberData {
    /// Returns the bytes of the node.
    pub fn fill(&self, pid: u32, local_time: &str, unix_millis: u64) -> Vec<u8> {
        let part = |part: &DataPart| match part {
            DataPart::Bytes(bytes) => bytes.clone(),
            DataPart::Pid => pid.to_string().into_bytes(),
            DataPart::LocalTime => local_time.as_bytes().to_vec(),
            DataPart::UnixMillis => unix_millis.to_string().into_bytes(),
        };
        self.0.iter().flat_map(part).collect()
    }

    /// Returns the number of bytes that a config has written.
    pub fn size(&self) -> usize {
        let size = |part: &DataPart| match part {
            DataPart::Bytes(bytes) => bytes.len(),
            DataPart::Pid | DataPart::LocalTime | DataPart::UnixMillis => 0,
        };
        self.0.iter().map(size).sum()
    }
}

/// A part of what a member says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum DataPart {
    Bytes(Vec<u8>),
    /// The process id of the daemon.
    Pid,
    /// The local time of the announcement, as `2012-12-15 00:45:03`.
    LocalTime,
    /// The time of the announcement in milliseconds since 1970.
    UnixMillis,
}

impl MemberAcl {
    pub const ALL: [Self; 3] = [Self::Open, Self::Read, Self::Owner];

    /// Returns the word of configs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "OPEN",
            Self::Read => "READ",
            Self::Owner => "OWNER",
        }
    }
}

/// Who may do what with the node of a member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum MemberAcl {
    /// Everybody may do everything.
    Open,
    /// Everybody may read, and its creator may do everything.
    #[default]
    Read,
    /// Its creator may do everything, and nobody else anything.
    Owner,
}

impl fmt::Display for MemberName {
    /// `/services/web/host:80`, and the store before it if it is not the default one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.store.is_default() {
            write!(f, "{}:", self.store)?;
        }
        write!(f, "{}", self.path)
    }
}
