//! Texts of others that may be long.

use std::borrow::Cow;

/// Returns the text, or if it has more than `most` characters, these and `…`.
pub fn shortened(text: &str, most: usize) -> Cow<'_, str> {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]).into(),
        None => text.into(),
    }
}

/// Returns the text, or if it has more than `most` bytes, as much of it as fits there with `…` behind it.
/// `most` must have room for that mark.
pub fn within_bytes(text: &str, most: usize) -> Cow<'_, str> {
    if text.len() <= most {
        return text.into();
    }
    format!("{}…", beginning(text, most.saturating_sub('…'.len_utf8()))).into()
}

/// Returns as much of the text as fits into `most` bytes and ends behind a whole character.
pub fn beginning(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_within_its_bytes_behind_whole_characters() {
        for (text, expected) in
            [("", ""), ("äöü", "äöü"), ("äöüx", "ä…"), ("abcdefg", "abc…"), ("漢字漢", "漢…")]
        {
            assert_eq!(within_bytes(text, 6), expected);
        }
    }

    #[test]
    fn a_text_is_cut_behind_whole_characters() {
        for (text, expected) in [("äöü", "äöü"), ("äöüx", "äöü…"), ("", "")] {
            assert_eq!(shortened(text, 3), expected);
        }
    }
}
