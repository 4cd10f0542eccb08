//! Checks the argument of `RegisterService`.

use rhai::Map;

use super::mistake::is_faulty;
use super::registration::{Given, ServiceRegistration};
use super::vocabulary::{Fault, MAX_MEMBER_BYTES, SERVICE_KEYS, Value, fill};
use crate::model::MemberFormat;
use crate::value::member::{Data, EncodeError, host_and_port};
use crate::value::object::Properties;
use crate::value::template::{Known, template};

/// The keys that say how a check runs.
const OF_CHECKS: [&str; 12] = [
    "interval",
    "timeout",
    "rise",
    "fall",
    "uid",
    "gid",
    "env",
    "cwd",
    "umask",
    "nice",
    "rlimits",
    "no_new_privs",
];

/// Checks the argument of `RegisterService` on the host `hostname`, and stores its values in `service`.
pub fn check(map: &Map, hostname: &str, service: &mut ServiceRegistration) -> Vec<Fault> {
    let mut faults = fill(SERVICE_KEYS, map, service);
    let is_wrong = |key: &str, faults: &[Fault]| {
        faults.iter().any(|fault| fault.path.first().is_some_and(|first| first == key))
            || map.get(key).is_some_and(is_faulty)
    };
    if !map.contains_key("check") {
        for key in OF_CHECKS.into_iter().chain(["output"]).filter(|key| map.contains_key(*key)) {
            if !is_wrong(key, &faults) {
                faults.push(at(key, format!("`{key}` is for a service with `check` only")));
            }
        }
    }
    if is_wrong("address", &faults) || is_wrong("port", &faults) {
        return faults;
    }
    if service.address.is_empty() {
        let Some(port) = service.port else {
            // Its name is there with a slip.
            if !faults.iter().any(|fault| fault.text.ends_with("did you mean `port`?")) {
                let text = "missing key `port` (int from 1 to 65535): the port of the service, unless \
                            `address` names the member";
                faults.push(Fault { path: Vec::new(), text: text.to_owned() });
            }
            return faults;
        };
        service.address = format!("{hostname}:{port}");
    }
    if !is_wrong("data", &faults) && !is_wrong("format", &faults) && !is_wrong("service", &faults) {
        faults.extend(write_data(hostname, service).err());
    }
    faults
}

fn at(key: &str, text: String) -> Fault {
    Fault { path: vec![key.to_owned()], text }
}

/// Writes what the member says of itself.
fn write_data(hostname: &str, service: &mut ServiceRegistration) -> Result<(), Fault> {
    let format = service.format;
    let word = Value::MemberFormat(format).name();
    match (&service.given, format) {
        (Given::Text(_) | Given::Bytes(_), MemberFormat::Raw) | (Given::Nothing | Given::Object(_), _) => {}
        (Given::Text(_) | Given::Bytes(_), _) => {
            let text = "`data` must be a map, #{ weight: 10 }; a string or a blob is for format: RAW";
            return Err(at("data", text.to_owned()));
        }
    }
    if let (Given::Object(_), MemberFormat::Raw) = (&service.given, format) {
        return Err(at("data", "`data` must be a string or a blob with format: RAW, not a map".to_owned()));
    }
    let (host, port) = host_and_port(&service.address);
    let known = Known {
        service: service.service.rsplit('/').next().unwrap_or_default(),
        name: &service.address,
        host,
        port: service.port.or(port),
        hostname,
    };
    let data = || match &service.given {
        Given::Nothing if format == MemberFormat::Raw => Data::Bytes(Vec::new()),
        Given::Nothing => Data::Object(Properties::default()),
        Given::Object(json) => Data::Object(Properties::read(json.as_bytes()).unwrap_or_default()),
        Given::Text(text) => Data::Text(text.clone()),
        Given::Bytes(bytes) => Data::Bytes(bytes.clone()),
    };
    let written = template(format, data, &known).map_err(|error| match error {
        EncodeError::NoPort => {
            let text = format!(
                "`format`: {word} needs a port; set `port`, or end `address` with it, as in \"host:8080\""
            );
            at("format", text)
        }
        EncodeError::NoHost => {
            at("address", format!("`address`: {word} needs a host before the port, as in \"host:8080\""))
        }
        EncodeError::OwnKey(key) => {
            let text = format!("`data`: {word} has the key `{key}` itself; give this one another name");
            Fault { path: vec!["data".to_owned(), key], text }
        }
        EncodeError::NoObject | EncodeError::Object | EncodeError::NoText => {
            at("data", format!("`data`: {word} {error}"))
        }
    })?;
    if written.size() > MAX_MEMBER_BYTES {
        let text = format!(
            "`data`: {} bytes are more than the {MAX_MEMBER_BYTES} that a node can hold",
            written.size()
        );
        return Err(at("data", text));
    }
    service.data = written;
    Ok(())
}
