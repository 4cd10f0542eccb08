//! Writes lines to stdout, stderr or a log file, which may be full, closed or rotated away.

use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anstream::{AutoStream, ColorChoice};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc;

use super::line::LogLine;
use super::output::Output;
use crate::sys::Stdio;
use crate::sys::kernel::cannot;
use crate::text::printable;

/// The pause before a write is tried again to a terminal or pipe that another process made non-blocking.
const BUSY_DELAY: Duration = Duration::from_millis(10);

/// A stream that takes lines.
#[derive(Debug)]
pub struct LogStream {
    name: String,
    file: File,
    /// The path of a log file. If another file is there, or none, that path is opened again.
    path: Option<PathBuf>,
    torn: Option<TornLine>,
    /// Whether the levels have colours.
    is_coloured: bool,
    /// Whether the caller had closed the stream: what is open there now loses every line.
    was_closed: bool,
}

/// A line that was written in part.
#[derive(Debug)]
struct TornLine {
    /// How many of its bytes were written.
    written: usize,
    /// The size of the file afterwards. A file that is smaller later was truncated.
    size: u64,
}

impl LogStream {
    pub fn stdout() -> io::Result<Self> {
        let own = io::stdout().as_fd().try_clone_to_owned();
        let file = own.map_err(cannot("take stdout for the log", "fcntl"))?.into();
        let is_coloured = AutoStream::choice(&io::stdout()) != ColorChoice::Never;
        Ok(Self { was_closed: Stdio::Stdout.was_closed(), is_coloured, ..Self::of("stdout", file) })
    }

    pub fn stderr() -> io::Result<Self> {
        let own = io::stderr().as_fd().try_clone_to_owned();
        let file = own.map_err(cannot("take stderr for the log", "fcntl"))?.into();
        let is_coloured = AutoStream::choice(&io::stderr()) != ColorChoice::Never;
        Ok(Self { was_closed: Stdio::Stderr.was_closed(), is_coloured, ..Self::of("stderr", file) })
    }

    /// Opens a log file for appending, and creates it if there is none. If it is a pipe that nobody reads, or
    /// another process holds a lease on it, the lines wait until it can be opened: nobody must hold up the
    /// daemon's start.
    pub fn open(path: &Path) -> io::Result<Self> {
        let path = std::path::absolute(path)?;
        let file = match open_without_waiting(&path) {
            // Each write tries to open the path until it leads to the file that is open.
            Err(error) if is_held_up(&error) => File::options().write(true).open("/dev/null")?,
            opened => opened?,
        };
        let name = printable(path.as_os_str().as_bytes());
        // `/dev/stdout` and the like lead elsewhere once the daemon goes into the background.
        let is_descriptor = fs::read_link(&path).is_ok_and(|target| target.starts_with("/proc"))
            || path.starts_with("/dev/fd")
            || path.starts_with("/proc");
        let was_closed = is_descriptor && leads_to_closed(&path);
        Ok(Self { path: (!is_descriptor).then_some(path), was_closed, ..Self::of(&name, file) })
    }

    /// Writes to this file, wherever it is.
    pub fn of(name: &str, file: File) -> Self {
        Self { name: name.to_owned(), file, path: None, torn: None, is_coloured: false, was_closed: false }
    }

    /// Opens the path again if it no longer leads to our file, because the file was rotated away or removed.
    fn follow_path(&mut self) -> io::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let is_ours = |found: &Metadata| {
            self.file.metadata().is_ok_and(|own| (own.dev(), own.ino()) == (found.dev(), found.ino()))
        };
        match fs::metadata(path) {
            Ok(found) if is_ours(&found) => return Ok(()),
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
            // Nothing is known about the path, so our file is still the best.
            Err(_) => return Ok(()),
        }
        self.file = open_without_waiting(path).map_err(|error| match is_held_up(&error) {
            true => io::Error::other(format!(
                "{error}: a pipe that no process reads, or a file on which another process holds a lease \
                 (/proc/locks)"
            )),
            false => error,
        })?;
        // The other file keeps its part of a torn line, and this one gets the whole line.
        self.torn = None;
        Ok(())
    }

    /// How many bytes of the first line are in the file already.
    fn written(&mut self) -> usize {
        match self.torn.take() {
            Some(TornLine { written, size }) if self.size() >= size => written,
            Some(_) | None => 0,
        }
    }

    fn size(&self) -> u64 {
        self.file.metadata().map_or(0, |metadata| metadata.len())
    }
}

impl Output for LogStream {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn remedy(&self) -> &'static str {
        match self.path {
            Some(_) => "make room, or let root write there",
            None => "restart the daemon with another log (--log-file)",
        }
    }

    fn falls_back(&self) -> bool {
        false
    }

    fn write(&mut self, lines: &[LogLine]) -> (usize, io::Result<()>) {
        if self.was_closed {
            return (0, Err(io::Error::other("it was closed when the daemon started")));
        }
        if let Err(error) = self.follow_path() {
            return (0, Err(error));
        }
        let mut text = Vec::new();
        let mut ends = Vec::with_capacity(lines.len());
        for line in lines {
            let line = if self.is_coloured { line.to_coloured_text() } else { line.to_text() };
            text.extend_from_slice(line.as_bytes());
            ends.push(text.len());
        }
        let mut written = self.written();
        let result = write_all(&mut self.file, &text, &mut written);
        let whole = ends.partition_point(|end| *end <= written);
        let begin = whole.checked_sub(1).map_or(0, |last| ends[last]);
        if written > begin {
            self.torn = Some(TornLine { written: written - begin, size: self.size() });
        }
        (whole, result)
    }
}

/// Whether this path of a descriptor is that of a standard stream which was closed.
fn leads_to_closed(path: &Path) -> bool {
    let target = fs::read_link(path).unwrap_or_default();
    let has_name = |names: [&str; 2]| {
        [path, &target].into_iter().filter_map(Path::file_name).any(|name| names.iter().any(|n| name == *n))
    };
    has_name(["stdout", "1"]) && Stdio::Stdout.was_closed()
        || has_name(["stderr", "2"]) && Stdio::Stderr.was_closed()
}

/// Writes the bytes after the first `written` ones, and counts them there.
fn write_all(file: &mut File, bytes: &[u8], written: &mut usize) -> io::Result<()> {
    while *written < bytes.len() {
        match file.write(&bytes[*written..]) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(some) => *written += some,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(BUSY_DELAY),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Opens the file for writes that may wait, but does not wait for it to be opened.
fn open_without_waiting(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    // The log contains the output of actions, which is not for every user.
    options.append(true).create(true).mode(0o640).custom_flags(OFlag::O_NONBLOCK.bits());
    let file = options.open(path)?;
    fcntl(&file, FcntlArg::F_SETFL(OFlag::O_APPEND))?;
    Ok(file)
}

/// Whether a file could be opened, were it not for another process.
fn is_held_up(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENXIO | libc::EAGAIN))
}

#[cfg(test)]
mod tests {
    use super::super::level::Level;
    use super::*;

    fn lines(texts: &[&str]) -> Vec<LogLine> {
        texts.iter().map(|text| LogLine::new(Level::Notice, (*text).to_owned())).collect()
    }

    /// The texts of the lines in a file, without their times and levels.
    fn texts(path: &Path) -> Vec<String> {
        let text = fs::read_to_string(path).unwrap();
        text.lines().map(|line| line.split_whitespace().skip(2).collect::<Vec<_>>().join(" ")).collect()
    }

    #[test]
    fn a_file_that_is_rotated_removed_or_truncated_is_followed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("logs/tw.log");
        let (parent, elsewhere) = (path.parent().unwrap(), directory.path().join("old"));
        fs::create_dir(parent).unwrap();
        let mut stream = LogStream::open(&path).unwrap();
        let mut log = |text| assert!(matches!(stream.write(&lines(&[text])), (1, Ok(()))));
        log("1");
        fs::rename(&path, &elsewhere).unwrap();
        log("2");
        assert_eq!((texts(&elsewhere), texts(&path)), (vec!["1".to_owned()], vec!["2".to_owned()]));
        fs::remove_file(&path).unwrap();
        log("3");
        assert_eq!(texts(&path), ["3"]);
        File::create(&path).unwrap();
        log("4");
        assert_eq!(texts(&path), ["4"]);
        fs::write(directory.path().join("new"), "").unwrap();
        fs::rename(directory.path().join("new"), &path).unwrap();
        log("5");
        assert_eq!(texts(&path), ["5"]);
        fs::remove_dir_all(parent).unwrap();
        fs::create_dir(parent).unwrap();
        log("6");
        assert_eq!(texts(&path), ["6"]);
        fs::remove_dir_all(parent).unwrap();
        assert!(matches!(stream.write(&lines(&["7"])), (0, Err(_))));
    }

    #[test]
    fn a_line_that_was_written_in_part_is_finished_or_written_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tw.log");
        let lines = lines(&["first", "second"]);
        let half = lines[0].to_text().split_off(10);
        let begun = lines[0].to_text().replace(&half, "");
        for truncated in [false, true] {
            fs::write(&path, &begun).unwrap();
            let mut stream = LogStream::open(&path).unwrap();
            stream.torn = Some(TornLine { written: begun.len(), size: begun.len() as u64 });
            if truncated {
                fs::write(&path, "").unwrap();
            }
            assert!(matches!(stream.write(&lines), (2, Ok(()))));
            let whole = format!("{}{}", lines[0].to_text(), lines[1].to_text());
            assert_eq!(fs::read_to_string(&path).unwrap(), whole, "truncated: {truncated}");
        }
    }

    #[test]
    fn a_disk_that_is_full_takes_no_lines() {
        let mut stream = LogStream::open(Path::new("/dev/full")).unwrap();
        let (sent, result) = stream.write(&lines(&["x"]));
        assert_eq!((sent, result.unwrap_err().kind()), (0, ErrorKind::StorageFull));
    }
}
