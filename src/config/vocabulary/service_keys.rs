//! The keys of `RegisterService`.

use std::time::Duration;

use super::constants::Value;
use super::key::{Key, put, put_all};
use super::process_keys::ProcessKeys;
use super::{shown, values};
use crate::config::registration::{Given, RegisteredAction, ServiceRegistration};
use crate::model::{NodePath, Pace, ServiceSpec};

/// The most data of a member. A server refuses requests of a megabyte.
pub(in crate::config) const MAX_MEMBER_BYTES: usize = 1_000_000;

/// A shorter interval keeps a processor busy with starting checks.
const MIN_INTERVAL: Duration = Duration::from_millis(100);

/// A daemon that is to stop must not wait for longer.
const MAX_DRAIN: Duration = Duration::from_secs(3600);

type Process = ProcessKeys<ServiceRegistration, ServiceSpec>;

const fn key(
    name: &'static str,
    kind: &'static str,
    default: &'static str,
    meaning: &'static str,
) -> Key<ServiceRegistration, ServiceSpec> {
    Key::new(name, kind, default, meaning)
}

/// The keys of `RegisterService`, in the order of `check --explain`.
pub static SERVICE_KEYS: &[Key<ServiceRegistration, ServiceSpec>] = &[
    Process::STORE,
    key("service", "string", "required", "the path of the node that members are children of")
        .set(|to, value| put(&mut to.service, values::node_path(value)))
        .possible_if(|it| NodePath::parse(&it.service).is_ok())
        .explain(|spec| vec![spec.member.name.service().to_owned()]),
    key("address", "string", "default `hostname():port`", "the name of the member's node")
        .set(|to, value| put(&mut to.address, values::address(value)))
        .possible_if(|it| is_address(&it.address) && NodePath::parse(&it.path()).is_ok())
        .explain(|spec| vec![spec.member.name.address().to_owned()]),
    key("port", "int from 1 to 65535", "default: that of `address`", "the port of the service")
        .set(|to, value| put(&mut to.port, values::port(value).map(Some)))
        .possible_if(|it| it.port != Some(0))
        .explain(|spec| spec.port.iter().map(u16::to_string).collect()),
    key("data", "map, or string or blob with `RAW`", "default `#{}`", "what the member says of itself")
        .set(|to, value| put_all(&mut to.given, given(value)))
        .possible_if(|it| it.data.size() <= MAX_MEMBER_BYTES)
        .explain(|spec| shown::member_data(&spec.member.data)),
    key(
        "format",
        "`REGISTRY`, `CURATOR`, `SERVERSET`, `NERVE` or `RAW`",
        "default `REGISTRY`",
        "how `data` is written",
    )
    .set(|to, value| put(&mut to.format, values::constant("format", value)))
    .explain(|spec| vec![Value::MemberFormat(spec.format).name().into()]),
    key(
        "acl",
        "`OPEN`, `READ` or `OWNER`",
        "default `READ`",
        "who may read and change the node in ZooKeeper",
    )
    .set(|to, value| put(&mut to.acl, values::constant("acl", value)))
    .explain(|spec| vec![Value::MemberAcl(spec.member.acl).name().into()]),
    key("check", "`Exec(...)`, closure or `Fn(\"name\")`", "default: none", "what says whether it is well")
        .set(|to, value| put(&mut to.check, values::action(value).map(Some)))
        .possible_if(|it| it.check.as_ref().is_none_or(RegisteredAction::is_possible))
        .explain(|spec| spec.check.iter().map(|check| shown::action(&check.action)).collect()),
    key("interval", "seconds, from 0.1", "default `10`", "the time from the end of a check to the next")
        .set(|to, value| put(&mut to.pace.interval, values::seconds_from(MIN_INTERVAL, value)))
        .possible_if(|it| (MIN_INTERVAL..=values::MAX_TIME).contains(&it.pace.interval))
        .explain(|spec| pace(spec, |pace| shown::seconds(&pace.interval))),
    key("timeout", "seconds", "default `5`", "the longest time that a check may take")
        .set(|to, value| put(&mut to.pace.timeout, values::seconds(value)))
        .possible_if(|it| (values::MIN_TIME..=values::MAX_TIME).contains(&it.pace.timeout))
        .explain(|spec| pace(spec, |pace| shown::seconds(&pace.timeout))),
    key("rise", "int from 1", "default `1`", "how many successes in a row announce the member")
        .set(|to, value| put(&mut to.pace.rise, values::positive(value)))
        .possible_if(|it| it.pace.rise > 0)
        .explain(|spec| pace(spec, |pace| pace.rise.to_string())),
    key("fall", "int from 1", "default `2`", "how many failures in a row withdraw the member")
        .set(|to, value| put(&mut to.pace.fall, values::positive(value)))
        .possible_if(|it| it.pace.fall > 0)
        .explain(|spec| pace(spec, |pace| pace.fall.to_string())),
    key(
        "drain",
        "seconds, at most 3600",
        "default `0`",
        "how long clients have to see that the member is gone, before the daemon or the pause is done",
    )
    .set(|to, value| put(&mut to.drain, drain(value)))
    .possible_if(|it| it.drain <= MAX_DRAIN)
    .explain(|spec| if spec.drain.is_zero() { Vec::new() } else { vec![shown::seconds(&spec.drain)] }),
    Process::UID,
    Process::GID,
    Process::ENV,
    Process::CWD,
    Process::UMASK,
    Process::NICE,
    Process::RLIMITS,
    Process::NO_NEW_PRIVS,
    Process::OUTPUT,
    Process::DESCRIPTION,
];

fn drain(value: &rhai::Dynamic) -> Result<Duration, String> {
    let time = values::seconds_or_0(value)?;
    let (shown, most) = (time.as_secs_f64(), MAX_DRAIN.as_secs());
    if time > MAX_DRAIN { Err(format!(": {shown} s is more than {most} s, the longest")) } else { Ok(time) }
}

fn given(value: &rhai::Dynamic) -> Result<Given, Vec<super::Fault>> {
    if let Ok(text) = value.as_immutable_string_ref() {
        return Ok(Given::Text(text.to_string()));
    }
    if let Ok(bytes) = value.as_blob_ref() {
        return Ok(Given::Bytes(bytes.clone()));
    }
    Ok(Given::Object(super::json::object(value)?))
}

/// Whether `address` is one component of a path.
fn is_address(address: &str) -> bool {
    !address.is_empty() && !address.contains('/')
}

fn pace(spec: &ServiceSpec, text: impl Fn(&Pace) -> String) -> Vec<String> {
    spec.check.iter().map(|check| text(&check.pace)).collect()
}
