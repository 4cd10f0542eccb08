//! A key of a map, and how its values are checked and stored.

use std::time::Duration;

use rhai::{Dynamic, Map};

use super::fault::Fault;
use super::values;
use crate::config::mistake::is_faulty;
use crate::model::{RunMode, WatchSpec};
use crate::text::suggest;

/// A key of a map. Its value is stored in a `T`.
pub struct Key<T, S = WatchSpec> {
    pub name: &'static str,
    /// The type, in the words of the manual.
    pub kind: &'static str,
    /// The default in the words of the manual, `default ...`, or `required`.
    pub default: &'static str,
    pub meaning: &'static str,
    /// The only run mode that allows the key. `None`: every run mode does.
    pub only: Option<RunMode>,
    /// Checks a value and stores it. The text of an error follows the key.
    pub(super) set: fn(&mut T, &Dynamic) -> Result<(), Vec<Fault>>,
    /// Whether `set` can have stored the value. The evaluator's replies are not trusted.
    pub(in crate::config) is_possible: fn(&T) -> bool,
    /// Returns the lines of `check --explain` about a definition of the kind `S`. Most keys have none if the
    /// value is the default.
    pub explain: fn(&S) -> Vec<String>,
}

impl<T, S> Key<T, S> {
    pub(super) const fn new(
        name: &'static str,
        kind: &'static str,
        default: &'static str,
        meaning: &'static str,
    ) -> Self {
        Self {
            name,
            kind,
            default,
            meaning,
            only: None,
            set: |_, _| Ok(()),
            is_possible: |_| true,
            explain: |_| Vec::new(),
        }
    }

    pub(super) const fn only(self, run_mode: RunMode) -> Self {
        Self { only: Some(run_mode), ..self }
    }

    pub(super) const fn set(self, set: fn(&mut T, &Dynamic) -> Result<(), Vec<Fault>>) -> Self {
        Self { set, ..self }
    }

    pub(super) const fn possible_if(self, is_possible: fn(&T) -> bool) -> Self {
        Self { is_possible, ..self }
    }

    pub(super) const fn explain(self, explain: fn(&S) -> Vec<String>) -> Self {
        Self { explain, ..self }
    }
}

/// Stores the values of `map` in `to`. Returns the mistakes, each of which names its key.
pub(in crate::config) fn fill<T, S>(keys: &[Key<T, S>], map: &Map, to: &mut T) -> Vec<Fault> {
    let names = || keys.iter().map(|key| key.name);
    let unknown = map.keys().filter(|key| names().all(|name| name != key.as_str()));
    let mut faults: Vec<Fault> =
        unknown.map(|key| Fault::at(key, format!("unknown key `{key}`{}", suggest(key, names())))).collect();
    for Key { name, kind, default, meaning, set, .. } in keys {
        match map.get(*name) {
            // The mistake is reported already.
            Some(value) if is_faulty(value) => {}
            Some(value) => {
                let wrong = set(to, &value.flatten_clone()).err().unwrap_or_default();
                faults.extend(wrong.into_iter().map(|fault| fault.of(name)));
            }
            // Its name is there with a slip.
            None if faults.iter().any(|fault| fault.text.ends_with(&format!("did you mean `{name}`?"))) => {}
            None if *default == "required" => {
                let text = format!("missing key `{name}` ({}): {meaning}", kind.replace('`', ""));
                faults.push(Fault { path: Vec::new(), text });
            }
            None => {}
        }
    }
    faults
}

/// Lets the texts of the mistakes in a map follow the key of the map.
pub(super) fn within(faults: Vec<Fault>) -> Result<(), Vec<Fault>> {
    if faults.is_empty() {
        return Ok(());
    }
    Err(faults.into_iter().map(|fault| Fault { text: format!(": {}", fault.text), ..fault }).collect())
}

pub(super) fn put<T>(place: &mut T, value: Result<T, String>) -> Result<(), Vec<Fault>> {
    put_all(place, value.map_err(|why| vec![why.into()]))
}

pub(super) fn put_all<T>(place: &mut T, value: Result<T, Vec<Fault>>) -> Result<(), Vec<Fault>> {
    *place = value?;
    Ok(())
}

pub(super) fn unless<T: PartialEq>(value: &T, default: &T, text: impl Fn(&T) -> String) -> Vec<String> {
    if value == default { Vec::new() } else { vec![text(value)] }
}

pub(super) fn is_time(time: Duration) -> bool {
    time <= values::MAX_TIME
}

pub(super) fn is_absolute(path: &str) -> bool {
    path.starts_with('/') && has_no_nul(path)
}

pub(super) fn has_no_nul(text: &str) -> bool {
    !text.contains('\0')
}
