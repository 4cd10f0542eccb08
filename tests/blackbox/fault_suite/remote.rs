//! A server behind a network that fails on demand.

use crate::harness::{Daemon, Proxy, Sandbox, ZooKeeper, wait_until};

/// A server for one test, a network to it that fails on demand, and a sandbox on it.
pub struct Remote {
    pub server: ZooKeeper,
    pub proxy: Proxy,
    pub sandbox: Sandbox,
}

impl Remote {
    pub fn new() -> Self {
        let server = ZooKeeper::start();
        let proxy = Proxy::to(&server.address());
        let sandbox = Sandbox::on(&server);
        Self { server, proxy, sandbox }
    }

    /// Starts the daemon behind the proxy. Its session timeout is the longest that the server grants.
    pub fn start(&self) -> Daemon {
        let store = self.sandbox.nodes.url_by_way_of(&self.proxy.address());
        self.sandbox.daemon_on(&store).args(["--session-timeout", "4"]).start()
    }

    /// Cuts the network until the session has expired.
    pub fn expire(&self) {
        self.proxy.refuse();
        wait_until("the session to expire", || self.server.sessions() == 0);
    }

    /// Restores the network and waits until the daemon has set its watches again.
    pub fn reconnect(&self) {
        self.proxy.resume();
        wait_until("the watches to be armed again", || self.server.is_watched());
    }
}
