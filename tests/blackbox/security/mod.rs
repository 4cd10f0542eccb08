//! Tests of what a hostile action can do to the daemon and to other actions, and of who can learn the
//! daemon's secrets.

mod attack;
mod capabilities;
mod half_reached;
mod hidden;
#[cfg(target_arch = "x86_64")]
mod inside;
mod lying_half;
mod secrets;
