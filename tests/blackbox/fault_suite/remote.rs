//! A server behind a network that fails on demand.

use crate::harness::{Daemon, Link, Proxy, Sandbox, Store};

/// A server for one test, a network to it that fails on demand, and a sandbox on it.
pub struct Remote {
    pub link: Link,
    pub sandbox: Sandbox,
}

impl Remote {
    #[track_caller]
    pub fn new(store: Store) -> Self {
        let (link, sandbox) = Link::start(store);
        Self { link, sandbox }
    }

    pub fn proxy(&self) -> &Proxy {
        self.link.proxy()
    }

    /// Starts the daemon behind the proxy. Its session timeout is the longest that ZooKeeper grants.
    #[track_caller]
    pub fn start(&self) -> Daemon {
        self.link.daemon(&self.sandbox).args(["--session-timeout", "4"]).start()
    }

    /// Cuts the network until the server has forgotten the daemon.
    #[track_caller]
    pub fn expire(&self) {
        self.link.isolate(&self.sandbox);
        self.link.forget_the_daemon();
    }

    /// Restores the network and waits until the daemon has set its watches again.
    #[track_caller]
    pub fn reconnect(&self) {
        self.link.resume();
        self.link.wait_until_armed(&self.sandbox);
    }
}
