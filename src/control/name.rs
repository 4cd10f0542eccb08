//! Finds a watch by the name that a client gives.

use super::request::RequestError;
use crate::model::WatchKey;
use crate::text::{is_glob, printable, suggest};

/// Finds the watch with this name in log lines (`git.twc:deploy`, `git.twc-1`), or with this description, if
/// no other file has a watch of that description.
pub fn find<'a>(
    name: &str,
    known: impl Iterator<Item = &'a WatchKey> + Clone,
) -> Result<&'a WatchKey, RequestError> {
    if let Some(exact) = known.clone().find(|key| is_full_name(key, name)) {
        return Ok(exact);
    }
    let mut described = known.clone().filter(|key| *key.description == *name);
    match (described.next(), described.next()) {
        (Some(only), None) => Ok(only),
        (Some(first), Some(second)) => Err(RequestError::Ambiguous(format!(
            "{name:?} matches several watches, {first} and {second} among them; use the full name"
        ))),
        (None, _) => Err(RequestError::Unknown(unknown(name, known))),
    }
}

/// Compares without building the full name, because there may be ten thousand watches.
fn is_full_name(key: &WatchKey, name: &str) -> bool {
    let WatchKey { file, description } = key;
    match name.strip_prefix(&**file).and_then(|rest| rest.strip_prefix(':')) {
        Some(rest) => rest == &**description,
        None => name == &**description && description.starts_with(&**file),
    }
}

/// A wrong name is compared with this many watches for a suggestion, which takes some milliseconds of the
/// daemon's time.
const MAX_COMPARED_WATCHES: usize = 1_000;

/// A longer name gets no suggestion.
const MAX_COMPARED_BYTES: usize = 300;

fn unknown<'a>(name: &str, known: impl Iterator<Item = &'a WatchKey> + Clone) -> String {
    let compared = if name.len() <= MAX_COMPARED_BYTES { MAX_COMPARED_WATCHES } else { 0 };
    let known = known.take(compared);
    let mut names: Vec<String> = known.clone().map(WatchKey::to_string).collect();
    names.extend(known.map(|key| key.description.to_string()));
    let near = suggest(name, names.iter().map(String::as_str));
    let hint = match () {
        () if !near.is_empty() => &near,
        () if is_glob(name) => "; patterns are for `status`, `pause` and `resume`",
        () => "; `twitcher status` lists them",
    };
    format!("no watch is called {}{hint}", printable(name.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(file: &str, description: &str) -> WatchKey {
        WatchKey { file: file.into(), description: description.into() }
    }

    #[test]
    fn a_watch_goes_by_its_full_name_and_by_its_description_where_that_is_one_only() {
        let known = [
            key("git.twc", "deploy"),
            key("git.twc", "git.twc-2"),
            key("team/app.twc", "reload"),
            key("app.twc", "reload"),
            key("odd.twc", "git.twc:deploy"),
        ];
        let found = |name| find(name, known.iter()).map(ToString::to_string);
        assert_eq!(found("git.twc:deploy"), Ok("git.twc:deploy".into()));
        assert_eq!(found("git.twc-2"), Ok("git.twc-2".into()));
        assert_eq!(found("deploy"), Ok("git.twc:deploy".into()));
        assert_eq!(found("app.twc:reload"), Ok("app.twc:reload".into()));
        let Err(RequestError::Ambiguous(why)) = found("reload") else { panic!("{:?}", found("reload")) };
        assert!(why.contains("team/app.twc:reload"), "{why}");
        let unknown = |name| match found(name) {
            Err(RequestError::Unknown(why)) => why,
            other => panic!("{other:?}"),
        };
        assert!(unknown("git.twc:deplyo").contains("git.twc:deploy"), "{}", unknown("git.twc:deplyo"));
        assert!(unknown("deplox").contains("`deploy`"), "{}", unknown("deplox"));
        assert!(unknown("evil\u{1b}[31m\n").contains("\\u{1b}"));
    }
}
