//! Each store of a daemon runs in a process of its own, its *half*, which has no rights on its host.
//!
//! The half parses what comes from the network, or what lies in a directory. The daemon, which may be root,
//! believes of it only what the writers of its store could have caused anyway. When the half dies, that is an
//! outage of its store: a new one is started, which reads everything again.
//!
//! ```text
//!  daemon ◀─ channel ─ supervisor ◀═ socket ═▶ serve ─ channel ─▶ zookeeper, directory
//! ```
//!
//! * [`supervisor`] is the daemon's side. It starts halves ([`starter`], as a [`user`]), talks with each
//!   ([`followed`]) in a [`conversation`], judges what they say ([`conduct`]), and passes it on ([`hearing`])
//!   as far as their [`budget`] goes and there is [`room`]. [`login`] reads what they log in with.
//! * [`liveness`] notices a half that hangs, [`ending`] says how one ended, [`misfortune`] decides when the
//!   next one is started, [`remedy`] what helps, and [`disposal`] closes what is left of it.
//! * [`serve`] is the half, which first goes into its [`sandbox`]. What it has to send waits in an
//!   [`outbox`], and what it is to follow once more in [`leaving`].
//! * [`keeper`] is the process of another [`task`]: it keeps the members of services in a store.
//! * [`message`] is what they say to each other, in [`frame`]s over a [`socket`]. [`continuity`] makes the
//!   versions of one half those of the next. [`fuzzing`] has somebody else speak at either end.

mod budget;
mod conduct;
mod continuity;
mod conversation;
mod disposal;
mod ending;
mod followed;
mod frame;
mod fuzzing;
mod hearing;
mod keeper;
mod leaving;
mod liveness;
mod login;
mod message;
mod misfortune;
mod outbox;
mod remedy;
mod room;
mod sandbox;
mod serve;
mod socket;
mod starter;
mod supervisor;
mod task;
mod user;

pub use fuzzing::{with_played_daemon, with_played_half};
pub use keeper::{
    KeeperLink, KeeperProcess, open as open_keeper, serve as serve_keeper, with_played_keeper,
    with_played_orders,
};
pub use serve::serve;
pub use starter::HalfOptions;
pub use supervisor::open;
pub use task::AtEnd;
pub use user::{STORE_USER, become_client, become_commits_client, store_user_is_missing};
