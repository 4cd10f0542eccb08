//! What the commands `get`, `set`, `poke`, `ls`, `tree`, `rm` and `edit` ask of a store of any kind.

use super::acl::Acl;
use super::bulk::{Emptied, Entry, Fate, Parents, Visit};
use super::catalogue::Catalogue;
use super::change::{Change, Changed, See};
use super::client_error::ClientError;
use super::condition::{Condition, ReadNode, TreeNode, WriteOptions};
use super::directory::DirectoryClient;
use super::etcd::EtcdClient;
use super::removal::Removal;
use super::settings::StoreSettings;
use super::transaction::{Outcome, Transaction};
use super::zookeeper::ZooKeeperClient;
use crate::model::NodePath;

/// One connection to a store, for as long as a command lasts.
///
/// The store must reply to each request within the session timeout, and to the first one within the session
/// timeout after [`Client::connect`] began. A command of many requests takes as long as it needs.
pub struct Client {
    kind: Kind,
    /// The store that the settings forbid to write.
    readonly: Option<String>,
}

enum Kind {
    ZooKeeper(Box<ZooKeeperClient>),
    Etcd(Box<EtcdClient>),
    Directory(DirectoryClient),
}

impl Client {
    /// Connects, trying each server once within the session timeout. A directory need not exist.
    pub async fn connect(settings: &StoreSettings) -> Result<Self, ClientError> {
        let kind = match settings {
            StoreSettings::ZooKeeper(settings) => {
                Kind::ZooKeeper(Box::new(ZooKeeperClient::connect(settings).await?))
            }
            StoreSettings::Etcd(settings) => Kind::Etcd(Box::new(EtcdClient::connect(settings).await?)),
            StoreSettings::Directory(settings) => Kind::Directory(DirectoryClient::new(settings)),
        };
        Ok(Self { kind, readonly: settings.is_readonly().then(|| settings.to_string()) })
    }

    /// Returns the client for a command that changes something.
    fn writable(&self) -> Result<&Kind, ClientError> {
        match &self.readonly {
            None => Ok(&self.kind),
            Some(store) => Err(ClientError::ReadOnly { store: store.clone() }),
        }
    }

    /// Returns the node's content.
    pub async fn get(&self, node: &NodePath) -> Result<Vec<u8>, ClientError> {
        match &self.kind {
            Kind::ZooKeeper(client) => client.get(node).await,
            Kind::Etcd(client) => client.get(node).await,
            Kind::Directory(client) => client.get(node).await,
        }
    }

    /// Returns the node's content, its version, and what else the store knows of it.
    pub async fn read_node(&self, node: &NodePath) -> Result<ReadNode, ClientError> {
        match &self.kind {
            Kind::ZooKeeper(client) => client.read_node(node).await,
            Kind::Etcd(client) => client.read_node(node).await,
            Kind::Directory(client) => client.read_node(node).await,
        }
    }

    /// Replaces the node's content, or creates the node, with empty parents where they are missing; if the
    /// condition of `options` holds.
    pub async fn set(&self, node: &NodePath, data: &[u8], options: &WriteOptions) -> Result<(), ClientError> {
        match self.writable()? {
            Kind::ZooKeeper(client) => client.set(node, data, options).await,
            Kind::Etcd(client) => client.set(node, data, options).await,
            Kind::Directory(client) => client.set(node, data, options).await,
        }
    }

    /// Replaces the ACL of a node that exists.
    pub async fn set_acl(&self, node: &NodePath, acl: &Acl) -> Result<(), ClientError> {
        match self.writable()? {
            Kind::ZooKeeper(client) => client.set_acl(node, acl).await,
            Kind::Etcd(client) => client.set_acl(),
            Kind::Directory(client) => client.set_acl(),
        }
    }

    /// Writes the node's present content again, so that watches fire. It never writes an older content: if
    /// somebody else writes meanwhile, it writes theirs again.
    pub async fn poke(&self, node: &NodePath) -> Result<(), ClientError> {
        match self.writable()? {
            Kind::ZooKeeper(client) => client.poke(node).await,
            Kind::Etcd(client) => client.poke(node).await,
            Kind::Directory(client) => client.poke(node).await,
        }
    }

    /// Returns the names of the node's children, sorted.
    pub async fn ls(&self, node: &NodePath) -> Result<Vec<String>, ClientError> {
        match &self.kind {
            Kind::ZooKeeper(client) => client.ls(node).await,
            Kind::Etcd(client) => client.ls(node).await,
            Kind::Directory(client) => client.ls(node).await,
        }
    }

    /// Returns the node and those below it, down to `depth` levels below; each before those below it, and
    /// siblings sorted by name.
    pub async fn tree(&self, node: &NodePath, depth: Option<usize>) -> Result<Vec<TreeNode>, ClientError> {
        match &self.kind {
            Kind::ZooKeeper(client) => client.tree(node, depth).await,
            Kind::Etcd(client) => client.tree(node, depth).await,
            Kind::Directory(client) => client.tree(node, depth).await,
        }
    }

    /// Removes the node; if `recursive`, with all nodes below it. Counts them in `removal`.
    pub async fn rm(&self, node: &NodePath, recursive: bool, removal: &Removal) -> Result<(), ClientError> {
        match self.writable()? {
            Kind::ZooKeeper(client) => client.rm(node, recursive, removal).await,
            Kind::Etcd(client) => client.rm(node, recursive, removal).await,
            Kind::Directory(client) => client.rm(node, recursive, Condition::None, removal).await,
        }
    }

    /// Removes a node without children whose version has this number.
    pub async fn rm_version(&self, node: &NodePath, number: i64) -> Result<(), ClientError> {
        match self.writable()? {
            Kind::ZooKeeper(client) => client.rm_version(node, number).await,
            Kind::Etcd(client) => client.rm_version(node, number).await,
            Kind::Directory(client) => {
                client.rm(node, false, Condition::Number(number), &Removal::default()).await
            }
        }
    }

    /// Visits the node and those below it, each before those below it, with their data if `with_data`. Holds
    /// a bounded part of the tree. On etcd, all are of one revision.
    pub async fn walk(
        &self,
        node: &NodePath,
        with_data: bool,
        visit: &mut Visit<'_>,
    ) -> Result<(), ClientError> {
        match &self.kind {
            Kind::ZooKeeper(client) => client.walk(node, with_data, visit).await,
            Kind::Etcd(client) => client.walk(node, with_data, visit).await,
            Kind::Directory(client) => client.walk(node, with_data, visit).await,
        }
    }

    /// Writes those of the nodes that are not the same already, and says what was done about each; if
    /// `is_rehearsal`, nothing is written. No node may be there twice. All of it is in memory at once.
    pub async fn put_all(
        &self,
        entries: &[Entry],
        is_rehearsal: bool,
        parents: &mut Parents,
    ) -> Result<Vec<Fate>, ClientError> {
        let kind = if is_rehearsal { &self.kind } else { self.writable()? };
        match kind {
            Kind::ZooKeeper(client) => client.put_all(entries, is_rehearsal, parents).await,
            Kind::Etcd(client) => client.put_all(entries, is_rehearsal).await,
            Kind::Directory(client) => client.put_all(entries, is_rehearsal).await,
        }
    }

    /// Fails for the first of these nodes that the store cannot take beside what it has, as far as that is
    /// known before they are written: a directory has no data beside children. They are written in this
    /// order, which `emptied` remembers from one call to the next; if `is_mirror`, what is not among them is
    /// removed before.
    pub async fn check_all(
        &self,
        entries: &[Entry],
        is_mirror: bool,
        emptied: &mut Emptied,
    ) -> Result<(), ClientError> {
        match &self.kind {
            Kind::ZooKeeper(_) | Kind::Etcd(_) => Ok(()),
            Kind::Directory(client) => client.check_all(entries, is_mirror, emptied).await,
        }
    }

    /// Returns an error if one of these nodes cannot be removed, where that can be known before: files have
    /// owners and modes. A server decides only when it is asked to.
    pub async fn check_removal(&self, nodes: &[NodePath]) -> Result<(), ClientError> {
        match &self.kind {
            Kind::ZooKeeper(_) | Kind::Etcd(_) => Ok(()),
            Kind::Directory(client) => client.check_removal(nodes).await,
        }
    }

    /// Removes these nodes, those below others first. Returns those that are left because they have children
    /// that are not among them.
    pub async fn remove_all(&self, nodes: &[NodePath]) -> Result<Vec<NodePath>, ClientError> {
        match self.writable()? {
            Kind::ZooKeeper(client) => client.remove_all(nodes).await,
            Kind::Etcd(client) => client.remove_all(nodes).await,
            Kind::Directory(client) => client.remove_all(nodes).await,
        }
    }

    /// Looks at these nodes. Holds the data of few of them at a time.
    pub async fn see_all(&self, nodes: &[NodePath], see: &mut See<'_>) -> Result<(), ClientError> {
        match &self.kind {
            Kind::ZooKeeper(client) => client.see_all(nodes, see).await,
            Kind::Etcd(client) => client.see_all(nodes, see).await,
            Kind::Directory(client) => client.see_all(nodes, see).await,
        }
    }

    /// Changes each of these nodes that is still as it was, and says what became of each. No node may be
    /// there twice. An error says that the connection is of no more use; some may be changed then.
    pub async fn change_all(&self, changes: &[Change]) -> Result<Vec<Changed>, ClientError> {
        match self.writable()? {
            Kind::ZooKeeper(client) => client.change_all(changes).await,
            Kind::Etcd(client) => client.change_all(changes).await,
            Kind::Directory(client) => client.change_all(changes).await,
        }
    }

    /// Whether the store takes so much data for a node, as it is configured, or does not tell because nobody
    /// may write there. Nothing is changed.
    pub async fn takes(&self, node: &NodePath, data: &[u8]) -> Result<bool, ClientError> {
        match &self.kind {
            _ if self.readonly.is_some() => Ok(true),
            Kind::ZooKeeper(client) => client.takes(node, data).await,
            Kind::Etcd(client) => client.takes(node, data).await,
            Kind::Directory(client) => client.takes(data),
        }
    }

    /// Returns the catalogue of typed tables.
    pub async fn catalogue(&self) -> Result<Catalogue, ClientError> {
        match &self.kind {
            Kind::ZooKeeper(client) => Err(client.without_tables()),
            Kind::Etcd(client) => client.catalogue().await,
            Kind::Directory(client) => Err(client.without_tables()),
        }
    }

    /// Gives a table this slot and its entry in the catalogue. Returns false if the catalogue has changed.
    pub async fn add_table(
        &self,
        slot: u16,
        entry: Vec<u8>,
        catalogue: &Catalogue,
    ) -> Result<bool, ClientError> {
        match self.writable()? {
            Kind::ZooKeeper(client) => Err(client.without_tables()),
            Kind::Etcd(client) => client.add_table(slot, entry, catalogue).await,
            Kind::Directory(client) => Err(client.without_tables()),
        }
    }

    /// Does a transaction.
    pub async fn transact(&self, transaction: &Transaction) -> Result<Outcome, ClientError> {
        let kind = if transaction.writes() { self.writable()? } else { &self.kind };
        match kind {
            Kind::ZooKeeper(client) => client.transact(transaction).await,
            Kind::Etcd(client) => client.transact(transaction).await,
            Kind::Directory(client) => client.transact(),
        }
    }

    /// Does something else, however long that takes. A session lives on.
    pub async fn idle<T>(&self, work: impl Future<Output = T>) -> T {
        match &self.kind {
            Kind::ZooKeeper(client) => client.idle(work).await,
            Kind::Etcd(_) | Kind::Directory(_) => work.await,
        }
    }

    /// Closes the session, waiting for the server at most a second. Otherwise the server keeps the session
    /// until it expires, which does no harm.
    pub async fn close(self) {
        match self.kind {
            Kind::ZooKeeper(client) => client.close().await,
            Kind::Etcd(_) | Kind::Directory(_) => {}
        }
    }
}
