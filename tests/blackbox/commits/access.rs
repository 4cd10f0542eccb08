//! "Without a token a client may read and write only where the server listens on loopback or on a socket."

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use crate::harness::{Authority, CommitServer, Validity, command, set_mode};

const USERS: &str = r#"
[serve]
listen = "127.0.0.1:0"
database = "sqlite:$HOME/commits.db"
[serve.commits.diary]
[serve.commits.other]
[[serve.users]]
name = "gian"
token = { file = "$HOME/gian" }
may = ["diary:write", "other:read"]
[[serve.users]]
name = "robot"
token = "sha256:$BEEP"
may = ["*:impersonate"]
"#;

fn with_users() -> CommitServer {
    let home = tempfile::tempdir_in("/tmp").unwrap();
    fs::write(home.path().join("gian"), "secret of gian\n").unwrap();
    set_mode(&home.path().join("gian"), 0o600);
    let output = command("sh").args(["-c", "printf beep | sha256sum"]).output().unwrap();
    let hash = String::from_utf8(output.stdout).unwrap();
    let hash = hash.split(' ').next().unwrap();
    CommitServer::start_in(home, &USERS.replace("$BEEP", hash))
}

const GIAN: (&str, &str) = ("Authorization", "Bearer secret of gian");
const ROBOT: (&str, &str) = ("Authorization", "Bearer beep");

#[test]
fn with_users_nobody_else_reads_or_writes() {
    let server = with_users();
    for (method, path) in
        [("GET", "/diary"), ("GET", "/diary/foo"), ("POST", "/diary/foo/1"), ("GET", "/other")]
    {
        for headers in [vec![], vec![("Authorization", "Bearer wrong")], vec![("X-Rainer-Author", "gian")]] {
            let denied = server.ask(method, path, &headers, b"");
            assert_eq!(
                (denied.status, denied.header("www-authenticate")),
                (401, Some("Bearer")),
                "{method} {path}"
            );
        }
    }
    assert_eq!(server.ask("GET", "/diary", &[GIAN], b"").status, 200);
    let denied = server.ask("POST", "/other/foo/1", &[GIAN], b"x");
    assert_eq!((denied.status, &*denied.text()), (403, "Forbidden: gian may not write other"));
    assert_eq!(server.get("/-/healthy").status, 200);
    assert!(!server.log().contains("secret"), "{}", server.log());
}

#[test]
fn the_author_is_the_user_whatever_the_header_says() {
    let server = with_users();
    let author = |user, version: u32, author: &[(&str, &str)]| {
        let saved =
            server.ask("POST", &format!("/diary/foo/{version}"), &[&[user][..], author].concat(), b"x");
        saved.header("x-rainer-author").unwrap().to_owned()
    };
    assert_eq!(author(GIAN, 1, &[]), "gian");
    assert_eq!(author(GIAN, 2, &[("X-Rainer-Author", "eva")]), "gian");
    assert_eq!(author(ROBOT, 3, &[("X-Rainer-Author", "eva")]), "eva");
    assert_eq!(author(ROBOT, 4, &[]), "robot");
}

#[test]
fn an_address_that_others_reach_needs_users() {
    let home = tempfile::tempdir_in("/tmp").unwrap();
    let settings = "[serve]\nlisten = \"0.0.0.0:0\"\n[serve.commits.diary]\n";
    fs::write(home.path().join("twitcher.toml"), settings).unwrap();
    let mut serve = command(env!("CARGO_BIN_EXE_twitcher"));
    let output = serve.args(["serve", "--config-path"]).arg(home.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    let place = format!("{}:2:1: serve.listen: ", home.path().join("twitcher.toml").display());
    assert!(said.contains(&place) && said.contains("add [[serve.users]]"), "{said}");
}

#[test]
fn other_sites_and_other_names_are_denied() {
    let server = CommitServer::diary("");
    let eva = ("X-Rainer-Author", "eva");
    let own = format!("http://{}", server.address);
    for (origin, status) in [("http://evil.example", 403), ("null", 403), (&*own, 200)] {
        let posted = server.ask("POST", "/diary/foo/1", &[eva, ("Origin", origin)], b"x");
        assert_eq!(posted.status, status, "{origin}: {}", posted.text());
    }
    let no_cors = [("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "no-cors")];
    assert_eq!(server.ask("GET", "/diary", &no_cors, b"").status, 403);
    // A name that somebody else made lead to this host.
    let rebound = server.ask("GET", "/diary/foo", &[("Host", "evil.example:8080")], b"");
    assert_eq!(rebound.status, 403);
    let read = server.get("/diary/foo");
    assert_eq!(read.header("cross-origin-resource-policy"), Some("same-origin"));
    assert_eq!(read.header("x-content-type-options"), Some("nosniff"));
    assert!(read.header("content-security-policy").unwrap().contains("sandbox"), "a payload is no page");
    assert_eq!(read.header("access-control-allow-origin"), None);
}

#[test]
fn a_socket_needs_no_users_and_what_a_killed_server_left_is_no_obstacle() {
    let settings = "[serve]\nlisten = \"unix:$HOME/serve.sock\"\ndatabase = \"sqlite:$HOME/commits.db\"\n\
                    [serve.commits.diary]\n";
    let mut server = CommitServer::start(settings);
    server.kill_and_start_again();
    let socket = server.home.path().join("serve.sock");
    let mut stream = UnixStream::connect(&socket).unwrap();
    stream.write_all(b"GET /diary HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    assert!(reply.starts_with("HTTP/1.1 200 OK\r\n") && reply.contains("{}\r\n"), "{reply}");
    assert!(server.stop());
    assert!(!socket.exists());
    // What is no socket is somebody's file.
    fs::write(&socket, "precious").unwrap();
    let home = server.home.path();
    let refused = command(env!("CARGO_BIN_EXE_twitcher")).args(["serve", "--config-path"]).arg(home).output();
    let said = String::from_utf8_lossy(&refused.unwrap().stderr).into_owned();
    assert!(said.contains("serve.sock") && said.contains("not a socket; remove it"), "{said}");
    assert_eq!(fs::read_to_string(&socket).unwrap(), "precious");
}

#[test]
fn a_server_speaks_tls_with_its_certificate() {
    let home = tempfile::tempdir_in("/tmp").unwrap();
    let authority = Authority::new("ca");
    let certificate = authority.issue(&["localhost"], Validity::Now);
    fs::write(home.path().join("cert.pem"), &certificate.chain).unwrap();
    fs::write(home.path().join("key.pem"), &certificate.key).unwrap();
    set_mode(&home.path().join("key.pem"), 0o600);
    let settings = "[serve]\nlisten = \"127.0.0.1:0\"\ndatabase = \"sqlite:$HOME/commits.db\"\n\
                    [serve.tls]\ncert = \"$HOME/cert.pem\"\nkey = \"$HOME/key.pem\"\n[serve.commits.diary]\n";
    let server = CommitServer::start_in(home, settings);
    let ca = server.home.path().join("ca.pem");
    fs::write(&ca, authority.pem()).unwrap();
    let port = server.address.rsplit_once(':').unwrap().1;
    let python = format!(
        "import ssl, urllib.request as r\n\
         c = ssl.create_default_context(cafile={ca:?})\n\
         print(r.urlopen('https://localhost:{port}/diary', context=c).read())"
    );
    let output = command("/usr/bin/python3").args(["-c", &python]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "b'{}\\r\\n'\n", "{output:?}");
}
