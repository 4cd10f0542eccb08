//! Tries that others can thwart, by changing the same node at the same time.

use std::time::{Duration, Instant};

use super::client_error::ClientError;
use crate::model::NodePath;

/// The tries of one command on one node. They may take the session timeout.
pub struct Contention<'a> {
    node: &'a NodePath,
    /// The URL, for the error.
    store: &'a str,
    timeout: Duration,
    started: Instant,
    tries: u64,
}

impl<'a> Contention<'a> {
    pub fn new(node: &'a NodePath, store: &'a str, timeout: Duration) -> Self {
        Self { node, store, timeout, started: Instant::now(), tries: 0 }
    }

    /// Notes that a try was thwarted. Fails if there is no time for another one.
    pub fn thwarted(&mut self) -> Result<(), ClientError> {
        self.tries += 1;
        if self.started.elapsed() < self.timeout {
            return Ok(());
        }
        let (node, store) = (self.node.clone(), self.store.to_owned());
        Err(ClientError::Contended { node, store, tries: self.tries, timeout: self.timeout })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_thwarted_for_too_long_fails_and_says_how_often_it_was_tried() {
        let node = NodePath::parse("/n").unwrap();
        let mut patient = Contention::new(&node, "dir:/nodes", Duration::from_secs(3600));
        assert!((0..100).all(|_| patient.thwarted().is_ok()));
        patient.timeout = Duration::ZERO;
        let error = patient.thwarted().unwrap_err().to_string();
        assert!(
            error.contains("/n in dir:/nodes: others changed it at each of 101 tries within 0 s"),
            "{error}"
        );
    }
}
