//! The keys of `RegisterWatch`, and of the maps that some of them take.

use std::time::Duration;

use rhai::Dynamic;

use super::constants::Value;
use super::fault::Fault;
use super::key::{Key, fill, is_time, put, put_all, unless, within};
use super::process_keys::ProcessKeys;
use super::{shown, values};
use crate::config::modules::SCHEMA_EXTENSION;
use crate::config::registration::Registration;
use crate::model::{Facet, Guard, Policy, Retry, RunMode, Throttle, WatchSpec};

const fn key(
    name: &'static str,
    kind: &'static str,
    default: &'static str,
    meaning: &'static str,
) -> Key<Registration> {
    Key::new(name, kind, default, meaning)
}

type Process = ProcessKeys<Registration, WatchSpec>;

/// The keys of `RegisterWatch`, in the order of `check --explain`.
pub static KEYS: &[Key<Registration>] = &[
    Process::STORE,
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
        .possible_if(|it| it.action.is_possible())
        .explain(|spec| vec![shown::action(&spec.action)]),
    Process::UID,
    Process::GID,
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
    Process::ENV,
    Process::CWD,
    Process::UMASK,
    Process::NICE,
    Process::RLIMITS,
    Process::NO_NEW_PRIVS,
    Process::OUTPUT,
    Process::DESCRIPTION,
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
