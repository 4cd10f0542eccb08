//! Merges two texts that were made from the same one.

use std::ops::Range;
use std::time::{Duration, Instant};

use similar::{Algorithm, DiffOp, capture_diff_slices_deadline};

/// After so long, comparisons get coarse: more lines than need be are in conflict, and none is lost.
const TIME: Duration = Duration::from_millis(300);

const OURS: &str = "<<<<<<< ";
const BETWEEN: &str = "=======\n";
const THEIRS: &str = ">>>>>>> ";

/// What became of two texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merged {
    pub text: String,
    /// How many places both have changed in different ways. The text has both there, between lines that
    /// begin with `<<<<<<<`, `=======` and `>>>>>>>`.
    pub conflicts: usize,
}

/// Takes each change that only one of the texts has made to `base`, line by line. `names` are those of `ours`
/// and `theirs`, for the places where both have.
pub fn merge(base: &str, ours: &str, theirs: &str, names: [&str; 2]) -> Merged {
    let (base, ours, theirs) = (lines(base), lines(ours), lines(theirs));
    let deadline = Instant::now() + TIME;
    let (in_ours, in_theirs) = (matches(&base, &ours, deadline), matches(&base, &theirs, deadline));
    let mut merged = Merged { text: String::new(), conflicts: 0 };
    let (mut at, mut our, mut their) = (0, 0, 0);
    loop {
        // The next line that all of them have ends a part that some of them do not.
        let common = (at..base.len()).find(|line| in_ours[*line].is_some() && in_theirs[*line].is_some());
        let (end, our_end, their_end) = match common {
            Some(line) => (line, in_ours[line].unwrap_or(our), in_theirs[line].unwrap_or(their)),
            None => (base.len(), ours.len(), theirs.len()),
        };
        merged.add(&base[at..end], &ours[our..our_end], &theirs[their..their_end], names);
        if common.is_none() {
            return merged;
        }
        merged.text.push_str(base[end]);
        (at, our, their) = (end + 1, our_end + 1, their_end + 1);
    }
}

/// Whether a text still has places where somebody must decide.
pub fn has_markers(text: &str) -> bool {
    text.lines().any(|line| [OURS, THEIRS].iter().any(|marker| line.starts_with(marker)))
}

impl Merged {
    fn add(&mut self, base: &[&str], ours: &[&str], theirs: &[&str], [our_name, their_name]: [&str; 2]) {
        if ours == theirs || theirs == base {
            self.text.extend(ours.iter().copied());
        } else if ours == base {
            self.text.extend(theirs.iter().copied());
        } else {
            self.conflicts += 1;
            self.add_line(&format!("{OURS}{our_name}\n"));
            self.text.extend(ours.iter().copied());
            self.add_line(BETWEEN);
            self.text.extend(theirs.iter().copied());
            self.add_line(&format!("{THEIRS}{their_name}\n"));
        }
    }

    /// Adds a line of its own, also after a last line without its end.
    fn add_line(&mut self, line: &str) {
        if !self.text.is_empty() && !self.text.ends_with('\n') {
            self.text.push('\n');
        }
        self.text.push_str(line);
    }
}

fn lines(text: &str) -> Vec<&str> {
    text.split_inclusive('\n').collect()
}

/// Returns for each line of `base` which line of `other` it is.
fn matches(base: &[&str], other: &[&str], deadline: Instant) -> Vec<Option<usize>> {
    let mut matches = vec![None; base.len()];
    for operation in capture_diff_slices_deadline(Algorithm::Myers, base, other, Some(deadline)) {
        if let DiffOp::Equal { old_index, new_index, len } = operation {
            let news: Range<usize> = new_index..new_index + len;
            for (found, new) in matches[old_index..old_index + len].iter_mut().zip(news) {
                *found = Some(new);
            }
        }
    }
    matches
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn merged(base: &str, ours: &str, theirs: &str) -> (String, usize) {
        let Merged { text, conflicts } = merge(base, ours, theirs, ["yours", "v2"]);
        (text, conflicts)
    }

    #[test]
    fn changes_in_different_places_are_both_taken() {
        let base = "a\nb\nc\nd\n";
        assert_eq!(merged(base, "a\nB\nc\nd\n", "a\nb\nc\nd\ne\n"), ("a\nB\nc\nd\ne\n".to_owned(), 0));
        assert_eq!(merged(base, "b\nc\nd\n", "a\nb\nc\n"), ("b\nc\n".to_owned(), 0));
        assert_eq!(merged("", "", "a"), ("a".to_owned(), 0));
        assert_eq!(merged(base, "a\nx\nc\nd\n", "a\nx\nc\nd\n"), ("a\nx\nc\nd\n".to_owned(), 0));
    }

    #[test]
    fn changes_in_one_place_are_both_shown() {
        let text = "a\n<<<<<<< yours\nB\n=======\nβ\n>>>>>>> v2\nc\n";
        assert_eq!(merged("a\nb\nc\n", "a\nB\nc\n", "a\nβ\nc\n"), (text.to_owned(), 1));
        let text = "<<<<<<< yours\nx\n=======\ny\n>>>>>>> v2\n";
        assert_eq!(merged("", "x", "y"), (text.to_owned(), 1));
    }

    #[test]
    fn what_nobody_has_decided_is_found() {
        assert!(has_markers(&merged("b\n", "x\n", "y\n").0) && has_markers("a\n>>>>>>> v2"));
        assert!(!has_markers("a\n<<<<<< x\n=======\n") && !has_markers(" <<<<<<< yours\n"));
    }

    // The server merges what anybody sends.
    #[test]
    fn texts_that_have_nothing_in_common_are_merged_soon() {
        let lines =
            |from| (from..from + 100_000).map(|number: u32| format!("{number}\n")).collect::<String>();
        let (base, ours, theirs) = (lines(0), lines(200_000), lines(400_000));
        let began = Instant::now();
        let (text, conflicts) = merged(&base, &ours, &theirs);
        assert!(conflicts == 1 && text.contains(&ours) && text.contains(&theirs));
        assert!(began.elapsed() < 30 * TIME, "{:?}", began.elapsed());
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_what_nobody_changed_stays(
            base in "[abc\n]{0,20}", ours in "[abc\n]{0,20}", theirs in "[abc\n]{0,20}"
        ) {
            prop_assert_eq!(merged(&base, &ours, &base), (ours.clone(), 0));
            prop_assert_eq!(merged(&base, &base, &theirs), (theirs.clone(), 0));
            prop_assert_eq!(merged(&base, &ours, &ours), (ours.clone(), 0));
            let (text, _) = merged(&base, &ours, &theirs);
            for line in ours.lines().filter(|line| !base.contains(line)) {
                prop_assert!(text.lines().any(|kept| kept == line), "{:?} lost {:?}", text, line);
            }
        }
    }
}
