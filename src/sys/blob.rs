//! Blobs as files: long ones lie in a sealed file in memory, and actions read each as a file of their own.

use std::fs::File;
use std::io::{self, BufWriter, Seek, Write};
use std::mem;
use std::ops::Range;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::sync::Arc;

use nix::fcntl::{FcntlArg, OFlag, SealFlag, fcntl};
use nix::libc;
use nix::sys::resource::{Resource, getrlimit};

use super::descriptors::{anonymous_file, memfd, memfd_create};
use crate::model::{Blob, Exposed};

/// What makes a file in memory unchangeable for everybody and for good.
const SEALS: SealFlag = SealFlag::F_SEAL_WRITE
    .union(SealFlag::F_SEAL_SHRINK)
    .union(SealFlag::F_SEAL_GROW)
    .union(SealFlag::F_SEAL_SEAL);

/// The longest blob that another process may send. It is twice what JSON makes of the largest tree, whose
/// nodes hold 64 MiB.
pub const MAX_BLOB: u64 = 1 << 30;

/// A blob of at most this size is copied into this process when descriptors become scarce. It is the largest
/// node of a ZooKeeper.
const MAX_COPIED: u64 = 1 << 20;

/// How many bytes are copied from one file to another at once.
const WINDOW: u64 = 64 << 10;

/// Makes a blob of `bytes`. A long one becomes a file in memory, where that is possible.
pub fn seal(bytes: Arc<[u8]>) -> Blob {
    if bytes.len() <= Blob::MAX_INLINE { bytes.into() } else { seal_copy(&bytes) }
}

/// Makes a blob of a copy of `bytes`, as [`seal`] does.
pub fn seal_copy(bytes: &[u8]) -> Blob {
    if bytes.len() <= Blob::MAX_INLINE {
        return bytes.into();
    }
    let mut writer = BlobWriter::default();
    let sealed = writer.write_all(bytes).and_then(|()| writer.finish());
    sealed.unwrap_or_else(|_| bytes.into())
}

/// Makes a blob of what is written to it.
#[derive(Default)]
pub struct BlobWriter {
    /// What is not in the file. If the file cannot be created, this is all of it.
    buffer: Vec<u8>,
    file: Option<File>,
    has_no_file: bool,
    len: u64,
}

impl BlobWriter {
    /// Returns how many bytes were written.
    pub fn position(&self) -> u64 {
        self.len
    }

    pub fn finish(mut self) -> io::Result<Blob> {
        if self.file.is_some() {
            self.flush()?;
        }
        let Some(file) = self.file else { return Ok(self.buffer.into()) };
        fcntl(&file, FcntlArg::F_ADD_SEALS(SEALS))?;
        Ok(hold(&file)?.unwrap_or_else(|len| Blob::sealed(file, len)))
    }

    /// Returns the file, unless it cannot be created.
    fn file(&mut self) -> Option<&mut File> {
        if self.file.is_none() && !self.has_no_file {
            self.file = memfd_create(libc::MFD_ALLOW_SEALING).ok();
            self.has_no_file = self.file.is_none();
        }
        self.file.as_mut()
    }
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.len() + bytes.len() > Blob::MAX_INLINE {
            self.flush()?;
        }
        let written = match &mut self.file {
            Some(file) if bytes.len() > Blob::MAX_INLINE => file.write(bytes)?,
            Some(_) | None => {
                self.buffer.extend_from_slice(bytes);
                bytes.len()
            }
        };
        self.len += written as u64;
        Ok(written)
    }

    /// Moves what is buffered into the file, if there can be one.
    fn flush(&mut self) -> io::Result<()> {
        let buffer = mem::take(&mut self.buffer);
        let written = self.file().map(|file| file.write_all(&buffer));
        let is_written = written.is_some();
        self.buffer = buffer;
        if is_written {
            self.buffer.clear();
        }
        written.unwrap_or(Ok(()))
    }
}

/// Takes over a blob that another process sent. Fails if somebody could still change it, and then gives the
/// descriptor back: only that of a sealed file is known to be closed at once.
pub fn receive_blob(descriptor: OwnedFd) -> Result<Blob, (io::Error, OwnedFd)> {
    let file = File::from(descriptor);
    match check_sealed(&file).and_then(|()| hold(&file)) {
        Ok(held) => Ok(held.unwrap_or_else(|len| Blob::sealed(file, len))),
        Err(error) => Err((error, file.into())),
    }
}

/// Makes a file into which another process writes what [`take_blob_file`] takes over.
pub fn new_blob_file() -> io::Result<File> {
    memfd_create(libc::MFD_ALLOW_SEALING).or_else(|_| anonymous_file())
}

/// Makes a blob of a file of [`new_blob_file`]. The process that wrote to it must have ended.
pub fn take_blob_file(file: File) -> io::Result<Blob> {
    let len = file.metadata()?.len();
    if len > MAX_BLOB {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the file is too long"));
    }
    let is_sealed = len > Blob::MAX_INLINE as u64 && fcntl(&file, FcntlArg::F_ADD_SEALS(SEALS)).is_ok();
    if is_sealed {
        return Ok(hold(&file)?.unwrap_or_else(|len| Blob::sealed(file, len)));
    }
    let mut bytes = vec![0; len as usize];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes.into())
}

fn check_sealed(file: &File) -> io::Result<()> {
    let wrong = |what| Err(io::Error::new(io::ErrorKind::InvalidData, what));
    let seals = SealFlag::from_bits_truncate(fcntl(file, FcntlArg::F_GET_SEALS)?);
    if !seals.contains(SEALS) {
        return wrong("the file is not sealed");
    }
    if file.metadata()?.len() > MAX_BLOB {
        return wrong("the file is too long");
    }
    Ok(())
}

/// Copies a sealed file, or returns its length if it should be held as it is. The daemon may hold many, and
/// needs descriptors for other things as well: if half of them are taken, the bytes are copied, unless there
/// are very many.
fn hold(file: &File) -> io::Result<Result<Blob, u64>> {
    let len = file.metadata()?.len();
    let (limit, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if file.as_raw_fd() as u64 >= limit / 2 && len <= MAX_COPIED {
        let mut bytes = vec![0; len as usize];
        file.read_exact_at(&mut bytes, 0)?;
        return Ok(Ok(bytes.into()));
    }
    Ok(Err(len))
}

/// Opens a blob as a file that has an offset of its own and is at its beginning. Every user may open it anew,
/// as `/dev/stdin`, and nobody can change the blob through it.
pub fn open_blob(blob: &Blob) -> io::Result<File> {
    match blob.expose() {
        Exposed::Inline(bytes) => memfd(bytes),
        // Opening the descriptor of another user's file can fail.
        Exposed::Sealed(file) => reopen(file).or_else(|_| compose(blob, [Piece::Of(blob.whole())])),
    }
}

/// Does not wait for who holds a lease on the file.
fn reopen(file: &impl AsRawFd) -> io::Result<File> {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let reopened = File::options().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)?;
    fcntl(&reopened, FcntlArg::F_SETFL(OFlag::empty()))?;
    Ok(reopened)
}

/// A part of a composed file.
#[derive(Debug)]
pub enum Piece {
    Own(Vec<u8>),
    /// This range of the blob.
    Of(Range<u64>),
}

/// Makes a file as [`open_blob`] does, of bytes of the caller and of parts of a blob, which nobody looks at.
pub fn compose(blob: &Blob, pieces: impl IntoIterator<Item = Piece>) -> io::Result<File> {
    let mut out = BufWriter::with_capacity(WINDOW as usize, anonymous_file()?);
    let mut window = Window { start: 0, bytes: Vec::new() };
    for piece in pieces {
        match piece {
            Piece::Own(bytes) => out.write_all(&bytes)?,
            Piece::Of(range) => window.copy(blob, range, &mut out)?,
        }
    }
    let mut file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.rewind()?;
    Ok(file)
}

/// Copies the bytes of a blob, which nobody looks at.
pub fn copy_blob(blob: &Blob, out: &mut impl Write) -> io::Result<()> {
    Window { start: 0, bytes: Vec::new() }.copy(blob, blob.whole(), out)
}

/// The part of a sealed file that was read last. Ranges that follow one another are read at once.
struct Window {
    start: u64,
    bytes: Vec<u8>,
}

impl Window {
    fn copy(&mut self, blob: &Blob, range: Range<u64>, out: &mut impl Write) -> io::Result<()> {
        let outside = || io::Error::new(io::ErrorKind::InvalidInput, "the range lies outside of the blob");
        if range.start > range.end || range.end > blob.len() {
            return Err(outside());
        }
        let file = match blob.expose() {
            Exposed::Inline(bytes) => {
                let part = bytes.get(range.start as usize..range.end as usize).ok_or_else(outside)?;
                return out.write_all(part);
            }
            Exposed::Sealed(file) => file,
        };
        let mut at = range.start;
        while at < range.end {
            if at < self.start || at >= self.start + self.bytes.len() as u64 {
                self.bytes.resize(WINDOW.min(blob.len() - at) as usize, 0);
                self.start = at;
                file.read_exact_at(&mut self.bytes, at)?;
            }
            let part = &self.bytes[(at - self.start) as usize..];
            let part = &part[..part.len().min((range.end - at) as usize)];
            out.write_all(part)?;
            at += part.len() as u64;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
