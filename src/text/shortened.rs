//! Texts of others that may be long.

use std::borrow::Cow;

/// Returns the text, or if it has more than `most` characters, these and `…`.
pub fn shortened(text: &str, most: usize) -> Cow<'_, str> {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]).into(),
        None => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_behind_whole_characters() {
        for (text, expected) in [("äöü", "äöü"), ("äöüx", "äöü…"), ("", "")] {
            assert_eq!(shortened(text, 3), expected);
        }
    }
}
