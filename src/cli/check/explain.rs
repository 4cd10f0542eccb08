//! `twitcher check --explain`: the settings of a watch, for people to read and to compare.

use std::fmt::Write;

use crate::cli::shared::stdout::line;
use crate::config::load::SourceLocation;
use crate::config::vocabulary::{KEYS, Key, SERVICE_KEYS};
use crate::model::{Identity, ServiceSpec, WatchKey, WatchSpec};
use crate::text::printable;

/// The width of the longest key, so that a new line does not move the others.
const KEY_WIDTH: usize = "notify_signal:".len();

/// Returns the watch's name in the log and, below it, a line for each setting, in the words of configs. Most
/// settings have a line only if they are not the default. The text ends with a newline.
pub fn explain(spec: &WatchSpec, location: &SourceLocation) -> String {
    block(&spec.id, location, KEYS, spec, Some(&spec.identity))
}

/// Returns the same of a service. The identity is that of its check, if it has one.
pub fn explain_service(spec: &ServiceSpec, location: &SourceLocation) -> String {
    let identity = spec.check.as_ref().map(|_| &*spec.identity);
    block(&spec.id, location, SERVICE_KEYS, spec, identity)
}

fn block<T, S>(
    id: &WatchKey,
    location: &SourceLocation,
    keys: &[Key<T, S>],
    spec: &S,
    identity: Option<&Identity>,
) -> String {
    let mut block = line(&id.to_string());
    let mut setting = |key: &str, value: String| {
        let key = format!("{key}:");
        let _ = writeln!(block, "  {key:KEY_WIDTH$} {}", printable(value.as_bytes()));
    };
    setting("registered", location.to_string());
    for key in keys {
        (key.explain)(spec).into_iter().for_each(|value| setting(key.name, value));
        // The keys `uid` and `gid` have no lines of their own.
        if key.name == "gid"
            && let Some(identity) = identity
        {
            setting("identity", described(identity));
        }
    }
    block
}

fn described(Identity { user, uid, gid, change, home: _, shell: _ }: &Identity) -> String {
    let groups = match change {
        Some(change) => change.groups.iter().map(u32::to_string).collect::<Vec<_>>().join(" "),
        None => "the daemon's".to_owned(),
    };
    format!("{user}, uid {uid}, gid {gid}, groups {groups}")
}
