//! Plain data that several rooms share. This room decides nothing, does no IO, and uses only [`crate::text`].

mod blob;
mod exec_context;
mod facts;
mod identity;
mod node_path;
mod policy;
mod state;
mod store_name;
mod subject;
mod tree;
mod version;
mod watch;
mod watch_command;

pub use blob::Blob;
pub(crate) use blob::Exposed;
pub use exec_context::{ExecContext, Output, Resource, UNLIMITED};
pub use facts::Facts;
pub use identity::{Account, Credentials, Identity, RunAs};
pub(crate) use node_path::children;
pub use node_path::{NodePath, NodePathError};
pub use policy::{Guard, OnFailure, Policy, Retry, RunMode, RunOnLoad, Share, Throttle};
pub use state::{Content, NodeContent, State};
pub use store_name::{StoreName, StoreNameError, StoreNames};
pub use subject::{Facet, NodeFacet, NodeSubject, Subject};
pub use tree::{Change, NodeEvent, NodeState, Tree, TreeNode};
pub use version::Version;
pub use watch::{Action, Program, WatchKey, WatchSpec};
pub use watch_command::WatchCommand;
