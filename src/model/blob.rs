//! Bytes that pass through the daemon unread.

use std::fmt;
use std::fs::File;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// The content of a node, or a part of it. The daemon, which may run as root, knows how long it is and hands
/// it to actions, but never looks at its bytes: `crate::content`, which reads them, is for rooms that run
/// without root. Clones share the bytes.
#[derive(Clone)]
pub struct Blob {
    bytes: Bytes,
    /// Only for its end.
    _counted: Option<Arc<CountedBytes>>,
}

#[derive(Clone)]
enum Bytes {
    Inline(Arc<[u8]>),
    Sealed(Arc<Sealed>),
}

struct Sealed {
    file: File,
    len: u64,
}

/// How many bytes of some blobs this process holds.
#[derive(Clone, Debug, Default)]
pub struct BlobCount(Arc<AtomicU64>);

impl BlobCount {
    pub fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Counts so many bytes until what this returns is dropped.
    pub fn count(&self, len: u64) -> CountedBytes {
        self.0.fetch_add(len, Ordering::Relaxed);
        CountedBytes { count: self.clone(), len }
    }
}

/// Some bytes in a count: those of a blob, whose clones share it, or what was made of them.
pub struct CountedBytes {
    count: BlobCount,
    len: u64,
}

impl CountedBytes {
    pub fn len(&self) -> u64 {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl Drop for CountedBytes {
    fn drop(&mut self) {
        self.count.0.fetch_sub(self.len, Ordering::Relaxed);
    }
}

/// How many files this process holds for blobs, and their bytes.
static FILES: AtomicUsize = AtomicUsize::new(0);
static FILE_BYTES: AtomicU64 = AtomicU64::new(0);

impl Drop for Sealed {
    fn drop(&mut self) {
        FILES.fetch_sub(1, Ordering::Relaxed);
        FILE_BYTES.fetch_sub(self.len, Ordering::Relaxed);
    }
}

/// The bytes of a [`Blob`], or the file that has them. `tests/arrows` lists the rooms that may ask for them.
pub(crate) enum Exposed<'a> {
    Inline(&'a Arc<[u8]>),
    /// A file in memory that nobody can change any more. Its offset is shared, so read it by position.
    Sealed(&'a File),
}

impl Blob {
    /// The longest blob that lies in this process. A longer one has a file in memory, which other processes
    /// read without a copy. This takes a descriptor, so it has to be worth it.
    pub const MAX_INLINE: usize = 32 << 10;

    /// Makes the blob of `file`, which has `len` bytes and is sealed against every change.
    pub(crate) fn sealed(file: File, len: u64) -> Self {
        FILES.fetch_add(1, Ordering::Relaxed);
        FILE_BYTES.fetch_add(len, Ordering::Relaxed);
        Self { bytes: Bytes::Sealed(Arc::new(Sealed { file, len })), _counted: None }
    }

    /// Counts the bytes in `count` until the last clone of this blob is dropped.
    pub fn counted(self, count: &BlobCount) -> Self {
        let counted = count.count(self.len());
        Self { bytes: self.bytes, _counted: Some(Arc::new(counted)) }
    }

    pub(crate) fn expose(&self) -> Exposed<'_> {
        match &self.bytes {
            Bytes::Inline(bytes) => Exposed::Inline(bytes),
            Bytes::Sealed(sealed) => Exposed::Sealed(&sealed.file),
        }
    }

    /// Returns how many files this process holds for blobs, and their bytes, which no limit on its memory
    /// counts.
    pub fn files_held() -> (usize, u64) {
        (FILES.load(Ordering::Relaxed), FILE_BYTES.load(Ordering::Relaxed))
    }

    pub fn len(&self) -> u64 {
        match &self.bytes {
            Bytes::Inline(bytes) => bytes.len() as u64,
            Bytes::Sealed(sealed) => sealed.len,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the range of the whole blob.
    pub fn whole(&self) -> Range<u64> {
        0..self.len()
    }

    /// Returns where the bytes lie, which names them as long as they are held.
    pub fn address(&self) -> usize {
        match &self.bytes {
            Bytes::Inline(bytes) => Arc::as_ptr(bytes).cast::<()>() as usize,
            Bytes::Sealed(sealed) => Arc::as_ptr(sealed) as usize,
        }
    }
}

/// The blob lies in this process, however long it is. `sys::seal` makes a file of a long one.
impl From<Arc<[u8]>> for Blob {
    fn from(bytes: Arc<[u8]>) -> Self {
        Self { bytes: Bytes::Inline(bytes), _counted: None }
    }
}

impl From<Vec<u8>> for Blob {
    fn from(bytes: Vec<u8>) -> Self {
        Arc::<[u8]>::from(bytes).into()
    }
}

impl<const N: usize> From<[u8; N]> for Blob {
    fn from(bytes: [u8; N]) -> Self {
        Arc::<[u8]>::from(bytes).into()
    }
}

impl From<&[u8]> for Blob {
    fn from(bytes: &[u8]) -> Self {
        Arc::<[u8]>::from(bytes).into()
    }
}

impl Default for Blob {
    fn default() -> Self {
        [].into()
    }
}

/// Blobs are equal if they are the same, or have the same bytes in this process. Files are not compared.
impl PartialEq for Blob {
    fn eq(&self, other: &Self) -> bool {
        match (&self.bytes, &other.bytes) {
            (Bytes::Inline(own), Bytes::Inline(other)) => own == other,
            (Bytes::Sealed(own), Bytes::Sealed(other)) => Arc::ptr_eq(own, other),
            (Bytes::Inline(_), Bytes::Sealed(_)) | (Bytes::Sealed(_), Bytes::Inline(_)) => false,
        }
    }
}

impl Eq for Blob {}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Blob({} bytes)", self.len())
    }
}
