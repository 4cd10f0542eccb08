use super::*;

fn headers(pairs: &[(&'static str, &[u8])]) -> HeaderMap {
    let pair = |(name, value): &(&'static str, &[u8])| {
        (name.parse().unwrap(), HeaderValue::from_bytes(value).unwrap())
    };
    pairs.iter().map(pair).collect()
}

fn read(pairs: &[(&'static str, &[u8])]) -> Result<SaveHeaders, String> {
    SaveHeaders::read(&headers(pairs), &Key::parse("foo").unwrap(), 3).map_err(|problem| match problem {
        Problem::Malformed(why) => why,
        _ => unreachable!("only a malformed header"),
    })
}

#[test]
fn headers_of_a_save_are_read_as_rainers_clients_send_them() {
    let read = read(&[
        ("x-rainer-author", b"Andr\xe9"),
        ("x-rainer-comment", "é".as_bytes()),
        ("x-rainer-empty", b"True"),
        ("x-rainer-modified-time", b"2014-02-11T14:01:28.839-08:00"),
        ("x-rainer-key", b"foo"),
        ("x-rainer-version", b"3"),
    ]);
    let read = read.ok().unwrap();
    assert_eq!((read.author.as_deref(), &*read.comment, read.empty), (Some("André"), "é", true));
    assert_eq!(read.mtime.as_deref(), Some("2014-02-11T14:01:28.839-08:00"));
}

#[test]
fn a_wrong_header_is_named() {
    let says = |name: &'static str, value: &[u8]| read(&[(name, value)]).err().unwrap();
    assert_eq!(says("x-rainer-empty", b"perhaps"), "Malformed header: X-Rainer-Empty");
    assert_eq!(says("x-rainer-modified-time", b"yesterday"), "Malformed header: X-Rainer-Modified-Time");
    assert_eq!(says("x-rainer-key", b"bar"), "X-Rainer-Key must match URL key, or be omitted");
    assert_eq!(says("x-rainer-version", b"4"), "X-Rainer-Version must match URL version, or be omitted");
    assert_eq!(says("x-rainer-author", &[b'x'; 300]), "Malformed header: X-Rainer-Author");
    assert_eq!(says("x-rainer-comment", b"a\tb"), "Malformed header: X-Rainer-Comment");
    for no in [&b"no"[..], b"False", b"false", b"0", b"No"] {
        assert!(!read(&[("x-rainer-empty", no)]).ok().unwrap().empty);
    }
}
