//! The keeper of a store's members runs in a process of its own as well, which has no rights on its host.
//!
//! It holds the session or lease on which the members hang. When it dies, that is an outage of this keeper: a
//! new one is started, which is told again what is to be there, and puts its own nodes in the place of those
//! that the former one has left.
//!
//! * [`supervisor`] starts such processes and talks with each in a [`line`]; [`standing`] says what they are
//!   to be told, and judges what they say.
//! * [`serve`] is the process.
//! * [`message`] is what they say to each other. [`fuzzing`] has somebody else speak at either end.

mod fuzzing;
mod line;
mod message;
mod serve;
mod standing;
mod supervisor;

pub use fuzzing::{with_played_keeper, with_played_orders};
pub use serve::serve;
pub use supervisor::{KeeperLink, KeeperProcess, open};
