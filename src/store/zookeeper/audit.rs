//! Who may change what is watched: looked at once for each node, and without haste.

use std::cell::{Cell, RefCell};
use std::collections::{HashSet, VecDeque};
use std::convert::Infallible;
use std::future::pending;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::sleep;
use zookeeper_client::{Acl, Permission};

use super::node::{ReadError, Session};
use crate::model::{NodeFacet, NodePath, NodeSubject};
use crate::store::{Exposure, StoreEvent};

/// The pause after each look: nothing to a server, even where a hundred hosts begin to watch thousands of
/// nodes at once.
const CHECK_INTERVAL: Duration = Duration::from_millis(100);

/// How many nodes are told of, one by one. Where more are open to everybody, all of them probably are.
const MAX_REPORTED_NODES: usize = 5;

/// What is left to look at, and what was. It outlives sessions.
pub(super) struct Audit {
    chroot: NodePath,
    seen: RefCell<HashSet<NodeSubject>>,
    waiting: RefCell<VecDeque<NodeSubject>>,
    more: Notify,
    /// The nodes that everybody may change.
    open: RefCell<HashSet<NodePath>>,
    /// Whether all is said that will ever be.
    is_over: Cell<bool>,
}

impl Audit {
    pub(super) fn new(chroot: NodePath) -> Self {
        Self {
            chroot,
            seen: RefCell::default(),
            waiting: RefCell::default(),
            more: Notify::new(),
            open: RefCell::default(),
            is_over: Cell::new(false),
        }
    }

    /// Has this subject looked at, once. To be called for each that was read.
    pub(super) fn note(&self, subject: &NodeSubject) {
        if self.is_over.get() || self.seen.borrow().contains(subject) {
            return;
        }
        self.seen.borrow_mut().insert(subject.clone());
        self.waiting.borrow_mut().push_back(subject.clone());
        self.more.notify_one();
    }

    /// Has it looked at no more, unless it was.
    pub(super) fn forget(&self, subject: &NodeSubject) {
        self.seen.borrow_mut().remove(subject);
    }

    /// What there is to say of a subject that everybody may change.
    fn say(&self, subject: NodeSubject) -> Option<Exposure> {
        let mut open = self.open.borrow_mut();
        if !open.insert(subject.path.clone()) {
            return None;
        }
        if open.len() <= MAX_REPORTED_NODES {
            return Some(Exposure::Writable(subject.into()));
        }
        self.is_over.set(true);
        drop((self.seen.take(), self.waiting.take()));
        Some(Exposure::MoreWritable)
    }
}

/// Looks at what there is to look at for as long as the session lasts.
pub(super) async fn run(session: Rc<Session>) {
    let Err(SessionOver) = look_at_all(&session).await;
}

/// The session is over, or nobody listens any more.
struct SessionOver;

async fn look_at_all(session: &Session) -> Result<Infallible, SessionOver> {
    let audit = &session.audit;
    while !audit.is_over.get() {
        let Some(subject) = audit.waiting.borrow().front().cloned() else {
            audit.more.notified().await;
            continue;
        };
        if !audit.seen.borrow().contains(&subject) {
            audit.waiting.borrow_mut().pop_front();
            continue;
        }
        let client = session.client.upgrade().ok_or(SessionOver)?;
        let path = subject.path.below(&audit.chroot);
        let is_open = match session.with_timeout(client.get_acl(path.as_str())).await {
            Ok((acls, _)) => is_open(&acls, subject.facet),
            // The next session looks at it.
            Err(ReadError::SessionOver) => return Err(SessionOver),
            // Nobody knows, and it is not our business.
            Err(ReadError::NoNode | ReadError::Transient(_) | ReadError::Refused(_)) => false,
        };
        drop(client);
        audit.waiting.borrow_mut().pop_front();
        if is_open && let Some(exposure) = audit.say(subject) {
            session.events.send(StoreEvent::Exposed(exposure)).await.map_err(|_| SessionOver)?;
        }
        sleep(CHECK_INTERVAL).await;
    }
    pending().await
}

/// Returns true if and only if everybody may change what of the node is watched.
fn is_open(acls: &[Acl], facet: NodeFacet) -> bool {
    let enough: &[Permission] = match facet {
        NodeFacet::Data => &[Permission::WRITE],
        NodeFacet::Children => &[Permission::CREATE, Permission::DELETE],
    };
    acls.iter().any(|acl| {
        let is_anyone = (acl.scheme(), acl.id()) == ("world", "anyone");
        is_anyone && enough.iter().any(|permission| acl.permission().has(*permission))
    })
}

#[cfg(test)]
mod tests {
    use zookeeper_client::AuthId;

    use super::*;

    #[test]
    fn what_counts_is_what_can_be_done_to_what_is_watched() {
        let anyone = |permission| vec![Acl::new(permission, AuthId::anyone())];
        let us = Acl::new(Permission::ALL, AuthId::new("sasl", "twitcher"));
        for (acls, data, children) in [
            (anyone(Permission::ALL), true, true),
            (anyone(Permission::READ), false, false),
            (anyone(Permission::READ | Permission::WRITE), true, false),
            (anyone(Permission::CREATE), false, true),
            (anyone(Permission::DELETE), false, true),
            (vec![us.clone()], false, false),
            ([vec![us], anyone(Permission::WRITE)].concat(), true, false),
        ] {
            assert_eq!(
                (is_open(&acls, NodeFacet::Data), is_open(&acls, NodeFacet::Children)),
                (data, children),
                "{acls:?}"
            );
        }
    }

    #[test]
    fn each_node_is_told_of_once_and_only_a_few_are() {
        let subject = |number: usize, facet| NodeSubject {
            path: NodePath::parse(&format!("/{number}")).unwrap(),
            facet,
        };
        let audit = Audit::new(NodePath::parse("/").unwrap());
        for number in 0..MAX_REPORTED_NODES {
            assert!(matches!(audit.say(subject(number, NodeFacet::Data)), Some(Exposure::Writable(_))));
            assert!(audit.say(subject(number, NodeFacet::Children)).is_none());
        }
        assert!(matches!(
            audit.say(subject(MAX_REPORTED_NODES, NodeFacet::Data)),
            Some(Exposure::MoreWritable)
        ));
        audit.note(&subject(MAX_REPORTED_NODES + 1, NodeFacet::Data));
        assert!(audit.waiting.borrow().is_empty() && audit.seen.borrow().is_empty());
    }
}
