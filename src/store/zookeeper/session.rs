//! One session: the nodes that are followed on it, and the requests about them. It does no IO.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::protocol::{Ended, Incoming, Protocol};
use super::stamp::{Stamp, origin};
use super::table::{Conclusion, Found, ReadError, ReadRequest, Table, Ticket, WatchKind};
use super::window::Window;
use super::wire::{ErrorCode, Event, Reply, Request};
use crate::model::{NodeContent, NodeFacet, NodePath, NodeSubject, children};
use crate::store::backend::{NodeCommand, Observation};

/// `S` is the room for one report, which is there before a node is read.
pub(super) struct Session<S> {
    pub(super) protocol: Protocol,
    timeout: Duration,
    table: Table,
    /// What the outstanding requests are about, in their order.
    pending: VecDeque<Pending<S>>,
    window: Window,
    chroot: NodePath,
    /// Whether a node has been read.
    has_read_node: bool,
}

enum Pending<S> {
    Read(Ticket, S),
    Comparison(Ticket),
    Acl(NodeSubject),
    Chroot,
    Removal,
}

/// What there is to tell others.
pub(super) enum Output<S> {
    Report {
        subject: NodeSubject,
        observation: Observation,
        slot: S,
        /// See [`crate::store::StoreEvent::MissedChange`].
        is_missed: bool,
    },
    /// The last report on this is not true any more, and it is being read.
    Outdated(NodeSubject),
    /// Whether everybody can change the watched part of the node.
    Exposure(NodeSubject, bool),
    /// Whether the chroot exists, if the server said so.
    Chroot(Option<bool>),
}

impl<S> Session<S> {
    /// Begins to follow the nodes of `table`. Requests that are not answered within `timeout` end the
    /// session.
    pub(super) fn new(
        protocol: Protocol,
        timeout: Duration,
        window: Window,
        chroot: NodePath,
        mut table: Table,
        now: Instant,
    ) -> Self {
        table.restart(now);
        let pending = VecDeque::new();
        Self { protocol, timeout, table, pending, window, chroot, has_read_node: false }
    }

    pub(super) fn into_table(self) -> Table {
        self.table
    }

    pub(super) fn window(&self) -> Window {
        self.window
    }

    pub(super) fn has_read_node(&self) -> bool {
        self.has_read_node
    }

    pub(super) fn take_command(&mut self, command: NodeCommand) -> Option<Output<S>> {
        self.table.take(command).map(Output::Outdated)
    }

    /// Whether [`Self::read`] has something to do.
    pub(super) fn wants_slot(&self) -> bool {
        self.table.has_unread() && self.window.has_room(self.pending.len())
    }

    /// Reads the next node that is to be read, since there is room for what is found.
    pub(super) fn read(&mut self, slot: S, now: Instant) {
        if let Some(ticket) = self.table.next_read() {
            self.ask(ticket, ReadRequest::Content, slot, now);
        }
    }

    fn ask(&mut self, ticket: Ticket, request: ReadRequest, slot: S, now: Instant) {
        let path = self.path(&ticket.subject);
        let (path, watch) = (path.as_str(), true);
        let request = match (request, ticket.subject.facet) {
            (ReadRequest::Content, NodeFacet::Data) => Request::Data { path, watch },
            (ReadRequest::Content, NodeFacet::Children) => Request::Children { path, watch },
            (ReadRequest::Existence, _) => Request::Exists { path, watch },
        };
        self.protocol.request(request, now);
        self.pending.push_back(Pending::Read(ticket, slot));
    }

    /// Asks who may change a node. [`Output::Exposure`] follows.
    pub(super) fn ask_for_acl(&mut self, subject: NodeSubject, now: Instant) {
        self.protocol.request(Request::Acl { path: self.path(&subject).as_str() }, now);
        self.pending.push_back(Pending::Acl(subject));
    }

    /// Asks whether the chroot exists. [`Output::Chroot`] follows.
    pub(super) fn ask_for_chroot(&mut self, now: Instant) {
        self.protocol.request(Request::Exists { path: self.chroot.as_str(), watch: false }, now);
        self.pending.push_back(Pending::Chroot);
    }

    /// Returns the path that the server knows the node by.
    fn path(&self, subject: &NodeSubject) -> NodePath {
        subject.path.below(&self.chroot)
    }

    /// Removes watches that nobody needs any more.
    pub(super) fn remove_watches(&mut self, now: Instant) {
        while self.window.has_room(self.pending.len())
            && let Some((path, kind)) = self.table.next_abandoned()
        {
            let path = path.below(&self.chroot);
            let is_on_children = kind == WatchKind::Children;
            self.protocol.request(Request::RemoveWatch { path: path.as_str(), is_on_children }, now);
            self.pending.push_back(Pending::Removal);
        }
    }

    /// When [`Self::tick`] has something to do.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        let comparison = self.table.due().filter(|_| self.window.has_room(self.pending.len()));
        self.protocol.due(now).into_iter().chain(comparison).min()
    }

    /// Does what is due. What has arrived should be taken before.
    pub(super) fn tick(&mut self, now: Instant) -> Result<(), Ended> {
        self.protocol.tick(now).inspect_err(|ended| {
            if let Ended::NoAnswer(_) = ended {
                self.window.missed();
            }
        })?;
        while self.window.has_room(self.pending.len())
            && let Some((ticket, kind)) = self.table.next_comparison(now)
        {
            let path = self.path(&ticket.subject);
            let watch = kind == WatchKind::Data;
            self.protocol.renew(Request::Exists { path: path.as_str(), watch }, now);
            self.pending.push_back(Pending::Comparison(ticket));
        }
        Ok(())
    }

    /// Takes what the server sent.
    pub(super) fn take(&mut self, incoming: Incoming, now: Instant) -> Result<Vec<Output<S>>, Ended> {
        match incoming {
            Incoming::Event(event) => Ok(self.take_event(&event)),
            Incoming::Auth(Ok(())) => Ok(Vec::new()),
            Incoming::Auth(Err(code)) => Err(Ended::Server(code)),
            Incoming::Reply { result, sent } => {
                self.window.answered(now - sent, self.timeout);
                let output = self.take_reply(result, now)?;
                Ok(output.into_iter().collect())
            }
        }
    }

    fn take_event(&mut self, event: &Event) -> Vec<Output<S>> {
        let Some(path) = event.path.above(&self.chroot) else { return Vec::new() };
        self.table.announced(&path, event.kind).into_iter().flatten().map(Output::Outdated).collect()
    }

    fn take_reply(
        &mut self,
        result: Result<Reply, ErrorCode>,
        now: Instant,
    ) -> Result<Option<Output<S>>, Ended> {
        // The protocol lets no reply pass that nobody waits for.
        let Some(pending) = self.pending.pop_front() else { return Ok(None) };
        let result = match result {
            Ok(reply) => Ok(reply),
            Err(code) => Err(read_error(code)?),
        };
        match pending {
            Pending::Read(ticket, slot) => {
                let found = result.and_then(|reply| found(reply, ticket.subject.facet));
                if found == Err(ReadError::Crowded) {
                    self.window.missed();
                }
                let is_read = found.is_ok() || found == Err(ReadError::NoNode);
                match self.table.read(&ticket, found, now) {
                    Conclusion::Ask(request) => self.ask(ticket, request, slot, now),
                    Conclusion::Report { observation, is_missed } => {
                        self.has_read_node |= is_read;
                        let subject = ticket.subject;
                        return Ok(Some(Output::Report { subject, observation, slot, is_missed }));
                    }
                    Conclusion::Nothing => {}
                }
                Ok(None)
            }
            Pending::Comparison(ticket) => {
                let stamp = match result {
                    Ok(Reply::Stat(stat)) => Ok(Some(Stamp::of(&stat, ticket.subject.facet))),
                    Err(ReadError::NoNode) => Ok(None),
                    Err(error) => Err(error),
                    Ok(reply) => Err(unexpected(&reply)),
                };
                Ok(self.table.compared(&ticket, stamp, now).map(Output::Outdated))
            }
            Pending::Acl(subject) => {
                let is_open = match (result, subject.facet) {
                    (Ok(Reply::Acl(anyone)), NodeFacet::Data) => anyone.can_write(),
                    (Ok(Reply::Acl(anyone)), NodeFacet::Children) => anyone.can_create_or_delete(),
                    // Nobody knows, and it does not matter to the watch.
                    (Ok(_) | Err(_), _) => false,
                };
                Ok(Some(Output::Exposure(subject, is_open)))
            }
            Pending::Chroot => Ok(Some(Output::Chroot(match result {
                Ok(_) => Some(true),
                Err(ReadError::NoNode) => Some(false),
                // It is asked again.
                Err(ReadError::Transient(_) | ReadError::Refused(_) | ReadError::Crowded) => None,
            }))),
            // If it failed, the watch announces one more change, which is ignored.
            Pending::Removal => Ok(None),
        }
    }
}

/// Makes what the store reports of what the server replied.
fn found(reply: Reply, facet: NodeFacet) -> Result<Found, ReadError> {
    match reply {
        Reply::Data(data, stat) => {
            Ok(Found::Content(NodeContent::Data(data), Stamp::of(&stat, facet), origin(&stat, facet)))
        }
        Reply::Children(names, stat) => {
            let names = NodeContent::Children(children(names).into());
            Ok(Found::Content(names, Stamp::of(&stat, facet), origin(&stat, facet)))
        }
        Reply::Stat(_) => Ok(Found::Existence),
        Reply::TooLarge(reason) => Err(ReadError::Refused(reason.to_string())),
        Reply::Crowded => Err(ReadError::Crowded),
        Reply::DataOfEach(_) | Reply::Acl(_) | Reply::Done | Reply::Multi(_) | Reply::Token(_) => {
            Err(unexpected(&reply))
        }
    }
}

/// The protocol reads each reply as what was asked for, so that this does not happen.
fn unexpected(_: &Reply) -> ReadError {
    ReadError::Transient("the server replied to something else".to_owned())
}

/// Returns what a code says about a node, or fails if it says that the session is over.
fn read_error(code: ErrorCode) -> Result<ReadError, Ended> {
    Ok(match code {
        ErrorCode::NoNode => ReadError::NoNode,
        ErrorCode::ConnectionLoss
        | ErrorCode::SessionExpired
        | ErrorCode::SessionMoved
        | ErrorCode::AuthFailed
        | ErrorCode::SaslRequired => return Err(Ended::Server(code)),
        ErrorCode::NoAuth => {
            ReadError::Refused("no permission to read it; check its ACL and `auth`".to_owned())
        }
        ErrorCode::BadArguments => ReadError::Refused(code.to_string()),
        ErrorCode::MarshallingError
        | ErrorCode::Unimplemented
        | ErrorCode::BadVersion
        | ErrorCode::NoChildrenForEphemerals
        | ErrorCode::NodeExists
        | ErrorCode::NotEmpty
        | ErrorCode::InvalidAcl
        | ErrorCode::NotReadOnly
        | ErrorCode::QuotaExceeded
        | ErrorCode::Throttled
        | ErrorCode::Unknown(_) => ReadError::Transient(code.to_string()),
    })
}

#[cfg(test)]
mod properties;
