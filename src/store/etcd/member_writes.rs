//! The requests about members, and what their replies mean.

use std::time::Duration;

use hyper::body::Bytes;
use prost::Message;
use tokio::time::timeout;

use super::keep_over::Over;
use super::lease::{self, Lease};
use super::link::{CallError, Link};
use super::wire::elements::Reply;
use super::wire::messages::{
    Compare, Compared, DeleteRequest, Operation, PutRequest, RangeRequest, RangeResponse, TxnRequest,
    TxnResponse,
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
        Ok(Err(reason)) => Ok(Err(reason)),
        Err(over) => Err(over),
    };
    Answer::Read(path, found)
}

pub(super) async fn write(
    link: &Link,
    lease: Lease,
    key: Option<Bytes>,
    path: NodePath,
    write: Write,
    wait: Duration,
) -> Answer {
    let is_deletion = matches!(write, Write::Delete(_));
    let wrote = match key {
        Some(key) => perform(link, lease, key, write, wait).await,
        None => Ok(Wrote::Refused(NO_KEY.to_owned())),
    };
    Answer::Wrote { path, is_deletion, wrote }
}

async fn perform(link: &Link, lease: Lease, key: Bytes, write: Write, wait: Duration) -> Result<Wrote, Over> {
    let put = |data: &[u8]| -> Operation {
        let value = Bytes::copy_from_slice(data);
        PutRequest { key: key.clone(), value, lease: lease.id, ..Default::default() }.into()
    };
    let (expected, operation) = match write {
        Write::Create(member) => (Compared::Version(0), put(&member.data)),
        Write::Replace(Stamp(revision), member) | Write::Set(Stamp(revision), member) => {
            (Compared::ModRevision(revision), put(&member.data))
        }
        Write::Delete(Stamp(revision)) => {
            let delete = DeleteRequest { key: key.clone(), range_end: Bytes::new() };
            (Compared::ModRevision(revision), delete.into())
        }
        // No key needs another one above it.
        Write::Parents => return Ok(Wrote::Done),
    };
    let request = TxnRequest {
        compare: vec![Compare::equal(key.clone(), expected)],
        success: vec![operation],
        ..Default::default()
    };
    Ok(match call::<TxnResponse>(link, "KV/Txn", &request, wait).await? {
        Ok(TxnResponse { succeeded: true, .. }) => Wrote::Done,
        Ok(TxnResponse { succeeded: false, .. }) => Wrote::Thwarted,
        Err(reason) => Wrote::Refused(reason),
    })
}

/// Makes a call. The inner error is why this one is refused, and what to do.
async fn call<R: Reply>(
    link: &Link,
    method: &str,
    request: &impl Message,
    wait: Duration,
) -> Result<Result<R, String>, Over> {
    let error = match timeout(wait, link.call(method, request, MAX_REPLY)).await {
        Ok(Ok(reply)) => return Ok(Ok(reply)),
        Ok(Err(error)) => error,
        Err(_) => return Err(Over::Lost(format!("no answer within {} s", wait.as_secs_f64()))),
    };
    match error {
        CallError::Status(status) => match status.meaning() {
            _ if status.text.contains(NO_LEASE) => Err(Over::Lease),
            Meaning::Forbidden => Ok(Err(format!(
                "no permission ({}); a role of the user must give read and write permission for its key \
                 (etcdctl role grant-permission)",
                status.text
            ))),
            Meaning::TooLarge => Ok(Err(status.to_string())),
            Meaning::NoSpace => Ok(Err(
                "etcd has no space left (its quota-backend-bytes); compact and defragment it, and disarm its \
                 alarm (etcdctl alarm disarm)"
                    .to_owned(),
            )),
            Meaning::Token
            | Meaning::Login
            | Meaning::NoAuth
            | Meaning::Revision
            | Meaning::Unavailable
            | Meaning::Other => Err(Over::of(CallError::Status(status))),
        },
        CallError::TooLong(_) => Ok(Err(error.to_string())),
        CallError::Lost(reason) => Err(Over::Lost(reason)),
    }
}
