//! Whether a reply to a read of keys is one that an etcd can give. Whatever reads page by page would never
//! come to an end with a server whose pages do not go on, and would count keys twice that come twice.

use super::wire::messages::{RangeRequest, RangeResponse};

/// Whether all keys lie in the range, each after the one before, and there are some if there are more.
pub(super) fn is_possible(request: &RangeRequest, reply: &RangeResponse) -> bool {
    let mut before: Option<&[u8]> = None;
    let is_in_order = reply.kvs.iter().all(|kv| {
        let is_next = before.map_or(kv.key >= request.key, |before| kv.key > before);
        before = Some(&kv.key);
        is_next && is_before_end(request, &kv.key)
    });
    is_in_order && (!reply.more || !reply.kvs.is_empty())
}

fn is_before_end(request: &RangeRequest, key: &[u8]) -> bool {
    match &request.range_end[..] {
        [] => key == request.key,
        // It stands for the end of all keys.
        [0] => true,
        end => key < end,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::etcd::wire::messages::KeyValue;

    #[test]
    fn pages_go_on_and_stay_in_their_range() {
        let reply = |keys: &[&'static str], more| RangeResponse {
            kvs: keys.iter().map(|key| KeyValue { key: (*key).into(), ..Default::default() }).collect(),
            more,
            ..Default::default()
        };
        let range = |key: &'static str, end: &'static str| RangeRequest {
            key: key.into(),
            range_end: end.into(),
            ..Default::default()
        };
        let all = range("b", "d");
        for (keys, more, possible) in [
            (&["b", "c"][..], true, true),
            (&[], false, true),
            (&[], true, false),
            (&["a"], false, false),
            (&["d"], false, false),
            (&["c", "b"], false, false),
            (&["c", "c"], false, false),
        ] {
            assert_eq!(is_possible(&all, &reply(keys, more)), possible, "{keys:?} {more}");
        }
        assert!(is_possible(&range("b", ""), &reply(&["b"], false)));
        assert!(!is_possible(&range("b", ""), &reply(&["b0"], false)));
        assert!(!is_possible(&range("b", ""), &reply(&["b", "b"], false)));
        assert!(is_possible(&range("b", "\0"), &reply(&["z"], false)));
    }
}
