//! Text that is safe on a terminal and in a log.

/// The text with U+FFFD for what is no UTF-8 and with control characters escaped as Rust writes them.
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
