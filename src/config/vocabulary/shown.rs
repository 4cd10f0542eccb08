//! Formats values for `check --explain`, in the words of configs and with times in seconds.

use std::time::Duration;

use nix::sys::signal::Signal;

use crate::model::{Action, DataPart, ExecContext, Guard, MemberData, Output, Resource, Retry, UNLIMITED};
use crate::text::quoted;

pub(super) fn seconds(time: &Duration) -> String {
    format!("{} s", time.as_secs_f64())
}

pub(super) fn action(action: &Action) -> String {
    match action {
        Action::Command(words) => words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" "),
        Action::Function(_) => "function".to_owned(),
    }
}

pub(super) fn signal(number: i32) -> String {
    match Signal::try_from(number) {
        Ok(signal) => format!("{} ({number})", signal.as_str()),
        Err(_) => number.to_string(),
    }
}

pub(super) fn retry(Retry { attempts, delay, max_delay }: &Retry) -> String {
    format!("attempts {attempts}, delay {}, max_delay {}", seconds(delay), seconds(max_delay))
}

pub(super) fn guard(Guard { max_data: _, not_empty, max_shrink }: &Guard) -> Vec<String> {
    let not_empty = not_empty.then(|| "not_empty".to_owned());
    let max_shrink = max_shrink.map(|share| format!("max_shrink {} %", share.percent()));
    let parts: Vec<String> = not_empty.into_iter().chain(max_shrink).collect();
    if parts.is_empty() { Vec::new() } else { vec![parts.join(", ")] }
}

/// Returns a line for each variable.
pub(super) fn variables(ExecContext { variables, .. }: &ExecContext) -> Vec<String> {
    variables.iter().map(|(name, value)| format!("{name}={}", quoted(value))).collect()
}

pub(super) fn limits(ExecContext { limits, .. }: &ExecContext) -> Vec<String> {
    let limit = |resource: Resource| {
        Some(match *limits.get(&resource)? {
            UNLIMITED => format!("{} unlimited", resource.name()),
            value => format!("{} {value}{}", resource.name(), resource.unit()),
        })
    };
    let limits: Vec<String> = Resource::ALL.into_iter().filter_map(limit).collect();
    if limits.is_empty() { Vec::new() } else { vec![limits.join(", ")] }
}

/// Returns the data of a member with words for what is filled in later. Nothing is shown of no data.
pub(super) fn member_data(MemberData(parts): &MemberData) -> Vec<String> {
    let part = |part: &DataPart| match part {
        DataPart::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        DataPart::Pid => "<pid>".to_owned(),
        DataPart::LocalTime => "<time>".to_owned(),
        DataPart::UnixMillis => "<milliseconds>".to_owned(),
    };
    if parts.is_empty() { Vec::new() } else { vec![parts.iter().map(part).collect()] }
}

pub(super) fn output(output: &Output) -> String {
    match output {
        Output::Log => "log".to_owned(),
        Output::Discard => "discard".to_owned(),
        Output::File(path) => path.clone(),
    }
}
