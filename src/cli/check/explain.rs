//! `twitcher check --explain`: a watch as the daemon would have it, for people to read and to compare.

use std::fmt::Write;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::config::load::SourceLocation;
use crate::config::register::DEFAULT_MAX_PARALLEL;
use crate::model::{
    Action, ExecContext, Facet, Guard, Identity, OnFailure, Output, Resource, Retry, RunMode, RunOnLoad,
    Subject, Throttle, UNLIMITED, WatchKey, WatchSpec,
};
use crate::text::{printable, quoted};

/// The longest key's, so that no change of a watch moves the lines that stay.
const KEY_WIDTH: usize = "notify_signal:".len();

/// The watch's name as the log has it, and below it a line for each thing that makes it: always the first
/// ones, and of its other settings those that are not the default. The words are the config's own, lengths of
/// time in seconds. Ends with a newline.
pub fn explain(spec: &WatchSpec, location: &SourceLocation) -> String {
    let mut block = format!("{}\n", spec.id);
    for (key, value) in lines(spec, location) {
        let key = format!("{key}:");
        let _ = writeln!(block, "  {key:KEY_WIDTH$} {}", printable(value.as_bytes()));
    }
    block
}

fn lines(spec: &WatchSpec, location: &SourceLocation) -> Vec<(&'static str, String)> {
    // Destructured, so that a new setting cannot be forgotten here.
    let WatchSpec {
        id: WatchKey { .. },
        store,
        subject: Subject { path, facet },
        action,
        pipe_stdin,
        run_on_load,
        run_mode,
        identity,
        notify_signal,
        timeout,
        max_parallel,
        retry,
        on_failure,
        throttle: Throttle { debounce, min_interval, splay },
        guard,
        exec_context,
    } = spec;
    let mut lines = vec![
        ("registered", location.to_string()),
        ("store", store.to_string()),
        ("znode", path.to_string()),
        ("watch_type", watch_type(*facet).to_owned()),
        ("action", action_text(action)),
        ("identity", identity_text(identity)),
        ("run_mode", run_mode_text(*run_mode).to_owned()),
        ("run_on_load", run_on_load_text(*run_on_load).to_owned()),
    ];
    let mut push = |key, value: Option<String>| lines.extend(value.map(|value| (key, value)));
    push("pipe_stdin", (!pipe_stdin).then(|| "false".to_owned()));
    push("notify_signal", notify_signal.map(signal));
    push("timeout", timeout.map(seconds));
    push("max_parallel", (*max_parallel != DEFAULT_MAX_PARALLEL).then(|| max_parallel.to_string()));
    push("retry", retry.map(retry_text));
    push("on_failure", on_failure_text(*on_failure).map(str::to_owned));
    for (key, pause) in [("debounce", debounce), ("min_interval", min_interval), ("splay", splay)] {
        push(key, (!pause.is_zero()).then(|| seconds(*pause)));
    }
    lines.extend(guard_lines(guard));
    lines.extend(exec_context_lines(exec_context));
    lines
}

fn guard_lines(Guard { max_data, not_empty, max_shrink }: &Guard) -> Vec<(&'static str, String)> {
    let not_empty = not_empty.then(|| "not_empty".to_owned());
    let max_shrink = max_shrink.map(|share| format!("max_shrink {} %", share.percent()));
    let guards: Vec<String> = not_empty.into_iter().chain(max_shrink).collect();
    let max_data = max_data.map(|bytes| ("max_data", format!("{bytes} bytes")));
    max_data.into_iter().chain((!guards.is_empty()).then(|| ("guard", guards.join(", ")))).collect()
}

fn exec_context_lines(exec_context: &ExecContext) -> Vec<(&'static str, String)> {
    let ExecContext { variables, cwd, umask, nice, limits, no_new_privs, output } = exec_context;
    let usual = ExecContext::default();
    let mut lines = Vec::new();
    lines.extend(variables.iter().map(|(name, value)| ("env", format!("{name}={}", quoted(value)))));
    let mut push = |key, value: Option<String>| lines.extend(value.map(|value| (key, value)));
    push("cwd", (*cwd != usual.cwd).then(|| cwd.clone()));
    push("umask", (*umask != usual.umask).then(|| format!("{umask:#05o}")));
    push("nice", nice.map(|nice| nice.to_string()));
    let limit = |resource: Resource| {
        Some(match *limits.get(&resource)? {
            UNLIMITED => format!("{} unlimited", resource.name()),
            value => format!("{} {value}{}", resource.name(), resource.unit()),
        })
    };
    let limits: Vec<String> = Resource::ALL.into_iter().filter_map(limit).collect();
    push("rlimits", (!limits.is_empty()).then(|| limits.join(", ")));
    push("no_new_privs", no_new_privs.then(|| "true".to_owned()));
    match output {
        Output::Log => {}
        Output::Discard => push("output", Some("discard".to_owned())),
        Output::File(path) => push("output", Some(path.clone())),
    }
    lines
}

fn watch_type(facet: Facet) -> &'static str {
    match facet {
        Facet::Data => "WATCH_DATA",
        Facet::Children => "WATCH_CHILDREN",
        Facet::Tree => "WATCH_TREE",
    }
}

fn action_text(action: &Action) -> String {
    match action {
        Action::Command(words) => words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" "),
        Action::Function { .. } => "function".to_owned(),
    }
}

fn identity_text(Identity { user, uid, gid, change, home: _, shell: _ }: &Identity) -> String {
    let groups = match change {
        Some(change) => change.groups.iter().map(u32::to_string).collect::<Vec<_>>().join(" "),
        None => "the daemon's".to_owned(),
    };
    format!("{user}, uid {uid}, gid {gid}, groups {groups}")
}

fn run_mode_text(run_mode: RunMode) -> &'static str {
    match run_mode {
        RunMode::Queue => "QUEUE",
        RunMode::Discard => "DISCARD",
        RunMode::Parallel => "PARALLEL",
    }
}

fn run_on_load_text(run_on_load: RunOnLoad) -> &'static str {
    match run_on_load {
        RunOnLoad::Never => "false",
        RunOnLoad::Always => "true",
        RunOnLoad::Changed => "CHANGED",
    }
}

fn on_failure_text(on_failure: OnFailure) -> Option<&'static str> {
    match on_failure {
        OnFailure::Keep => None,
        OnFailure::Stop => Some("STOP"),
    }
}

fn retry_text(Retry { attempts, delay, max_delay }: Retry) -> String {
    format!("attempts {attempts}, delay {}, max_delay {}", seconds(delay), seconds(max_delay))
}

fn signal(number: i32) -> String {
    match Signal::try_from(number) {
        Ok(signal) => format!("{} ({number})", signal.as_str()),
        Err(_) => number.to_string(),
    }
}

fn seconds(time: Duration) -> String {
    format!("{} s", time.as_secs_f64())
}
