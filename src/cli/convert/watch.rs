//! Translates calls of the original's `RegisterWatch`.

use std::collections::HashSet;

use super::evaluate::Evaluator;
use super::parse::Arguments;
use super::value::{Typed, Value};
use crate::model::NodePath;

/// The arguments of the original, in its order.
const ARGUMENTS: [&str; 11] = [
    "znode",
    "action",
    "pipe_stdin",
    "run_on_load",
    "run_mode",
    "description",
    "uid",
    "gid",
    "watch_type",
    "notify_signal",
    "timeout",
];

/// The seconds of a year, the longest timeout.
const MAX_TIMEOUT: f64 = 366.0 * 24.0 * 60.0 * 60.0;

/// The shortest timeout in seconds.
const MIN_TIMEOUT: f64 = 0.001;

/// The longest description in bytes.
const MAX_DESCRIPTION: usize = 256;

/// A call in Rhai: what the keys say, and what a reader must know about them.
#[derive(Debug, Default)]
pub struct Watch {
    /// Each with its code, and perhaps a comment.
    pub keys: Vec<(&'static str, String, &'static str)>,
    pub notes: Vec<String>,
    /// The description, if it is known.
    pub description: Option<Vec<u8>>,
}

/// Translates a call. `descriptions` are those of the calls before.
pub fn watch(
    arguments: &Arguments,
    evaluator: &mut Evaluator,
    descriptions: &HashSet<Vec<u8>>,
) -> Result<Watch, String> {
    let mut given: Vec<(&'static str, Typed)> = Vec::new();
    if arguments.positional.len() > ARGUMENTS.len() {
        return Err("RegisterWatch has too many arguments".into());
    }
    let positional = ARGUMENTS.iter().zip(&arguments.positional).map(|(name, value)| (*name, value));
    let mut named = Vec::new();
    for (name, value) in &arguments.named {
        let known = ARGUMENTS.iter().find(|argument| *argument == name);
        named.push((*known.ok_or_else(|| format!("RegisterWatch has no argument `{name}`"))?, value));
    }
    for (name, value) in positional.chain(named) {
        if given.iter().any(|(other, _)| *other == name) {
            return Err(format!("`{name}` is given twice"));
        }
        given.push((name, evaluator.evaluate(value)?));
    }
    // The original takes None for an argument that is not given.
    given.retain(|(_, value)| value.value != Value::None);
    for needed in ["znode", "action"] {
        if !given.iter().any(|(name, _)| *name == needed) {
            return Err(format!("RegisterWatch has no `{needed}`"));
        }
    }
    let mode = given.iter().find(|(name, _)| *name == "run_mode").map(|(_, value)| value.value.clone());
    let mut watch = Watch::default();
    for (name, value) in &given {
        watch.add(name, value, mode.as_ref(), descriptions)?;
    }
    watch.identity(&given);
    Ok(watch)
}

impl Watch {
    fn add(
        &mut self,
        name: &'static str,
        value: &Typed,
        mode: Option<&Value>,
        descriptions: &HashSet<Vec<u8>>,
    ) -> Result<(), String> {
        let wrong = || Err(format!("`{name}` must not be {}", value.value.kind()));
        match (name, &value.value) {
            ("znode", Value::Text(path)) => {
                if let Some(path) = path {
                    let path = std::str::from_utf8(path).map_err(|_| "`znode` is not UTF-8")?;
                    NodePath::parse(path).map_err(|error| error.to_string())?;
                }
            }
            ("action", Value::Action) | ("pipe_stdin" | "run_on_load", Value::Bool(_)) => {}
            ("run_mode", Value::Constant("QUEUE" | "DISCARD")) => {}
            ("run_mode", Value::Constant("PARALLEL")) => {
                self.keys.push((name, value.rhai()?, ""));
                self.keys.push(("max_parallel", "64".into(), "the original had no limit"));
                return Ok(());
            }
            ("watch_type", Value::Constant("WATCH_DATA" | "WATCH_CHILDREN")) => {}
            ("description", Value::Text(text)) => {
                if let Some(bytes) = text {
                    let text = std::str::from_utf8(bytes).map_err(|_| "`description` is not UTF-8")?;
                    if text.trim().is_empty() || text.chars().any(char::is_control) {
                        return Err("`description` is empty or has control characters".into());
                    }
                    if text.len() > MAX_DESCRIPTION {
                        return Err(format!("`description` is longer than {MAX_DESCRIPTION} bytes"));
                    }
                    if descriptions.contains(&**bytes) {
                        return Err("another watch of the file has this `description`".into());
                    }
                    self.description = Some(bytes.to_vec());
                }
            }
            ("uid" | "gid", Value::Int(id)) if (0..i64::from(u32::MAX)).contains(id) => {
                match (name, id) {
                    // `identity` decides about `gid`.
                    ("uid", 0) => self.notes.push("uid=0 is left out: it counted as not given".into()),
                    _ => self.keys.push((name, value.rhai()?, "")),
                }
                return Ok(());
            }
            ("uid" | "gid", Value::Int(id)) => return Err(format!("`{name}`: {id} is not a valid id")),
            ("uid" | "gid", Value::Text(account)) => {
                if account.as_ref().is_some_and(|name| name.is_empty() || name.contains(&0)) {
                    return Err(format!("`{name}` is no name"));
                }
            }
            ("notify_signal", Value::Int(1..=31)) => match mode {
                Some(Value::Constant("PARALLEL")) => {
                    self.notes.push("notify_signal is left out: PARALLEL never sends it".into());
                    return Ok(());
                }
                Some(Value::Constant("DISCARD")) => {
                    return Err("`notify_signal` with DISCARD is not translated: only QUEUE sends it".into());
                }
                _ => {}
            },
            ("notify_signal", Value::Int(number)) => {
                return Err(format!("`notify_signal`: {number} is not between 1 and 31"));
            }
            ("timeout", Value::Int(_) | Value::Float(_)) => {
                let seconds = match value.value {
                    Value::Int(number) => number as f64,
                    Value::Float(number) => number,
                    _ => 0.0,
                };
                if !(MIN_TIMEOUT..=MAX_TIMEOUT).contains(&seconds) {
                    return Err(format!("`timeout`: {seconds} is not between {MIN_TIMEOUT} s and a year"));
                }
            }
            _ => return wrong(),
        }
        self.keys.push((name, value.rhai()?, ""));
        Ok(())
    }

    /// Tells how the user and the group differ.
    fn identity(&mut self, given: &[(&'static str, Typed)]) {
        let has = |wanted: &str| given.iter().any(|(name, _)| *name == wanted);
        let has_uid = self.keys.iter().any(|(name, ..)| *name == "uid");
        let is_0 = |(name, value): &(&str, Typed)| *name == "gid" && value.value == Value::Int(0);
        if given.iter().any(is_0) && !has_uid {
            self.keys.retain(|(name, ..)| *name != "gid");
            self.notes.push("gid=0 is left out: it counted as not given".into());
        }
        if has_uid && !has("gid") {
            let note = "without gid, the action gets the primary group of its user; in the original, it kept \
                        the daemon's group";
            self.notes.push(note.into());
        }
    }
}
