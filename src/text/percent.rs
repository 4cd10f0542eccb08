//! The escapes of a URL: `%` and two hexadecimal digits for a byte.

/// Returns the text with every byte escaped that means something, or could be lost, in a part of a URL.
pub fn percent_encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        _ if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

/// Decodes what [`percent_encoded`] encodes. Returns `None` for a `%` without two digits, and for bytes that
/// are no UTF-8.
pub fn percent_decoded(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.as_bytes().split_at_checked(2)?;
        let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        bytes.push(digit(digits[0])? << 4 | digit(digits[1])?);
        bytes.extend_from_slice(rest);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded() {
        for (text, encoded) in [
            ("a.b-c_d~1", "a.b-c_d~1"),
            ("50% ?#&+/ ä", "50%25%20%3F%23%26%2B%2F%20%C3%A4"),
            ("\0\n\"<漢", "%00%0A%22%3C%E6%BC%A2"),
            ("", ""),
        ] {
            assert_eq!(percent_encoded(text), encoded);
            assert_eq!(percent_decoded(encoded).as_deref(), Some(text));
        }
        assert_eq!(percent_decoded("ä+%c3%A4 %2f").as_deref(), Some("ä+ä /"));
    }

    #[test]
    fn what_is_no_escape_or_no_text_is_not_decoded() {
        for wrong in ["%", "a%", "%2", "%zz", "%2g", "%+1", "%%41", "%ä", "%4ä", "%ff", "%c3", "a%c3%28"] {
            assert_eq!(percent_decoded(wrong), None, "{wrong}");
        }
    }
}
