//! The keys of `RegisterWatch`, and of the maps that some of them take.

use std::time::Duration;

use rhai::{Dynamic, Map};

use super::constants::Value;
use super::fault::Fault;
use super::{shown, values};
use crate::config::facts::is_variable_name;
use crate::config::mistake::is_faulty;
use crate::config::modules::SCHEMA_EXTENSION;
use crate::config::registration::{RegisteredAction, Registration};
use crate::model::{ExecContext, Facet, Guard, Output, Policy, Retry, RunMode, Throttle, WatchSpec};
use crate::text::suggest;

/// A key of a map. Its value is stored in a `T`.
pub struct Key<T> {
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
    /// Returns the lines of `check --explain`. Most keys have none if the value is the default.
    pub explain: fn(&WatchSpec) -> Vec<String>,
}

const fn key(
    name: &'static str,
    kind: &'static str,
    default: &'static str,
    meaning: &'static str,
) -> Key<Registration> {
    Key::new(name, kind, default, meaning)
}

impl<T> Key<T> {
    const fn new(
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

    const fn only(self, run_mode: RunMode) -> Self {
        Self { only: Some(run_mode), ..self }
    }

    const fn set(self, set: fn(&mut T, &Dynamic) -> Result<(), Vec<Fault>>) -> Self {
        Self { set, ..self }
    }

    const fn possible_if(self, is_possible: fn(&T) -> bool) -> Self {
        Self { is_possible, ..self }
    }

    const fn explain(self, explain: fn(&WatchSpec) -> Vec<String>) -> Self {
        Self { explain, ..self }
    }
}

/// The keys of `RegisterWatch`, in the order of `check --explain`.
pub static KEYS: &[Key<Registration>] = &[
    key("store", "string", "default `\"default\"`", "the store that has the node")
        .set(|to, value| put(&mut to.store, values::text(value).map(Some)))
        .explain(|spec| vec![spec.store.to_string()]),
    key("znode", "string", "required", "the path of the node to watch")
        .set(|to, value| put(&mut to.znode, values::node_path(value)))
        .explain(|spec| vec![spec.subject.path.to_string()]),
    key(
        "watch_type",
        "`WATCH_DATA`, `WATCH_CHILDREN`, `WATCH_TREE` or `WATCH_MEMBERS`",
        "default `WATCH_DATA`",
        "which aspect of the node is watched",
    )
    .set(|to, value| put(&mut to.facet, values::constant("watch_type", value)))
    .explain(|spec| vec![Value::Facet(spec.subject.facet).name().into()]),
    key("action", "`Exec(...)`, closure or `Fn(\"name\")`", "required", "what to run")
        .set(|to, value| put(&mut to.action, values::action(value)))
        .possible_if(|it| match &it.action {
            RegisteredAction::Command(words) => {
                words.first().is_some_and(|program| !program.is_empty())
                    && words.iter().all(|it| has_no_nul(it))
            }
            RegisteredAction::Function { .. } => true,
        })
        .explain(|spec| vec![shown::action(&spec.action)]),
    key("uid", "int or user name", "default: the daemon's user", "the user that the action runs as")
        .set(|to, value| put(&mut to.uid, values::account(value).map(Some))),
    key("gid", "int or group name", "default: the primary group of `uid`", "the primary group of the action")
        .set(|to, value| put(&mut to.gid, values::account(value).map(Some))),
    key(
        "run_mode",
        "`QUEUE`, `DISCARD` or `PARALLEL`",
        "default `QUEUE`",
        "what an update does while the action runs",
    )
    .set(|to, value| put(&mut to.policy.run_mode, values::constant("run_mode", value)))
    .explain(|spec| vec![Value::RunMode(spec.policy.run_mode).name().into()]),
    key("run_on_load", "bool or `CHANGED`", "default `true`", "whether a new or changed definition runs")
        .set(|to, value| put(&mut to.policy.run_on_load, values::run_on_load(value)))
        .explain(|spec| vec![Value::RunOnLoad(spec.policy.run_on_load).name().into()]),
    key("run_on_delete", "bool", "default `false`", "whether the deletion of the node runs the action")
        .set(|to, value| put(&mut to.policy.run_on_delete, values::boolean(value)))
        .explain(|spec| unless(&spec.policy.run_on_delete, &false, bool::to_string)),
    key("pipe_stdin", "bool", "default `true`", "whether the action reads the content from its stdin")
        .set(|to, value| put(&mut to.pipe_stdin, values::boolean(value)))
        .explain(|spec| unless(&spec.pipe_stdin, &true, bool::to_string)),
    key(
        "notify_signal",
        "int from 1 to 64, or a name (`SIGHUP`, `\"SIGHUP\"`, `\"hup\"`)",
        "default: none",
        "the signal that tells a running action of an update",
    )
    .only(RunMode::Queue)
    .set(|to, value| put(&mut to.policy.notify_signal, values::signal(value).map(Some)))
    .possible_if(|it| it.policy.notify_signal.is_none_or(|it| (1..=values::MAX_SIGNAL).contains(&it)))
    .explain(|spec| spec.policy.notify_signal.map(shown::signal).into_iter().collect()),
    key("timeout", "seconds", "default: none", "the longest time that one run may take")
        .set(|to, value| put(&mut to.policy.timeout, values::seconds(value).map(Some)))
        .possible_if(|it| it.policy.timeout.is_none_or(is_time))
        .explain(|spec| spec.policy.timeout.iter().map(shown::seconds).collect()),
    key("max_parallel", "int from 1", "default `64`", "the largest number of runs at the same time")
        .only(RunMode::Parallel)
        .set(|to, value| put(&mut to.policy.max_parallel, values::positive(value)))
        .possible_if(|it| it.policy.max_parallel > 0)
        .explain(|spec| unless(&spec.policy.max_parallel, &DEFAULT.max_parallel, u32::to_string)),
    key("retry", "map", "default: none", "how a failed update is tried again")
        .set(|to, value| put_all(&mut to.policy.retry, retry(value).map(Some)))
        .possible_if(|it| it.policy.retry.iter().all(|it| RETRY_KEYS.iter().all(|key| (key.is_possible)(it))))
        .explain(|spec| spec.policy.retry.iter().map(shown::retry).collect()),
    key("on_failure", "`KEEP` or `STOP`", "default `KEEP`", "what a failure means for the next update")
        .set(|to, value| put(&mut to.policy.on_failure, values::constant("on_failure", value)))
        .explain(|spec| {
            unless(&spec.policy.on_failure, &DEFAULT.on_failure, |it| Value::OnFailure(*it).name().into())
        }),
    key("debounce", "seconds", "default `0`", "the time without updates before a start")
        .set(|to, value| put(&mut to.policy.throttle.debounce, values::seconds_or_0(value)))
        .possible_if(|it| is_time(it.policy.throttle.debounce))
        .explain(|spec| unless(&spec.policy.throttle.debounce, &Duration::ZERO, shown::seconds)),
    key(
        "debounce_max",
        "seconds",
        "default: 10 times `debounce`",
        "the longest time that `debounce` delays a start",
    )
    .set(|to, value| put(&mut to.policy.throttle.debounce_max, values::seconds(value).map(Some)))
    .possible_if(|it| {
        let Throttle { debounce, debounce_max, .. } = it.policy.throttle;
        debounce_max.is_none_or(|max| is_time(max) && !debounce.is_zero() && max >= debounce)
    })
    .explain(|spec| spec.policy.throttle.debounce_max.iter().map(shown::seconds).collect()),
    key("min_interval", "seconds", "default `0`", "the shortest time between two starts")
        .set(|to, value| put(&mut to.policy.throttle.min_interval, values::seconds_or_0(value)))
        .possible_if(|it| is_time(it.policy.throttle.min_interval))
        .explain(|spec| unless(&spec.policy.throttle.min_interval, &Duration::ZERO, shown::seconds)),
    key("splay", "seconds", "default `0`", "the time of which each update waits a random part")
        .set(|to, value| put(&mut to.policy.throttle.splay, values::seconds_or_0(value)))
        .possible_if(|it| is_time(it.policy.throttle.splay))
        .explain(|spec| unless(&spec.policy.throttle.splay, &Duration::ZERO, shown::seconds)),
    key("max_data", "int (bytes), from 0", "default: no limit", "the largest content that is not held")
        .set(|to, value| put(&mut to.policy.guard.max_data, values::bytes(value).map(Some)))
        .explain(|spec| spec.policy.guard.max_data.iter().map(|bytes| format!("{bytes} bytes")).collect()),
    key("guard", "map", "default: none", "which updates look like an accident and are held")
        .set(|to, value| guard(&mut to.policy.guard, value))
        .possible_if(|it| GUARD_KEYS.iter().all(|key| (key.is_possible)(&it.policy.guard)))
        .explain(|spec| shown::guard(&spec.policy.guard)),
    key(
        "decode",
        "`JSON`, `CBOR`, `PROPERTIES` or `COMMIT`",
        "default: none",
        "the format of the content; what does not decode is held",
    )
    .set(|to, value| put(&mut to.policy.decode, values::constant("decode", value).map(Some)))
    .possible_if(|it| it.policy.decode.is_none() || it.facet == Facet::Data)
    .explain(|spec| spec.policy.decode.iter().map(|it| it.as_str().to_owned()).collect()),
    key(
        "schema",
        "path of a JSON Schema (`.json`) beside the config",
        "default: none",
        "what decoded content must conform to; what does not is held",
    )
    .set(|to, value| put(&mut to.schema, values::schema(value).map(Some)))
    .possible_if(|it| {
        it.schema.iter().all(|path| path.ends_with(SCHEMA_EXTENSION) && it.policy.decode.is_some())
    })
    .explain(|spec| spec.schema.iter().map(|it| it.name.to_string()).collect()),
    key("env", "map", "default: none", "environment variables of the action")
        .set(|to, value| put_all(&mut to.exec_context.variables, values::variables(value)))
        .possible_if(|it| {
            it.exec_context.variables.iter().all(|(name, value)| {
                is_variable_name(name) && !values::is_reserved(name) && has_no_nul(value)
            })
        })
        .explain(|spec| shown::variables(&spec.exec_context)),
    key("cwd", "absolute path", "default `\"/\"`", "the working directory of the action")
        .set(|to, value| put(&mut to.exec_context.cwd, values::absolute_path(value)))
        .possible_if(|it| is_absolute(&it.exec_context.cwd))
        .explain(|spec| unless(&spec.exec_context.cwd, &ExecContext::default().cwd, String::clone)),
    key(
        "umask",
        "int from 0 to 0o777, or octal digits (`\"027\"`)",
        "default `0o022`",
        "the umask of the action",
    )
    .set(|to, value| put(&mut to.exec_context.umask, values::umask(value)))
    .possible_if(|it| it.exec_context.umask <= values::MAX_UMASK)
    .explain(|spec| {
        unless(&spec.exec_context.umask, &ExecContext::default().umask, |it| format!("{it:#05o}"))
    }),
    key("nice", "int from -20 to 19", "default: the daemon's", "the priority of the action")
        .set(|to, value| put(&mut to.exec_context.nice, values::nice(value).map(Some)))
        .possible_if(|it| it.exec_context.nice.is_none_or(|it| values::NICE.contains(&it)))
        .explain(|spec| spec.exec_context.nice.iter().map(i32::to_string).collect()),
    key(
        "rlimits",
        "map",
        "default: the daemon's limits, and no core dump",
        "the resource limits of the action",
    )
    .set(|to, value| put_all(&mut to.exec_context.limits, values::limits(value)))
    .explain(|spec| shown::limits(&spec.exec_context)),
    key("no_new_privs", "bool", "default `false`", "whether the action cannot gain privileges")
        .set(|to, value| put(&mut to.exec_context.no_new_privs, values::boolean(value)))
        .explain(|spec| unless(&spec.exec_context.no_new_privs, &false, bool::to_string)),
    key(
        "output",
        "`\"log\"`, `\"discard\"` or absolute path",
        "default `\"log\"`",
        "where stdout and stderr go",
    )
    .set(|to, value| put(&mut to.exec_context.output, values::output(value)))
    .possible_if(|it| match &it.exec_context.output {
        Output::Log | Output::Discard => true,
        Output::File(path) => is_absolute(path),
    })
    .explain(|spec| unless(&spec.exec_context.output, &Output::Log, shown::output)),
    key("description", "string", "default `<file>-<n>`", "the name of the watch within its file")
        .set(|to, value| put(&mut to.description, values::description(value))),
];

/// The keys of `retry`.
pub static RETRY_KEYS: &[Key<Retry>] = &[
    Key::<Retry>::new("attempts", "int from 1", "`5`", "tries after the first one")
        .set(|to, value| put(&mut to.attempts, values::positive(value))),
    Key::<Retry>::new("delay", "seconds", "`1`", "delay before the first of these")
        .set(|to, value| put(&mut to.delay, values::seconds(value)))
        .possible_if(|it| is_time(it.delay)),
    Key::<Retry>::new("max_delay", "seconds", "`60`", "longest delay")
        .set(|to, value| put(&mut to.max_delay, values::seconds(value)))
        .possible_if(|it| is_time(it.max_delay)),
];

/// The keys of `guard`.
pub static GUARD_KEYS: &[Key<Guard>] = &[
    Key::<Guard>::new("not_empty", "bool", "`false`", "hold empty content")
        .set(|to, value| put(&mut to.not_empty, values::boolean(value))),
    Key::<Guard>::new("max_shrink", "percentage", "none", "hold what shrank by more")
        .set(|to, value| put(&mut to.max_shrink, values::share(value).map(Some)))
        .possible_if(|it| it.max_shrink.is_none_or(|share| share.percent() <= 100.0)),
];

const DEFAULT: Policy = Policy::DEFAULT;

/// Stores the values of `map` in `to`. Returns the mistakes, each of which names its key.
pub(in crate::config) fn fill<T>(keys: &[Key<T>], map: &Map, to: &mut T) -> Vec<Fault> {
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

fn retry(value: &Dynamic) -> Result<Retry, Vec<Fault>> {
    let map = values::map("#{ attempts: 5, delay: 1, max_delay: 60 }", value)?;
    let mut retry = Retry::DEFAULT;
    within(fill(RETRY_KEYS, &map, &mut retry))?;
    Ok(Retry { max_delay: retry.max_delay.max(retry.delay), ..retry })
}

fn guard(to: &mut Guard, value: &Dynamic) -> Result<(), Vec<Fault>> {
    const EXAMPLE: &str = "#{ not_empty: true, max_shrink: 50 }";
    let map = values::map(EXAMPLE, value)?;
    if map.is_empty() {
        let text = format!(" is empty and guards nothing; write {EXAMPLE}, or leave it out");
        return Err(vec![text.into()]);
    }
    let mut faults = fill(GUARD_KEYS, &map, to);
    for fault in faults.iter_mut().filter(|fault| fault.path == ["max_data"]) {
        // People expect this key here.
        fault.text = "unknown key `max_data`; `max_data` stands beside `guard`, not in it".to_owned();
    }
    within(faults)
}

/// Lets the texts of the mistakes in a map follow the key of the map.
fn within(faults: Vec<Fault>) -> Result<(), Vec<Fault>> {
    if faults.is_empty() {
        return Ok(());
    }
    Err(faults.into_iter().map(|fault| Fault { text: format!(": {}", fault.text), ..fault }).collect())
}

fn put<T>(place: &mut T, value: Result<T, String>) -> Result<(), Vec<Fault>> {
    put_all(place, value.map_err(|why| vec![why.into()]))
}

fn put_all<T>(place: &mut T, value: Result<T, Vec<Fault>>) -> Result<(), Vec<Fault>> {
    *place = value?;
    Ok(())
}

fn unless<T: PartialEq>(value: &T, default: &T, text: impl Fn(&T) -> String) -> Vec<String> {
    if value == default { Vec::new() } else { vec![text(value)] }
}

fn is_time(time: Duration) -> bool {
    time <= values::MAX_TIME
}

fn is_absolute(path: &str) -> bool {
    path.starts_with('/') && has_no_nul(path)
}

fn has_no_nul(text: &str) -> bool {
    !text.contains('\0')
}
