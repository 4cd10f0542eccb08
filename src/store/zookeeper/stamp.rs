//! What a server's stat tells of a node's state.

use super::wire::Stat;
use crate::model::{NodeFacet, Origin, TransactionId, Version};

/// Identifies one state of one facet of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    incarnation: i64,
    revision: i64,
    /// The server's numbers have 32 bits, and there is a stamp for each node.
    number: i32,
    /// How often the node's ACL was changed.
    acl_changes: i32,
}

impl Stamp {
    pub(super) fn of(stat: &Stat, facet: NodeFacet) -> Self {
        let (revision, number) = match facet {
            NodeFacet::Data => (transaction_id(stat.mzxid, stat.mtime), stat.version),
            NodeFacet::Children => (stat.pzxid, stat.cversion),
        };
        let incarnation = transaction_id(stat.czxid, stat.ctime);
        Self { incarnation, revision, number, acl_changes: stat.aversion }
    }

    pub(super) fn version(self) -> Version {
        let Self { incarnation, revision, number, .. } = self;
        Version { incarnation, revision, number: number.into() }
    }
}

/// Returns which transaction last changed this facet of a node. The server keeps no time of a change of the
/// children, unless it was the creation of the node.
pub(super) fn origin(stat: &Stat, facet: NodeFacet) -> Origin {
    let (zxid, at) = match facet {
        NodeFacet::Data => (stat.mzxid, Some(stat.mtime)),
        NodeFacet::Children => (stat.pzxid, (stat.pzxid == stat.czxid).then_some(stat.ctime)),
    };
    Origin { transaction: Some(TransactionId::Zxid(zxid)), at }
}

/// Whether a change from `before` to `now` may have come at a time at which we could not read the node. Then
/// the server announces nothing, and forgets the watch (see [`super::table`]).
pub(super) fn may_be_untold_for_want_of_rights(before: Option<Stamp>, now: Option<Stamp>) -> bool {
    match (before, now) {
        (Some(before), Some(now)) if before.incarnation == now.incarnation => {
            before.acl_changes != now.acl_changes
        }
        // It may have been created without rights for us, and got them later.
        (_, Some(now)) => now.acl_changes > 0,
        // A node that is gone does not tell what its ACL was.
        (_, None) => true,
    }
}

/// Makes one number of a transaction's id and its time in milliseconds. The id alone tells transactions of
/// one history apart, but not those of a server that was wiped and filled again in the same order.
fn transaction_id(zxid: i64, at: i64) -> i64 {
    // Both numbers vary in their low bits, so the time moves up to the bits of the id's epoch, which is
    // small.
    zxid ^ at.rotate_left(22)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_told_with_its_transaction_and_its_time_where_the_server_keeps_one() {
        let stat = Stat {
            czxid: 0x10,
            mzxid: 0x30,
            ctime: 1_000,
            mtime: 3_000,
            version: 2,
            cversion: 1,
            aversion: 0,
            ephemeral_owner: 0,
            data_length: 0,
            num_children: 1,
            pzxid: 0x20,
        };
        let zxid = |id| Some(TransactionId::Zxid(id));
        let expected = Origin { transaction: zxid(0x30), at: Some(3_000) };
        assert_eq!(origin(&stat, NodeFacet::Data), expected);
        assert_eq!(origin(&stat, NodeFacet::Children), Origin { transaction: zxid(0x20), at: None });
        let new = Stat { pzxid: 0x10, ..stat };
        let expected = Origin { transaction: zxid(0x10), at: Some(1_000) };
        assert_eq!(origin(&new, NodeFacet::Children), expected);
    }

    #[test]
    fn a_change_is_excused_if_the_rights_may_have_been_missing() {
        let stamp = |incarnation, revision, acl_changes| {
            Some(Stamp { incarnation, revision, number: 0, acl_changes })
        };
        for (what, before, now, is_excused) in [
            ("changed", stamp(1, 1, 0), stamp(1, 2, 0), false),
            ("created", None, stamp(1, 1, 0), false),
            ("created anew", stamp(1, 1, 3), stamp(2, 1, 0), false),
            ("changed, with its ACL", stamp(1, 1, 0), stamp(1, 2, 1), true),
            ("the ACL alone", stamp(1, 1, 0), stamp(1, 1, 1), true),
            ("created, and opened later", None, stamp(1, 1, 1), true),
            ("created anew, and opened later", stamp(1, 1, 1), stamp(2, 1, 1), true),
            ("deleted", stamp(1, 1, 0), None, true),
        ] {
            assert_eq!(may_be_untold_for_want_of_rights(before, now), is_excused, "{what}");
        }
    }
}
