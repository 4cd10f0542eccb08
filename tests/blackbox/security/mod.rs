//! What an action, or whoever has got hold of one, can do to the daemon and to others; and who gets to know
//! its secrets.

mod attack;
mod capabilities;
mod hidden;
mod secrets;
