//! Checks the values that a script gives to keys, and converts them to values of Rust.
//!
//! An error is the text that follows the key: ` must be true or false, not an int` or `: 20 is not between
//! -20 and 19`.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use nix::sys::signal::Signal;
use rhai::{Dynamic, Map};

use super::constants::CONSTANTS;
use super::fault::Fault;
use super::types::{as_string, type_of};
use crate::config::facts::is_variable_name;
use crate::config::modules::SCHEMA_EXTENSION;
use crate::config::registration::RegisteredAction;
use crate::model::{Account, NodePath, Output, Resource, RunOnLoad, Share, UNLIMITED};
use crate::text::{did_you_mean, suggest};

pub(super) type Checked<T> = Result<T, String>;

/// A year. A longer time is a mistake, such as a number of milliseconds.
pub(super) const MAX_TIME: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// A shorter time would be rounded to nothing by timers.
pub(super) const MIN_TIME: Duration = Duration::from_millis(1);

/// The number of the last real-time signal on Linux.
pub(super) const MAX_SIGNAL: i32 = 64;

pub(super) const NICE: RangeInclusive<i32> = -20..=19;

/// The permission bits. The kernel ignores all others in a umask.
pub(super) const MAX_UMASK: u32 = 0o777;

/// A longer description would make log lines unreadable.
const MAX_DESCRIPTION_BYTES: usize = 256;

/// The kernel refuses longer strings in an environment (`MAX_ARG_STRLEN`: 32 pages with the NUL).
const MAX_VARIABLE_BYTES: usize = 128 * 1024 - 1;

const LOG: &str = "log";
const DISCARD: &str = "discard";

pub(super) fn must_be(what: &str, value: &Dynamic) -> String {
    format!(" must be {what}, not {}{}", type_of(value), as_string(value))
}

/// Refuses a NUL character, because the kernel ends strings at NUL.
pub(in crate::config) fn no_nul(text: String) -> Checked<String> {
    if text.contains('\0') { Err(format!(": {text:?} has a NUL character")) } else { Ok(text) }
}

pub(super) fn boolean(value: &Dynamic) -> Checked<bool> {
    value.as_bool().map_err(|_| must_be("true or false", value) + instead(&truth(value)).as_str())
}

/// Returns what to write, if it is known what was meant.
fn instead(meant: &Option<String>) -> String {
    meant.as_ref().map_or(String::new(), |meant| format!("; write {meant}"))
}

/// Returns the truth value that somebody means who writes a word or a number for one.
fn truth(value: &Dynamic) -> Option<String> {
    let word = value.as_immutable_string_ref().map(|text| text.trim().to_lowercase());
    let truth = match (word.as_deref(), value.as_int()) {
        (Ok("true" | "yes" | "on" | "1"), _) | (_, Ok(1)) => true,
        (Ok("false" | "no" | "off" | "0"), _) | (_, Ok(0)) => false,
        _ => return None,
    };
    Some(truth.to_string())
}

/// Returns the number that somebody means who writes it in quotes.
fn number_in(value: &Dynamic) -> Option<String> {
    let text = value.as_immutable_string_ref().ok()?;
    let number = text.trim();
    number.parse::<f64>().ok().filter(|number| number.is_finite())?;
    Some(format!("{number} without quotes"))
}

/// Returns the number of seconds that somebody means who writes a time with its unit.
fn seconds_in(value: &Dynamic) -> Option<String> {
    let text = value.as_immutable_string_ref().ok()?;
    Some(format!("{}, the number of seconds, without quotes", seconds_with_unit(text.trim())?))
}

/// Returns the number of bytes that somebody means who writes a size with its unit.
fn bytes_in(value: &Dynamic) -> Option<String> {
    let text = value.as_immutable_string_ref().ok()?;
    Some(format!("{}, the number of bytes, without quotes", bytes_with_unit(text.trim())?))
}

/// Returns the number that somebody means who writes a time or a size with its unit: `5m` or `10M`.
pub(in crate::config) fn with_unit(text: &str) -> Option<String> {
    let seconds = seconds_with_unit(text).map(|seconds| format!("{seconds}, the number of seconds"));
    seconds.or_else(|| Some(format!("{}, the number of bytes", bytes_with_unit(text)?)))
}

fn split_unit(text: &str) -> Option<(f64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at(end);
    Some((number.parse().ok()?, unit.trim()))
}

fn bytes_with_unit(text: &str) -> Option<f64> {
    let (number, unit) = split_unit(text)?;
    let shift = match unit.to_lowercase().as_str() {
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        _ => return None,
    };
    Some(number * f64::from(1_u32 << shift))
}

fn seconds_with_unit(text: &str) -> Option<f64> {
    let (number, unit) = split_unit(text)?;
    // `M` is a size.
    let unit = if unit == "M" { "" } else { unit };
    let factor = match unit.to_lowercase().as_str() {
        "ms" => 0.001,
        "s" | "sec" | "secs" | "second" | "seconds" => 1.0,
        "m" | "min" | "mins" | "minute" | "minutes" => 60.0,
        "h" | "hour" | "hours" => 3600.0,
        "d" | "day" | "days" => 86_400.0,
        _ => return None,
    };
    Some(number * factor)
}

pub(super) fn text(value: &Dynamic) -> Checked<String> {
    let text = value.as_immutable_string_ref().map_err(|_| must_be("a string", value))?;
    Ok(text.to_string())
}

fn int(value: &Dynamic) -> Checked<i64> {
    value.as_int().map_err(|_| match value.as_float() {
        // The interpreter reads an int that is too large as a float.
        Ok(float) if float.is_finite() && float.abs() >= i64::MAX as f64 => {
            format!(": {} is larger than an int can be", shown(float))
        }
        Ok(_) | Err(_) => {
            must_be("an int", value) + instead(&number_in(value).or_else(|| bytes_in(value))).as_str()
        }
    })
}

pub(super) fn positive(value: &Dynamic) -> Checked<u32> {
    let number = int(value)?;
    match u32::try_from(number) {
        Ok(number) if number >= 1 => Ok(number),
        Err(_) if number > 0 => Err(format!(": {number} is more than {}", u32::MAX)),
        Ok(_) | Err(_) => Err(format!(": {number} is less than 1")),
    }
}

fn number(value: &Dynamic) -> Option<f64> {
    value.as_int().map(|number| number as f64).or_else(|_| value.as_float()).ok()
}

pub(super) fn seconds(value: &Dynamic) -> Checked<Duration> {
    let meant = || instead(&number_in(value).or_else(|| seconds_in(value)));
    let seconds = number(value).ok_or_else(|| must_be("a number of seconds", value) + meant().as_str())?;
    // NaN, infinities and negative numbers fail the conversion.
    match Duration::try_from_secs_f64(seconds) {
        Ok(time) if (MIN_TIME..=MAX_TIME).contains(&time) => Ok(time),
        Ok(time) if time > MAX_TIME => Err(too_long(seconds)),
        // A `Duration` holds no such time.
        Err(_) if seconds > 0.0 && seconds.is_finite() => Err(too_long(seconds)),
        Ok(time) if !time.is_zero() => {
            Err(format!(": {seconds} s is less than {} s, the shortest time", MIN_TIME.as_secs_f64()))
        }
        Ok(_) | Err(_) => Err(format!(" must be a number of seconds above 0, not {seconds}")),
    }
}

fn too_long(seconds: f64) -> String {
    format!(": {} s is more than a year; leave it out for none", shown(seconds))
}

/// Returns the number without a long row of zeros.
fn shown(number: f64) -> String {
    if number.abs() < 1e15 { number.to_string() } else { format!("{number:e}") }
}

pub(super) fn seconds_from(min: Duration, value: &Dynamic) -> Checked<Duration> {
    let time = seconds(value)?;
    let (shown, least) = (time.as_secs_f64(), min.as_secs_f64());
    if time < min { Err(format!(": {shown} s is less than {least} s, the shortest")) } else { Ok(time) }
}

pub(super) fn seconds_or_0(value: &Dynamic) -> Checked<Duration> {
    if number(value) == Some(0.0) { Ok(Duration::ZERO) } else { seconds(value) }
}

/// Takes a constant of `key`.
pub(super) fn constant<T: Clone + 'static>(key: &str, value: &Dynamic) -> Checked<T> {
    let names_of_key = || {
        let names: Vec<_> = CONSTANTS.iter().filter(|it| it.key == key).map(|it| it.name).collect();
        let (last, others) = names.split_last().expect("each key that takes a constant has several");
        format!("{} or {last} (without quotes)", others.join(", "))
    };
    value.clone().try_cast::<T>().ok_or_else(|| {
        let word = value.as_immutable_string_ref().map(|word| word.to_string()).unwrap_or_default();
        let names = || CONSTANTS.iter().filter(|it| it.key == key).map(|it| it.name);
        let is_end =
            |name: &str| name.rsplit_once('_').is_some_and(|(_, end)| end.eq_ignore_ascii_case(&word));
        let near = match names().find(|name| is_end(name)) {
            Some(name) => did_you_mean(name),
            None => suggest(&word, names()),
        };
        must_be(&names_of_key(), value) + near.as_str()
    })
}

pub(super) fn run_on_load(value: &Dynamic) -> Checked<RunOnLoad> {
    match value.as_bool() {
        Ok(true) => Ok(RunOnLoad::Always),
        Ok(false) => Ok(RunOnLoad::Never),
        Err(_) => {
            let changed = value.clone().try_cast::<RunOnLoad>();
            changed.ok_or_else(|| {
                let word = value.as_immutable_string_ref().map(|word| word.to_string()).unwrap_or_default();
                let meant =
                    truth(value).or_else(|| word.eq_ignore_ascii_case("changed").then(|| "CHANGED".into()));
                must_be("true, false or CHANGED (without quotes)", value) + instead(&meant).as_str()
            })
        }
    }
}

pub(super) fn node_path(value: &Dynamic) -> Checked<String> {
    let path = text(value)?;
    NodePath::parse(&path).map_err(|error| format!(": {error}"))?;
    Ok(path)
}

/// Takes the name of a member's node.
pub(super) fn address(value: &Dynamic) -> Checked<String> {
    let address = text(value)?;
    if address.is_empty() {
        return Err(" is empty; leave it out for the default".into());
    }
    if address.contains('/') {
        return Err(format!(": {address:?} has a slash; it is the name of one node below `service`"));
    }
    NodePath::parse(&format!("/{address}")).map_err(|error| format!(": {error}"))?;
    Ok(address)
}

pub(super) fn port(value: &Dynamic) -> Checked<u16> {
    let number = int(value)?;
    let port = u16::try_from(number).ok().filter(|port| *port > 0);
    port.ok_or_else(|| format!(": {number} is not between 1 and 65535"))
}

/// Takes the result of `Exec(...)`, or the action that the registrar put in the place of a function.
pub(super) fn action(value: &Dynamic) -> Checked<RegisteredAction> {
    if value.is_string() {
        return Err(" is a string; write Exec(\"...\") to run it".into());
    }
    if value.is_array() {
        return Err(" is an array; write Exec([...]) to run it".into());
    }
    let action = value.clone().try_cast::<RegisteredAction>();
    action.ok_or_else(|| must_be("Exec(...), a closure or Fn(\"name\")", value))
}

pub(super) fn description(value: &Dynamic) -> Checked<String> {
    let text = text(value)?;
    if text.trim().is_empty() {
        return Err(" is empty; leave it out for the default".into());
    }
    if text.chars().any(char::is_control) {
        return Err(format!(" {text:?} has a control character"));
    }
    if text.len() > MAX_DESCRIPTION_BYTES {
        return Err(format!(" is longer than {MAX_DESCRIPTION_BYTES} bytes"));
    }
    Ok(text)
}

pub(super) fn account(value: &Dynamic) -> Checked<Account> {
    if let Ok(id) = value.as_int() {
        // To the kernel, the highest number is -1, which means "no change".
        let id = u32::try_from(id).ok().filter(|id| *id < u32::MAX);
        return id.map(Account::Id).ok_or_else(|| format!(": {value} is not a valid id"));
    }
    let name = text(value).map_err(|_| must_be("an int or a name", value))?;
    if name.is_empty() {
        return Err(" is empty".into());
    }
    no_nul(name).map(Account::Name)
}

pub(super) fn signal(value: &Dynamic) -> Checked<i32> {
    if let Ok(number) = value.as_int() {
        let signal = i32::try_from(number).ok().filter(|signal| (1..=MAX_SIGNAL).contains(signal));
        return signal.ok_or_else(|| format!(": {number} is not between 1 and {MAX_SIGNAL}"));
    }
    let name = text(value).map_err(|_| must_be("an int or a name such as \"HUP\"", value))?;
    let upper = name.to_uppercase();
    let full = format!("SIG{}", upper.strip_prefix("SIG").unwrap_or(&upper));
    full.parse::<Signal>().map(|signal| signal as i32).map_err(|_| {
        let near = suggest(&full, Signal::iterator().map(Signal::as_str));
        format!(": unknown signal {name:?}{near}")
    })
}

pub(super) fn bytes(value: &Dynamic) -> Checked<u64> {
    let number = int(value)?;
    u64::try_from(number).map_err(|_| format!(": {number} is less than 0; leave it out for no limit"))
}

pub(super) fn share(value: &Dynamic) -> Checked<Share> {
    let percent = number(value).ok_or_else(|| {
        let text = value.as_immutable_string_ref().map(|text| text.trim().to_owned()).unwrap_or_default();
        let number = text.strip_suffix('%').filter(|number| number.trim().parse::<f64>().is_ok());
        must_be("a number of percent, such as 50", value) + instead(&number.map(str::to_owned)).as_str()
    })?;
    Share::of_percent(percent).ok_or_else(|| format!(": {percent} is not between 0 and 100 percent"))
}

pub(super) fn map(example: &str, value: &Dynamic) -> Result<Map, Vec<Fault>> {
    let map = value.as_map_ref().map_err(|_| vec![must_be(&format!("a map, {example}"), value).into()])?;
    Ok(map.clone())
}

pub(super) fn variables(value: &Dynamic) -> Result<BTreeMap<String, String>, Vec<Fault>> {
    let map = map("#{ NAME: \"value\" }", value)?;
    all(map.into_iter().map(|(name, value)| match variable(&name, &value.flatten()) {
        Ok(text) => Ok((name.to_string(), text)),
        Err(why) => Err(Fault::at(&name, why)),
    }))
}

/// Collects all values, or all mistakes.
fn all<K: Ord, V>(values: impl Iterator<Item = Result<(K, V), Fault>>) -> Result<BTreeMap<K, V>, Vec<Fault>> {
    let (mut right, mut wrong) = (BTreeMap::new(), Vec::new());
    for value in values {
        match value {
            Ok((key, value)) => _ = right.insert(key, value),
            Err(fault) => wrong.push(fault),
        }
    }
    if wrong.is_empty() { Ok(right) } else { Err(wrong) }
}

fn variable(name: &str, value: &Dynamic) -> Checked<String> {
    if is_reserved(name) {
        return Err(format!(
            ": `{name}`: the names that start with {RESERVED} are Twitcher's own; take another"
        ));
    }
    if !is_variable_name(name) {
        return Err(format!(
            ": {name:?} is not a valid name of an environment variable; it takes letters, digits and _"
        ));
    }
    if !(value.is_string() || value.is_int() || value.is_float() || value.is_bool()) {
        return Err(format!(": `{name}`{}", must_be("a string, an int, a float or a bool", value)));
    }
    let text = no_nul(value.to_string()).map_err(|why| format!(": `{name}`{why}"))?;
    if name.len() + "=".len() + text.len() > MAX_VARIABLE_BYTES {
        return Err(format!(": `{name}` is longer than the 128 KiB that the kernel takes"));
    }
    Ok(text)
}

/// The prefix of the variables that the daemon sets.
const RESERVED: &str = "TWITCHER_";

pub(super) fn is_reserved(name: &str) -> bool {
    name.starts_with(RESERVED)
}

pub(super) fn absolute_path(value: &Dynamic) -> Checked<String> {
    let path = no_nul(text(value)?)?;
    if !path.starts_with('/') {
        return Err(format!(": {path:?} is not absolute; write the whole path, from / on"));
    }
    Ok(path)
}

pub(super) fn schema(value: &Dynamic) -> Checked<String> {
    let path = no_nul(text(value)?)?;
    if !path.ends_with(SCHEMA_EXTENSION) {
        return Err(format!(": {path:?} does not end in {SCHEMA_EXTENSION}"));
    }
    Ok(path)
}

/// Takes a number, or a text of octal digits, which is what chmod(1) and umask(1) take.
pub(super) fn umask(value: &Dynamic) -> Checked<u32> {
    const EXAMPLE: &str = "an octal number such as 0o027 or \"027\"";
    if let Ok(digits) = text(value) {
        let octal = digits.strip_prefix("0o").unwrap_or(&digits);
        let is_octal = !octal.is_empty() && octal.bytes().all(|digit| (b'0'..=b'7').contains(&digit));
        let mask = u32::from_str_radix(octal, 8).ok().filter(|mask| is_octal && *mask <= MAX_UMASK);
        return mask.ok_or_else(|| format!(" must be {EXAMPLE}, at most 0o777, not {digits:?}"));
    }
    let number = value.as_int().map_err(|_| must_be(EXAMPLE, value))?;
    let mask = u32::try_from(number).ok().filter(|mask| *mask <= MAX_UMASK);
    mask.ok_or_else(|| {
        format!(": {number} is not between 0 and 0o777; an octal number starts with 0o, such as 0o027")
    })
}

pub(super) fn nice(value: &Dynamic) -> Checked<i32> {
    let number = int(value)?;
    let nice = i32::try_from(number).ok().filter(|nice| NICE.contains(nice));
    nice.ok_or_else(|| format!(": {number} is not between {} and {}", NICE.start(), NICE.end()))
}

pub(super) fn limits(value: &Dynamic) -> Result<BTreeMap<Resource, u64>, Vec<Fault>> {
    let map = map("#{ nofile: 1024, core: \"unlimited\" }", value)?;
    all(map.into_iter().map(|(name, value)| {
        let Some(resource) = Resource::ALL.into_iter().find(|resource| resource.name() == name) else {
            let lower = name.to_lowercase();
            let near = lower.strip_prefix("rlimit_").unwrap_or(&lower);
            let near = suggest(near, Resource::ALL.map(Resource::name));
            return Err(Fault::at(&name, format!(": unknown limit `{name}`{near}")));
        };
        let value = limit(&value.flatten());
        value.map(|value| (resource, value)).map_err(|why| Fault::at(&name, format!(": `{name}`{why}")))
    }))
}

fn limit(value: &Dynamic) -> Checked<u64> {
    const UNLIMITED_WORD: &str = "unlimited";
    if let Ok(number) = value.as_int() {
        return u64::try_from(number)
            .map_err(|_| format!(": {number} is less than 0; \"{UNLIMITED_WORD}\" is none"));
    }
    match text(value) {
        Ok(word) if word == UNLIMITED_WORD => Ok(UNLIMITED),
        Ok(word) => {
            let near = match number_in(value) {
                Some(number) => instead(&Some(number)),
                None => suggest(&word, [UNLIMITED_WORD]),
            };
            Err(format!(" must be an int or \"{UNLIMITED_WORD}\", not {word:?}{near}"))
        }
        Err(_) => Err(must_be(&format!("an int or \"{UNLIMITED_WORD}\""), value)),
    }
}

pub(super) fn output(value: &Dynamic) -> Checked<Output> {
    let output = no_nul(text(value)?)?;
    match output.as_str() {
        LOG => Ok(Output::Log),
        DISCARD => Ok(Output::Discard),
        path if path.starts_with('/') => Ok(Output::File(output)),
        other => {
            let near = suggest(other, [LOG, DISCARD]);
            Err(format!(
                " must be \"{LOG}\", \"{DISCARD}\" or the absolute path of a file, not {other:?}{near}"
            ))
        }
    }
}
