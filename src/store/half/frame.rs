//! Frames: one message with some bytes behind it. A codec without IO.
//!
//! A frame is the length of its header (four bytes, little-endian), the header in JSON, and the bytes. A
//! descriptor that comes with a frame is not part of it.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The largest frame: the longest blob that is not a file, and as much for the header. The kernel takes each
/// in one piece from one process to the other.
pub(super) const MAX_FRAME: usize = 64 << 10;

const PREFIX: usize = 4;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum FrameError {
    /// The header does not fit into a frame.
    TooLarge,
    /// The header is longer than its frame.
    Cut,
    /// The header is no message.
    NoMessage,
}

/// Fails only for a header that is too large.
pub(super) fn encode(header: &impl Serialize, body: &[u8]) -> Result<Vec<u8>, FrameError> {
    let mut frame = vec![0; PREFIX];
    serde_json::to_writer(&mut frame, header).map_err(|_| FrameError::NoMessage)?;
    let length = u32::try_from(frame.len() - PREFIX).map_err(|_| FrameError::TooLarge)?;
    frame[..PREFIX].copy_from_slice(&length.to_le_bytes());
    frame.extend_from_slice(body);
    if frame.len() > MAX_FRAME { Err(FrameError::TooLarge) } else { Ok(frame) }
}

pub(super) fn decode<T: DeserializeOwned>(frame: &[u8]) -> Result<(T, &[u8]), FrameError> {
    let (length, rest) = frame.split_first_chunk::<PREFIX>().ok_or(FrameError::Cut)?;
    let length = u32::from_le_bytes(*length) as usize;
    let (header, body) = rest.split_at_checked(length).ok_or(FrameError::Cut)?;
    let message = serde_json::from_slice(header).map_err(|_| FrameError::NoMessage)?;
    Ok((message, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_given_back_and_nothing_else_is_one() {
        let frame = encode(&("header", 7), b"body\0").unwrap();
        assert_eq!(decode::<(String, i32)>(&frame), Ok((("header".to_owned(), 7), b"body\0".as_slice())));
        for cut in 0..frame.len() - 5 {
            assert_eq!(decode::<(String, i32)>(&frame[..cut]), Err(FrameError::Cut), "{cut}");
        }
        assert_eq!(decode::<(String, String)>(&frame), Err(FrameError::NoMessage));
        assert_eq!(decode::<()>(&[0xff; 100]), Err(FrameError::Cut));
        assert_eq!(decode::<()>(&[0; 4]), Err(FrameError::NoMessage));
        let deep = "[".repeat(MAX_FRAME / 2);
        let mut nested = (deep.len() as u32).to_le_bytes().to_vec();
        nested.extend(deep.bytes());
        assert_eq!(decode::<serde_json::Value>(&nested), Err(FrameError::NoMessage));
        assert_eq!(encode(&"x".repeat(MAX_FRAME), &[]), Err(FrameError::TooLarge));
        assert_eq!(encode(&"", &[0; MAX_FRAME]), Err(FrameError::TooLarge));
    }
}
