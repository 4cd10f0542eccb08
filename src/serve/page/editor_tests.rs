use std::time::UNIX_EPOCH;

use super::*;

const HOSTILE: &str = "</textarea>\"'><script>alert(1)</script>";

fn theirs() -> Commit {
    Commit {
        key: HOSTILE.to_owned(),
        version: 8,
        author: HOSTILE.to_owned(),
        comment: HOSTILE.to_owned(),
        mtime: HOSTILE.to_owned(),
        empty: false,
    }
}

fn editor(text: &str) -> Editor<'_> {
    Editor {
        who: Who::Anyone,
        namespace: HOSTILE,
        key: Some(HOSTILE),
        typed_key: HOSTILE,
        base: 7,
        text,
        author: HOSTILE,
        comment: HOSTILE,
        problem: None,
        review: None,
        conflict: None,
    }
}

#[test]
fn nothing_that_an_author_or_a_validator_wrote_becomes_markup() {
    let theirs = theirs();
    let diff = Diff::new(HOSTILE.as_bytes(), b"<script>");
    for key in [Some(HOSTILE), None] {
        let conflict =
            Overtaken { theirs: &theirs, diff: diff.clone(), opened: 7, mine: HOSTILE, undecided: Some(1) };
        let editor = Editor {
            key,
            problem: Some("line 1: <script>\nline 2: \u{202e}"),
            review: Some(diff.clone()),
            conflict: Some(conflict),
            ..editor(HOSTILE)
        };
        let shown = editor.view(UNIX_EPOCH).into_string();
        assert!(shown.matches("&lt;script&gt;").count() > 5, "{shown}");
        for markup in ["<script", "'><", "\u{202e}"] {
            assert!(!shown.contains(markup), "{markup} in {shown}");
        }
        assert_eq!(shown.matches("</textarea>").count(), 1, "{shown}");
    }
}

#[test]
fn a_text_keeps_a_newline_at_its_beginning() {
    assert!(editor("\na").view(UNIX_EPOCH).into_string().contains(">\n\na</textarea>"));
}

#[test]
fn what_an_editor_does_not_show_is_said() {
    assert_eq!(notes("a\tb\r\nc\r\n"), Vec::<String>::new());
    assert_eq!(notes("a\r\nb\n").len(), 1);
    assert_eq!(notes("a\nb\u{202e}\n"), ["Line 2 has a character that does not show here: U+202E."]);
}

#[test]
fn users_do_not_say_who_they_are() {
    let user = Editor { who: Who::User("gian", &[]), ..editor("") };
    assert!(!user.view(UNIX_EPOCH).into_string().contains("name=\"author\""));
    assert!(editor("").view(UNIX_EPOCH).into_string().contains("name=\"author\""));
}
