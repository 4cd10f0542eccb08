use std::time::UNIX_EPOCH;

use super::*;

const HOSTILE: &str = "\"'><script>alert(1)</script>\u{202e}";

fn header(version: i64) -> Commit {
    Commit {
        key: HOSTILE.to_owned(),
        version,
        author: HOSTILE.to_owned(),
        comment: HOSTILE.to_owned(),
        mtime: HOSTILE.to_owned(),
        empty: false,
    }
}

fn view(is_version: bool, may_write: bool, payload: &[u8]) -> String {
    let history = [header(3), Commit { empty: true, ..header(2) }, header(1)];
    let shown = FullCommit { header: header(if is_version { 1 } else { 3 }), payload: payload.to_owned() };
    let view = KeyView {
        namespace: HOSTILE,
        head: &history[0],
        shown: &shown,
        is_version,
        history: &history,
        has_more: true,
        may_write,
    };
    view.view(UNIX_EPOCH).into_string()
}

#[test]
fn nothing_that_an_author_wrote_becomes_markup() {
    for (is_version, payload) in
        [(false, HOSTILE.as_bytes()), (true, HOSTILE.as_bytes()), (false, b"\xff<script>")]
    {
        let shown = view(is_version, true, payload);
        assert!(shown.contains("&lt;script&gt;"), "{shown}");
        for markup in ["<script", "'><", "\u{202e}"] {
            assert!(!shown.contains(markup), "{markup} in {shown}");
        }
    }
}

#[test]
fn what_one_may_not_do_is_not_offered() {
    let (mine, theirs) = (view(false, true, b"a"), view(false, false, b"a"));
    for action in ["/-/edit/", "/-/remove/", "/-/revert/"] {
        assert!(mine.contains(action) && !theirs.contains(action), "{action}");
    }
    let (mine, theirs) = (view(true, true, b"a"), view(true, false, b"a"));
    assert!(mine.contains("/-/revert/") && !theirs.contains("/-/revert/"));
    // A version that removed the key is nothing to go back to.
    assert!(!view(false, true, b"a").contains("to v2"));
}
