//! The keys that say what an action's process finds around it.

use std::collections::BTreeMap;

use rhai::{Dynamic, Map};

use super::{boolean, checked, int, text, type_of};
use crate::config::facts::is_variable_name;
use crate::model::{ExecContext, Output, Resource, UNLIMITED};
use crate::text::suggest;

/// The kernel refuses longer strings in an environment (`MAX_ARG_STRLEN`: 32 pages, the NUL included).
const MAX_VARIABLE_BYTES: usize = 128 * 1024 - 1;

pub(in crate::config) const MIN_NICE: i32 = -20;
pub(in crate::config) const MAX_NICE: i32 = 19;

/// Permission bits: of all else, the kernel takes no notice in a umask.
pub(in crate::config) const MAX_UMASK: u32 = 0o777;

const LOG: &str = "log";
const DISCARD: &str = "discard";

/// Checks these keys. `take` gives the value of a key.
pub(super) fn exec_context(take: &mut impl FnMut(&str) -> Option<Dynamic>) -> Result<ExecContext, String> {
    let mut asked = ExecContext::default();
    if let Some(value) = take("env") {
        asked.variables = variables(value)?;
    }
    if let Some(value) = take("cwd") {
        asked.cwd = cwd(value)?;
    }
    if let Some(value) = take("umask") {
        asked.umask = umask(value)?;
    }
    if let Some(value) = take("nice") {
        asked.nice = Some(nice(value)?);
    }
    if let Some(value) = take("rlimits") {
        asked.limits = limits(value)?;
    }
    if let Some(value) = take("no_new_privs") {
        asked.no_new_privs = boolean("no_new_privs", value)?;
    }
    if let Some(value) = take("output") {
        asked.output = output(value)?;
    }
    Ok(asked)
}

fn variables(value: Dynamic) -> Result<BTreeMap<String, String>, String> {
    map("env", "#{ NAME: \"value\" }", value)?
        .into_iter()
        .map(|(name, value)| {
            if name.starts_with("TWITCHER_") {
                return Err(format!(
                    "`env`: `{name}`: the names that start with TWITCHER_ are Twitcher's own; take another"
                ));
            }
            if !is_variable_name(&name) {
                return Err(format!(
                    "`env`: {name:?} is no name of an environment variable; it takes letters, digits and _"
                ));
            }
            let value = variable(&name, value.flatten())?;
            Ok((name.into(), value))
        })
        .collect()
}

fn variable(name: &str, value: Dynamic) -> Result<String, String> {
    if !(value.is_string() || value.is_int() || value.is_float() || value.is_bool()) {
        return Err(format!(
            "`env`: `{name}` must be a string, an int, a float or a bool, not {}",
            type_of(&value)
        ));
    }
    let value = checked(&format!("`env`: `{name}`"), value.to_string())?;
    if name.len() + "=".len() + value.len() > MAX_VARIABLE_BYTES {
        return Err(format!("`env`: `{name}` is longer than the 128 KiB that the kernel takes"));
    }
    Ok(value)
}

fn cwd(value: Dynamic) -> Result<String, String> {
    let path = checked("`cwd`", text("cwd", value)?)?;
    if !path.starts_with('/') {
        return Err(format!("`cwd`: {path:?} is not absolute; write the whole path, from / on"));
    }
    Ok(path)
}

fn umask(value: Dynamic) -> Result<u32, String> {
    let number = int("umask", value)?;
    u32::try_from(number).ok().filter(|mask| *mask <= MAX_UMASK).ok_or_else(|| {
        format!("`umask`: {number} is not between 0 and 0o777; an octal number starts with 0o, such as 0o027")
    })
}

fn nice(value: Dynamic) -> Result<i32, String> {
    let number = int("nice", value)?;
    i32::try_from(number)
        .ok()
        .filter(|nice| (MIN_NICE..=MAX_NICE).contains(nice))
        .ok_or_else(|| format!("`nice`: {number} is not between {MIN_NICE} and {MAX_NICE}"))
}

fn limits(value: Dynamic) -> Result<BTreeMap<Resource, u64>, String> {
    map("rlimits", "#{ nofile: 1024, core: \"unlimited\" }", value)?
        .into_iter()
        .map(|(name, value)| {
            let Some(resource) = Resource::ALL.into_iter().find(|resource| resource.name() == name) else {
                let lower = name.to_lowercase();
                let near = lower.strip_prefix("rlimit_").unwrap_or(&lower);
                return Err(format!(
                    "`rlimits`: unknown limit `{name}`{}",
                    suggest(near, Resource::ALL.map(Resource::name))
                ));
            };
            Ok((resource, limit(&name, value.flatten())?))
        })
        .collect()
}

fn limit(name: &str, value: Dynamic) -> Result<u64, String> {
    if let Ok(number) = value.as_int() {
        return u64::try_from(number)
            .map_err(|_| format!("`rlimits`: `{name}`: {number} is less than 0; \"unlimited\" is none"));
    }
    let type_name = type_of(&value);
    let said = match value.into_string() {
        Ok(word) if word == "unlimited" => return Ok(UNLIMITED),
        Ok(word) => format!("{word:?}{}", suggest(&word, ["unlimited"])),
        Err(_) => type_name,
    };
    Err(format!("`rlimits`: `{name}` must be an int or \"unlimited\", not {said}"))
}

fn output(value: Dynamic) -> Result<Output, String> {
    let output = checked("`output`", text("output", value)?)?;
    match output.as_str() {
        LOG => Ok(Output::Log),
        DISCARD => Ok(Output::Discard),
        path if path.starts_with('/') => Ok(Output::File(output)),
        other => Err(format!(
            "`output` must be \"{LOG}\", \"{DISCARD}\" or the absolute path of a file, not {other:?}{}",
            suggest(other, [LOG, DISCARD])
        )),
    }
}

fn map(key: &str, example: &str, value: Dynamic) -> Result<Map, String> {
    let type_name = type_of(&value);
    value.try_cast::<Map>().ok_or_else(|| format!("`{key}` must be a map, {example}, not {type_name}"))
}
