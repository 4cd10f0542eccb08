//! What only etcd has, and what only etcd can do to a daemon: history that is compacted or goes back, members
//! without a quorum, tokens that expire, leases that end.

mod history;
mod lies;
mod quorum;
mod rights;
mod root;
mod rows;
mod sizes;

use crate::harness::{Etcd, EtcdClient, Journal, Sandbox, exec, watch};

/// A sandbox on a server of its own, with a client that writes where the sandbox's daemon reads.
struct Own {
    server: Etcd,
    sandbox: Sandbox,
}

impl Own {
    #[track_caller]
    fn start(flags: &[&str]) -> Self {
        use crate::harness::Server;
        let server = Etcd::stopped().with(flags);
        server.up();
        let sandbox = Sandbox::on(&server);
        Self { server, sandbox }
    }

    fn client(&self) -> EtcdClient {
        self.sandbox.nodes.etcd()
    }
}

/// Watches each of these nodes, with deletions. Returns a journal of each, with lines of event and content.
fn record<const N: usize>(sandbox: &Sandbox, nodes: [&str; N]) -> [Journal; N] {
    nodes.map(|node| {
        let name = node.trim_start_matches('/').replace('/', "-");
        let journal = sandbox.journal_named(&name);
        let text = watch(node, &exec(&journal.record_event()), "run_on_delete: true");
        sandbox.config(&format!("{name}.twc"), text);
        journal
    })
}
