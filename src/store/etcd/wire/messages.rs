//! The messages of etcd's API that this program uses, with the numbers of their fields (`rpc.proto` and
//! `kv.proto` of etcd 3.4).

use hyper::body::Bytes;
use prost::encoding::{DecodeContext, WireType, decode_varint};
use prost::{Message, Oneof};

#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct Header {
    #[prost(uint64, tag = "1")]
    pub(in super::super) cluster: u64,
    #[prost(uint64, tag = "2")]
    pub(in super::super) member: u64,
    #[prost(int64, tag = "3")]
    pub(in super::super) revision: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct KeyValue {
    #[prost(bytes = "bytes", tag = "1")]
    pub(in super::super) key: Bytes,
    #[prost(int64, tag = "2")]
    pub(in super::super) create_revision: i64,
    #[prost(int64, tag = "3")]
    pub(in super::super) mod_revision: i64,
    #[prost(int64, tag = "4")]
    pub(in super::super) version: i64,
    #[prost(bytes = "bytes", tag = "5")]
    pub(in super::super) value: Bytes,
    #[prost(int64, tag = "6")]
    pub(in super::super) lease: i64,
}

/// A read. It never says `serializable` (7): a member that has lost the others must not answer it.
#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct RangeRequest {
    #[prost(bytes = "bytes", tag = "1")]
    pub(in super::super) key: Bytes,
    /// The first key that is not read. Without it, one key is read.
    #[prost(bytes = "bytes", tag = "2")]
    pub(in super::super) range_end: Bytes,
    #[prost(int64, tag = "3")]
    pub(in super::super) limit: i64,
    /// 0 is the present one.
    #[prost(int64, tag = "4")]
    pub(in super::super) revision: i64,
    /// [`DESCENDING`], or 0.
    #[prost(int32, tag = "5")]
    pub(in super::super) sort_order: i32,
    /// [`BY_CHANGE`], or 0.
    #[prost(int32, tag = "6")]
    pub(in super::super) sort_target: i32,
    #[prost(bool, tag = "8")]
    pub(in super::super) keys_only: bool,
    #[prost(bool, tag = "9")]
    pub(in super::super) count_only: bool,
}

/// The key that was changed last comes first.
pub(in super::super) const DESCENDING: i32 = 2;
pub(in super::super) const BY_CHANGE: i32 = 3;

#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct RangeResponse {
    #[prost(message, optional, tag = "1")]
    pub(in super::super) header: Option<Header>,
    #[prost(message, repeated, tag = "2")]
    pub(in super::super) kvs: Vec<KeyValue>,
    #[prost(bool, tag = "3")]
    pub(in super::super) more: bool,
    /// All keys in the range, whatever the limit.
    #[prost(int64, tag = "4")]
    pub(in super::super) count: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct PutRequest {
    #[prost(bytes = "bytes", tag = "1")]
    pub(in super::super) key: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    pub(in super::super) value: Bytes,
    #[prost(int64, tag = "3")]
    pub(in super::super) lease: i64,
    /// Keeps the value that the key has.
    #[prost(bool, tag = "5")]
    pub(in super::super) ignore_value: bool,
    /// Keeps the lease that the key has.
    #[prost(bool, tag = "6")]
    pub(in super::super) ignore_lease: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct PutResponse {
    #[prost(message, optional, tag = "1")]
    pub(in super::super) header: Option<Header>,
}

#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct DeleteRequest {
    #[prost(bytes = "bytes", tag = "1")]
    pub(in super::super) key: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    pub(in super::super) range_end: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct DeleteResponse {
    #[prost(message, optional, tag = "1")]
    pub(in super::super) header: Option<Header>,
    #[prost(int64, tag = "2")]
    pub(in super::super) deleted: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct Operation {
    #[prost(oneof = "AnyOperation", tags = "1, 2, 3")]
    pub(in super::super) operation: Option<AnyOperation>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(in super::super) enum AnyOperation {
    #[prost(message, tag = "1")]
    Range(RangeRequest),
    #[prost(message, tag = "2")]
    Put(PutRequest),
    #[prost(message, tag = "3")]
    Delete(DeleteRequest),
}

impl From<RangeRequest> for Operation {
    fn from(read: RangeRequest) -> Self {
        Self { operation: Some(AnyOperation::Range(read)) }
    }
}

impl From<PutRequest> for Operation {
    fn from(put: PutRequest) -> Self {
        Self { operation: Some(AnyOperation::Put(put)) }
    }
}

impl From<DeleteRequest> for Operation {
    fn from(delete: DeleteRequest) -> Self {
        Self { operation: Some(AnyOperation::Delete(delete)) }
    }
}

#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct OperationResult {
    #[prost(oneof = "AnyResult", tags = "1, 2, 3")]
    pub(in super::super) result: Option<AnyResult>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(in super::super) enum AnyResult {
    #[prost(message, tag = "1")]
    Range(RangeResponse),
    #[prost(message, tag = "2")]
    Put(PutResponse),
    #[prost(message, tag = "3")]
    Delete(DeleteResponse),
}

impl OperationResult {
    /// Returns how many keys this operation removed.
    pub(in super::super) fn deleted(&self) -> u64 {
        match &self.result {
            Some(AnyResult::Delete(DeleteResponse { deleted, .. })) => deleted.unsigned_abs(),
            Some(AnyResult::Range(_) | AnyResult::Put(_)) | None => 0,
        }
    }
}

/// A condition of a transaction.
#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct Compare {
    /// [`EQUAL`], [`GREATER`] or [`LESS`].
    #[prost(int32, tag = "1")]
    pub(in super::super) result: i32,
    /// The number of what is compared, as [`Compared::target`] returns it.
    #[prost(int32, tag = "2")]
    pub(in super::super) target: i32,
    #[prost(bytes = "bytes", tag = "3")]
    pub(in super::super) key: Bytes,
    #[prost(oneof = "Compared", tags = "4, 5, 6, 7")]
    pub(in super::super) compared: Option<Compared>,
    /// If it is not empty, each key from `key` to this one is compared, and a range without keys is like a
    /// key that does not exist.
    #[prost(bytes = "bytes", tag = "64")]
    pub(in super::super) range_end: Bytes,
}

/// How what a key has compares with what is given.
const EQUAL: i32 = 0;
const GREATER: i32 = 1;
const LESS: i32 = 2;

#[derive(Clone, PartialEq, Oneof)]
pub(in super::super) enum Compared {
    /// 0 where the key does not exist.
    #[prost(int64, tag = "4")]
    Version(i64),
    #[prost(int64, tag = "5")]
    CreateRevision(i64),
    #[prost(int64, tag = "6")]
    ModRevision(i64),
    #[prost(bytes = "bytes", tag = "7")]
    Value(Bytes),
}

impl Compare {
    /// The condition that `key` has exactly this.
    pub(in super::super) fn equal(key: Bytes, compared: Compared) -> Self {
        let target = match compared {
            Compared::Version(_) => 0,
            Compared::CreateRevision(_) => 1,
            Compared::ModRevision(_) => 2,
            Compared::Value(_) => 3,
        };
        Self { result: EQUAL, target, key, compared: Some(compared), range_end: Bytes::new() }
    }

    /// The condition that `key` is there.
    pub(in super::super) fn exists(key: Bytes) -> Self {
        Self { result: GREATER, ..Self::equal(key, Compared::Version(0)) }
    }

    /// The condition that no key from `first` to `end` was changed at this revision or later.
    pub(in super::super) fn before(first: Bytes, end: Bytes, revision: i64) -> Self {
        Self { result: LESS, range_end: end, ..Self::equal(first, Compared::ModRevision(revision)) }
    }
}

#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct TxnRequest {
    #[prost(message, repeated, tag = "1")]
    pub(in super::super) compare: Vec<Compare>,
    #[prost(message, repeated, tag = "2")]
    pub(in super::super) success: Vec<Operation>,
    #[prost(message, repeated, tag = "3")]
    pub(in super::super) failure: Vec<Operation>,
}

#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct TxnResponse {
    #[prost(message, optional, tag = "1")]
    pub(in super::super) header: Option<Header>,
    #[prost(bool, tag = "2")]
    pub(in super::super) succeeded: bool,
    #[prost(message, repeated, tag = "3")]
    pub(in super::super) responses: Vec<OperationResult>,
}

#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct WatchRequest {
    #[prost(oneof = "AnyWatchRequest", tags = "1, 2")]
    pub(in super::super) request: Option<AnyWatchRequest>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(in super::super) enum AnyWatchRequest {
    #[prost(message, tag = "1")]
    Create(WatchCreate),
    #[prost(message, tag = "2")]
    Cancel(WatchCancel),
}

#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct WatchCreate {
    #[prost(bytes = "bytes", tag = "1")]
    pub(in super::super) key: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    pub(in super::super) range_end: Bytes,
    #[prost(int64, tag = "3")]
    pub(in super::super) start_revision: i64,
    /// The number that we choose for it.
    #[prost(int64, tag = "7")]
    pub(in super::super) watch: i64,
    /// Has long responses come in several messages.
    #[prost(bool, tag = "8")]
    pub(in super::super) fragment: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct WatchCancel {
    #[prost(int64, tag = "1")]
    pub(in super::super) watch: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct WatchResponse {
    #[prost(message, optional, tag = "1")]
    pub(in super::super) header: Option<Header>,
    #[prost(int64, tag = "2")]
    pub(in super::super) watch: i64,
    #[prost(bool, tag = "3")]
    pub(in super::super) created: bool,
    #[prost(bool, tag = "4")]
    pub(in super::super) canceled: bool,
    /// What the watch would begin with is gone; this is the first revision that is not. 0 if it is not so.
    #[prost(int64, tag = "5")]
    pub(in super::super) compact_revision: i64,
    #[prost(string, tag = "6")]
    pub(in super::super) cancel_reason: String,
    /// More of the same response follows.
    #[prost(bool, tag = "7")]
    pub(in super::super) fragment: bool,
    #[prost(message, repeated, tag = "11")]
    pub(in super::super) events: Vec<Event>,
}

#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct Event {
    #[prost(int32, tag = "1")]
    pub(in super::super) kind: i32,
    #[prost(message, optional, tag = "2")]
    pub(in super::super) kv: Option<KeyValue>,
}

/// The [`Event::kind`] of a deletion; 0 is a put.
pub(in super::super) const DELETION: i32 = 1;

#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct AuthenticateRequest {
    #[prost(string, tag = "1")]
    pub(in super::super) name: String,
    #[prost(string, tag = "2")]
    pub(in super::super) password: String,
}

#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct AuthenticateResponse {
    #[prost(string, tag = "2")]
    pub(in super::super) token: String,
}

#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct LeaseGrantRequest {
    /// In seconds.
    #[prost(int64, tag = "1")]
    pub(in super::super) ttl: i64,
    /// 0 has the server choose one.
    #[prost(int64, tag = "2")]
    pub(in super::super) id: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct LeaseGrantResponse {
    #[prost(int64, tag = "2")]
    pub(in super::super) id: i64,
    /// In seconds. It may be more than was asked for.
    #[prost(int64, tag = "3")]
    pub(in super::super) ttl: i64,
    #[prost(string, tag = "4")]
    pub(in super::super) error: String,
}

#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct LeaseRevokeRequest {
    #[prost(int64, tag = "1")]
    pub(in super::super) id: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct LeaseRevokeResponse {
    #[prost(message, optional, tag = "1")]
    pub(in super::super) header: Option<Header>,
}

#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct LeaseKeepAliveRequest {
    #[prost(int64, tag = "1")]
    pub(in super::super) id: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(in super::super) struct LeaseKeepAliveResponse {
    #[prost(int64, tag = "2")]
    pub(in super::super) id: i64,
    /// In seconds; 0 if there is no such lease.
    #[prost(int64, tag = "3")]
    pub(in super::super) ttl: i64,
}

impl WatchResponse {
    /// Returns the number of the watch in the beginning of a response, which has it before its events.
    pub(in super::super) fn watch_in(beginning: &[u8]) -> Option<i64> {
        let mut rest = beginning;
        loop {
            let (tag, wire_type) = prost::encoding::decode_key(&mut rest).ok()?;
            match (tag, wire_type) {
                (2, WireType::Varint) => return Some(decode_varint(&mut rest).ok()?.cast_signed()),
                (3.., _) => return None,
                _ => prost::encoding::skip_field(wire_type, tag, &mut rest, DecodeContext::default()).ok()?,
            }
        }
    }
}
