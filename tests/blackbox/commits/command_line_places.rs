//! `twitcher commits`: where its server is, who it is, and whom it trusts.

use crate::harness::{Authority, Sandbox, Validity, set_mode};

use super::fake_server::FakeServer;

#[test]
fn the_server_is_named_by_a_flag_a_variable_or_the_file() {
    let server = FakeServer::start();
    server.save("foo", "one");
    let url = server.url();
    let show = || server.elsewhere(["show", "foo"]);
    // What the file would say is not known, and nothing else says it.
    show().finish().expect(1).expect_said(&["which server is meant", "--url or TWITCHER_URL"]);
    server.sandbox.settings("");
    let nothing = show().env("TWITCHER_CONFIG_PATH", server.sandbox.configs()).finish().expect(1);
    nothing.expect_said(&["commits.url", "--url", "TWITCHER_URL", "https://HOST/NAMESPACE"]);
    assert_eq!(show().args(["--url", &url]).finish().expect(0).text(), "one");
    server.sandbox.settings(&format!("[commits]\nurl = {url:?}\n"));
    let configs = server.sandbox.configs();
    let by_file = || show().env("TWITCHER_CONFIG_PATH", &configs);
    assert_eq!(by_file().finish().expect(0).text(), "one");
    // The flag wins over the variable, and the variable over the file.
    by_file().env("TWITCHER_URL", "http://127.0.0.1:1/x").finish().expect(1).expect_said(&["127.0.0.1:1/x"]);
    let both = show().env("TWITCHER_URL", "http://127.0.0.1:1/x").args(["--url", &url]);
    assert_eq!(both.finish().expect(0).text(), "one");
    // Before the command, too.
    let before =
        server.sandbox.twitcher(["--config-path", configs.to_str().unwrap(), "commits", "show", "foo"]);
    assert_eq!(before.finish().expect(0).text(), "one");
    for wrong in ["diary", "ftp://h/diary", "http://h", "http://h/diary?x=1"] {
        show().args(["--url", wrong]).finish().expect(2).expect_said(&["--url"]);
        show().env("TWITCHER_URL", wrong).finish().expect(1).expect_said(&["TWITCHER_URL"]);
        server.sandbox.settings(&format!("[commits]\nurl = {wrong:?}\n"));
        by_file().finish().expect(1).expect_said(&["twitcher.toml", "commits.url"]);
        // The daemon's check says so as well.
        let check = server.sandbox.twitcher(["check", configs.to_str().unwrap()]);
        check.finish().expect(1).expect_said(&["commits.url"]);
    }
}

#[test]
fn a_token_goes_to_its_own_server_alone_and_is_never_shown() {
    let server = FakeServer::start();
    server.save("foo", "one");
    let url = server.url();
    let configs = server.sandbox.configs();
    server.sandbox.private(&server.sandbox.path("token"), "from-a-file\n");
    let place = server.sandbox.path("token");
    let last_token = || {
        let (_, _, headers) = server.requests().pop().expect("a request");
        headers["authorization"].as_str().or(headers["Authorization"].as_str()).map(str::to_owned)
    };
    let settings = |token: &str, url: &str| {
        let text = format!("[commits]\nurl = {url:?}\ntoken = {token}\n");
        server.sandbox.private(&configs.join("twitcher.toml"), &text);
    };
    let show = || server.elsewhere(["show", "foo"]).env("TWITCHER_CONFIG_PATH", &configs);
    let expect = |token: Option<&str>, command: crate::harness::Twitcher| {
        let done = command.finish().expect(0);
        assert_eq!(last_token().as_deref(), token);
        assert!(!done.stderr.contains("inline") && !done.stderr.contains("secret"), "{}", done.stderr);
    };
    server.sandbox.settings("");
    expect(None, show().args(["--url", &url]));
    expect(
        Some("Bearer secret-variable"),
        show().args(["--url", &url]).env("TWITCHER_TOKEN", "secret-variable"),
    );
    settings("\"inline\"", &url);
    expect(Some("Bearer inline"), show());
    expect(Some("Bearer inline"), show().args(["--url", &url]));
    expect(Some("Bearer secret-variable"), show().env("TWITCHER_TOKEN", "secret-variable"));
    settings(&format!("{{ file = {:?} }}", place.to_str().unwrap()), &url);
    expect(Some("Bearer from-a-file"), show());
    settings("{ credential = \"token\" }", &url);
    show().finish().expect(1).expect_said(&["commits.token", "LoadCredential=token"]);
    expect(Some("Bearer from-a-file"), show().env("CREDENTIALS_DIRECTORY", server.sandbox.path("")));
    // The token is for another server, and this URL was given by hand.
    settings("\"inline\"", "https://config.example/diary");
    expect(None, show().args(["--url", &url]));
}

#[test]
fn a_refused_token_is_explained_by_where_it_comes_from() {
    let server = FakeServer::with("401", &[]);
    let configs = server.sandbox.configs();
    let show = || server.commits(["list"]).env("TWITCHER_CONFIG_PATH", &configs);
    show().finish().expect(1).expect_said(&["wants a token", "TWITCHER_TOKEN"]);
    let wrong = show().env("TWITCHER_TOKEN", "hunter2").finish().expect(1);
    wrong.expect_said(&["does not know the token in TWITCHER_TOKEN"]);
    assert!(!wrong.stderr.contains("hunter2"));
    let settings = |url: &str| {
        let text = format!("[commits]\nurl = {url:?}\ntoken = \"hunter2\"\n");
        server.sandbox.private(&configs.join("twitcher.toml"), &text);
    };
    settings(&server.url());
    show().finish().expect(1).expect_said(&["does not know the token of [commits]"]);
    settings("https://config.example/diary");
    show().finish().expect(1).expect_said(&["is for https://config.example/diary and was not sent"]);
    // What others can read is no place for a token of root's.
    let before = server.requests().len();
    set_mode(&configs.join("twitcher.toml"), 0o644);
    let exposed = show().finish();
    exposed.expect_said(&["twitcher.toml"]);
    assert!(!exposed.stderr.contains("hunter2"));
    if nix::unistd::geteuid().is_root() {
        assert_eq!((exposed.code, server.requests().len()), (Some(1), before));
    }
}

#[test]
fn a_server_on_a_socket_is_reached_by_its_path() {
    let sandbox = Sandbox::directory();
    let socket = sandbox.path("serve.sock").to_str().unwrap().to_owned();
    let server = FakeServer::beside(sandbox, "none", &[&socket]);
    assert_eq!(server.url(), format!("unix:{socket}:/diary"));
    server.save("foo", "one");
    assert_eq!(server.commits(["show", "foo"]).finish().expect(0).text(), "one");
    let missing = server.elsewhere(["show", "foo"]).args(["--url", "unix:/nonexistent/serve.sock:/diary"]);
    missing.finish().expect(1).expect_said(&["unix:/nonexistent/serve.sock:/diary", "does the server run?"]);
}

#[test]
fn tls_trusts_the_ca_of_the_settings_and_no_other() {
    let sandbox = Sandbox::directory();
    let (ours, others) = (Authority::new("ours"), Authority::new("others"));
    let files = |name: &str, names: &[&str]| {
        let certificate = ours.issue(names, Validity::Now);
        let [cert, key] = ["crt", "key"].map(|end| sandbox.path(&format!("{name}.{end}")));
        std::fs::write(&cert, certificate.chain).unwrap();
        std::fs::write(&key, certificate.key).unwrap();
        [cert, key].map(|path| path.to_str().unwrap().to_owned())
    };
    let [cert, key] = files("right", &["127.0.0.1", "localhost"]);
    let [cert_2, key_2] = files("wrong", &["elsewhere.example"]);
    for (name, authority) in [("ours.pem", &ours), ("others.pem", &others)] {
        std::fs::write(sandbox.path(name), authority.pem()).unwrap();
    }
    let ca = |name: &str| sandbox.path(name).to_str().unwrap().to_owned();
    let (right_ca, wrong_ca) = (ca("ours.pem"), ca("others.pem"));
    let server = FakeServer::beside(Sandbox::directory(), "none", &[&cert, &key]);
    let with_ca = |server: &FakeServer, words: [&str; 1], ca: &str| {
        server.sandbox.settings(&format!("[commits]\nca = {ca:?}\n"));
        server.commits(words).env("TWITCHER_CONFIG_PATH", server.sandbox.configs()).finish()
    };
    with_ca(&server, ["list"], &right_ca).expect(0).expect_said(&["KEY"]);
    let wrong = with_ca(&server, ["list"], &wrong_ca).expect(1);
    wrong.expect_said(&["https://127.0.0.1", "a CA that is not in commits.ca", "others.pem"]);
    with_ca(&server, ["list"], "/nonexistent.pem").expect(1).expect_said(&["commits.ca", "/nonexistent.pem"]);
    // Without the setting, the system's CAs count.
    server.commits(["list"]).finish().expect(1).expect_said(&["a CA that is not in commits.ca (/etc/"]);
    let plain = server.elsewhere(["list"]).env("TWITCHER_URL", server.url().replace("https", "http"));
    plain.finish().expect(1);
    let other_name = FakeServer::beside(Sandbox::directory(), "none", &[&cert_2, &key_2]);
    with_ca(&other_name, ["list"], &right_ca)
        .expect(1)
        .expect_said(&["not for 127.0.0.1", "elsewhere.example"]);
    let no_tls = FakeServer::start();
    no_tls.sandbox.settings(&format!("[commits]\nca = {right_ca:?}\n"));
    let command = no_tls.elsewhere(["list"]).env("TWITCHER_CONFIG_PATH", no_tls.sandbox.configs());
    let https = command.env("TWITCHER_URL", no_tls.url().replace("http", "https"));
    https.finish().expect(1).expect_said(&["no TLS answers there", "http://"]);
}
