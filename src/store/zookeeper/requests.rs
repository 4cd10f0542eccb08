//! The requests about members on one session, and what their replies mean. It does no IO.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::time::Instant;

use super::protocol::{Ended, Protocol};
use super::wire::{ErrorCode, Part, PartResult, Reply, Request, Stat};
use crate::content;
use crate::model::{MemberAcl, NodePath};
use crate::store::acl::Acl;
use crate::store::member::{Effect, Found, Member, Presence, Stamp, Write, Wrote};

/// How many requests may be without a reply. One after the other, each would take a round trip.
const MAX_REQUESTS: usize = 128;

/// Returns the name of the owner that is this session.
pub(super) fn owner(session: i64) -> String {
    format!("{session:#x}")
}

pub(super) struct Requests {
    protocol: Protocol,
    chroot: NodePath,
    /// What the requests without a reply are about, in their order.
    pending: VecDeque<Pending>,
    /// Whether the server knows nobody of this session, so that no ACL can be for its creator.
    creator_is_nobody: bool,
    was_answered: bool,
}

enum Pending {
    Sync,
    Data(NodePath),
    /// In the place of the data, which cannot be read.
    Stat(NodePath),
    /// A node above one that is to be created. The last one of them has what became of all.
    Parent {
        is_last: bool,
        path: NodePath,
    },
    /// `names_creator` tells whether its ACL could be for nobody's node instead.
    Write {
        path: NodePath,
        write: Write,
        names_creator: bool,
    },
}

impl Requests {
    pub(super) fn new(protocol: Protocol, chroot: NodePath) -> Self {
        let pending = VecDeque::new();
        Self { protocol, chroot, pending, creator_is_nobody: false, was_answered: false }
    }

    pub(super) fn protocol(&mut self) -> &mut Protocol {
        &mut self.protocol
    }

    pub(super) fn into_protocol(self) -> Protocol {
        self.protocol
    }

    /// Whether the server has replied to a request.
    pub(super) fn was_answered(&self) -> bool {
        self.was_answered
    }

    /// Whether [`Self::perform`] may be called.
    pub(super) fn has_room(&self) -> bool {
        self.pending.len() < MAX_REQUESTS
    }

    pub(super) fn perform(&mut self, effect: Effect, now: Instant) {
        match effect {
            Effect::Read { path, is_fresh } => {
                if is_fresh {
                    // A server may lag behind what another one has told us.
                    self.protocol.request(Request::Sync { path: self.chroot.as_str() }, now);
                    self.pending.push_back(Pending::Sync);
                }
                let whole = path.below(&self.chroot);
                self.protocol.request(Request::Data { path: whole.as_str(), watch: true }, now);
                self.pending.push_back(Pending::Data(path));
            }
            Effect::Write { path, write: Write::Parents } => self.make_parents(&path, now),
            Effect::Write { path, write } => self.write(path, write, now),
        }
    }

    /// Creates all nodes above `path`. Those that exist are refused, which does no harm.
    fn make_parents(&mut self, path: &NodePath, now: Instant) {
        let whole = path.below(&self.chroot);
        let ancestors: Vec<&str> = whole.self_and_ancestors().filter(|ancestor| *ancestor != "/").collect();
        let parents = &ancestors[..ancestors.len().saturating_sub(1)];
        let acl = Acl::open();
        for (index, parent) in parents.iter().enumerate() {
            let request = Request::Create { path: parent, data: b"", acl: &acl, is_ephemeral: false };
            self.protocol.request(request, now);
            let is_last = index + 1 == parents.len();
            self.pending.push_back(Pending::Parent { is_last, path: path.clone() });
        }
    }

    fn write(&mut self, path: NodePath, write: Write, now: Instant) {
        let whole = path.below(&self.chroot);
        match &write {
            Write::Create(member) => {
                let acl = self.acl(member);
                let (path, data) = (whole.as_str(), &member.data[..]);
                self.protocol.request(Request::Create { path, data, acl: &acl, is_ephemeral: true }, now);
            }
            // The number of a version says nothing of who has created the node. If the ghost goes and another
            // owner creates the node between our read and this, the other one finds ours, and has a conflict.
            Write::Replace(stamp, member) => {
                let (acl, data) = (self.acl(member), &member.data[..]);
                let parts = [
                    Part::Delete { path: whole.clone(), version: version(*stamp) },
                    Part::Create { path: whole, data, acl: &acl, is_ephemeral: true },
                ];
                self.protocol.request(Request::Multi { parts: &parts }, now);
            }
            Write::Set(stamp, member) => {
                let (path, data, version) = (whole.as_str(), &member.data[..], version(*stamp));
                self.protocol.request(Request::SetData { path, data, version }, now);
            }
            Write::Delete(stamp) => {
                let (path, version) = (whole.as_str(), version(*stamp));
                self.protocol.request(Request::Delete { path, version }, now);
            }
            Write::Parents => return self.make_parents(&path, now),
        }
        let names_creator = !self.creator_is_nobody
            && match &write {
                Write::Create(member) | Write::Replace(_, member) => member.acl == MemberAcl::Read,
                Write::Parents | Write::Set(..) | Write::Delete(_) => false,
            };
        self.pending.push_back(Pending::Write { path, write, names_creator });
    }

    fn acl(&self, member: &Arc<Member>) -> Acl {
        match member.acl {
            MemberAcl::Open => Acl::open(),
            MemberAcl::Read if self.creator_is_nobody => Acl::read_only(),
            MemberAcl::Read => Acl::read(),
            MemberAcl::Owner => Acl::owner(),
        }
    }

    /// Takes the reply to the oldest request. Fails if it says that the session is over.
    pub(super) fn take_reply(
        &mut self,
        result: Result<Reply, ErrorCode>,
        presence: &mut Presence,
        now: Instant,
    ) -> Result<(), Ended> {
        // The protocol lets no reply pass that nobody waits for.
        let Some(pending) = self.pending.pop_front() else { return Ok(()) };
        if let Err(code) = result
            && is_end(code)
        {
            return Err(Ended::Server(code));
        }
        self.was_answered = true;
        match pending {
            Pending::Sync => {}
            Pending::Data(path) => {
                let found = match result {
                    Ok(Reply::Data(data, stat)) => match content::read(&data) {
                        Ok(data) => Ok(Some(found(&stat, Some(data.into_owned())))),
                        Err(error) => Err(error.to_string()),
                    },
                    Err(ErrorCode::NoNode) => Ok(None),
                    // It is another's, or too large to be ours.
                    Ok(_) | Err(ErrorCode::NoAuth) => {
                        let whole = path.below(&self.chroot);
                        self.protocol.request(Request::Exists { path: whole.as_str(), watch: true }, now);
                        self.pending.push_back(Pending::Stat(path));
                        return Ok(());
                    }
                    Err(code) => Err(code.to_string()),
                };
                presence.read(&path, found, now);
            }
            Pending::Stat(path) => {
                let found = match result {
                    Ok(Reply::Stat(stat)) => Ok(Some(found(&stat, None))),
                    Err(ErrorCode::NoNode) => Ok(None),
                    Ok(_) => Err("the server replied to something else".to_owned()),
                    Err(code) => Err(code.to_string()),
                };
                presence.read(&path, found, now);
            }
            Pending::Parent { is_last: false, .. } => {}
            Pending::Parent { is_last: true, path } => {
                let wrote = match result {
                    Ok(_) | Err(ErrorCode::NodeExists) => Wrote::Done,
                    Err(ErrorCode::NoAuth | ErrorCode::NoNode) => Wrote::Refused(
                        "no permission to create the nodes above it; create them, or have an ACL above \
                         them give `c` to the credentials of `auth` or `sasl` in twitcher.toml"
                            .to_owned(),
                    ),
                    Err(code) => Wrote::Refused(refusal(code, &Write::Parents)),
                };
                presence.wrote(&path, wrote, now);
            }
            Pending::Write { path, write, names_creator } => {
                let code = match result {
                    Ok(Reply::Multi(results)) => results.iter().find_map(|result| match result {
                        PartResult::Failed(code) => Some(*code),
                        PartResult::Done | PartResult::Version(_) | PartResult::Undone => None,
                    }),
                    Ok(_) => None,
                    Err(code) => Some(code),
                };
                if code == Some(ErrorCode::InvalidAcl) && names_creator {
                    self.creator_is_nobody = true;
                    self.write(path, write, now);
                    return Ok(());
                }
                presence.wrote(&path, code.map_or(Wrote::Done, |code| wrote(code, &write)), now);
            }
        }
        Ok(())
    }
}

fn version(Stamp(stamp): Stamp) -> i32 {
    // It was made of a version.
    i32::try_from(stamp).unwrap_or(i32::MIN)
}

fn found(stat: &Stat, data: Option<Vec<u8>>) -> Found {
    let owner = (stat.ephemeral_owner != 0).then(|| owner(stat.ephemeral_owner));
    Found { owner, is_left: false, stamp: Stamp(stat.version.into()), data }
}

/// Whether a code says that the session is over, and not what became of a request.
fn is_end(code: ErrorCode) -> bool {
    match code {
        ErrorCode::ConnectionLoss
        | ErrorCode::SessionExpired
        | ErrorCode::SessionMoved
        | ErrorCode::AuthFailed
        | ErrorCode::SaslRequired => true,
        ErrorCode::MarshallingError
        | ErrorCode::Unimplemented
        | ErrorCode::BadArguments
        | ErrorCode::NoNode
        | ErrorCode::NoAuth
        | ErrorCode::BadVersion
        | ErrorCode::NoChildrenForEphemerals
        | ErrorCode::NodeExists
        | ErrorCode::NotEmpty
        | ErrorCode::InvalidAcl
        | ErrorCode::NotReadOnly
        | ErrorCode::QuotaExceeded
        | ErrorCode::Throttled
        | ErrorCode::Unknown(_) => false,
    }
}

/// Returns what a code says of a write.
fn wrote(code: ErrorCode, write: &Write) -> Wrote {
    match (code, write) {
        (ErrorCode::NoNode, Write::Create(_)) => Wrote::NoParent,
        (ErrorCode::NodeExists | ErrorCode::NoNode | ErrorCode::BadVersion, _) => Wrote::Thwarted,
        // Nobody may write to a node of `READ` whose creator is nobody.
        (ErrorCode::NoAuth, Write::Set(..)) => Wrote::Fixed,
        (code, write) => Wrote::Refused(refusal(code, write)),
    }
}

/// Says why the server refused a write, and what to do.
fn refusal(code: ErrorCode, write: &Write) -> String {
    let allowed = |right: &str, what: &str| {
        format!(
            "no permission to {what} it; the ACL of its parent must give {right} to the credentials of \
             `auth` or `sasl` in twitcher.toml"
        )
    };
    match (code, write) {
        (ErrorCode::NoAuth, Write::Create(_) | Write::Parents) => allowed("`c`", "create"),
        (ErrorCode::NoAuth, Write::Replace(..)) => allowed("`c` and `d`", "replace"),
        (ErrorCode::NoAuth, Write::Set(..)) => allowed("`c` and `d`", "replace"),
        (ErrorCode::NoAuth, Write::Delete(_)) => allowed("`d`", "remove"),
        (ErrorCode::NoChildrenForEphemerals, _) => {
            "its parent is ephemeral and can have no children; choose another service".to_owned()
        }
        (ErrorCode::InvalidAcl, _) => {
            "the ACL OWNER is for those who log in; give `auth` or `sasl` in twitcher.toml, or another ACL"
                .to_owned()
        }
        (ErrorCode::QuotaExceeded, _) => {
            "it would exceed the quota of a node above it; remove something there, or raise the quota \
             (`listquota` and `setquota` of zkCli.sh)"
                .to_owned()
        }
        (code, _) => code.to_string(),
    }
}
