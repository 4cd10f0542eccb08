//! What a script may register: the checks of `RegisterWatch(#{ ... })` and `Exec(...)`.

use std::time::Duration;

use nix::sys::signal::Signal;
use rhai::{Dynamic, FnPtr, Map};

use crate::model::{
    Account, ExecContext, Guard, NodePath, OnFailure, Retry, RunMode, RunOnLoad, Throttle, WatchType,
};
use crate::text::suggest;

pub(super) mod exec_context;
mod guard;

/// `Exec(...)` as a value: program and arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exec(pub Vec<String>);

/// Updates in one file's PARALLEL watch that may run at once unless it says otherwise.
pub const DEFAULT_MAX_PARALLEL: u32 = 64;

/// A year. Longer timeouts are mistakes (milliseconds, say); none at all is spelled by leaving it out.
pub(super) const MAX_TIMEOUT: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// Shorter ones round to nothing on the way to a timer.
const MIN_TIMEOUT: Duration = Duration::from_millis(1);

/// Real-time signals included; `kill -l` ends here on Linux.
pub(super) const MAX_SIGNAL: i64 = 64;

/// As much as a kernel and people can bear in a log line.
const MAX_DESCRIPTION_BYTES: usize = 256;

const KEYS: [&str; 27] = [
    "store",
    "znode",
    "action",
    "watch_type",
    "pipe_stdin",
    "run_on_load",
    "run_mode",
    "uid",
    "gid",
    "notify_signal",
    "timeout",
    "max_parallel",
    "retry",
    "on_failure",
    "debounce",
    "min_interval",
    "splay",
    "max_data",
    "guard",
    "env",
    "cwd",
    "umask",
    "nice",
    "rlimits",
    "no_new_privs",
    "output",
    "description",
];

const RETRY_KEYS: [&str; 3] = ["attempts", "delay", "max_delay"];

/// What `retry: #{}` leaves out: six tries in all, within two minutes where they fail at once.
const DEFAULT_RETRY: Retry =
    Retry { attempts: 5, delay: Duration::from_secs(1), max_delay: Duration::from_secs(60) };

/// A registration whose values have the right types. The function of an action is not looked up yet.
#[derive(Debug)]
pub struct Registration {
    pub store: Option<String>,
    pub znode: String,
    pub action: RequestedAction,
    pub watch_type: WatchType,
    pub pipe_stdin: bool,
    pub run_on_load: RunOnLoad,
    pub run_mode: RunMode,
    pub uid: Option<Account>,
    pub gid: Option<Account>,
    pub notify_signal: Option<i32>,
    pub timeout: Option<Duration>,
    pub max_parallel: u32,
    pub retry: Option<Retry>,
    pub on_failure: OnFailure,
    pub throttle: Throttle,
    pub guard: Guard,
    pub exec_context: ExecContext,
    pub description: Option<String>,
}

#[derive(Debug)]
pub enum RequestedAction {
    Command(Vec<String>),
    Function(FnPtr),
}

/// Checks the argument of `RegisterWatch`. Errors name the offending key.
pub fn registration(argument: Dynamic) -> Result<Registration, String> {
    let type_name = type_of(&argument);
    let Some(mut map) = argument.try_cast::<Map>() else {
        return Err(format!("RegisterWatch takes a map, RegisterWatch(#{{ ... }}), not {type_name}"));
    };
    if let Some(unknown) = map.keys().find(|key| !KEYS.contains(&key.as_str())) {
        return Err(format!("unknown key `{unknown}`{}", suggest(unknown, KEYS)));
    }
    let mut take = |key: &str| map.remove(key).map(Dynamic::flatten);

    let znode = text("znode", take("znode").ok_or("missing key `znode`: the path of the node to watch")?)?;
    NodePath::parse(&znode).map_err(|error| format!("`znode`: {error}"))?;
    let action = take("action").ok_or("missing key `action`: Exec(...), a closure or Fn(\"name\")")?;
    let run_mode = take("run_mode").map_or(Ok(RunMode::Queue), run_mode)?;
    let registration = Registration {
        store: take("store").map(|value| text("store", value)).transpose()?,
        znode,
        action: requested(action)?,
        watch_type: take("watch_type").map_or(Ok(WatchType::Data), watch_type)?,
        pipe_stdin: take("pipe_stdin").map_or(Ok(true), |value| boolean("pipe_stdin", value))?,
        run_on_load: take("run_on_load").map_or(Ok(RunOnLoad::Always), run_on_load)?,
        run_mode,
        uid: take("uid").map(|value| account("uid", value)).transpose()?,
        gid: take("gid").map(|value| account("gid", value)).transpose()?,
        notify_signal: take("notify_signal").map(signal).transpose()?,
        timeout: take("timeout").map(|value| seconds("timeout", value)).transpose()?,
        max_parallel: match take("max_parallel") {
            None => DEFAULT_MAX_PARALLEL,
            Some(_) if run_mode != RunMode::Parallel => {
                return Err("`max_parallel` is for run_mode: PARALLEL only".into());
            }
            Some(value) => positive("max_parallel", value)?,
        },
        retry: take("retry").map(retry).transpose()?,
        on_failure: take("on_failure").map_or(Ok(OnFailure::Keep), on_failure)?,
        throttle: Throttle {
            debounce: take("debounce").map_or(Ok(Duration::ZERO), |value| pause("debounce", value))?,
            min_interval: take("min_interval")
                .map_or(Ok(Duration::ZERO), |value| pause("min_interval", value))?,
            splay: take("splay").map_or(Ok(Duration::ZERO), |value| pause("splay", value))?,
        },
        guard: guard::guard(&mut take)?,
        exec_context: exec_context::exec_context(&mut take)?,
        description: take("description").map(description).transpose()?,
    };
    if registration.notify_signal.is_some() && run_mode != RunMode::Queue {
        return Err("`notify_signal` is for run_mode: QUEUE only".into());
    }
    Ok(registration)
}

/// Checks the argument of `Exec`.
pub fn exec(argument: Dynamic) -> Result<Exec, String> {
    if argument.is_string() {
        let command = text("Exec", argument)?;
        if command.trim().is_empty() {
            return Err("Exec: the command is empty".into());
        }
        return Ok(Exec(vec!["/bin/sh".into(), "-c".into(), checked("Exec", command)?]));
    }
    let type_name = type_of(&argument);
    let Some(words) = argument.try_cast::<rhai::Array>() else {
        return Err(format!(
            "Exec takes a string for the shell or an array [program, argument...], not {type_name}"
        ));
    };
    let words = words
        .into_iter()
        .enumerate()
        .map(|(n, word)| {
            let word = word.flatten();
            let type_name = type_of(&word);
            let word =
                word.into_string().map_err(|_| format!("Exec: word {n} is {type_name}, not a string"))?;
            checked("Exec", word)
        })
        .collect::<Result<Vec<_>, String>>()?;
    match words.first() {
        None => Err("Exec: the command is empty; an array starts with the program".into()),
        Some(program) if program.is_empty() => Err("Exec: the program's name is empty".into()),
        Some(_) => Ok(Exec(words)),
    }
}

fn requested(value: Dynamic) -> Result<RequestedAction, String> {
    let type_name = type_of(&value);
    if let Some(Exec(words)) = value.clone().try_cast::<Exec>() {
        return Ok(RequestedAction::Command(words));
    }
    if value.is_string() {
        return Err("`action` is a string; write Exec(\"...\") to run it".into());
    }
    value
        .try_cast::<FnPtr>()
        .map(RequestedAction::Function)
        .ok_or_else(|| format!("`action` must be Exec(...), a closure or Fn(\"name\"), not {type_name}"))
}

fn watch_type(value: Dynamic) -> Result<WatchType, String> {
    let type_name = type_of(&value);
    value.try_cast::<WatchType>().ok_or_else(|| {
        format!(
            "`watch_type` must be WATCH_DATA, WATCH_CHILDREN or WATCH_TREE (without quotes), not {type_name}"
        )
    })
}

fn run_mode(value: Dynamic) -> Result<RunMode, String> {
    let type_name = type_of(&value);
    value.try_cast::<RunMode>().ok_or_else(|| {
        format!("`run_mode` must be QUEUE, DISCARD or PARALLEL (without quotes), not {type_name}")
    })
}

fn run_on_load(value: Dynamic) -> Result<RunOnLoad, String> {
    if let Some(changed) = value.clone().try_cast::<RunOnLoad>() {
        return Ok(changed);
    }
    match value.as_bool() {
        Ok(true) => Ok(RunOnLoad::Always),
        Ok(false) => Ok(RunOnLoad::Never),
        Err(_) => {
            let type_name = type_of(&value);
            Err(format!("`run_on_load` must be true, false or CHANGED (without quotes), not {type_name}"))
        }
    }
}

fn boolean(key: &str, value: Dynamic) -> Result<bool, String> {
    value.as_bool().map_err(|_| format!("`{key}` must be true or false, not {}", type_of(&value)))
}

fn text(key: &str, value: Dynamic) -> Result<String, String> {
    let type_name = type_of(&value);
    value.into_string().map_err(|_| format!("`{key}` must be a string, not {type_name}"))
}

/// The kernel ends strings at NUL, so one with a NUL would silently become another.
fn checked(key: &str, value: String) -> Result<String, String> {
    if value.contains('\0') { Err(format!("{key}: {value:?} has a NUL character")) } else { Ok(value) }
}

fn description(value: Dynamic) -> Result<String, String> {
    let text = text("description", value)?;
    if text.trim().is_empty() {
        return Err("`description` is empty; leave it out for the default".into());
    }
    if text.chars().any(char::is_control) {
        return Err(format!("`description` {text:?} has a control character"));
    }
    if text.len() > MAX_DESCRIPTION_BYTES {
        return Err(format!("`description` is longer than {MAX_DESCRIPTION_BYTES} bytes"));
    }
    Ok(text)
}

fn account(key: &str, value: Dynamic) -> Result<Account, String> {
    if let Ok(id) = value.as_int() {
        // The highest is -1 to the kernel: "leave it as it is".
        return match u32::try_from(id) {
            Ok(id) if id < u32::MAX => Ok(Account::Id(id)),
            Ok(_) | Err(_) => Err(format!("`{key}`: {id} is not a valid id")),
        };
    }
    let type_name = type_of(&value);
    let name =
        value.into_string().map_err(|_| format!("`{key}` must be an int or a name, not {type_name}"))?;
    if name.is_empty() {
        return Err(format!("`{key}` is empty"));
    }
    checked(key, name).map(Account::Name)
}

fn signal(value: Dynamic) -> Result<i32, String> {
    if let Ok(number) = value.as_int() {
        return match i32::try_from(number) {
            Ok(signal) if (1..=MAX_SIGNAL).contains(&number) => Ok(signal),
            Ok(_) | Err(_) => Err(format!("`notify_signal`: {number} is not between 1 and {MAX_SIGNAL}")),
        };
    }
    let type_name = type_of(&value);
    let name = value
        .into_string()
        .map_err(|_| format!("`notify_signal` must be an int or a name such as \"HUP\", not {type_name}"))?;
    let upper = name.to_uppercase();
    let short = upper.strip_prefix("SIG").unwrap_or(&upper);
    format!("SIG{short}").parse::<Signal>().map(|signal| signal as i32).map_err(|_| {
        let known: Vec<&str> = Signal::iterator().map(|signal| signal.as_str()).collect();
        format!("`notify_signal`: unknown signal {name:?}{}", suggest(&format!("SIG{short}"), known))
    })
}

fn on_failure(value: Dynamic) -> Result<OnFailure, String> {
    let type_name = type_of(&value);
    value
        .try_cast::<OnFailure>()
        .ok_or_else(|| format!("`on_failure` must be KEEP or STOP (without quotes), not {type_name}"))
}

fn retry(value: Dynamic) -> Result<Retry, String> {
    let type_name = type_of(&value);
    let Some(mut map) = value.try_cast::<Map>() else {
        return Err(format!(
            "`retry` must be a map, #{{ attempts: 5, delay: 1, max_delay: 60 }}, not {type_name}"
        ));
    };
    if let Some(unknown) = map.keys().find(|key| !RETRY_KEYS.contains(&key.as_str())) {
        return Err(format!("`retry`: unknown key `{unknown}`{}", suggest(unknown, RETRY_KEYS)));
    }
    let mut take = |key: &str| map.remove(key).map(Dynamic::flatten);
    let retry = Retry {
        attempts: take("attempts").map_or(Ok(DEFAULT_RETRY.attempts), |value| positive("attempts", value))?,
        delay: take("delay").map_or(Ok(DEFAULT_RETRY.delay), |value| seconds("delay", value))?,
        max_delay: take("max_delay")
            .map_or(Ok(DEFAULT_RETRY.max_delay), |value| seconds("max_delay", value))?,
    };
    Ok(Retry { max_delay: retry.max_delay.max(retry.delay), ..retry })
}

/// A number of seconds that may be 0, which is none.
fn pause(key: &str, value: Dynamic) -> Result<Duration, String> {
    if value.as_int() == Ok(0) || value.as_float() == Ok(0.0) {
        return Ok(Duration::ZERO);
    }
    seconds(key, value)
}

fn seconds(key: &str, value: Dynamic) -> Result<Duration, String> {
    let seconds = match (value.as_int(), value.as_float()) {
        (Ok(seconds), _) => seconds as f64,
        (Err(_), Ok(seconds)) => seconds,
        (Err(_), Err(_)) => {
            return Err(format!("`{key}` must be a number of seconds, not {}", type_of(&value)));
        }
    };
    // NaN and infinities fail the conversion, as do negative numbers.
    match Duration::try_from_secs_f64(seconds) {
        Ok(timeout) if (MIN_TIMEOUT..=MAX_TIMEOUT).contains(&timeout) => Ok(timeout),
        Ok(timeout) if timeout > MAX_TIMEOUT => {
            Err(format!("`{key}`: {seconds} s is more than a year; leave it out for none"))
        }
        Ok(_) | Err(_) => Err(format!("`{key}` must be a number of seconds above 0, not {seconds}")),
    }
}

fn int(key: &str, value: Dynamic) -> Result<i64, String> {
    value.as_int().map_err(|_| format!("`{key}` must be an int, not {}", type_of(&value)))
}

fn positive(key: &str, value: Dynamic) -> Result<u32, String> {
    let number = int(key, value)?;
    u32::try_from(number)
        .ok()
        .filter(|number| *number >= 1)
        .ok_or_else(|| format!("`{key}`: {number} is less than 1 or absurd"))
}

/// The type of a value in the words of whoever writes configs.
fn type_of(value: &Dynamic) -> String {
    match value.type_name() {
        "()" => "nothing ()".into(),
        "string" | "&str" | "alloc::string::String" => "a string".into(),
        "i64" => "an int".into(),
        "f64" => "a float".into(),
        "bool" => "a bool".into(),
        "map" => "a map".into(),
        "array" => "an array".into(),
        "Fn" => "a function".into(),
        other => {
            let short = other.rsplit("::").next().unwrap_or(other);
            format!("a value of type {short}")
        }
    }
}
