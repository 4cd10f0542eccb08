//! Reading messages whose size in memory is bounded. Two bytes can be an element of a list, which takes a
//! hundred in memory, so that a server that lies could have us take far more than it sends.

use hyper::body::Bytes;
use prost::Message;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use thiserror::Error;

use super::messages::{
    AuthenticateResponse, DeleteResponse, LeaseGrantResponse, LeaseKeepAliveResponse, LeaseRevokeResponse,
    RangeResponse, TxnResponse, WatchResponse,
};
use crate::store::memory;

/// What an element takes in memory: the largest is an event with its key and value. A list that grows takes
/// twice as much.
const ELEMENT: u64 = 2 * 160;

/// There is always room for so many bytes.
const SMALL: u64 = 64 << 10;

/// No element of etcd is shorter, except for a few.
const MIN_LENGTH: u64 = 8;
const FEW: u64 = 1024;

/// A message of a server.
pub(in super::super) trait Reply: Message + Default {
    /// The numbers of the lists in it, each one in the elements of the one before.
    const LISTS: &'static [u32];
}

impl Reply for RangeResponse {
    const LISTS: &'static [u32] = &[2];
}

impl Reply for TxnResponse {
    /// The results, the one that is a range, and its keys.
    const LISTS: &'static [u32] = &[3, 1, 2];
}

impl Reply for WatchResponse {
    const LISTS: &'static [u32] = &[11];
}

impl Reply for DeleteResponse {
    const LISTS: &'static [u32] = &[];
}

impl Reply for AuthenticateResponse {
    const LISTS: &'static [u32] = &[];
}

impl Reply for LeaseGrantResponse {
    const LISTS: &'static [u32] = &[];
}

impl Reply for LeaseRevokeResponse {
    const LISTS: &'static [u32] = &[];
}

impl Reply for LeaseKeepAliveResponse {
    const LISTS: &'static [u32] = &[];
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(in super::super) enum ReadError {
    #[error("a message of the server cannot be read")]
    Malformed,
    /// It takes so many bytes of memory.
    #[error("a message of the server has no room")]
    NoRoom(u64),
}

pub(in super::super) fn read<R: Reply>(message: Bytes) -> Result<R, ReadError> {
    let (length, elements) = (message.len() as u64, count(&message, R::LISTS));
    if elements > FEW + length / MIN_LENGTH {
        return Err(ReadError::Malformed);
    }
    let bytes = elements * ELEMENT;
    if bytes > SMALL {
        memory::room_for(bytes).map_err(|_| ReadError::NoRoom(length + bytes))?;
    }
    R::decode(message).map_err(|_| ReadError::Malformed)
}

/// Counts the elements of these lists, as far as the message can be read.
fn count(mut message: &[u8], lists: &[u32]) -> u64 {
    let Some((list, within)) = lists.split_first() else { return 0 };
    let mut elements = 0;
    while let Ok((tag, wire_type)) = decode_key(&mut message) {
        if (tag, wire_type) != (*list, WireType::LengthDelimited) {
            if skip_field(wire_type, tag, &mut message, DecodeContext::default()).is_err() {
                break;
            }
            continue;
        }
        let length = decode_varint(&mut message).ok().and_then(|length| usize::try_from(length).ok());
        let Some((element, rest)) = length.and_then(|length| message.split_at_checked(length)) else { break };
        elements += 1 + count(element, within);
        message = rest;
    }
    elements
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::etcd::wire::messages::{AnyResult, Event, KeyValue, OperationResult};

    #[test]
    fn elements_are_counted_in_each_list() {
        let kv = KeyValue { key: Bytes::from_static(b"/key"), mod_revision: 7, ..Default::default() };
        let range = RangeResponse { kvs: vec![kv.clone(); 3], ..Default::default() };
        let result = OperationResult { result: Some(AnyResult::Range(range)) };
        let reply = TxnResponse { responses: vec![result; 2], ..Default::default() };
        assert_eq!(count(&reply.encode_to_vec(), TxnResponse::LISTS), 2 + 2 + 6);
        assert_eq!(read::<TxnResponse>(reply.encode_to_vec().into()), Ok(reply));
        let event = Event { kind: 0, kv: Some(kv) };
        let response = WatchResponse { watch: 1, events: vec![event; 5000], ..Default::default() };
        assert_eq!(read::<WatchResponse>(response.encode_to_vec().into()), Ok(response));
    }

    #[test]
    fn a_message_of_nothing_but_empty_elements_is_refused() {
        let events = [0x5a, 0].repeat(1 << 20);
        assert_eq!(read::<WatchResponse>(events.into()), Err(ReadError::Malformed));
        let keys = [0x12, 0].repeat(1 << 20);
        assert_eq!(read::<RangeResponse>(keys.into()), Err(ReadError::Malformed));
        for broken in [&[0x5a][..], &[0x5a, 0xff, 0xff, 0xff, 0xff, 0x7f], &[0xff; 11]] {
            assert_eq!(
                read::<WatchResponse>(Bytes::copy_from_slice(broken)),
                Err(ReadError::Malformed),
                "{broken:?}"
            );
        }
    }
}
