//! What is said to a keeper of members, and what it says.

use serde::{Deserialize, Serialize};

use crate::model::{MemberAcl, NodePath};
use crate::store::outage::Away;

/// A node that is to be there as long as its owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    pub path: NodePath,
    pub data: Vec<u8>,
    pub acl: MemberAcl,
}

/// What a keeper is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeeperOrder {
    /// The member is to be there. If it was announced before, this replaces its data and its ACL.
    Announce(Member),
    /// The member is to go.
    Withdraw(NodePath),
    /// The answer to [`KeeperEvent::Opened`]: this owner is on record, with those that were before it. What
    /// one of these left behind is ours, and is replaced.
    Recorded { owner: String, former: Vec<String> },
}

/// What a keeper tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeeperEvent {
    /// There is a connection. `what` is for people.
    Connected { what: String },
    /// There is a new owner. Nothing is created before it is [on record](KeeperOrder::Recorded): one that
    /// dies in between leaves nothing that the next one would not know.
    Opened { owner: String },
    /// The member is there, as it was announced last. This is told again when it was written again.
    Announced { path: NodePath },
    /// Another owner holds a node of this name, or nobody does: it is no member. It is left alone, and the
    /// member is announced when it goes.
    Conflict { path: NodePath, holder: Option<String> },
    /// The store refuses the member, or its removal. It is tried again.
    Waiting { path: NodePath, reason: String },
    /// The member is gone, as it was told to.
    Withdrawn { path: NodePath },
    /// The connection is lost, or there was none. Nobody knows how long the members stay.
    Disconnected { reason: String },
    /// The connection is refused, and will be until somebody does something.
    Refused { reason: String },
}

impl From<Away> for KeeperEvent {
    fn from(away: Away) -> Self {
        match away {
            Away::Disconnected { reason } => Self::Disconnected { reason },
            Away::Refused { reason } => Self::Refused { reason },
        }
    }
}
