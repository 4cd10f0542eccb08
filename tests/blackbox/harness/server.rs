//! What tests do with a server, whichever kind it is of.

use nix::sys::signal::Signal;

use super::guarded::Guarded;
use super::nodes::Nodes;
use super::wait::wait_until;

/// A server of the test's own, alone or a member of an ensemble.
pub trait Server: Send + Sync {
    /// Its address, as `HOST:PORT`.
    fn address(&self) -> String;

    /// The process of the server.
    fn process(&self) -> &Guarded;

    /// Starts it without waiting: a member of an ensemble serves only once there is a quorum.
    fn launch(&self);

    fn is_serving(&self) -> bool;

    /// Returns whether it leads an ensemble now.
    fn leads(&self) -> bool;

    /// The number of watches that its clients have set, if it serves.
    fn watches(&self) -> Option<usize>;

    /// Lets it forget what a client that was cut off could go on from: ZooKeeper's session, etcd's history.
    fn forget_clients(&self);

    /// Returns whether it serves and has this many sessions. A server without sessions has any number.
    fn has_sessions(&self, _count: usize) -> bool {
        true
    }

    /// The nodes below a root, which may be empty.
    fn nodes(&self, root: String) -> Nodes;

    /// Starts it, on the same port and data as before, and waits until it serves.
    #[track_caller]
    fn up(&self) {
        self.launch();
        self.wait_until_serving();
    }

    #[track_caller]
    fn wait_until_serving(&self) {
        wait_until("the server to serve", || self.is_serving());
    }

    /// Kills it. What it has confirmed is on disk.
    fn down(&self) {
        self.process().kill();
    }

    /// Stops the process with SIGSTOP: connections stay open, and nobody answers.
    fn freeze(&self) {
        self.process().signal(Signal::SIGSTOP);
    }

    fn thaw(&self) {
        self.process().signal(Signal::SIGCONT);
    }

    /// Returns whether it serves and a client has set a watch at this server.
    fn is_watched(&self) -> bool {
        self.watches().is_some_and(|watches| watches > 0)
    }

    /// Returns whether it serves and no client has a watch at this server.
    fn is_unwatched(&self) -> bool {
        self.watches() == Some(0)
    }
}
