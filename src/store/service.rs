//! A service: a node whose children are its members.

use futures_util::{StreamExt, TryStreamExt, stream};

use super::client::Client;
use super::client_error::ClientError;
use super::condition::ReadNode;
use crate::model::NodePath;

/// How many members are read at the same time.
const READS: usize = 64;

/// A service, as `services` shows it.
#[derive(Debug)]
pub struct Service {
    /// `None` if it is there only because of its members.
    pub node: Option<ReadNode>,
    /// The data of the members by their names, sorted.
    pub members: Vec<(String, Vec<u8>)>,
}

impl Client {
    /// Returns the service whose node this is. A member that goes meanwhile may be there or not; one that
    /// cannot be read is an error.
    pub async fn service(&self, node: &NodePath) -> Result<Service, ClientError> {
        let names = self.ls(node).await?;
        let own = present(self.read_node(node).await)?;
        let member = async |name: String| {
            let read = present(self.read_node(&node.child(&name)).await)?;
            Ok(read.map(|read| (name, read.data)))
        };
        let members = stream::iter(names).map(member).buffered(READS);
        Ok(Service {
            node: own,
            members: members.try_filter_map(async |member| Ok(member)).try_collect().await?,
        })
    }
}

fn present(read: Result<ReadNode, ClientError>) -> Result<Option<ReadNode>, ClientError> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(ClientError::Missing { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
