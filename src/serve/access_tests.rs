use std::collections::BTreeMap;

use super::*;
use crate::store::{Secret, SecretFile};

fn access(users: &[(&str, &str, Right)]) -> Access {
    let users = users.iter().map(|(name, token, right)| User {
        name: (*name).to_owned(),
        token: sha256(token.as_bytes()),
        may: vec![Grant { namespace: Some("diary".to_owned()), right: *right }],
    });
    Access {
        users: users.collect(),
        hosts: Some(vec!["config.example".to_owned()]),
        sessions: Mutex::default(),
    }
}

/// Why users with these tokens are refused.
fn refusal(tokens: impl IntoIterator<Item = UserToken>) -> Option<String> {
    let users = tokens.into_iter().enumerate().map(|(number, token)| UserSettings {
        name: format!("user {number}"),
        token,
        may: Vec::new(),
    });
    let settings = ServeSettings {
        listen: Listen::Unix("/s".into()),
        database: "sqlite:/d".parse().unwrap(),
        hosts: Vec::new(),
        tls: None,
        namespaces: BTreeMap::new(),
        users: users.collect(),
    };
    Access::new(&settings).err().map(|error| error.to_string())
}

#[test]
fn a_token_is_no_empty_text_and_names_one_user() {
    let inline = |token: &str| UserToken::Secret(Secret::Inline(token.to_owned()));
    assert_eq!(refusal([inline("a"), inline("b"), UserToken::Sha256(sha256(b"c"))]), None);
    let empty = Some("user \"user 0\": the token is empty".to_owned());
    for token in [inline(""), inline(" \n"), UserToken::Sha256(sha256(b""))] {
        assert_eq!(refusal([token]), empty);
    }
    let same = refusal([inline("a"), inline("b"), UserToken::Sha256(sha256(b"b"))]);
    let expected = "users \"user 1\" and \"user 2\" have the same token, so nobody could tell who saves";
    assert_eq!(same.as_deref(), Some(expected));
    // Clients send a token without the spaces around it.
    let lost = Secret::File(SecretFile("/no/such/file".into()));
    assert_eq!(refusal([inline("a"), inline(" a ")]), refusal([inline("a"), inline("a")]));
    let lost = refusal([UserToken::Secret(lost)]).unwrap();
    assert!(lost.starts_with("user \"user 0\": /no/such/file cannot be read: "), "{lost}");
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
}

#[test]
fn a_token_names_its_user_and_a_wrong_one_nobody() {
    let access = access(&[("gian", "secret", Right::Write), ("eva", "other", Right::Read)]);
    let who = |value: &str| access.who(&Method::GET, &headers(&[("authorization", value)]));
    let gian = who("Bearer secret").ok().unwrap();
    assert_eq!(gian.name(), Some("gian"));
    assert!(gian.may("diary", Right::Read) && gian.may("diary", Right::Write));
    assert!(!gian.may("diary", Right::Impersonate) && !gian.may("other", Right::Read));
    let eva = who("bearer other").ok().unwrap();
    let denied = eva.require("diary", Right::Write).unwrap_err().to_string();
    assert_eq!(denied, "Forbidden: eva may not write diary");
    for wrong in ["Bearer secre", "Bearer ", "Basic secret", "secret"] {
        assert_eq!(who(wrong).err(), Some(Denied::Unknown), "{wrong}");
    }
    assert_eq!(access.who(&Method::GET, &HeaderMap::new()).err(), Some(Denied::Unknown));
}

#[test]
fn a_session_lasts_until_it_is_left_or_forgotten() {
    let access = access(&[("gian", "secret", Right::Write)]);
    assert_eq!(access.log_in("wrong", true), None);
    let cookie = access.log_in("secret", true).unwrap();
    assert!(cookie.ends_with("; Path=/; HttpOnly; SameSite=Strict; Secure"), "{cookie}");
    let cookie = cookie.split(';').next().unwrap().to_owned();
    let with_cookie = headers(&[("cookie", &format!("a=b; {cookie}"))]);
    let name = || access.who(&Method::GET, &with_cookie).ok().and_then(|who| who.name().map(str::to_owned));
    assert_eq!(name().as_deref(), Some("gian"));
    let age = |by: Duration| {
        for session in access.sessions.lock().unwrap().values_mut() {
            session.used = session.used.checked_sub(by).unwrap();
        }
    };
    age(SESSION_TIMEOUT / 2);
    assert_eq!(name().as_deref(), Some("gian"));
    age(2 * SESSION_TIMEOUT);
    assert_eq!(name(), None);
    let cookie = access.log_in("secret", false).unwrap();
    let with_cookie = headers(&[("cookie", cookie.split(';').next().unwrap())]);
    access.log_out(&with_cookie);
    assert_eq!(access.who(&Method::GET, &with_cookie).err(), Some(Denied::Unknown));
}

#[test]
fn a_session_changes_something_only_from_a_page_that_says_where_it_is_from() {
    let access = access(&[("gian", "secret", Right::Write)]);
    let cookie = access.log_in("secret", false).unwrap();
    let cookie = ("cookie", cookie.split(';').next().unwrap());
    let host = ("host", "config.example");
    let is_let_in = |method: Method, more: &[(&'static str, &str)]| {
        access.who(&method, &headers(&[&[host, cookie], more].concat())).is_ok()
    };
    assert!(is_let_in(Method::GET, &[]));
    assert!(!is_let_in(Method::POST, &[]));
    assert!(is_let_in(Method::POST, &[("origin", "http://config.example")]));
    assert!(is_let_in(Method::POST, &[("sec-fetch-site", "same-origin")]));
    // No other site's page can add a token.
    let bearer = headers(&[host, ("authorization", "Bearer secret")]);
    assert!(access.who(&Method::POST, &bearer).is_ok());
}

#[test]
fn other_sites_can_neither_post_nor_read() {
    let access = access(&[]);
    let host = ("host", "127.0.0.1:8080");
    let is_let_in = |method: Method, more: &[(&'static str, &str)]| {
        access.who(&method, &headers(&[&[host], more].concat())).is_ok()
    };
    // Programs, and pages of ours.
    assert!(is_let_in(Method::POST, &[]));
    assert!(is_let_in(
        Method::POST,
        &[("origin", "http://127.0.0.1:8080"), ("sec-fetch-site", "same-origin")]
    ));
    assert!(is_let_in(Method::GET, &[("sec-fetch-site", "none")]));
    // A link.
    assert!(is_let_in(Method::GET, &[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")]));
    for origin in ["http://evil.example", "null", "http://127.0.0.1:8081", "https://127.0.0.1"] {
        assert!(!is_let_in(Method::POST, &[("origin", origin)]), "{origin}");
    }
    assert!(!is_let_in(Method::POST, &[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")]));
    assert!(!is_let_in(Method::GET, &[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors")]));
    assert!(!is_let_in(Method::GET, &[("sec-fetch-site", "same-site")]));
}

#[test]
fn without_users_a_browser_must_know_the_server_by_its_own_name() {
    let open = access(&[]);
    let lets_in = |access: &Access, host: &str| {
        !matches!(access.who(&Method::GET, &headers(&[("host", host)])), Err(Denied::Forbidden(_)))
    };
    for host in ["127.0.0.1:8080", "localhost", "LOCALHOST:1", "[::1]:8080", "config.example:443"] {
        assert!(lets_in(&open, host), "{host}");
    }
    for host in ["evil.example", "evil.example:8080", "localhost.evil.example", ""] {
        assert!(!lets_in(&open, host), "{host}");
    }
    let closed = access(&[("gian", "secret", Right::Write)]);
    assert!(lets_in(&closed, "anything.example"));
}
