//! Prints results to stdout, for every subcommand.
//!
//! Each result is written and flushed, and a failure ends the command: a caller must not take a cut result
//! for a whole one. Only a reader that has gone (`twitcher ls / | head -1`) is no failure.

use std::io::{self, ErrorKind, IsTerminal, Write};
use std::os::fd::AsFd;

use anstream::adapter::strip_str;
use anstream::{AutoStream, ColorChoice};
use thiserror::Error;

use crate::sys::Stdio;
use crate::text::{escaped_json, printable};

/// Why a result was not printed, or only in part.
#[derive(Debug, Error)]
pub enum PrintError {
    /// The reader has seen enough. A command that ends with this error succeeds.
    #[error("nobody reads stdout any more")]
    Closed,
    #[error("cannot write to stdout: {0}")]
    Failed(io::Error),
}

impl From<io::Error> for PrintError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::Failed(error),
        }
    }
}

/// Ignores that the reader of stdout has gone, for commands whose exit code is a result of its own.
pub fn unless_closed(printed: Result<(), PrintError>) -> Result<(), PrintError> {
    match printed {
        Err(PrintError::Closed) => Ok(()),
        printed => printed,
    }
}

/// Prints a text, without its colours if stdout is not a terminal, or if `NO_COLOR` is set.
pub fn print(text: &str) -> Result<(), PrintError> {
    match AutoStream::choice(&io::stdout()) {
        ColorChoice::Never => print_bytes(strip_str(text).to_string().as_bytes()),
        ColorChoice::Always | ColorChoice::AlwaysAnsi | ColorChoice::Auto => print_bytes(text.as_bytes()),
    }
}

/// Prints bytes as they are.
pub fn print_bytes(bytes: &[u8]) -> Result<(), PrintError> {
    Ok(Unbuffered.write_all(bytes)?)
}

/// Prints bytes that others wrote: as they are, but on a terminal escaped, because a terminal obeys them.
pub fn print_foreign(bytes: &[u8]) -> Result<(), PrintError> {
    match io::stdout().is_terminal() {
        true => print_bytes(escaped_lines(bytes).as_bytes()),
        false => print_bytes(bytes),
    }
}

/// Writes to stdout itself. The standard library takes a stdout that is closed, or not open for writing, for
/// one that takes everything.
struct Unbuffered;

impl Write for Unbuffered {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if Stdio::Stdout.was_closed() {
            return Err(io::Error::other("it was closed when this command started; open it (`> FILE`)"));
        }
        Ok(nix::unistd::write(io::stdout().as_fd(), bytes)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Prints JSON. See [`escaped_json`].
pub fn print_json(json: &str) -> Result<(), PrintError> {
    print_bytes(escaped_json(json).as_bytes())
}

/// Returns what others wrote as a terminal may get it: control characters are escaped, but for newlines and
/// tabs.
pub fn foreign(bytes: &[u8]) -> String {
    escaped_lines(bytes)
}

/// Escapes each line, but keeps newlines and tabs, and ends the last line.
fn escaped_lines(bytes: &[u8]) -> String {
    let lines = bytes.split_inclusive(|byte| *byte == b'\n').map(|line| {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let between_tabs: Vec<_> = line.split(|byte| *byte == b'\t').map(printable).collect();
        between_tabs.join("\t") + "\n"
    });
    lines.collect()
}

/// Returns the text as exactly one line, with its control characters escaped.
pub fn line(text: &str) -> String {
    printable(text.as_bytes()) + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_lines_keep_newlines_and_tabs() {
        assert_eq!(escaped_lines(b"a\tb\x1b[31m\r\n\nlast"), "a\tb\\u{1b}[31m\\r\n\nlast\n");
        assert_eq!(escaped_lines(b""), "");
    }
}
