//! Which words differ between the old and the new lines of one place.

use std::time::Instant;

use similar::{Algorithm, DiffOp, capture_diff_slices_deadline};

/// A part of a line, and whether only this side has it.
pub type Part = (bool, String);

/// The lines of a side, as their parts.
pub type Lines = Vec<Vec<Part>>;

/// If no more than so many per cent of two places are in both, they are different lines, and not one line
/// with other words.
const MIN_COMMON: usize = 40;

/// Compares word by word.
pub fn compare(old: &[&str], new: &[&str], deadline: Instant) -> (Lines, Lines) {
    let (old, new) = (tokens(old), tokens(new));
    let (mut in_old, mut in_new) = (vec![true; old.len()], vec![true; new.len()]);
    let operations = capture_diff_slices_deadline(Algorithm::Myers, &old, &new, Some(deadline));
    let mut common = 0;
    for operation in operations {
        if let DiffOp::Equal { old_index, new_index, len } = operation {
            in_old[old_index..old_index + len].fill(false);
            in_new[new_index..new_index + len].fill(false);
            common += weight(&old[old_index..old_index + len]);
        }
    }
    if 100 * 2 * common <= MIN_COMMON * (weight(&old) + weight(&new)) {
        in_old.fill(false);
        in_new.fill(false);
    }
    (lines(&old, &in_old), lines(&new, &in_new))
}

/// Returns the words of lines, and `\n` between two lines. A character that is part of no word stands alone,
/// so that JSON is compared like prose.
fn tokens<'a>(lines: &[&'a str]) -> Vec<&'a str> {
    let mut tokens = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        if index > 0 {
            tokens.push("\n");
        }
        let mut rest = *line;
        while let Some(first) = rest.chars().next() {
            let kind = |c: char| (c.is_alphanumeric() || c == '_', c.is_whitespace());
            let end = match kind(first) {
                (false, false) => first.len_utf8(),
                same => rest.find(|c| kind(c) != same).unwrap_or(rest.len()),
            };
            let (token, tail) = rest.split_at(end);
            tokens.push(token);
            rest = tail;
        }
    }
    tokens
}

/// How much there is to read.
fn weight(tokens: &[&str]) -> usize {
    tokens.iter().filter(|token| !token.trim().is_empty()).map(|token| token.len()).sum()
}

fn lines(tokens: &[&str], differs: &[bool]) -> Lines {
    let (mut lines, mut line) = (Vec::new(), Vec::<Part>::new());
    for (token, differs) in tokens.iter().zip(differs) {
        match line.last_mut() {
            _ if *token == "\n" => lines.push(std::mem::take(&mut line)),
            Some((before, text)) if before == differs => text.push_str(token),
            _ => line.push((*differs, (*token).to_owned())),
        }
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn marked(old: &[&str], new: &[&str]) -> (String, String) {
        let (old, new) = compare(old, new, Instant::now() + Duration::from_secs(60));
        let line = |line: Vec<Part>| {
            line.into_iter().map(|(differs, text)| if differs { format!("[{text}]") } else { text }).collect()
        };
        let text = |lines: Lines| lines.into_iter().map(line).collect::<Vec<String>>().join("|");
        (text(old), text(new))
    }

    #[test]
    fn only_the_words_that_differ_are_marked() {
        let (old, new) = marked(&[r#"{"level": "info"}"#], &[r#"{"level": "debug"}"#]);
        assert_eq!((&*old, &*new), (r#"{"level": "[info]"}"#, r#"{"level": "[debug]"}"#));
        let (old, new) = marked(&["one two", "three"], &["one 2 two", "three four"]);
        assert_eq!((&*old, &*new), ("one two|three", "one [2 ]two|three[ four]"));
    }

    #[test]
    fn lines_that_have_little_in_common_are_marked_as_lines_alone() {
        let (old, new) = marked(&["the quick brown fox"], &["a lazy dog"]);
        assert_eq!((&*old, &*new), ("the quick brown fox", "a lazy dog"));
        assert_eq!(marked(&["x"], &["", ""]), ("x".to_owned(), "|".to_owned()));
    }
}
