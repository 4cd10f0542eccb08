//! Patterns for names, as a shell has them.

/// Whether the text is a pattern: whether it contains `*` or `?`.
pub fn is_glob(text: &str) -> bool {
    text.contains(['*', '?'])
}

/// Whether the name matches the pattern, in which `*` stands for any characters and `?` for one.
pub fn matches_glob(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut at, mut in_name) = (0, 0);
    // The last `*`, and where in the name what follows it was tried last.
    let mut star = None;
    while in_name < name.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, in_name));
                at += 1;
            }
            Some(wanted) if *wanted == '?' || *wanted == name[in_name] => {
                (at, in_name) = (at + 1, in_name + 1)
            }
            Some(_) | None => match star {
                Some((star_at, tried)) => {
                    star = Some((star_at, tried + 1));
                    (at, in_name) = (star_at + 1, tried + 1);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|rest| *rest == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything_and_a_question_mark_for_one_character() {
        for (pattern, name, expected) in [
            ("*", "", true),
            ("git.twc:*", "git.twc:deploy", true),
            ("git.twc:*", "app.twc:deploy", false),
            ("*deploy", "git.twc:deploy", true),
            ("*.twc:*lo?", "git.twc:deploy", true),
            ("*.twc:*lo?", "git.twc:deplo", false),
            ("a*b*c", "axbxbc", true),
            ("a*b*c", "axbxb", false),
            ("日?", "日本", true),
            ("deploy", "deploy", true),
            ("", "x", false),
        ] {
            assert_eq!(matches_glob(pattern, name), expected, "{pattern} {name}");
        }
        // A pattern of many stars takes no exponential time.
        assert!(!matches_glob(&"*a".repeat(1000), &"a".repeat(999)));
    }
}
