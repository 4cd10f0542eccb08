//! One session, as the tasks see it that work on it.

use std::cell::Cell;
use std::rc::{Rc, Weak};
use std::time::Duration;

use tokio::time::timeout;
use zookeeper_client::{Client, Error};

use super::audit::Audit;
use crate::model::{NodePath, NodeSubject};
use crate::store::tree::router::EventSender;

/// What the tasks of one session share.
pub(super) struct Session {
    /// Weak, so that a task that only waits for its watch does not keep the session open.
    pub(super) client: Weak<Client>,
    pub(super) events: EventSender,
    pub(super) audit: Rc<Audit>,
    pub(super) chroot: NodePath,
    /// How long a request may take: as long as the session would live without an answer.
    request_timeout: Duration,
    /// Whether a node has been read.
    pub(super) has_read_node: Cell<bool>,
    /// The number of nodes that are followed.
    pub(super) nodes: Cell<u32>,
}

/// The session is over, or the daemon receives no more events. The task that gets this ends.
pub(super) struct SessionOver;

/// Why a request failed.
pub(super) enum ReadError {
    NoNode,
    /// The whole session is replaced.
    SessionOver,
    /// The next try may succeed, so this is worth mentioning only when it does not.
    Transient(String),
    /// The error stays until somebody does something about it.
    Refused(String),
}

impl Session {
    pub(super) fn new(client: &Rc<Client>, events: EventSender, audit: Rc<Audit>, chroot: NodePath) -> Self {
        Self {
            client: Rc::downgrade(client),
            events,
            audit,
            chroot,
            request_timeout: client.session_timeout(),
            has_read_node: Cell::new(false),
            nodes: Cell::new(0),
        }
    }

    /// Returns the path that the server knows the node by.
    pub(super) fn path(&self, subject: &NodeSubject) -> NodePath {
        subject.path.below(&self.chroot)
    }

    pub(super) async fn with_timeout<T>(
        &self,
        request: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, ReadError> {
        match timeout(self.request_timeout, request).await {
            Ok(answer) => answer.map_err(ReadError::from),
            Err(_) => Err(ReadError::Transient(format!(
                "no answer within {:.1} s",
                self.request_timeout.as_secs_f64()
            ))),
        }
    }
}

impl From<Error> for ReadError {
    fn from(error: Error) -> Self {
        match error {
            Error::NoNode => Self::NoNode,
            Error::SessionExpired | Error::SessionMoved | Error::ClientClosed | Error::AuthFailed => {
                Self::SessionOver
            }
            Error::NoAuth => Self::Refused("no permission to read it; check its ACL and `auth`".to_owned()),
            Error::BadArguments(_) => Self::Refused(format!("the server takes no such path ({error})")),
            // Requests of a cut connection end in `Custom`, codes that the crate does not know in
            // `UnexpectedErrorCode`. The enum is open, so every other error is tried again as well.
            error => Self::Transient(error.to_string()),
        }
    }
}
