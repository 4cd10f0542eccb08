//! Where a database is, how one logs in there, and who can listen.

use std::fs;

use super::{Diary, commit};
use crate::harness::{
    Authority, CommitServer, DatabaseKind, PASSWORD, TestDatabase, on_every_database_server, set_mode,
};

/// The options of TLS with the server whose CA is in this file.
fn verified(kind: DatabaseKind, ca: &std::path::Path) -> String {
    match kind {
        DatabaseKind::MySql => format!("?ssl-mode=VERIFY_IDENTITY&ssl-ca={}", ca.display()),
        DatabaseKind::Sqlite | DatabaseKind::PostgreSql => {
            format!("?sslmode=verify-full&sslrootcert={}", ca.display())
        }
    }
}

on_every_database_server!(a_server_is_reached_by_tls_by_a_socket_and_with_a_password_from_elsewhere);
fn a_server_is_reached_by_tls_by_a_socket_and_with_a_password_from_elsewhere(database: &TestDatabase) {
    let server = database.server();
    // This user is let in by TLS only.
    let by_name = server.url_at(&format!("localhost:{}", server.port), &database.name);
    let by_name = by_name.replace("//twitcher:", "//secure:");
    assert!(Diary::try_open(&by_name, "diary").is_err());
    let secure = format!("{by_name}{}", verified(database.kind, &server.ca()));
    let diary = Diary::try_open(&secure, "diary").expect("TLS");
    diary.save(commit("foo", 1, &[7; 1 << 20]));
    drop(diary);
    let socket = server.socket_url(&database.name);
    let diary = Diary::try_open(&socket, "diary").expect("a socket");
    assert_eq!(diary.commit("foo", None), Ok(Some(commit("foo", 1, &[7; 1 << 20]))));
    // A CA that has not issued the server's certificate, and a name that is not in it.
    let home = tempfile::tempdir_in("/tmp").unwrap();
    let stranger = home.path().join("stranger.pem");
    fs::write(&stranger, Authority::new("a stranger").pem()).unwrap();
    let refused = Diary::refusal(&format!("{by_name}{}", verified(database.kind, &stranger)), "diary");
    assert!(refused.contains("is of a CA that is not in the CA in serve.database"), "{refused}");
    let by_number = format!("{}{}", database.url, verified(database.kind, &server.ca()));
    let refused = Diary::refusal(&by_number, "diary");
    assert!(refused.contains("localhost"), "{refused}");
    // The password is in a file.
    let url = server.url_without_password(&database.name);
    Diary::refusal(&url, "diary");
    fs::write(home.path().join("password"), format!("{PASSWORD}\n")).unwrap();
    set_mode(&home.path().join("password"), 0o600);
    let settings = format!(
        "[serve]\nlisten = \"127.0.0.1:0\"\ndatabase = \"{url}\"\n\
         database_password = {{ file = \"$HOME/password\" }}\n[serve.commits.diary]\n"
    );
    let commits = CommitServer::start_in(home, &settings);
    assert_eq!(commits.save("foo", 2, b"x").status, 200);
    assert!(!commits.log().contains("hunter2"), "{}", commits.log());
}

on_every_database_server!(a_wrong_password_is_told_and_not_shown);
fn a_wrong_password_is_told_and_not_shown(database: &TestDatabase) {
    let url = database.url.replace("hunter2", "secret9");
    let refused = Diary::refusal(&url, "diary");
    assert!(refused.contains("twitcher") && !refused.contains("secret9"), "{refused}");
}
