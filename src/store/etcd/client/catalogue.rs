//! The catalogue of tables: the rows of slot 0, each named by a slot.

use super::EtcdClient;
use crate::model::NodePath;
use crate::store::catalogue::Catalogue;
use crate::store::client_error::ClientError;
use crate::store::etcd::keys::after;
use crate::store::etcd::wire::messages::{Compare, Compared, PutRequest, TxnRequest, TxnResponse};

/// The table that the catalogue is.
const TABLE: &str = "/@0:bytes";

/// The part of an entry's key before the number of its slot.
const PREFIX: [u8; 2] = [0, 0];

impl EtcdClient {
    pub(crate) async fn catalogue(&self) -> Result<Catalogue, ClientError> {
        let mut catalogue = Catalogue { entries: Vec::new(), latest: 0 };
        let table = NodePath::unchecked(TABLE);
        self.each_below(
            &table,
            true,
            |_, last| after(last),
            |_, kv| {
                catalogue.latest = catalogue.latest.max(kv.mod_revision);
                let slot = kv.key.strip_prefix(&PREFIX).and_then(|slot| slot.try_into().ok());
                catalogue.entries.extend(slot.map(|slot| (u16::from_be_bytes(slot), kv.value.to_vec())));
            },
        )
        .await?;
        Ok(catalogue)
    }

    /// Writes the entry of a slot, unless somebody else has written any entry since `catalogue` was read.
    /// Returns whether it was written.
    pub(crate) async fn add_table(
        &self,
        slot: u16,
        entry: Vec<u8>,
        catalogue: &Catalogue,
    ) -> Result<bool, ClientError> {
        let node = NodePath::unchecked(&format!("{TABLE}/{slot:04x}"));
        let size = entry.len();
        let put = PutRequest { key: self.key(&node)?, value: entry.into(), ..Default::default() };
        let mut compare: Vec<_> = self.unchanged_below(&NodePath::unchecked(TABLE), catalogue.latest);
        compare.push(Compare::equal(put.key.clone(), Compared::CreateRevision(0)));
        let request = TxnRequest { compare, success: vec![put.into()], ..Default::default() };
        let reply = self.ask::<TxnResponse>("KV/Txn", &request).await;
        let reply = reply.map_err(|failure| self.explain_write(&node, size, failure))?;
        Ok(reply.succeeded)
    }

    /// Returns the condition that no key below a node was changed after this revision. It holds if there is
    /// none.
    fn unchanged_below(&self, node: &NodePath, revision: i64) -> Vec<Compare> {
        let below = self.keys.below(node).into_iter();
        below.map(|below| Compare::before(below.first, below.end, revision.saturating_add(1))).collect()
    }
}
