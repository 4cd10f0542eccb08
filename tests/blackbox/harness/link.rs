//! A store of a test's own, and what connects a daemon to it, which fails on demand.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use super::proxy::Proxy;
use super::sandbox::Sandbox;
use super::server::Server;
use super::store::Store;
use super::twitcher::Twitcher;
use super::wait::wait_until;

pub enum Link {
    /// A symbolic link to the directory, which can be missing.
    Directory { link: PathBuf, nodes: PathBuf },
    /// A proxy before the server.
    Server { server: Box<dyn Server>, proxy: Proxy },
}

impl Link {
    /// Starts a store of this kind. Returns it with a sandbox that reaches it another way.
    #[track_caller]
    pub fn start(store: Store) -> (Self, Sandbox) {
        if store == Store::Directory {
            let sandbox = Sandbox::directory();
            let (link, nodes) = (sandbox.root().join("link"), sandbox.root().join("nodes"));
            symlink(&nodes, &link).expect("create a link");
            return (Self::Directory { link, nodes }, sandbox);
        }
        let server = store.server();
        let (proxy, sandbox) = (Proxy::to(&server.address()), Sandbox::on(&*server));
        (Self::Server { server, proxy }, sandbox)
    }

    /// The server. Panics if the store has none.
    #[track_caller]
    pub fn server(&self) -> &dyn Server {
        match self {
            Self::Directory { .. } => panic!("a directory has no server"),
            Self::Server { server, .. } => &**server,
        }
    }

    #[track_caller]
    pub fn proxy(&self) -> &Proxy {
        match self {
            Self::Directory { .. } => panic!("a directory has no network"),
            Self::Server { proxy, .. } => proxy,
        }
    }

    /// The URL of the sandbox's nodes by way of the link.
    pub fn url(&self, sandbox: &Sandbox) -> String {
        match self {
            Self::Directory { link, .. } => format!("dir:{}", link.display()),
            Self::Server { proxy, .. } => sandbox.nodes.url_by_way_of(&proxy.address()),
        }
    }

    /// The command that runs a daemon by way of the link.
    pub fn daemon(&self, sandbox: &Sandbox) -> Twitcher {
        sandbox.daemon_on(&self.url(sandbox))
    }

    /// Takes the store away from the sandbox's daemon, and waits until this is noticed.
    #[track_caller]
    pub fn isolate(&self, sandbox: &Sandbox) {
        match self {
            Self::Directory { link, .. } => {
                fs::remove_file(link).expect("remove the link");
                wait_until("the daemon to miss its store", || !is_connected(sandbox));
            }
            Self::Server { server, proxy } => {
                proxy.refuse();
                wait_until("the server to see the connection end", || server.is_unwatched());
            }
        }
    }

    /// Lets the store forget what a daemon that was cut off could go on from.
    #[track_caller]
    pub fn forget_the_daemon(&self) {
        if let Self::Server { server, .. } = self {
            server.forget_clients();
        }
    }

    /// Gives the store back.
    pub fn resume(&self) {
        match self {
            Self::Directory { link, nodes } => symlink(nodes, link).expect("create a link"),
            Self::Server { proxy, .. } => proxy.resume(),
        }
    }

    /// Waits until the sandbox's daemon watches its nodes.
    #[track_caller]
    pub fn wait_until_armed(&self, sandbox: &Sandbox) {
        match self {
            Self::Directory { .. } => wait_until("the daemon to have its store", || is_connected(sandbox)),
            Self::Server { server, .. } => wait_until("the watch to be armed", || server.is_watched()),
        }
    }

    /// Takes the store away for a moment. Waits until the daemon watches its nodes again.
    #[track_caller]
    pub fn interrupt(&self, sandbox: &Sandbox) {
        match self {
            Self::Directory { .. } => {
                self.isolate(sandbox);
                self.resume();
                self.wait_until_armed(sandbox);
            }
            Self::Server { server, proxy } => {
                let so_far = proxy.attempts();
                proxy.cut();
                wait_until("the watch to be armed again", || {
                    proxy.attempts() > so_far && server.is_watched()
                });
            }
        }
    }
}

/// What `status` says of the store of the sandbox's daemon.
fn is_connected(sandbox: &Sandbox) -> bool {
    let status = sandbox.operator(["status", "--json"]).finish().expect(0).text();
    let status: serde_json::Value = serde_json::from_str(&status).expect("JSON");
    status["daemon"]["stores"][0]["connected"] == true
}
