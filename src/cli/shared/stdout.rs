//! Prints results to stdout.

use std::io::{self, Write};

use anstream::AutoStream;

use crate::text::printable;

/// Prints a text, without its colours if stdout is not a terminal, or if `NO_COLOR` is set.
pub fn print(text: &str) -> io::Result<()> {
    write(AutoStream::auto(io::stdout()), text.as_bytes())
}

/// Prints bytes as they are.
pub fn print_bytes(bytes: &[u8]) -> io::Result<()> {
    write(io::stdout().lock(), bytes)
}

fn write(mut stdout: impl Write, bytes: &[u8]) -> io::Result<()> {
    let written = stdout.write_all(bytes).and_then(|()| stdout.flush());
    written.map_err(|error| io::Error::new(error.kind(), format!("cannot write to stdout: {error}")))
}

/// Prints JSON. Escapes the control characters that JSON allows in strings and that a terminal might obey.
pub fn print_json(json: &str) -> io::Result<()> {
    let mut escaped = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '\n' => escaped.push(c),
            c if c.is_control() => escaped += &format!("\\u{:04x}", u32::from(c)),
            c => escaped.push(c),
        }
    }
    print_bytes(escaped.as_bytes())
}

/// Returns the text as exactly one line, with its control characters escaped.
pub fn line(text: &str) -> String {
    printable(text.as_bytes()) + "\n"
}
