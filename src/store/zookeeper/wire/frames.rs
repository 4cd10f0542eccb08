//! Cutting the stream of bytes into messages, each with its length before it.

use std::mem::take;

use super::reader::Malformed;
use super::reply::TooLarge;
use crate::store::memory;

/// The largest message that is kept: the content of the largest node, which is as large as the directory
/// store takes, with room for the rest. A server sends at most its `jute.maxbuffer` of data (1 MiB unless it
/// is raised), but lists of children can be larger than that.
pub(super) const MAX_KEPT: usize = (16 << 20) + 1024;

/// The largest message that there can be. One of this size is skipped, so that one node that is too large
/// stays one bad node; what announces more is no ZooKeeper.
pub(super) const MAX_SKIPPED: usize = 128 << 20;

/// The shortest message: the header of a reply.
pub(super) const HEADER: usize = 16;

/// The most memory that is kept for the messages to come.
const SPARE: usize = 64 << 10;

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame<'a> {
    Whole(&'a [u8]),
    /// The header of a message that is too large, and why it is.
    TooLarge([u8; HEADER], TooLarge),
}

/// The bytes that have arrived and are not used yet. They are kept as they arrive: no announced length takes
/// memory.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    arrived: Vec<u8>,
    /// Where the unused bytes start.
    start: usize,
    /// The length of the message that has begun to arrive, if it is large.
    expected: usize,
    skipping: Option<Skipping>,
}

/// A message that is too large.
#[derive(Debug)]
struct Skipping {
    header: [u8; HEADER],
    reason: TooLarge,
    /// How much of it did not arrive yet.
    missing: usize,
}

impl Frames {
    pub(crate) fn add(&mut self, mut bytes: &[u8]) {
        if let Some(skipping) = &mut self.skipping {
            let skipped = skipping.missing.min(bytes.len());
            skipping.missing -= skipped;
            bytes = &bytes[skipped..];
        }
        if self.start > 0 {
            self.arrived.drain(..take(&mut self.start));
            if self.arrived.len() + bytes.len() <= SPARE && self.arrived.capacity() > SPARE {
                self.arrived.shrink_to(SPARE);
            }
        }
        if self.expected > 0 && self.arrived.capacity() - self.arrived.len() < bytes.len() {
            // It doubles as usual, but not beyond what was looked for room for.
            let most = (4 + self.expected).saturating_sub(self.arrived.len());
            self.arrived.reserve_exact(self.arrived.len().min(most).max(bytes.len()));
        }
        self.arrived.extend_from_slice(bytes);
    }

    /// Returns the next message if all of it has arrived.
    pub(crate) fn next(&mut self) -> Result<Option<Frame<'_>>, Malformed> {
        if self.skipping.is_none() {
            let Some((announced, rest)) = self.arrived[self.start..].split_first_chunk() else {
                return Ok(None);
            };
            let announced = i32::from_be_bytes(*announced);
            let length = usize::try_from(announced).map_err(|_| Malformed::Announced(announced))?;
            if !(HEADER..=MAX_SKIPPED).contains(&length) {
                return Err(Malformed::Announced(announced));
            }
            let Some(header) = rest.first_chunk() else { return Ok(None) };
            let reason = if length > MAX_KEPT {
                Some(TooLarge::Bytes(length))
            } else if length > SPARE && rest.len() < length && self.expected != length {
                self.expected = length;
                memory::room_for(length as u64).err().map(TooLarge::from)
            } else {
                None
            };
            let Some(reason) = reason else {
                if rest.len() < length {
                    return Ok(None);
                }
                self.expected = 0;
                let start = self.start + 4;
                self.start = start + length;
                return Ok(Some(Frame::Whole(&self.arrived[start..self.start])));
            };
            let (header, skipped) = (*header, rest.len().min(length));
            self.expected = 0;
            self.skipping = Some(Skipping { header, reason, missing: length - skipped });
            self.start += 4 + skipped;
        }
        match self.skipping.take() {
            Some(Skipping { header, reason, missing: 0 }) => Ok(Some(Frame::TooLarge(header, reason))),
            unfinished => {
                self.skipping = unfinished;
                Ok(None)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(message: &[u8]) -> Vec<u8> {
        [&(message.len() as u32).to_be_bytes(), message].concat()
    }

    #[test]
    fn messages_are_cut_wherever_the_stream_is_cut() {
        let (one, two) = ([1; 16], [2; 40]);
        let stream = [framed(&one), framed(&two), framed(&one)].concat();
        for size in 1..stream.len() {
            let (mut frames, mut cut) = (Frames::default(), Vec::new());
            for part in stream.chunks(size) {
                frames.add(part);
                while let Some(frame) = frames.next().unwrap() {
                    let Frame::Whole(message) = frame else { panic!("skipped") };
                    cut.push(message.to_vec());
                }
            }
            assert_eq!(cut, [&one[..], &two, &one], "in parts of {size}");
        }
    }

    #[test]
    fn an_announced_length_takes_no_memory_and_an_impossible_one_is_refused() {
        for announced in [i32::MAX, 0x3fff_ffff, -1, i32::MIN, 0, 15, MAX_SKIPPED as i32 + 1] {
            let mut frames = Frames::default();
            frames.add(&announced.to_be_bytes());
            assert_eq!(frames.next(), Err(Malformed::Announced(announced)));
        }
        let mut frames = Frames::default();
        frames.add(&(MAX_KEPT as i32).to_be_bytes());
        assert_eq!(frames.next(), Ok(None));
        assert!(frames.arrived.capacity() < 100);
    }

    #[test]
    fn a_message_that_is_too_large_is_skipped_without_being_kept() {
        let (length, next) = (MAX_KEPT + 1, framed(&[7; 20]));
        for chunk in [1 << 10, 1 << 16, length + 4] {
            let mut frames = Frames::default();
            let stream =
                [&(length as u32).to_be_bytes()[..], &[3; HEADER], &vec![0; length - HEADER], &next].concat();
            let (mut seen, mut most) = (Vec::new(), 0);
            for part in stream.chunks(chunk) {
                frames.add(part);
                most = most.max(frames.arrived.capacity());
                while let Some(frame) = frames.next().unwrap() {
                    seen.push(match frame {
                        Frame::Whole(message) => message.len(),
                        Frame::TooLarge(header, reason) => {
                            assert_eq!((header, reason), ([3; HEADER], TooLarge::Bytes(length)));
                            length
                        }
                    });
                }
            }
            assert_eq!(seen, [length, 20]);
            assert!(most <= 4 * chunk.max(SPARE), "{most} bytes");
        }
    }

    #[test]
    fn the_memory_of_a_large_message_is_given_back() {
        let mut frames = Frames::default();
        frames.add(&framed(&vec![0; 10 << 20]));
        assert!(matches!(frames.next(), Ok(Some(Frame::Whole(_)))));
        frames.add(&framed(&[0; 16]));
        assert!(frames.arrived.capacity() <= SPARE);
    }
}
