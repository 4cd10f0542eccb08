//! What the half has still to send.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::time::Duration;

use tokio::time::Instant;

use super::frame::{self, FrameError};
use super::message::FromHalf;
use super::socket::{Packet, Socket, packets};
use crate::content::BlobReader;
use crate::model::Blob;

/// The kernel takes only so many descriptors at once that are on their way, and counts those of all processes
/// of one user together. So the daemon may be slow with another store. After this time, a content goes on
/// without a descriptor, in parts, unless it is larger than the largest node.
const PATIENCE: Duration = Duration::from_millis(200);
const MAX_WITHOUT_FILE: u64 = 16 << 20;

/// When people are told that a larger content waits.
const LONG: Duration = Duration::from_secs(10);

const WAITS: &str = "contents wait, because too many others are on their way to the daemon, from all \
                     stores of one user; this ends when the daemon takes them; if not, put less data into \
                     the trees that are watched";

/// Why not everything was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blocked {
    No,
    /// The socket is full.
    Room,
    /// The kernel takes no more descriptors for now, and does not say when it does.
    Descriptors,
}

#[derive(Default)]
pub(super) struct Outbox {
    packets: VecDeque<Packet>,
    /// Since when the kernel takes no descriptors.
    refused_since: Option<Instant>,
    /// How much of the first packet's content was sent in parts.
    sent_in_parts: Option<u64>,
    was_said: bool,
}

impl Outbox {
    pub(super) fn push(&mut self, message: &FromHalf, body: &Blob) -> Result<(), FrameError> {
        self.packets.extend(packets(message, &FromHalf::More, body)?);
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// Sends what there is room for.
    pub(super) fn send(&mut self, socket: &Socket, now: Instant) -> io::Result<Blocked> {
        self.send_by(|packet| socket.send(packet), now)
    }

    fn send_by(
        &mut self,
        mut send: impl FnMut(&Packet) -> io::Result<bool>,
        now: Instant,
    ) -> io::Result<Blocked> {
        while let Some(first) = self.packets.front() {
            if let (Some(start), Some(blob)) = (self.sent_in_parts, &first.file) {
                let (part, end) = part(first, blob, start)?;
                if !send(&part)? {
                    return Ok(Blocked::Room);
                }
                if end < blob.len() {
                    self.sent_in_parts = Some(end);
                } else {
                    self.sent_in_parts = None;
                    self.packets.pop_front();
                }
                continue;
            }
            match send(first) {
                Ok(true) => {
                    if first.file.is_some() {
                        self.refused_since = None;
                    }
                    self.packets.pop_front();
                }
                Ok(false) => return Ok(Blocked::Room),
                Err(error) if error.raw_os_error() == Some(nix::libc::ETOOMANYREFS) => {
                    let refused = now - *self.refused_since.get_or_insert(now);
                    let len = first.file.as_ref().map_or(0, Blob::len);
                    if refused >= PATIENCE && len <= MAX_WITHOUT_FILE {
                        self.sent_in_parts = Some(0);
                    } else if refused >= LONG && !std::mem::replace(&mut self.was_said, true) {
                        self.packets.push_front(degraded()?);
                    } else {
                        return Ok(Blocked::Descriptors);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Blocked::No)
    }
}

/// Makes the packet with the next part of a content, and returns where that ends.
fn part(packet: &Packet, blob: &Blob, start: u64) -> io::Result<(Packet, u64)> {
    let end = blob.len().min(start + Blob::MAX_INLINE as u64);
    let mut bytes = vec![0; (end - start) as usize];
    BlobReader::new(blob, start).read_exact(&mut bytes)?;
    let frame = if end < blob.len() {
        frame::encode(&FromHalf::More, &bytes).map_err(frame_error)?
    } else {
        // The message itself has no other bytes behind its header.
        [&packet.frame[..], &bytes].concat()
    };
    Ok((Packet { frame, file: None }, end))
}

fn degraded() -> io::Result<Packet> {
    let frame = frame::encode(&FromHalf::Degraded { reason: WAITS.to_owned() }, &[]).map_err(frame_error)?;
    Ok(Packet { frame, file: None })
}

fn frame_error(error: FrameError) -> io::Error {
    io::Error::other(format!("{error:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::seal_copy;

    /// Sends with a kernel that takes no descriptors. Returns the messages with their bodies.
    fn sent(outbox: &mut Outbox, now: Instant) -> (Vec<(FromHalf, Vec<u8>)>, Blocked) {
        let mut sent = Vec::new();
        let blocked = outbox.send_by(
            |packet| {
                if packet.file.is_some() {
                    return Err(io::Error::from_raw_os_error(nix::libc::ETOOMANYREFS));
                }
                let (message, body) = frame::decode(&packet.frame).unwrap();
                sent.push((message, body.to_vec()));
                Ok(true)
            },
            now,
        );
        (sent, blocked.unwrap())
    }

    #[test]
    fn what_the_kernel_takes_no_descriptor_for_goes_in_parts_after_a_while() {
        let (mut outbox, now) = (Outbox::default(), Instant::now());
        let bytes: Vec<u8> = (0..3 * Blob::MAX_INLINE + 5).map(|n| (n % 251) as u8).collect();
        outbox.push(&FromHalf::Pong, &seal_copy(&bytes)).unwrap();
        outbox.push(&FromHalf::RootFound, &Blob::default()).unwrap();
        assert_eq!(sent(&mut outbox, now), (Vec::new(), Blocked::Descriptors));
        assert_eq!(sent(&mut outbox, now + PATIENCE / 2), (Vec::new(), Blocked::Descriptors));
        let (messages, blocked) = sent(&mut outbox, now + PATIENCE);
        let kinds: Vec<_> = messages.iter().map(|(message, _)| message).collect();
        let more = &FromHalf::More;
        assert_eq!(kinds, [more, more, more, &FromHalf::Pong, &FromHalf::RootFound]);
        assert_eq!(messages.iter().flat_map(|(_, body)| body).copied().collect::<Vec<_>>(), bytes);
        assert!(blocked == Blocked::No && outbox.is_empty());

        // The kernel takes none still, so that the next one does not wait.
        outbox.push(&FromHalf::Pong, &seal_copy(&bytes)).unwrap();
        assert_eq!(sent(&mut outbox, now + PATIENCE).0.len(), 4);
    }

    #[test]
    fn people_are_told_that_a_content_waits_which_is_too_large_for_that() {
        let (mut outbox, now) = (Outbox::default(), Instant::now());
        outbox.push(&FromHalf::Pong, &seal_copy(&vec![0; MAX_WITHOUT_FILE as usize + 1])).unwrap();
        assert_eq!(sent(&mut outbox, now), (Vec::new(), Blocked::Descriptors));
        let (messages, blocked) = sent(&mut outbox, now + LONG);
        assert!(matches!(messages[..], [(FromHalf::Degraded { .. }, _)]) && blocked == Blocked::Descriptors);
        assert_eq!(sent(&mut outbox, now + 2 * LONG), (Vec::new(), Blocked::Descriptors));
    }
}
