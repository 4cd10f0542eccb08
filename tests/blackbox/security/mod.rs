//! Tests of what a hostile action can do to the daemon and to other actions, and of who can learn the
//! daemon's secrets.

mod attack;
mod capabilities;
mod half_reached;
mod hidden;
mod lying_half;
mod secrets;
