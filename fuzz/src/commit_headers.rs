//! Fuzzes the headers of commits: those of a request, and those in a node.
//!
//! What a client says in Rainer's headers is refused, or it is kept, is the same in each reply about the
//! commit, and passes through a node unchanged. A node is no commit, or it is one, and its header can be told
//! to anybody: no author of another program breaks a reply or a page.

use std::sync::Arc;

use twitcher::commits::{FullCommit, encode};
use twitcher::model::Commit;
use twitcher::value::commit::decode;

use super::commit_server::{Memory, ask, server};

const KEY: &str = "foo";

/// The headers of a save. The input has their values in this order, each ended by a NUL, and then the
/// payload.
const HEADERS: [&str; 5] =
    ["X-Rainer-Author", "X-Rainer-Comment", "X-Rainer-Modified-Time", "X-Rainer-Empty", "X-Rainer-Key"];

/// Takes the whole of `data` as a node, and as the headers and the payload of a save.
pub fn run(data: &[u8]) {
    if let Ok((header, payload)) = decode(data, KEY).inspect_err(|fault| {
        assert!(!fault.what.contains(char::is_control), "{fault:?}");
    }) {
        let commit = FullCommit { header, payload: payload.to_vec() };
        check_node(&commit);
        let journal = Arc::new(Memory::with([commit.clone()]));
        check_replies(&journal, &commit.header);
        check_pages(&journal, commit.header.version);
    }
    let mut parts = data.splitn(HEADERS.len() + 1, |byte| *byte == 0);
    let mut request = b"POST /diary/foo/1 HTTP/1.1\r\nHost: localhost\r\n".to_vec();
    let mut values = Vec::new();
    for name in HEADERS {
        let value = parts.next().unwrap_or_default();
        if !value.is_empty() {
            request.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        values.push(value);
    }
    let payload = parts.next().unwrap_or_default();
    request.extend(format!("Content-Length: {}\r\n\r\n", payload.len()).as_bytes());
    request.extend(payload);
    let journal = Arc::new(Memory::default());
    let reply = ask(&server(&journal, &Arc::default(), false), &request);
    let saved = journal.saved();
    let Some(commit) = saved.first() else {
        assert!(reply.is_none_or(|reply| reply.status >= 400), "a save that is told and not kept");
        return;
    };
    // A line end in a value begins another header, or the payload.
    if data.contains(&b'\n') || data.contains(&b'\r') {
        return;
    }
    let reply = reply.expect("a reply");
    assert_eq!(reply.status, 200);
    let told: Commit = serde_json::from_slice(&reply.body).expect("a header");
    assert_eq!(told, commit.header);
    assert_eq!((&*told.key, told.version), (KEY, 1));
    assert_eq!((&told.author, &told.comment), (&text(values[0]), &text(values[1])));
    assert!(values[2].is_empty() || told.mtime == text(values[2]));
    assert_eq!(commit.payload, payload);
    check_node(commit);
    check_replies(&journal, &commit.header);
    check_pages(&journal, commit.header.version);
}

/// The text of a header: UTF-8, or Latin-1.
fn text(value: &[u8]) -> String {
    let is_space = |byte: &u8| b" \t".contains(byte);
    let start = value.iter().position(|byte| !is_space(byte)).unwrap_or(value.len());
    let end = value.iter().rposition(|byte| !is_space(byte)).map_or(start, |last| last + 1);
    let value = &value[start..end];
    match std::str::from_utf8(value) {
        Ok(text) => text.to_owned(),
        Err(_) => value.iter().map(|byte| char::from(*byte)).collect(),
    }
}

/// Checks that the commit passes through a node unchanged.
fn check_node(commit: &FullCommit) {
    let data = encode(commit);
    let (header, payload) = decode(&data, KEY).expect("what was encoded");
    assert_eq!((&header, payload), (&commit.header, &commit.payload[..]));
}

/// Checks that each reply about a commit has its header.
fn check_replies(journal: &Arc<Memory>, header: &Commit) {
    let server = server(journal, &Arc::default(), false);
    let get = |path: &str| ask(&server, format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes());
    for path in ["/diary/foo", "/diary/foo/meta"] {
        let reply = get(path).expect("a reply");
        assert_eq!(reply.status, 200);
        for (name, value) in [
            ("x-rainer-author", &header.author),
            ("x-rainer-comment", &header.comment),
            ("x-rainer-modified-time", &header.mtime),
        ] {
            let plain: String = value.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
            assert_eq!(reply.header(name), Some(plain.trim_matches(' ').as_bytes()), "{name} of {path}");
        }
    }
    let reply = get("/diary/foo/meta").expect("a reply");
    assert_eq!(serde_json::from_slice::<Commit>(&reply.body).expect("a header"), *header);
}

/// Has all pages with the commit checked.
fn check_pages(journal: &Arc<Memory>, version: i64) {
    let server = server(journal, &Arc::default(), false);
    for page in [
        "/-/keys/diary?all=yes".to_owned(),
        "/-/key/diary/foo".to_owned(),
        format!("/-/diff/diary/foo/0/{version}"),
        "/-/edit/diary/foo".to_owned(),
        "/-/remove/diary/foo".to_owned(),
    ] {
        let request = format!("GET {page} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        ask(&server, request.as_bytes()).expect("a reply");
    }
}
