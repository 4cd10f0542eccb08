//! Tests of what a hostile action can do to the daemon and to other actions, and of who can learn the
//! daemon's secrets.

mod attack;
mod capabilities;
mod half_reached;
mod hidden;
#[cfg(target_arch = "x86_64")]
mod inside;
#[cfg(not(target_arch = "x86_64"))]
mod inside {
    // To skip this would be to say that it was tried.
    #[test]
    fn whoever_takes_over_a_process_of_a_store_reaches_nothing_else() {
        panic!("inside.py knows the registers of x86-64 only: run this test on such a machine")
    }
}
mod lying_half;
mod lying_keeper;
mod secrets;
