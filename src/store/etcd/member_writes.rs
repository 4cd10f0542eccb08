//! The requests about members, and what their replies mean.
//!
//! A service outlives its members: whoever writes a member also makes the service's key, in the same
//! transaction, if it is missing. It has no lease.

use std::time::Duration;

use hyper::body::Bytes;
use prost::Message;
use tokio::time::timeout;

use super::keep_over::Over;
use super::lease::{self, Lease};
use super::link::{CallError, Link};
use super::wire::elements::Reply;
use super::wire::messages::{
    AnyResult, Compare, Compared, DeleteRequest, Operation, PutRequest, RangeRequest, RangeResponse,
    TxnRequest, TxnResponse,
};
use super::wire::status::Meaning;
use crate::model::NodePath;
use crate::store::member::{Found, Stamp, Write, Wrote};

/// The longest reply.
const MAX_REPLY: u64 = 4 << 20;

/// What a server says of a request about a lease that it does not know.
const NO_LEASE: &str = "lease not found";

/// A node that was read, with its key, and the revision of the store.
pub(super) type Reading = (Option<Found>, Bytes, i64);

/// The answer to a request. The inner errors are about one node, the outer ones end the connection.
pub(super) enum Answer {
    Read(NodePath, Result<Result<Reading, String>, Over>),
    Wrote { path: NodePath, is_deletion: bool, wrote: Result<Wrote, Over> },
}

const NO_KEY: &str = "no key has this name; choose another one";

pub(super) async fn read(link: &Link, key: Option<Bytes>, path: NodePath, wait: Duration) -> Answer {
    let Some(key) = key else { return Answer::Read(path, Ok(Err(NO_KEY.to_owned()))) };
    let request = RangeRequest { key: key.clone(), ..Default::default() };
    let found = match call::<RangeResponse>(link, "KV/Range", &request, wait).await {
        Ok(Ok(RangeResponse { header: Some(header), kvs, .. })) => Ok(Ok((
            kvs.into_iter().find(|kv| kv.key == key).map(|kv| Found {
                owner: (kv.lease != 0).then(|| lease::name(kv.lease)),
                is_left: false,
                stamp: Stamp(kv.mod_revision),
                data: Some(kv.value.into()),
            }),
            key,
            header.revision,
        ))),
        Ok(Ok(RangeResponse { header: None, .. })) => {
            Err(Over::Lost("a reply has no revision, which no etcd sends".to_owned()))
        }
        Ok(Err(refusal)) => Ok(Err(refusal.reason)),
        Err(over) => Err(over),
    };
    Answer::Read(path, found)
}

/// The keys of a member and of its service.
pub(super) struct MemberKeys {
    /// `None` if no key has this name.
    pub(super) own: Option<Bytes>,
    /// `None` if the service cannot have a key: it is the root, or a table.
    pub(super) service: Option<Bytes>,
}

pub(super) async fn write(
    link: &Link,
    lease: Lease,
    keys: MemberKeys,
    path: NodePath,
    write: Write,
    wait: Duration,
) -> Answer {
    let is_deletion = matches!(write, Write::Delete(_));
    let wrote = match keys.own {
        Some(key) => perform(link, lease, key, keys.service, write, wait).await,
        None => Ok(Wrote::Refused(NO_KEY.to_owned())),
    };
    Answer::Wrote { path, is_deletion, wrote }
}

async fn perform(
    link: &Link,
    lease: Lease,
    key: Bytes,
    service: Option<Bytes>,
    write: Write,
    wait: Duration,
) -> Result<Wrote, Over> {
    let (expected, member) = match write {
        Write::Create(member) => (Compared::Version(0), member),
        Write::Replace(Stamp(revision), member) | Write::Set(Stamp(revision), member) => {
            (Compared::ModRevision(revision), member)
        }
        Write::Delete(Stamp(revision)) => {
            let delete = DeleteRequest { key: key.clone(), range_end: Bytes::new() };
            let compare = vec![Compare::equal(key, Compared::ModRevision(revision))];
            return transact(link, compare, vec![delete.into()], wait).await;
        }
        // No key needs another one above it.
        Write::Parents => return Ok(Wrote::Done),
    };
    let value = Bytes::copy_from_slice(&member.data);
    let put = PutRequest { key: key.clone(), value, lease: lease.id, ..Default::default() };
    let expected = Compare::equal(key, expected);
    if let Some(service) = service
        && let Some(wrote) = put_with_service(link, service, &expected, &put, wait).await?
    {
        return Ok(wrote);
    }
    transact(link, vec![expected], vec![put.into()], wait).await
}

/// Puts a member, and the key of its service if that is missing. Returns `None` if we may not do that: many
/// roles give only what is below the service.
async fn put_with_service(
    link: &Link,
    service: Bytes,
    expected: &Compare,
    put: &PutRequest,
    wait: Duration,
) -> Result<Option<Wrote>, Over> {
    // Most services have a key.
    let look = RangeRequest { key: service.clone(), keys_only: true, ..Default::default() };
    let with_service = TxnRequest {
        compare: vec![expected.clone(), Compare::exists(service.clone())],
        success: vec![put.clone().into()],
        failure: vec![look.into()],
    };
    let is_service_there = match call::<TxnResponse>(link, "KV/Txn", &with_service, wait).await? {
        Ok(TxnResponse { succeeded: true, .. }) => return Ok(Some(Wrote::Done)),
        Ok(TxnResponse { responses, .. }) => responses.iter().any(
            |response| matches!(&response.result, Some(AnyResult::Range(found)) if !found.kvs.is_empty()),
        ),
        Err(Refusal { is_forbidden: true, .. }) => return Ok(None),
        Err(Refusal { reason, .. }) => return Ok(Some(Wrote::Refused(reason))),
    };
    if is_service_there {
        return Ok(Some(Wrote::Thwarted));
    }
    let with_both = TxnRequest {
        compare: vec![expected.clone(), Compare::equal(service.clone(), Compared::Version(0))],
        success: vec![PutRequest { key: service, ..Default::default() }.into(), put.clone().into()],
        ..Default::default()
    };
    Ok(match call::<TxnResponse>(link, "KV/Txn", &with_both, wait).await? {
        Ok(TxnResponse { succeeded: true, .. }) => Some(Wrote::Done),
        Ok(TxnResponse { succeeded: false, .. }) => Some(Wrote::Thwarted),
        Err(Refusal { is_forbidden: true, .. }) => None,
        Err(Refusal { reason, .. }) => Some(Wrote::Refused(reason)),
    })
}

async fn transact(
    link: &Link,
    compare: Vec<Compare>,
    success: Vec<Operation>,
    wait: Duration,
) -> Result<Wrote, Over> {
    let request = TxnRequest { compare, success, ..Default::default() };
    Ok(match call::<TxnResponse>(link, "KV/Txn", &request, wait).await? {
        Ok(TxnResponse { succeeded: true, .. }) => Wrote::Done,
        Ok(TxnResponse { succeeded: false, .. }) => Wrote::Thwarted,
        Err(refusal) => Wrote::Refused(refusal.reason),
    })
}

/// Why a request is refused, and what to do.
struct Refusal {
    reason: String,
    /// Whether the user of this connection has no right to it.
    is_forbidden: bool,
}

/// Makes a call. The inner error is about this one only.
async fn call<R: Reply>(
    link: &Link,
    method: &str,
    request: &impl Message,
    wait: Duration,
) -> Result<Result<R, Refusal>, Over> {
    let refused = |reason: String| Ok(Err(Refusal { reason, is_forbidden: false }));
    let error = match timeout(wait, link.call(method, request, MAX_REPLY)).await {
        Ok(Ok(reply)) => return Ok(Ok(reply)),
        Ok(Err(error)) => error,
        Err(_) => return Err(Over::Lost(format!("no answer within {} s", wait.as_secs_f64()))),
    };
    match error {
        CallError::Status(status) => match status.meaning() {
            _ if status.text.contains(NO_LEASE) => Err(Over::Lease),
            Meaning::Forbidden => {
                let reason = format!(
                    "no permission ({}); a role of the user must give read and write permission for its key \
                     (etcdctl role grant-permission)",
                    status.text
                );
                Ok(Err(Refusal { reason, is_forbidden: true }))
            }
            Meaning::TooLarge => refused(status.to_string()),
            Meaning::NoSpace => refused(
                "etcd has no space left (its quota-backend-bytes); compact and defragment it, and disarm its \
                 alarm (etcdctl alarm disarm)"
                    .to_owned(),
            ),
            Meaning::Token
            | Meaning::Login
            | Meaning::NoAuth
            | Meaning::Revision
            | Meaning::Unavailable
            | Meaning::Other => Err(Over::of(CallError::Status(status))),
        },
        CallError::TooLong(_) => refused(error.to_string()),
        CallError::Lost(reason) => Err(Over::Lost(reason)),
    }
}
