//! The change that made a state, as its store tells of it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a store says of the change that made a state. It is there for people: nothing is decided by it. The
/// order is that of changes in one store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Origin {
    /// `None` if the store has no transactions, or does not say which it was.
    pub transaction: Option<TransactionId>,
    /// By the clock of the store, in milliseconds since 1970-01-01 UTC.
    pub at: Option<i64>,
}

impl Origin {
    /// The store does not say.
    pub const UNKNOWN: Self = Self { transaction: None, at: None };
}

/// The id of a store's transaction, displayed as the store's own tools display it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TransactionId {
    /// Of ZooKeeper: hexadecimal, `0x1f3`.
    Zxid(i64),
    /// Of etcd: decimal.
    Revision(i64),
}

impl fmt::Display for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zxid(id) => write!(f, "{id:#x}"),
            Self::Revision(revision) => revision.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_is_named_as_in_the_tools_of_its_store() {
        for (id, expected) in [
            (TransactionId::Zxid(0x1_0000_01f3), "0x1000001f3"),
            (TransactionId::Zxid(-1), "0xffffffffffffffff"),
            (TransactionId::Revision(4711), "4711"),
        ] {
            assert_eq!(id.to_string(), expected);
        }
    }

    #[test]
    fn the_later_change_is_the_greater_and_a_known_time_counts() {
        let origin = |zxid, at| Origin { transaction: Some(TransactionId::Zxid(zxid)), at };
        assert!(origin(2, None) > origin(1, Some(9)));
        assert!(origin(2, Some(1)) > origin(2, None));
        assert!(origin(1, None) > Origin::UNKNOWN);
    }
}
