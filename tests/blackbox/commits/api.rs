//! "Formats of the wire are binding: Rainer's own Python client must work unchanged."

use serde_json::json;

use crate::harness::CommitServer;

#[test]
fn a_commit_is_saved_listed_and_read_in_rainers_formats() {
    let server = CommitServer::diary("");
    assert_eq!(server.get("/diary").text(), "{}\r\n");
    let headers = [
        ("X-Rainer-Author", "gian"),
        ("X-Rainer-Comment", "rofl"),
        ("X-Rainer-Modified-Time", "2014-02-11T14:01:28.839-08:00"),
    ];
    let saved = server.ask("POST", "/diary/foo/1", &headers, b"{\"hey\":\"what\"}");
    let meta = concat!(
        r#"{"author":"gian","comment":"rofl","key":"foo","#,
        r#""mtime":"2014-02-11T14:01:28.839-08:00","version":1,"empty":false}"#,
        "\r\n",
    );
    assert_eq!((saved.status, saved.text()), (200, meta.to_owned()));
    for path in ["/diary/foo", "/diary/foo/1", "/diary/foo/meta", "/diary/foo/1/meta"] {
        let read = server.get(path);
        let fields = ["key", "version", "author", "comment", "modified-time", "empty"];
        let fields = fields.map(|field| read.header(&format!("x-rainer-{field}")).unwrap().to_owned());
        assert_eq!(fields, ["foo", "1", "gian", "rofl", "2014-02-11T14:01:28.839-08:00", "No"], "{path}");
        let body = if path.ends_with("meta") { meta } else { "{\"hey\":\"what\"}" };
        assert_eq!((read.status, read.text()), (200, body.to_owned()), "{path}");
    }
    assert_eq!(server.get("/diary/foo").header("content-type"), Some("text/plain; charset=UTF-8"));
    let listed = server.get("/diary/?payload_utf8=1&payload_base64=yes").json();
    assert_eq!(listed["foo"]["payload_utf8"], "{\"hey\":\"what\"}");
    assert_eq!(listed["foo"]["payload_base64"], "eyJoZXkiOiJ3aGF0In0=");
    assert_eq!(server.get("/diary").json()["foo"], serde_json::from_str::<serde_json::Value>(meta).unwrap());
    let head = server.ask("HEAD", "/diary/foo", &[], b"");
    assert_eq!((head.status, head.header("content-length"), &*head.body), (200, Some("14"), &b""[..]));
}

#[test]
fn a_tombstone_hides_its_key_and_keeps_the_history() {
    let server = CommitServer::diary("");
    server.save("foo", 1, b"old");
    for (version, empty) in [(2, "True"), (4, "yes")] {
        let headers = [("X-Rainer-Author", "eva"), ("X-Rainer-Empty", empty)];
        let with_payload = server.ask("POST", &format!("/diary/foo/{version}"), &headers, b"x");
        let expected = (400, "Empty payload required with X-Rainer-Empty".to_owned());
        assert_eq!((with_payload.status, with_payload.text()), expected);
        assert_eq!(server.ask("POST", &format!("/diary/foo/{version}"), &headers, b"").status, 200);
        let gone = server.get("/diary/foo");
        assert_eq!((gone.status, &*gone.body, gone.header("x-rainer-empty")), (200, &b""[..], Some("Yes")));
        assert_eq!(server.get("/diary").text(), "{}\r\n");
        assert_eq!(server.get("/diary?all=yes").json()["foo"]["empty"], true);
        assert_eq!(server.save("foo", version + 1, b"again").status, 200, "the versions go on");
    }
    assert_eq!(server.get("/diary/foo/1").text(), "old");
    let versions = |path: &str| {
        let log = server.get(path).json();
        log.as_array().unwrap().iter().map(|meta| meta["version"].as_i64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(versions("/diary/foo/-/log"), [5, 4, 3, 2, 1]);
    assert_eq!(versions("/diary/foo/-/log?before=4&limit=2"), [3, 2]);
}

#[test]
fn of_two_writers_of_a_version_one_is_told_which_would_have_been_right() {
    let server = CommitServer::diary("");
    assert_eq!(server.save("foo", 1, b"a").status, 200);
    for version in [0, 1, 3] {
        let conflict = server.save("foo", version, b"b");
        let told = json!({"conflict": {"key": "foo", "expectedVersion": 2, "providedVersion": version}});
        assert_eq!((conflict.status, conflict.json()), (409, told));
        assert!(conflict.text().ends_with("}\r\n"));
    }
    assert_eq!(server.get("/diary/foo").text(), "a");
}

#[test]
fn payloads_are_kept_byte_for_byte_and_to_their_limit() {
    let server = CommitServer::diary("");
    let mut payload: Vec<u8> = (0..1 << 20).map(|index| (index * 7 % 251) as u8).collect();
    payload[0] = 0;
    payload[1] = 0xff;
    assert_eq!(server.save("foo", 1, &payload).status, 200);
    let read = server.get("/diary/foo");
    assert_eq!(read.header("content-type"), Some("application/octet-stream"));
    assert!(read.body == payload);
    payload.push(b'x');
    let refused = server.save("foo", 2, &payload);
    let told = "Payload too large: 1048576 bytes is the most";
    assert_eq!((refused.status, refused.text()), (413, told.to_owned()));
    assert_eq!(server.get("/diary/foo/meta").json()["version"], 1);
    assert_eq!(server.save("empty", 1, b"").status, 200, "an empty payload is no tombstone");
    assert_eq!(server.get("/diary/empty/meta").json()["empty"], false);
}

#[test]
fn what_is_wrong_is_refused_with_rainers_words() {
    let server = CommitServer::diary("");
    let long = "x".repeat(300);
    let eva = ("X-Rainer-Author", "eva");
    for (path, headers, status, told) in [
        ("/diary/foo/1", vec![], 400, "Missing header: X-Rainer-Author"),
        ("/diary/foo/x", vec![eva], 400, "Malformed input: version \"x\" is no number"),
        ("/diary/foo/1", vec![eva, ("X-Rainer-Empty", "perhaps")], 400, "Malformed header: X-Rainer-Empty"),
        (
            "/diary/foo/1",
            vec![eva, ("X-Rainer-Key", "bar")],
            400,
            "X-Rainer-Key must match URL key, or be omitted",
        ),
        (
            "/diary/a%2fb/1",
            vec![eva],
            400,
            "Malformed input: the key \"a/b\" has a slash; it is the name of one node, and no path",
        ),
        ("/diary/%2e%2e/1", vec![eva], 400, "Malformed input: the key \"..\" names no node"),
        ("/diary/a%0Ab/1", vec![eva], 400, "Malformed input: the key \"a\\nb\" has a control character"),
        (
            &format!("/diary/{long}/1"),
            vec![eva],
            400,
            "Malformed input: the key has 300 bytes; 255 is the most",
        ),
        ("/other/foo/1", vec![eva], 404, "Not found"),
    ] {
        let refused = server.ask("POST", path, &headers, b"x");
        assert_eq!((refused.status, &*refused.text()), (status, told), "{path}");
    }
    for path in ["/diary/foo", "/diary/foo/1", "/diary/foo/meta", "/diary/foo/-/log"] {
        let missing = server.get(path);
        assert_eq!((missing.status, &*missing.text()), (404, "Key not found"), "{path}");
    }
    let delete = server.ask("DELETE", "/diary/foo/1", &[], b"");
    assert_eq!((delete.status, delete.header("allow")), (405, Some("GET, HEAD, POST")));
    assert_eq!(server.get("/diary?all=maybe").status, 400);
    assert_eq!(server.get("/diary").text(), "{}\r\n", "nothing was kept");
}

#[test]
fn a_validator_refuses_with_its_own_words_and_sees_the_old_payload() {
    let refusal = r#"echo "$TWITCHER_KEY by $TWITCHER_AUTHOR: no change" >&2; exit 1"#;
    let script = format!(r#"[ "$(cat <&3)" != "$(cat)" ] || {{ {refusal}; }}"#);
    let settings = format!("validate = [\"/bin/sh\", \"-c\", '''{script}''']");
    let server = CommitServer::diary(&settings);
    assert_eq!(server.save("foo", 1, b"a").status, 200);
    let refused = server.save("foo", 2, b"a");
    assert_eq!((refused.status, refused.text()), (422, "foo by eva: no change".to_owned()));
    assert_eq!(server.save("foo", 2, b"b").status, 200);
    let server = CommitServer::diary("validate = [\"/no/such/validator\"]");
    let refused = server.save("foo", 1, b"a");
    assert_eq!(refused.status, 422);
    assert!(
        refused.text().starts_with("the validator /no/such/validator cannot be asked, so nothing is saved: ")
    );
    assert_eq!(server.get("/diary").text(), "{}\r\n");
}

#[test]
fn a_long_list_comes_whole() {
    let server = CommitServer::diary("");
    let large = vec![b'x'; 700_000];
    for key in 0..12 {
        assert_eq!(server.save(&format!("key{key:02}"), 1, &large).status, 200);
    }
    let listed = server.get("/diary?payload_utf8=yes").json();
    let listed = listed.as_object().unwrap();
    assert_eq!(listed.len(), 12);
    assert!(listed.values().all(|entry| entry["payload_utf8"].as_str().unwrap().len() == large.len()));
}
