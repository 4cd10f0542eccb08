//! The frames of gRPC: a byte that says whether the message is compressed, its length in four bytes, and the
//! message.

use hyper::body::Bytes;
use prost::Message;
use thiserror::Error;

/// The bytes before a message.
const HEAD: usize = 5;

/// Returns the frame of a message.
pub(in super::super) fn frame(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut frame = Vec::with_capacity(HEAD + length);
    frame.push(0);
    frame.extend(u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    frame.extend(message.encode_to_vec());
    frame.into()
}

/// Puts together the messages of a stream. It holds at most one, of at most `limit` bytes.
pub(in super::super) struct Frames {
    limit: u64,
    input: Bytes,
    state: State,
}

enum State {
    /// The bytes before a message, as far as they came.
    Head(Vec<u8>),
    /// A message, as far as it came, and how long it is.
    Body(Vec<u8>, usize),
    /// A message that is too long: its beginning, how long it is, and how much of it is still to come.
    Skipping { beginning: Vec<u8>, length: u64, left: u64 },
}

/// How much is kept of a message that is too long: enough to know whose it is.
const KEPT: usize = 128;

/// What a stream has next.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) enum Frame {
    Whole(Bytes),
    TooLong { beginning: Vec<u8>, length: u64 },
}

#[derive(Debug, Error, PartialEq, Eq)]
#[error("a message is compressed, which nobody asked for")]
pub(in super::super) struct Compressed;

impl Frames {
    pub(in super::super) fn new(limit: u64) -> Self {
        Self { limit, input: Bytes::new(), state: State::Head(Vec::with_capacity(HEAD)) }
    }

    /// Takes what arrived. All of what came before must have been taken out.
    pub(in super::super) fn add(&mut self, bytes: Bytes) {
        debug_assert!(self.input.is_empty());
        self.input = bytes;
    }

    /// Whether a part of a message has come.
    pub(in super::super) fn is_inside(&self) -> bool {
        !matches!(&self.state, State::Head(head) if head.is_empty())
    }

    /// Returns the length of the message that is coming, once it is known to be too long.
    pub(in super::super) fn too_long(&self) -> Option<u64> {
        match self.state {
            State::Skipping { length, .. } => Some(length),
            State::Head(_) | State::Body(..) => None,
        }
    }

    /// Returns the next message, if it has arrived completely. `fits` says whether there is room for so many
    /// bytes.
    pub(in super::super) fn next(&mut self, fits: impl Fn(u64) -> bool) -> Result<Option<Frame>, Compressed> {
        loop {
            match &mut self.state {
                State::Head(head) => {
                    head.extend(self.input.split_to((HEAD - head.len()).min(self.input.len())));
                    let Some((compressed, length)) = head.split_first().filter(|_| head.len() == HEAD) else {
                        return Ok(None);
                    };
                    if *compressed != 0 {
                        return Err(Compressed);
                    }
                    let length = length.iter().fold(0, |length, byte| length << 8 | u64::from(*byte));
                    self.state = match length <= self.limit && fits(length) {
                        true => State::Body(Vec::new(), length as usize),
                        false => State::Skipping { beginning: Vec::new(), length, left: length },
                    };
                }
                State::Body(body, length) => {
                    let missing = *length - body.len();
                    if body.is_empty() && self.input.len() >= missing {
                        // All of it lies in one piece already.
                        let message = self.input.split_to(missing);
                        self.state = State::Head(Vec::with_capacity(HEAD));
                        return Ok(Some(Frame::Whole(message)));
                    }
                    if body.is_empty() {
                        body.reserve_exact(*length);
                    }
                    body.extend_from_slice(&self.input.split_to(missing.min(self.input.len())));
                    if body.len() < *length {
                        return Ok(None);
                    }
                    let message = std::mem::take(body).into();
                    self.state = State::Head(Vec::with_capacity(HEAD));
                    return Ok(Some(Frame::Whole(message)));
                }
                State::Skipping { beginning, length, left } => {
                    let some = self.input.split_to((*left).min(self.input.len() as u64) as usize);
                    *left -= some.len() as u64;
                    let kept = some.len().min(KEPT - beginning.len());
                    beginning.extend_from_slice(&some[..kept]);
                    if *left > 0 {
                        return Ok(None);
                    }
                    let frame = Frame::TooLong { beginning: std::mem::take(beginning), length: *length };
                    self.state = State::Head(Vec::with_capacity(HEAD));
                    return Ok(Some(frame));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::etcd::wire::messages::PutRequest;

    fn read(frames: &mut Frames, stream: &[u8], step: usize) -> Vec<Frame> {
        let mut found = Vec::new();
        for piece in stream.chunks(step) {
            frames.add(Bytes::copy_from_slice(piece));
            while let Some(frame) = frames.next(|_| true).unwrap() {
                found.push(frame);
            }
        }
        found
    }

    #[test]
    fn messages_are_found_however_a_stream_is_cut() {
        let message =
            |value: &[u8]| frame(&PutRequest { value: value.to_vec().into(), ..Default::default() });
        let stream = [message(b""), message(b"one"), message(&[7; 300])].concat();
        for step in 1..stream.len() {
            let mut frames = Frames::new(1000);
            let found = read(&mut frames, &stream, step);
            let values = found.iter().map(|frame| match frame {
                Frame::Whole(bytes) => PutRequest::decode(bytes.clone()).unwrap().value,
                Frame::TooLong { .. } => panic!("{frame:?}"),
            });
            assert_eq!(values.collect::<Vec<_>>(), [&b""[..], b"one", &[7; 300]]);
            assert!(!frames.is_inside());
        }
    }

    #[test]
    fn a_message_that_is_too_long_is_passed_over() {
        let message =
            |value: &[u8]| frame(&PutRequest { value: value.to_vec().into(), ..Default::default() });
        let stream = [message(&[7; 300]), message(b"next")].concat();
        for step in [1, 7, 1000] {
            let found = read(&mut Frames::new(100), &stream, step);
            let Frame::TooLong { beginning, length } = &found[0] else { panic!("{found:?}") };
            assert_eq!((beginning.len(), *length, found.len()), (KEPT, 303, 2));
            assert!(matches!(found[1], Frame::Whole(_)));
        }
        let mut frames = Frames::new(100);
        frames.add(Bytes::from_static(&[0, 0xff, 0xff, 0xff, 0xff]));
        assert_eq!(frames.next(|_| true), Ok(None));
        assert_eq!(frames.too_long(), Some(0xffff_ffff));
        frames.add(Bytes::new());
        let mut frames = Frames::new(100);
        frames.add(Bytes::from_static(&[1, 0, 0, 0, 0]));
        assert_eq!(frames.next(|_| true), Err(Compressed));
    }
}
