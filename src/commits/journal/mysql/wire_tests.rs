use std::path::PathBuf;

use tokio::io::{DuplexStream, duplex};

use super::*;
use crate::commits::journal::address::ServerKind;
use crate::store::Secret;

const CHALLENGE: &[u8; 20] = b"12345678901234567890";
const OK: &[u8] = &[0, 0, 0, 2, 0, 0, 0];

/// What a server does: says something, or takes a packet.
enum Step {
    Say(Vec<u8>),
    Hear,
}
use Step::{Hear, Say};

/// Plays a server. Returns what it has heard.
async fn play(mut stream: DuplexStream, steps: Vec<Step>) -> Vec<Vec<u8>> {
    let (mut number, mut heard) = (0, Vec::new());
    for step in steps {
        match step {
            Say(packet) => {
                let bytes = [&header(packet.len(), number)[..], &packet].concat();
                // The client may have gone.
                let _ = stream.write_all(&bytes).await;
                number += 1;
            }
            Hear => {
                let Ok((packet, found)) = read_packet(&mut stream).await else { break };
                number = found.wrapping_add(1);
                heard.push(packet);
            }
        }
    }
    heard
}

fn address(is_secure: bool) -> ServerAddress {
    let place = match is_secure {
        true => Place::Socket(PathBuf::from("/run/mysqld.sock")),
        false => Place::Tcp { host: "localhost".to_owned(), port: 1, tls: Encryption::None },
    };
    ServerAddress {
        kind: ServerKind::MySql,
        place,
        user: "eva".to_owned(),
        password: Some(Secret::Inline("hunter2".to_owned())),
        database: "commits".to_owned(),
    }
}

fn greeting(method: &str) -> Step {
    let [first, second] = [&CHALLENGE[..8], &CHALLENGE[8..]];
    Say([
        &b"\x0a8.0.36\0\x01\0\0\0"[..],
        first,
        b"\0\xff\xff\x2d\x02\0\xff\xdf\x15",
        &[0; 10],
        second,
        b"\0",
        method.as_bytes(),
        b"\0",
    ]
    .concat())
}

fn switch(method: &str) -> Step {
    Say([b"\xfe", method.as_bytes(), b"\0", &CHALLENGE[..], b"\0"].concat())
}

async fn log_in(is_secure: bool, steps: Vec<Step>) -> (Result<Wire, WireError>, Vec<Vec<u8>>) {
    let (near, far) = duplex(1 << 16);
    let address = address(is_secure);
    let (wire, heard) = tokio::join!(Wire::log_in(near, None, &address), play(far, steps));
    (wire, heard)
}

fn has(packet: &[u8], part: &[u8]) -> bool {
    packet.windows(part.len()).any(|window| window == part)
}

#[tokio::test]
async fn a_login_says_who_we_are_and_proves_it() {
    let steps = vec![greeting("caching_sha2_password"), Hear, Say(vec![1, 3]), Say(OK.to_vec())];
    let (wire, heard) = log_in(false, steps).await;
    wire.unwrap();
    for part in [&b"eva\0\x20"[..], b"commits\0caching_sha2_password\0"] {
        assert!(has(&heard[0], part), "{:?}", heard[0]);
    }
    assert!(has(&heard[0], &Method::CachingSha2.proof("hunter2", CHALLENGE)));
    let (wire, heard) =
        log_in(false, vec![greeting("x"), Hear, switch("mysql_native_password"), Hear, Say(OK.to_vec())])
            .await;
    wire.unwrap();
    assert_eq!(heard[1], Method::Native.proof("hunter2", CHALLENGE));
}

#[tokio::test]
async fn only_where_nobody_listens_does_a_server_see_the_password() {
    let asks = || vec![greeting("caching_sha2_password"), Hear, Say(vec![1, 4]), Hear, Say(OK.to_vec())];
    let (wire, heard) = log_in(true, asks()).await;
    wire.unwrap();
    assert_eq!(heard[1], b"hunter2\0");
    let clear = vec![greeting("x"), Hear, switch("mysql_clear_password"), Hear];
    // Nor does one that asks at once.
    let at_once = vec![greeting("mysql_clear_password"), Hear, switch("mysql_clear_password"), Hear];
    for steps in [asks(), clear, at_once] {
        let (wire, heard) = log_in(false, steps).await;
        let error = wire.err().expect("a refusal").to_string();
        assert!(error.contains("which others could see, too"), "{error}");
        assert!(heard.len() == 1 && !has(&heard[0], b"hunter2"), "{heard:?}");
    }
}

#[tokio::test]
async fn why_a_login_fails_is_told() {
    let denied = || Say(b"\xff\x15\x04#28000Access denied".to_vec());
    for (steps, told) in [
        (vec![Say(b"\xff\x10\x04Too many connections".to_vec())], "Too many connections"),
        (vec![greeting("mysql_native_password"), Hear, denied()], "Access denied"),
        (vec![greeting("x"), Hear, switch("client_ed25519")], "a login by \"client_ed25519\""),
        (vec![Say(b"SSH-2.0".to_vec())], "does not speak MySQL's protocol"),
        (vec![greeting("x"), Hear, Say(vec![1, 9])], "does not speak MySQL's protocol"),
    ] {
        let (wire, _) = log_in(false, steps).await;
        let error = wire.err().expect("a refusal").to_string();
        assert!(error.contains(told), "{error}");
    }
}

/// Has a statement done by a server that answers with these packets.
async fn run(answers: Vec<Vec<u8>>) -> Result<Outcome, WireError> {
    let (near, far) = duplex(1 << 16);
    let mut wire = Wire { stream: BufReader::new(Box::new(near)), sequence: 7 };
    let steps = [Hear].into_iter().chain(answers.into_iter().map(Say)).collect();
    let (outcome, heard) = tokio::join!(wire.run("SELECT 1"), play(far, steps));
    assert_eq!(heard[0], b"\x03SELECT 1");
    outcome
}

fn rows() -> Vec<Vec<u8>> {
    let end = b"\xfe\0\0\x02\0".to_vec();
    let column = b"\x03def".to_vec();
    let row = |text: &[u8]| text.to_vec();
    vec![vec![2], column.clone(), column, end.clone(), row(b"\x01a\x00"), row(b"\xfb\x02bc"), end]
}

#[tokio::test]
async fn a_statement_gives_rows_or_a_count_or_an_error() {
    assert_eq!(run(vec![b"\0\xfc\x01\x01\0\x02\0\0\0".to_vec()]).await.unwrap().written, 257);
    let value = |text: &[u8]| Some(text.to_vec());
    let expected = [vec![value(b"a"), value(b"")], vec![None, value(b"bc")]];
    assert_eq!(run(rows()).await.unwrap().rows, expected);
    let error = b"\xff\x26\x04#23000Duplicate entry".to_vec();
    for answers in [vec![error.clone()], [&rows()[..5], &[error]].concat()] {
        match run(answers).await {
            Err(WireError::Refused(refusal)) => {
                assert_eq!((refusal.code, &*refusal.text), (1062, "Duplicate entry"));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn an_answer_that_is_cut_or_wrong_is_an_error() {
    for length in 0..rows().len() {
        assert!(run(rows()[..length].to_vec()).await.is_err(), "{length}");
    }
    // The first asks for a file of ours.
    for wrong in [&b"\xfb/etc/passwd"[..], b"", b"\xfe", b"\xfc\x01", b"\0", b"\xff"] {
        let mut answers = rows();
        answers[0] = wrong.to_vec();
        assert!(run(answers).await.is_err(), "{wrong:?}");
    }
    for wrong in [&b"\x05a"[..], b"\x01a", b"\xff", b""] {
        let mut answers = rows();
        answers[4] = wrong.to_vec();
        assert!(run(answers).await.is_err(), "{wrong:?}");
    }
}
