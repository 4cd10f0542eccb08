//! The addresses of the pages, and of what they link to.

use crate::text::percent_encoded;

pub const LOG_IN: &str = "/-/login";
pub const LOG_OUT: &str = "/-/logout";

pub fn keys(namespace: &str) -> String {
    path(&["-", "keys", namespace])
}

/// The page of a key: its newest version and its history.
pub fn key(namespace: &str, key: &str) -> String {
    path(&["-", "key", namespace, key])
}

pub fn version(namespace: &str, key: &str, version: i64) -> String {
    path(&["-", "key", namespace, key, &version.to_string()])
}

/// What has changed from one version to another. Version 0 is what was before the first one.
pub fn diff(namespace: &str, key: &str, old: i64, new: i64) -> String {
    path(&["-", "diff", namespace, key, &old.to_string(), &new.to_string()])
}

/// Where two versions are chosen.
pub fn compare(namespace: &str, key: &str) -> String {
    path(&["-", "diff", namespace, key])
}

pub fn new_key(namespace: &str) -> String {
    path(&["-", "edit", namespace])
}

pub fn edit(namespace: &str, key: &str) -> String {
    path(&["-", "edit", namespace, key])
}

pub fn revert(namespace: &str, key: &str, version: i64) -> String {
    path(&["-", "revert", namespace, key, &version.to_string()])
}

pub fn remove(namespace: &str, key: &str) -> String {
    path(&["-", "remove", namespace, key])
}

/// The payload alone, byte for byte.
pub fn payload(namespace: &str, key: &str, version: i64) -> String {
    path(&[namespace, key, &version.to_string()])
}

/// The metadata of the newest version.
pub fn meta(namespace: &str, key: &str) -> String {
    path(&[namespace, key, "meta"])
}

/// Where somebody logs in who wants to see `next`.
pub fn log_in(next: &str) -> String {
    with_query(LOG_IN, &[("next", next)])
}

pub fn with_query(path: &str, query: &[(&str, &str)]) -> String {
    let mut text = form_urlencoded::Serializer::for_suffix(format!("{path}?"), path.len() + 1);
    text.extend_pairs(query.iter().filter(|(_, value)| !value.is_empty()));
    text.finish().trim_end_matches('?').to_owned()
}

/// Whether an address is one of this server, and no other site's. Browsers take `//` and `/\` for the
/// beginning of another site's, and skip control characters.
pub fn is_own(address: &str) -> bool {
    address.starts_with('/')
        && !address.starts_with("//")
        && !address.contains('\\')
        && address.bytes().all(|byte| byte.is_ascii_graphic())
}

fn path(segments: &[&str]) -> String {
    segments.iter().map(|segment| format!("/{}", percent_encoded(segment))).collect()
}

#[cfg(test)]
mod tests {
    use hyper::Method;

    use super::*;
    use crate::serve::route::{Asked, Route, route};

    #[test]
    fn what_is_linked_is_found_again() {
        for text in ["foo", "a b", "a+b%20", "\"><script>", "ключ", "...", "meta", "?q=1#x", "&amp;"] {
            let found = |address: &str| route(&Method::GET, address, None, |name| name == text);
            let page = |segments: &[&str]| {
                let segments = segments.iter().map(|segment| (*segment).to_owned()).collect();
                Ok(Route::Page { segments, query: vec![] })
            };
            assert_eq!(found(&key(text, text)), page(&["key", text, text]));
            assert_eq!(found(&diff(text, text, 1, 12)), page(&["diff", text, text, "1", "12"]));
            let read = found(&payload(text, text, 3));
            assert!(matches!(read, Ok(Route::Commits { asked: Asked::Read(_), .. })), "{text}");
            assert!(is_own(&key(text, text)));
        }
        assert_eq!(log_in("/-/keys/a?q=b c"), "/-/login?next=%2F-%2Fkeys%2Fa%3Fq%3Db+c");
        assert_eq!(with_query("/-/keys/a", &[("q", "")]), "/-/keys/a");
    }

    #[test]
    fn an_address_of_another_site_is_not_our_own() {
        for other in [
            "",
            "foo",
            "//evil.example",
            "/\\evil.example",
            "/\t/evil.example",
            "https://evil.example",
            "/a b",
        ] {
            assert!(!is_own(other), "{other}");
        }
        assert!(is_own("/") && is_own("/-/keys/a?q=b+c"));
    }
}
