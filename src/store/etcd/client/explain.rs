//! Explains to people why a request failed.

use super::{EtcdClient, Failure};
use crate::model::NodePath;
use crate::store::client_error::{ClientError, Right};
use crate::store::etcd::wire::status::Meaning;

impl EtcdClient {
    pub(super) fn refused(&self, node: &NodePath, reason: &str) -> ClientError {
        ClientError::Refused { node: node.clone(), store: self.store.clone(), reason: reason.to_owned() }
    }

    pub(super) fn too_large(&self, node: &NodePath, size: usize) -> ClientError {
        ClientError::TooLarge {
            node: node.clone(),
            store: self.store.clone(),
            size,
            limit:
                "etcd takes no request of more than `--max-request-bytes`, 1.5 MiB unless its servers are \
                    configured otherwise; put large content elsewhere, and its place into the node"
                    .to_owned(),
        }
    }

    /// Explains why a request failed that carried `size` bytes of data.
    pub(super) fn explain_write(&self, node: &NodePath, size: usize, failure: Failure) -> ClientError {
        match failure {
            Failure::Server(status) if status.meaning() == Meaning::TooLarge => self.too_large(node, size),
            failure => self.explain(node, Right::Write, failure),
        }
    }

    pub(super) fn explain(&self, node: &NodePath, right: Right, failure: Failure) -> ClientError {
        let store = self.store.clone();
        let status = match failure {
            Failure::Server(status) => status,
            Failure::NoAnswer => {
                let timeout = self.settings.session_timeout;
                return ClientError::NoAnswer { store, timeout, doubt: right.doubt(node) };
            }
            Failure::Lost(reason) => return ClientError::Lost { store, reason, doubt: right.doubt(node) },
        };
        match status.meaning() {
            Meaning::Forbidden => {
                let needs = if right == Right::Read { "read" } else { "write" };
                let remedy = match &self.settings.login.user {
                    Some(user) => format!(
                        "a role of the user {} must give {needs} permission for its key (etcdctl role \
                         grant-permission)",
                        user.username
                    ),
                    None => "give `etcd` with username and password in twitcher.toml".to_owned(),
                };
                ClientError::Forbidden { node: node.clone(), store, right, remedy }
            }
            Meaning::NoSpace => self.refused(
                node,
                "etcd has no space left (its quota-backend-bytes); compact and defragment it, and disarm its \
                 alarm (etcdctl alarm disarm)",
            ),
            Meaning::Unavailable => {
                ClientError::Lost { store, reason: status.text, doubt: right.doubt(node) }
            }
            Meaning::Token
            | Meaning::Login
            | Meaning::NoAuth
            | Meaning::Revision
            | Meaning::TooLarge
            | Meaning::Other => self.refused(node, &status.to_string()),
        }
    }
}
