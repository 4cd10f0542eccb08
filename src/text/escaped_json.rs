//! Makes JSON safe for a terminal.

use super::printable::printable;

/// Escapes the characters that JSON allows in strings and that a terminal might obey, or that people cannot
/// see. Parsers get the same text.
pub fn escaped_json(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for c in json.chars() {
        if c == '\n' || is_plain(c) {
            escaped.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                escaped += &format!("\\u{unit:04x}");
            }
        }
    }
    escaped
}

/// Whether messages show the character as it is.
fn is_plain(c: char) -> bool {
    let mut bytes = [0; 4];
    let text = c.encode_utf8(&mut bytes);
    matches!(c, ' '..='~') || printable(text.as_bytes()) == *text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_json_is_the_same_json() {
        let json = "{\"a\":\"\u{7f}\u{9b}31m ü 日本 \u{1f600} \\u001b\"}\n";
        let escaped = escaped_json(json);
        assert_eq!(escaped, "{\"a\":\"\\u007f\\u009b31m ü 日本 \u{1f600} \\u001b\"}\n");
        let parsed = |json: &str| serde_json::from_str::<serde_json::Value>(json).unwrap();
        assert_eq!(parsed(&escaped), parsed(json));
    }
}
