//! Members of services: nodes that are there as long as the one that announces them.
//!
//! Members hang on an *owner*: a session of ZooKeeper, a lease of etcd, or the locks of a process in a
//! directory. When the owner is lost, its keeper opens another one, and puts the members back.
//!
//! * [`message`] is what is said to a keeper, and what it says. Both are plain data, so that a keeper can run
//!   in a process of its own. A kind of store serves its [`end`].
//! * [`presence`] decides what is read and written. It does no IO, and time is an argument. Each kind of
//!   store has a file `keep` that performs what it decides, and sits at the same [`desk`].

mod desk;
mod end;
mod message;
mod presence;

pub(super) use desk::{Closed, Desk};
pub(super) use end::KeeperEnd;
pub use message::{KeeperEvent, KeeperOrder, Member};
pub use presence::MAX_DATA as MAX_MEMBER_DATA;
pub(super) use presence::{Effect, Found, Presence, Stamp, Write, Wrote};
