//! Whether a reply of the evaluator is one that a config can lead to.
//!
//! [`super::register`] has told people by then what is wrong, in their words. But the evaluator runs what others wrote, and
//! the daemon does sums with what it replies, and starts it as root.

use std::collections::HashSet;
use std::time::Duration;

use super::facts::is_variable_name;
use super::register::{MAX_SIGNAL, MAX_TIMEOUT, exec_context};
use crate::config::registered::{RawAction, RawWatch};
use crate::model::{ExecContext, Output};

/// The key whose value no file can have given to one of its watches, if there is one.
pub(super) fn first_invalid_key(watches: &[RawWatch]) -> Option<&'static str> {
    let mut descriptions = HashSet::new();
    watches.iter().find_map(|watch| {
        let is_another = descriptions.insert(watch.description.as_str());
        if is_another { first_invalid_watch_key(watch) } else { Some("description") }
    })
}

fn first_invalid_watch_key(watch: &RawWatch) -> Option<&'static str> {
    let RawWatch { action, notify_signal, timeout, max_parallel, retry, throttle, guard, .. } = watch;
    let is_runnable = match action {
        RawAction::Command(words) => is_command(words),
        RawAction::Function { .. } => true,
    };
    let is_time = |time: &Duration| *time <= MAX_TIMEOUT;
    let checks = [
        ("action", is_runnable),
        ("notify_signal", notify_signal.is_none_or(|signal| (1..=MAX_SIGNAL).contains(&signal.into()))),
        ("timeout", timeout.as_ref().is_none_or(is_time)),
        ("max_parallel", *max_parallel > 0),
        ("retry", retry.is_none_or(|retry| [retry.delay, retry.max_delay].iter().all(is_time))),
        ("debounce", is_time(&throttle.debounce)),
        ("min_interval", is_time(&throttle.min_interval)),
        ("splay", is_time(&throttle.splay)),
        ("max_shrink", guard.max_shrink.is_none_or(|share| share.percent() <= 100.0)),
    ];
    let wrong = checks.into_iter().find(|(_, holds)| !holds).map(|(key, _)| key);
    wrong.or_else(|| watch.exec_context.as_deref().and_then(first_invalid_exec_key))
}

fn first_invalid_exec_key(asked: &ExecContext) -> Option<&'static str> {
    let ExecContext { variables, cwd, umask, nice, limits: _, no_new_privs: _, output } = asked;
    let is_variable = |(name, value): (&String, &String)| {
        is_variable_name(name) && !name.starts_with("TWITCHER_") && !value.contains('\0')
    };
    let checks = [
        ("env", variables.iter().all(is_variable)),
        ("cwd", is_absolute(cwd)),
        ("umask", *umask <= exec_context::MAX_UMASK),
        ("nice", nice.is_none_or(|nice| (exec_context::MIN_NICE..=exec_context::MAX_NICE).contains(&nice))),
        (
            "output",
            match output {
                Output::Log | Output::Discard => true,
                Output::File(path) => is_absolute(path),
            },
        ),
    ];
    checks.into_iter().find(|(_, holds)| !holds).map(|(key, _)| key)
}

fn is_command(words: &[String]) -> bool {
    words.first().is_some_and(|program| !program.is_empty()) && !words.iter().any(|word| word.contains('\0'))
}

fn is_absolute(path: &str) -> bool {
    path.starts_with('/') && !path.contains('\0')
}
