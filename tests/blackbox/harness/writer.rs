//! A foreign client that writes while servers come and go.

use super::etcd_client::EtcdClient;
use super::nodes::Nodes;
use super::wait::wait_for;
use super::zookeeper_client::{BAD_VERSION, ZooKeeperClient};

/// Sets nodes to rising numbers, each number once: a write that is repeated because its confirmation was lost
/// finds that another version is there. Each node was created with 0.
pub struct Writer {
    addresses: String,
    root: String,
    client: Client,
}

enum Client {
    /// A session, unless it was lost.
    ZooKeeper(Option<ZooKeeperClient>),
    Etcd(EtcdClient),
}

impl Nodes {
    /// A writer that goes on with another server where one does not answer.
    pub fn writer(&self) -> Writer {
        let (address, root, client) = match self {
            Self::Directory(_) => panic!("a directory has no clients"),
            Self::ZooKeeper { address, root } => (address, root, Client::ZooKeeper(None)),
            Self::Etcd { address, root } => (address, root, Client::Etcd(EtcdClient::new(address, root))),
        };
        Writer { addresses: address.clone(), root: root.clone(), client }
    }
}

impl Writer {
    /// Sets the node, which contains this number, to the next one.
    #[track_caller]
    pub fn update(&mut self, node: &str, number: &mut u32) {
        let version = *number;
        *number += 1;
        let data = number.to_string();
        match &mut self.client {
            // A new key has version 1.
            Client::Etcd(client) => client.set_version(node, u64::from(version) + 1, data.as_bytes()),
            Client::ZooKeeper(_) => self.on_zookeeper(&format!("{node} to be set"), |client| {
                match client.try_set_version(node, data.as_bytes(), version)? {
                    Ok(()) | Err(BAD_VERSION) => Some(()),
                    Err(error) => panic!("set {node}: error {error}"),
                }
            }),
        }
    }

    /// Reads the number, and none that was overwritten before.
    #[track_caller]
    pub fn read(&mut self, node: &str) -> u32 {
        let data = match &mut self.client {
            Client::Etcd(client) => client.get(node).expect("the node").0,
            Client::ZooKeeper(_) => self.on_zookeeper(&format!("{node} to be read"), |client| {
                client.try_sync()?.expect("wait for what others have written");
                Some(client.try_get(node)?.expect("the node"))
            }),
        };
        String::from_utf8_lossy(&data).parse().expect("a number")
    }

    /// Asks in this session, and in another one if it is lost meanwhile.
    #[track_caller]
    fn on_zookeeper<T>(&mut self, what: &str, ask: impl Fn(&mut ZooKeeperClient) -> Option<T>) -> T {
        wait_for(what, || {
            let Client::ZooKeeper(session) = &mut self.client else { unreachable!() };
            let client = session.get_or_insert_with(|| ZooKeeperClient::connect(&self.addresses, &self.root));
            let answer = ask(client);
            if answer.is_none() {
                *session = None;
            }
            answer
        })
    }
}
