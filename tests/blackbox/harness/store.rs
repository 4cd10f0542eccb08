//! The kinds of stores, and the tests that run on each of them.

use super::etcd::Etcd;
use super::server::Server;
use super::zookeeper::ZooKeeper;

/// A kind of store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    Directory,
    ZooKeeper,
    Etcd,
}

impl Store {
    /// A server for one test that was never up.
    #[track_caller]
    pub fn stopped_server(self) -> Box<dyn Server> {
        match self {
            Self::Directory => panic!("a directory has no server"),
            Self::ZooKeeper => Box::new(ZooKeeper::stopped()),
            Self::Etcd => Box::new(Etcd::stopped()),
        }
    }

    /// Starts a server for one test.
    #[track_caller]
    pub fn server(self) -> Box<dyn Server> {
        let server = self.stopped_server();
        server.up();
        server
    }

    /// The server that is shared by all tests which do nothing to it.
    #[track_caller]
    pub fn shared_server(self) -> &'static dyn Server {
        match self {
            Self::Directory => panic!("a directory has no server"),
            Self::ZooKeeper => ZooKeeper::shared(),
            Self::Etcd => Etcd::shared(),
        }
    }
}

/// Makes a test for each kind of store of a function that takes a sandbox: `on_every_store!(name)` makes
/// `name::directory`, `name::zookeeper` and `name::etcd` of `fn name(sandbox: &Sandbox)`.
macro_rules! on_every_store {
    ($name:ident) => {
        mod $name {
            #[test]
            fn directory() {
                super::$name(&crate::harness::Sandbox::of_kind(crate::harness::Store::Directory));
            }

            #[test]
            fn zookeeper() {
                super::$name(&crate::harness::Sandbox::of_kind(crate::harness::Store::ZooKeeper));
            }

            #[test]
            fn etcd() {
                super::$name(&crate::harness::Sandbox::of_kind(crate::harness::Store::Etcd));
            }
        }
    };
}
pub(crate) use on_every_store;

/// Makes a test for each kind of store of a function that takes the kind, such as one that starts a store of
/// its own.
macro_rules! on_every_kind {
    ($name:ident) => {
        mod $name {
            #[test]
            fn directory() {
                super::$name(crate::harness::Store::Directory);
            }

            #[test]
            fn zookeeper() {
                super::$name(crate::harness::Store::ZooKeeper);
            }

            #[test]
            fn etcd() {
                super::$name(crate::harness::Store::Etcd);
            }
        }
    };
}
pub(crate) use on_every_kind;

/// Makes a test for each kind of store that has a server of a function that takes the kind.
macro_rules! on_every_server {
    ($name:ident) => {
        mod $name {
            #[test]
            fn zookeeper() {
                super::$name(crate::harness::Store::ZooKeeper);
            }

            #[test]
            fn etcd() {
                super::$name(crate::harness::Store::Etcd);
            }
        }
    };
}
pub(crate) use on_every_server;
