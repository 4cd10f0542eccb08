//! The constants of configs.

use nix::sys::signal::Signal;
use rhai::Dynamic;

use crate::model::{Facet, Format, MemberAcl, MemberFormat, OnFailure, RunMode, RunOnLoad};

/// A constant, such as `QUEUE`.
pub struct Constant {
    pub name: &'static str,
    /// The key that takes it.
    pub key: &'static str,
    pub(in crate::config) value: Value,
    /// The word for the value in function fingerprints and definition hashes. It must never change: a watch
    /// whose hash differs from the ledger's counts as a new definition, and runs once more.
    pub(in crate::config) stable_name: &'static str,
    pub meaning: &'static str,
}

/// The value of a constant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum Value {
    Facet(Facet),
    RunMode(RunMode),
    RunOnLoad(RunOnLoad),
    OnFailure(OnFailure),
    Format(Format),
    MemberFormat(MemberFormat),
    MemberAcl(MemberAcl),
}

#[rustfmt::skip]
pub static CONSTANTS: &[Constant] = &[
    row("WATCH_DATA", "watch_type", Value::Facet(Facet::Data), "Data", "the node's content"),
    row("WATCH_CHILDREN", "watch_type", Value::Facet(Facet::Children), "Children", "the set of its children"),
    row("WATCH_TREE", "watch_type", Value::Facet(Facet::Tree), "Tree", "the node and everything below it"),
    row("WATCH_MEMBERS", "watch_type", Value::Facet(Facet::Members), "Members",
        "its children with the data of each"),
    row("QUEUE", "run_mode", Value::RunMode(RunMode::Queue), "Queue",
        "one run at a time, then one with the newest content"),
    row("DISCARD", "run_mode", Value::RunMode(RunMode::Discard), "Discard",
        "one run at a time, updates during it are ignored"),
    row("PARALLEL", "run_mode", Value::RunMode(RunMode::Parallel), "Parallel", "one run for each update"),
    row("CHANGED", "run_on_load", Value::RunOnLoad(RunOnLoad::Changed), "Changed",
        "run only what was not applied yet"),
    row("KEEP", "on_failure", Value::OnFailure(OnFailure::Keep), "Keep", "the next update runs"),
    row("STOP", "on_failure", Value::OnFailure(OnFailure::Stop), "Stop",
        "nothing runs until the definition changes or an operator triggers it"),
    row("JSON", "decode", Value::Format(Format::Json), "Json", "JSON"),
    row("CBOR", "decode", Value::Format(Format::Cbor), "Cbor", "CBOR (RFC 8949)"),
    row("PROPERTIES", "decode", Value::Format(Format::Properties), "Properties",
        "a JSON object, or a text that stands for one"),
    row("COMMIT", "decode", Value::Format(Format::Commit), "Commit", "a versioned payload with its author"),
    row("REGISTRY", "format", Value::MemberFormat(MemberFormat::Registry), "Registry",
        "the format of ndServiceRegistry and zk_watcher"),
    row("CURATOR", "format", Value::MemberFormat(MemberFormat::Curator), "Curator",
        "the format of Apache Curator's x-discovery"),
    row("SERVERSET", "format", Value::MemberFormat(MemberFormat::Serverset), "Serverset",
        "the format of Twitter's Finagle"),
    row("NERVE", "format", Value::MemberFormat(MemberFormat::Nerve), "Nerve",
        "the format of Airbnb's Nerve and Synapse"),
    row("RAW", "format", Value::MemberFormat(MemberFormat::Raw), "Raw", "a string or blob as it is"),
    row("OPEN", "acl", Value::MemberAcl(MemberAcl::Open), "Open", "everybody may do everything"),
    row("READ", "acl", Value::MemberAcl(MemberAcl::Read), "Read",
        "everybody may read, its creator may do everything"),
    row("OWNER", "acl", Value::MemberAcl(MemberAcl::Owner), "Owner", "its creator alone may do anything"),
];

const fn row(
    name: &'static str,
    key: &'static str,
    value: Value,
    stable_name: &'static str,
    meaning: &'static str,
) -> Constant {
    Constant { name, key, value, stable_name, meaning }
}

/// The names and numbers of the signals, which are constants too.
pub fn signals() -> impl Iterator<Item = (&'static str, i32)> {
    Signal::iterator().map(|signal| (signal.as_str(), signal as i32))
}

impl Value {
    /// Returns the value that scripts see. Each key has a type of its own, so that it accepts no constant of
    /// another key.
    pub(in crate::config) fn to_dynamic(self) -> Dynamic {
        match self {
            Value::Facet(facet) => Dynamic::from(facet),
            Value::RunMode(run_mode) => Dynamic::from(run_mode),
            Value::RunOnLoad(run_on_load) => Dynamic::from(run_on_load),
            Value::OnFailure(on_failure) => Dynamic::from(on_failure),
            Value::Format(format) => Dynamic::from(format),
            Value::MemberFormat(format) => Dynamic::from(format),
            Value::MemberAcl(acl) => Dynamic::from(acl),
        }
    }

    /// Returns the name of the value in configs. [`RunOnLoad`] has one constant, besides `true` and `false`.
    pub(in crate::config) fn name(self) -> &'static str {
        match self {
            Value::RunOnLoad(RunOnLoad::Never) => "false",
            Value::RunOnLoad(RunOnLoad::Always) => "true",
            value => value.constant().map_or("", |constant| constant.name),
        }
    }

    /// Returns the [stable name](Constant::stable_name) of the value.
    pub(in crate::config) fn stable_name(self) -> &'static str {
        match self {
            Value::RunOnLoad(RunOnLoad::Never) => "Never",
            Value::RunOnLoad(RunOnLoad::Always) => "Always",
            value => value.constant().map_or("", |constant| constant.stable_name),
        }
    }

    fn constant(self) -> Option<&'static Constant> {
        CONSTANTS.iter().find(|constant| constant.value == self)
    }

    fn of(value: &Dynamic) -> Option<Self> {
        let facet = value.read_lock::<Facet>().map(|value| Value::Facet(*value));
        let run_mode = || value.read_lock::<RunMode>().map(|value| Value::RunMode(*value));
        let run_on_load = || value.read_lock::<RunOnLoad>().map(|value| Value::RunOnLoad(*value));
        let on_failure = || value.read_lock::<OnFailure>().map(|value| Value::OnFailure(*value));
        let format = || value.read_lock::<Format>().map(|value| Value::Format(*value));
        let member_format = || value.read_lock::<MemberFormat>().map(|value| Value::MemberFormat(*value));
        let member_acl = || value.read_lock::<MemberAcl>().map(|value| Value::MemberAcl(*value));
        let of_watch = facet.or_else(run_mode).or_else(run_on_load).or_else(on_failure).or_else(format);
        of_watch.or_else(member_format).or_else(member_acl)
    }
}

impl Constant {
    /// Returns the constant that `value` is, if it is one.
    pub(in crate::config) fn of(value: &Dynamic) -> Option<&'static Self> {
        Value::of(value).and_then(Value::constant)
    }
}
