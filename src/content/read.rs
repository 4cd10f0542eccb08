//! The bytes of blobs.

use std::borrow::Cow;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use crate::model::{Blob, Exposed};

/// Returns the bytes of a blob.
pub fn read(blob: &Blob) -> io::Result<Cow<'_, [u8]>> {
    if let Exposed::Inline(bytes) = blob.expose() {
        return Ok(Cow::Borrowed(bytes));
    }
    let mut bytes = Vec::with_capacity(blob.len() as usize);
    BlobReader::new(blob, 0).read_to_end(&mut bytes)?;
    Ok(Cow::Owned(bytes))
}

/// Returns the bytes of a blob so that several can share them.
pub fn read_shared(blob: &Blob) -> io::Result<Arc<[u8]>> {
    if let Exposed::Inline(bytes) = blob.expose() {
        return Ok(Arc::clone(bytes));
    }
    // Made where it stays, because a copy of a large one may not fit.
    let mut bytes: Arc<[u8]> = std::iter::repeat_n(0, blob.len() as usize).collect();
    if let Some(bytes) = Arc::get_mut(&mut bytes) {
        BlobReader::new(blob, 0).read_exact(bytes)?;
    }
    Ok(bytes)
}

/// Iterates over the names in a list that has one a line.
pub fn names(lines: &[u8]) -> impl Iterator<Item = Cow<'_, str>> {
    let lines = lines.strip_suffix(b"\n").map(|lines| lines.split(|byte| *byte == b'\n'));
    lines.into_iter().flatten().map(String::from_utf8_lossy)
}

/// Reads a blob from some place to its end.
pub struct BlobReader<'a> {
    blob: &'a Blob,
    place: u64,
}

impl<'a> BlobReader<'a> {
    pub fn new(blob: &'a Blob, place: u64) -> Self {
        Self { blob, place }
    }
}

impl Read for BlobReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = match self.blob.expose() {
            Exposed::Inline(bytes) => {
                let place = usize::try_from(self.place).unwrap_or(usize::MAX);
                bytes.get(place..).unwrap_or_default().read(buffer)?
            }
            Exposed::Sealed(file) => file.read_at(buffer, self.place)?,
        };
        self.place += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys;

    #[test]
    fn a_blob_is_read_as_it_was_written() {
        for len in [0, 9, 3 * Blob::MAX_INLINE] {
            let bytes: Vec<u8> = (0..len).map(|n| (n % 251) as u8).collect();
            let blob = sys::seal(bytes.clone().into());
            assert_eq!(*read(&blob).unwrap(), bytes);
            assert_eq!(*read_shared(&blob).unwrap(), bytes);
            let mut rest = Vec::new();
            BlobReader::new(&blob, len as u64 / 2).read_to_end(&mut rest).unwrap();
            assert_eq!(rest, bytes[len / 2..]);
            for beyond in [len as u64, len as u64 + 1, 1 << 40] {
                assert_eq!(BlobReader::new(&blob, beyond).read(&mut [0]).unwrap(), 0, "{beyond} of {len}");
            }
        }
    }

    #[test]
    fn a_list_of_children_has_one_name_a_line() {
        for (lines, expected) in
            [("", &[] as &[&str]), ("a\n", &["a"]), ("a\n\u{fc} b\n", &["a", "\u{fc} b"])]
        {
            assert_eq!(names(lines.as_bytes()).collect::<Vec<_>>(), expected);
        }
    }
}
