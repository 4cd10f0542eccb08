//! What a store that runs in a process of its own asks of the daemon, beside reporting to it.

use tokio::sync::{mpsc, oneshot};

use crate::model::Subject;

/// The answer to a question for the login: what it is, serialized, or why there is none.
pub(super) type LoginReply = Result<Vec<u8>, String>;

pub(super) enum Question {
    /// Read the secrets and certificates that the next connection needs.
    Login(oneshot::Sender<LoginReply>),
    /// What each process after this one must be told. It is asked before what depends on it is reported.
    Remember(String),
    /// The store's directory is another one, which this process may not be allowed to read. Start another
    /// process. These nodes were removed since they were reported: what is there next are others.
    Moved(Vec<Subject>),
}

pub(super) type Questions = mpsc::UnboundedSender<Question>;

/// What a store knows that runs in a process of its own.
pub(super) struct Apart {
    pub(super) questions: Questions,
    /// What a process before this one asked to remember.
    pub(super) memory: Option<String>,
    /// The only directory that this process may read; `None` if there was none when that was decided.
    pub(super) permitted: Option<Access>,
}

/// The device and the inode of a directory, and the user and the group that own it. A process that runs apart
/// reads only this directory, as this user.
pub(super) type Access = (u64, u64, u32, u32);
