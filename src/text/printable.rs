//! Makes text safe for a log and a terminal.

/// Returns `bytes` as text, with U+FFFD for invalid UTF-8, and with control characters escaped like in Rust.
pub fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
    line
}
