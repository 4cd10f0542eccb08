//! A model of a server.

use super::*;

pub(super) type Store = BTreeMap<Vec<u8>, KeyValue>;

/// A model of a server, and of one connection to it.
#[derive(Clone, Default)]
pub(super) struct Server {
    pub(super) now: Store,
    /// What happened at each revision, and what there was after it.
    pub(super) history: Vec<(Vec<Event>, Store)>,
    pub(super) compacted: i64,
    /// Makes the bytes of what is written after a restore others than before it.
    pub(super) life: u32,
}

pub(super) struct Watched {
    pub(super) range: KeyRange,
    /// The next revision to send.
    pub(super) next: i64,
}

impl Server {
    pub(super) fn revision(&self) -> i64 {
        1 + self.history.len() as i64
    }

    pub(super) fn put(&mut self, key: Vec<u8>) {
        let revision = self.revision() + 1;
        let before = self.now.get(&key);
        let kv = KeyValue {
            key: key.clone().into(),
            create_revision: before.map_or(revision, |kv| kv.create_revision),
            mod_revision: revision,
            version: before.map_or(1, |kv| kv.version + 1),
            value: format!("{revision} {}", self.life).into(),
            lease: 0,
        };
        self.now.insert(key, kv.clone());
        self.history.push((vec![Event { kind: 0, kv: Some(kv) }], self.now.clone()));
    }

    pub(super) fn remove(&mut self, keys: &[Vec<u8>]) {
        let revision = self.revision() + 1;
        let removed = keys.iter().filter(|key| self.now.remove(*key).is_some());
        let gone = |key: &Vec<u8>| KeyValue {
            key: key.clone().into(),
            mod_revision: revision,
            ..Default::default()
        };
        let events: Vec<_> = removed.map(|key| Event { kind: DELETION, kv: Some(gone(key)) }).collect();
        if !events.is_empty() {
            self.history.push((events, self.now.clone()));
        }
    }

    pub(super) fn at(&self, revision: i64) -> Option<&Store> {
        match revision {
            0 => Some(&self.now),
            revision if revision < self.compacted || revision > self.revision() => None,
            1 => None,
            revision => Some(&self.history[revision as usize - 2].1),
        }
    }

    pub(super) fn read(&self, request: &TxnRequest) -> Result<TxnResponse, ReadFailure> {
        let header = Some(Header { revision: self.revision(), ..Default::default() });
        let mut responses = Vec::new();
        for operation in &request.success {
            let Some(AnyOperation::Range(read)) = &operation.operation else { panic!("no read") };
            let store = self.at(read.revision).ok_or(ReadFailure::Compacted)?;
            let range = KeyRange { first: read.key.clone(), end: read.range_end.clone() };
            let mut all: Vec<_> = store.values().filter(|kv| is_in(&range, &kv.key)).cloned().collect();
            if read.sort_order == DESCENDING {
                all.sort_by_key(|kv| std::cmp::Reverse(kv.mod_revision));
            }
            let limit = if read.limit == 0 { all.len() } else { read.limit.min(2) as usize };
            let mut found =
                RangeResponse { count: all.len() as i64, more: all.len() > limit, ..Default::default() };
            found.kvs = all.into_iter().take(limit).collect();
            if read.keys_only {
                found.kvs.iter_mut().for_each(|kv| kv.value = Default::default());
            }
            responses.push(OperationResult { result: Some(AnyResult::Range(found)) });
        }
        Ok(TxnResponse { header, succeeded: true, responses })
    }
}

pub(super) fn is_in(range: &KeyRange, key: &[u8]) -> bool {
    if range.end.is_empty() { range.first == key } else { *range.first <= *key && *key < *range.end }
}
