//! Puts two texts into one, for people who decide line by line.

use std::time::Duration;

use similar::{DiffTag, TextDiff};

/// See the timeout of `diff`.
const TIMEOUT: Duration = Duration::from_secs(2);

const OURS: &str = "<<<<<<< ";
const BETWEEN: &str = "=======\n";
const THEIRS: &str = ">>>>>>> ";

/// Returns a text with the lines that both have, and between markers those that differ: first those of
/// `ours`, then those of `theirs`, which has this name.
pub fn both(ours: &str, theirs: &str, name: &str) -> String {
    let diff = TextDiff::configure().timeout(TIMEOUT).diff_lines(ours, theirs);
    let mut merged = String::new();
    let put = |merged: &mut String, lines: &mut dyn Iterator<Item = &str>| {
        for line in lines {
            merged.push_str(line);
            // A marker begins a line.
            if !line.ends_with('\n') {
                merged.push('\n');
            }
        }
    };
    for op in diff.ops() {
        let mut old = op.old_range().filter_map(|index| diff.old_slice(index));
        let mut new = op.new_range().filter_map(|index| diff.new_slice(index));
        if op.tag() == DiffTag::Equal {
            put(&mut merged, &mut old);
            continue;
        }
        merged.push_str(&format!("{OURS}yours\n"));
        put(&mut merged, &mut old);
        merged.push_str(BETWEEN);
        put(&mut merged, &mut new);
        merged.push_str(&format!("{THEIRS}{name}\n"));
    }
    merged
}

/// Whether a text still has markers.
pub fn has_markers(text: &[u8]) -> bool {
    let starts = |line: &[u8]| [OURS, THEIRS].iter().any(|marker| line.starts_with(marker.as_bytes()));
    text.split(|byte| *byte == b'\n').any(starts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_texts_are_there_and_what_is_the_same_is_there_once() {
        let merged = both("a\nb\nc\n", "a\nx\nc\nd", "version 3 by lea");
        let expected = "a\n<<<<<<< yours\nb\n=======\nx\n>>>>>>> version 3 by lea\nc\n\
                        <<<<<<< yours\n=======\nd\n>>>>>>> version 3 by lea\n";
        assert_eq!(merged, expected);
        assert!(has_markers(merged.as_bytes()) && !has_markers(b"a\n<<<<<< x\n=======\n"));
        assert_eq!(both("a\n", "a\n", "x"), "a\n");
    }
}
