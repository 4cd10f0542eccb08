//! "Path tricks, oversized headers": what no honest client sends is refused, and changes nothing.

use std::io::{Read, Write};
use std::net::Shutdown;

use crate::harness::CommitServer;

/// Sends these bytes, closes the sending half, and returns the reply's status, if one comes.
fn status(server: &CommitServer, bytes: &[u8]) -> Option<u16> {
    let mut stream = server.connect();
    // The server may have refused it already.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    let mut reply = Vec::new();
    let _ = stream.read_to_end(&mut reply);
    std::str::from_utf8(reply.strip_prefix(b"HTTP/1.1 ")?.get(..3)?).ok()?.parse().ok()
}

const PATHS: [&str; 24] = [
    "/../../etc/passwd",
    "/diary/../../etc/passwd",
    "/diary/..",
    "/diary/../secrets",
    "/diary/%2e%2e/%2e%2e/etc/passwd",
    "/diary/%2E%2E%2Fsecrets",
    "/diary/foo/1/../../bar/1",
    "/diary/./1",
    "/diary/%2e/1",
    "//diary/foo/1",
    "/diary//foo/1",
    "/diary/foo//1",
    "/diary/foo%2f1/1",
    "/diary/foo%00/1",
    "/diary/foo%0d%0aSet-Cookie:%20a=b/1",
    "/diary/%c2%85/1",
    "/diary/%ff/1",
    "/diary/%zz/1",
    "/diary\\foo\\1",
    "/DIARY/foo/1",
    "/diary;/foo/1",
    "/-/../diary/foo/1",
    "/-/%2e%2e/diary/foo/1",
    "/-/edit/..%2fdiary/foo/1",
];

#[test]
fn no_trick_with_a_path_reaches_what_it_does_not_name() {
    let server = CommitServer::start("[serve.commits.diary]\n[serve.commits.secrets]\n");
    for method in ["GET", "HEAD", "POST", "PUT"] {
        for path in PATHS {
            let head = format!(
                "{method} {path} HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\nX-Rainer-Author: \
                 eva\r\nContent-Length: 4\r\n\r\nevil"
            );
            let status = status(&server, head.as_bytes()).expect("a reply");
            assert!((400..500).contains(&status), "{method} {path}: {status}");
        }
    }
    for namespace in ["/diary", "/secrets"] {
        assert_eq!(server.get(&format!("{namespace}?all=yes")).text(), "{}\r\n");
    }
}

// Some clients read nothing before they have sent all.
#[test]
fn a_refusal_arrives_although_its_client_still_sends() {
    let server = CommitServer::diary("");
    let large = vec![b'x'; 8 << 20];
    for (head, expected) in [
        ("X-Rainer-Author: eva", 413),
        ("X-No-Author: eva", 400),
        ("X-Rainer-Author: eva\r\nOrigin: http://evil.example", 403),
    ] {
        let head = format!(
            "POST /diary/foo/1 HTTP/1.1\r\nHost: localhost\r\n{head}\r\nContent-Length: {}\r\n\r\n",
            large.len()
        );
        let mut stream = server.connect();
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&large).unwrap_or_else(|error| panic!("{expected}: {error}"));
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap_or_else(|error| panic!("{expected}: {error}"));
        assert!(reply.starts_with(&format!("HTTP/1.1 {expected} ")), "{reply}");
    }
    let head = [b"GET /diary HTTP/1.1\r\nX-Large: ", &large[..1 << 20], b"\r\n\r\n"].concat();
    assert_eq!(status(&server, &head), Some(431));
}

#[test]
fn a_payload_that_ends_too_early_or_is_too_long_is_not_kept() {
    let server = CommitServer::diary("");
    let post = |head: &str, body: &[u8]| {
        let head = format!(
            "POST /diary/foo/1 HTTP/1.1\r\nHost: localhost\r\nX-Rainer-Author: eva\r\n{head}\r\n\r\n"
        );
        status(&server, &[head.as_bytes(), body].concat())
    };
    // hyper may close the connection, or refuse the request.
    let is_refused = |status: Option<u16>| status.is_none_or(|status| (400..500).contains(&status));
    for (head, body) in [
        ("Content-Length: 10", &b"123456789"[..]),
        ("Content-Length: 0x4", b"1234"),
        ("Content-Length: -1", b"1234"),
        ("Content-Length: 99999999999999999999", b"1234"),
        ("Content-Length: 4\r\nContent-Length: 5", b"12345"),
        ("Content-Length: 4\r\nTransfer-Encoding: gzip", b"1234"),
        ("Transfer-Encoding: chunked", b"4\r\n1234\r\n"),
        ("Transfer-Encoding: chunked", b"4\r\n1234\r\nzz\r\n"),
        ("Transfer-Encoding: chunked", b"ffffffffffffffff\r\n1234\r\n"),
    ] {
        let status = post(head, body);
        assert!(is_refused(status), "{head}: {status:?}");
    }
    let chunk = vec![b'x'; (1 << 20) + 1];
    let chunked = [format!("{:x}\r\n", chunk.len()).as_bytes(), &chunk, b"\r\n0\r\n\r\n"].concat();
    assert!(is_refused(post("Transfer-Encoding: chunked", &chunked)), "the limit holds for chunks");
    assert_eq!(server.get("/diary?all=yes").text(), "{}\r\n", "nothing was kept");
    // What is whole is kept, in chunks as well.
    assert_eq!(post("Transfer-Encoding: chunked", b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"), Some(200));
    assert_eq!(server.get("/diary/foo").text(), "hello");
}
