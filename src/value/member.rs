//! The data of a member, as other programs write and read it.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::value::RawValue;
use thiserror::Error;

use super::object::{Properties, STRING_VALUE};
use crate::model::MemberFormat;

/// What a member says of itself.
#[derive(Debug)]
pub enum Data {
    Object(Properties),
    Text(String),
    Bytes(Vec<u8>),
}

/// What is known of a member besides.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// The last component of the service's path.
    pub service: &'a str,
    /// The name of the member's node.
    pub name: &'a str,
    /// Where the member listens.
    pub host: &'a str,
    pub port: Option<u16>,
    /// The name of this host.
    pub hostname: &'a str,
    /// The process that serves.
    pub pid: u32,
    pub now: SystemTime,
    /// The present local time, as `2012-12-15 00:45:03`.
    pub local_time: &'a str,
}

/// Why a member cannot be written in a format. The text follows the name of the format.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EncodeError {
    #[error("needs a port; give the address as HOST:PORT")]
    NoPort,
    #[error("has the key {0:?} itself; give this one another name")]
    OwnKey(String),
    #[error("needs a host; give the address as HOST:PORT")]
    NoHost,
    #[error("takes an object or nothing as data, and not a text")]
    NoObject,
    #[error("takes a text or bytes as data, and not an object")]
    Object,
    #[error("takes only data that is UTF-8")]
    NoText,
}

/// Returns host and port of an address like `web1:8080` or `[::1]:8080`. An address without a port is a host.
pub fn host_and_port(address: &str) -> (&str, Option<u16>) {
    match address.rsplit_once(':') {
        // An IPv6 address without brackets has colons of its own.
        Some((host, port)) if !host.contains(':') || (host.starts_with('[') && host.ends_with(']')) => {
            match port.parse::<u16>() {
                Ok(port @ 1..) => (host.trim_matches(['[', ']']), Some(port)),
                Ok(0) | Err(_) => (address, None),
            }
        }
        Some(_) | None => (address, None),
    }
}

/// Returns the data of a member's node.
pub fn encode(format: MemberFormat, data: Data, about: &About<'_>) -> Result<Vec<u8>, EncodeError> {
    let needs_host = match format {
        MemberFormat::Curator | MemberFormat::Serverset | MemberFormat::Nerve => true,
        MemberFormat::Registry | MemberFormat::Raw => false,
    };
    if needs_host && about.host.is_empty() {
        return Err(EncodeError::NoHost);
    }
    let object = match format {
        MemberFormat::Raw => {
            return match data {
                Data::Text(text) => Ok(text.into_bytes()),
                Data::Bytes(bytes) => Ok(bytes),
                Data::Object(_) => Err(EncodeError::Object),
            };
        }
        MemberFormat::Registry => registry(data, about)?,
        MemberFormat::Curator => curator(data, about)?,
        MemberFormat::Serverset => {
            let endpoint = Endpoint { host: about.host, port: about.port.ok_or(EncodeError::NoPort)? };
            let mut object = Properties::default();
            object.set("serviceEndpoint".to_owned(), raw(&endpoint));
            let replaceable = [("additionalEndpoints", raw(&Empty {})), ("status", raw("ALIVE"))];
            let mut further = fields(data)?;
            for (key, default) in replaceable {
                let given = further.take(key).unwrap_or(default);
                object.set(key.to_owned(), given);
            }
            joined(object, further)?
        }
        MemberFormat::Nerve => {
            let port = about.port.ok_or(EncodeError::NoPort)?;
            let own = [("host", raw(about.host)), ("port", raw(&port)), ("name", raw(about.hostname))];
            let mut object = Properties::default();
            own.into_iter().for_each(|(key, value)| object.set(key.to_owned(), value));
            joined(object, fields(data)?)?
        }
    };
    Ok(super::json::compact(object.json().as_bytes()))
}

fn registry(data: Data, about: &About<'_>) -> Result<Properties, EncodeError> {
    let mut object = match data {
        Data::Object(object) => object,
        Data::Text(text) => {
            let mut object = Properties::default();
            object.set(STRING_VALUE.to_owned(), raw(&text));
            object
        }
        Data::Bytes(_) => return Err(EncodeError::NoText),
    };
    for (key, value) in [("pid", raw(&about.pid)), ("created", raw(about.local_time))] {
        if object.get(key).is_some() {
            return Err(EncodeError::OwnKey(key.to_owned()));
        }
        object.set(key.to_owned(), value);
    }
    Ok(object)
}

/// Curator's ServiceInstance. The names of its fields, and their order, are Curator's.
fn curator(data: Data, about: &About<'_>) -> Result<Properties, EncodeError> {
    let payload = match data {
        Data::Object(object) if object.is_empty() => raw(&()),
        Data::Object(fields) => {
            // Curator reads an object only with the class that it is to become.
            let mut object = Properties::default();
            object.set("@class".to_owned(), raw("java.util.LinkedHashMap"));
            raw(&joined(object, fields)?)
        }
        Data::Text(text) => raw(&text),
        Data::Bytes(_) => return Err(EncodeError::NoText),
    };
    let milliseconds = about.now.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let part = |value, variable| Part { value, variable };
    let parts = [
        part("scheme", true),
        part("://", false),
        part("address", true),
        part(":", false),
        part("port", true),
    ];
    let fields = [
        ("name", raw(about.service)),
        // The reader of one member looks for its node by this.
        ("id", raw(about.name)),
        ("address", raw(about.host)),
        ("port", raw(&about.port.ok_or(EncodeError::NoPort)?)),
        ("sslPort", raw(&())),
        ("payload", payload),
        ("registrationTimeUTC", raw(&u64::try_from(milliseconds).unwrap_or(u64::MAX))),
        ("serviceType", raw("DYNAMIC")),
        ("uriSpec", raw(&UriSpec { parts })),
    ];
    let mut object = Properties::default();
    fields.into_iter().for_each(|(key, value)| object.set(key.to_owned(), value));
    Ok(object)
}

#[derive(serde::Serialize)]
struct Empty {}

#[derive(serde::Serialize)]
struct Endpoint<'a> {
    host: &'a str,
    port: u16,
}

#[derive(serde::Serialize)]
struct UriSpec {
    parts: [Part; 5],
}

#[derive(serde::Serialize)]
struct Part {
    value: &'static str,
    variable: bool,
}

fn fields(data: Data) -> Result<Properties, EncodeError> {
    match data {
        Data::Object(object) => Ok(object),
        Data::Text(_) | Data::Bytes(_) => Err(EncodeError::NoObject),
    }
}

/// Adds further keys, none of which may be there.
fn joined(mut object: Properties, further: Properties) -> Result<Properties, EncodeError> {
    for (key, value) in further.into_entries() {
        if object.get(&key).is_some() {
            return Err(EncodeError::OwnKey(key));
        }
        object.set(key, value);
    }
    Ok(object)
}

fn raw<T: serde::Serialize + ?Sized>(value: &T) -> Box<RawValue> {
    // What is written here is all JSON.
    serde_json::value::to_raw_value(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{object, plain};
    use super::*;

    fn about(port: Option<u16>) -> About<'static> {
        About {
            service: "web",
            name: "ca2fff8e-174b-4c3d-95b7-2b1e4c9aa5cd",
            host: "10.20.30.40",
            port,
            hostname: "host1",
            pid: 10733,
            now: UNIX_EPOCH + Duration::from_millis(1_325_129_459_728),
            local_time: "2012-12-15 00:45:03",
        }
    }

    fn written(format: MemberFormat, data: Data) -> String {
        String::from_utf8(encode(format, data, &about(Some(8080))).unwrap()).unwrap()
    }

    fn object(text: &str) -> Data {
        Data::Object(Properties::read(text.as_bytes()).unwrap())
    }

    const CURATOR_END: &str = "\"registrationTimeUTC\":1325129459728,\"serviceType\":\"DYNAMIC\",\
        \"uriSpec\":{\"parts\":[{\"value\":\"scheme\",\"variable\":true},\
        {\"value\":\"://\",\"variable\":false},{\"value\":\"address\",\"variable\":true},\
        {\"value\":\":\",\"variable\":false},{\"value\":\"port\",\"variable\":true}]}}";

    const CURATOR_START: &str = "{\"name\":\"web\",\"id\":\"ca2fff8e-174b-4c3d-95b7-2b1e4c9aa5cd\",\
        \"address\":\"10.20.30.40\",\"port\":8080,\"sslPort\":null,\"payload\":";

    #[test]
    fn members_are_written_byte_for_byte_as_others_write_them() {
        use MemberFormat::{Curator, Nerve, Raw, Registry, Serverset};
        let curator = |payload: &str| format!("{CURATOR_START}{payload},{CURATOR_END}");
        for (format, data, expected) in [
            (
                Registry,
                object("{\"foo\": \"bar\"}"),
                "{\"foo\":\"bar\",\"pid\":10733,\"created\":\"2012-12-15 00:45:03\"}".to_owned(),
            ),
            (
                Registry,
                Data::Text("te\"xt".into()),
                "{\"string_value\":\"te\\\"xt\",\"pid\":10733,\"created\":\"2012-12-15 00:45:03\"}"
                    .to_owned(),
            ),
            (
                Registry,
                object("{\"n\": 1.50}"),
                "{\"n\":1.50,\"pid\":10733,\"created\":\"2012-12-15 00:45:03\"}".to_owned(),
            ),
            (Curator, object(""), curator("null")),
            (Curator, Data::Text("payload".into()), curator("\"payload\"")),
            (
                Curator,
                object("{\"version\": \"1\"}"),
                curator("{\"@class\":\"java.util.LinkedHashMap\",\"version\":\"1\"}"),
            ),
            (
                Serverset,
                object(""),
                "{\"serviceEndpoint\":{\"host\":\"10.20.30.40\",\"port\":8080},\"additionalEndpoints\":{},\
                 \"status\":\"ALIVE\"}"
                    .to_owned(),
            ),
            (
                Serverset,
                object("{\"shard\":1,\"status\":\"STOPPING\"}"),
                "{\"serviceEndpoint\":{\"host\":\"10.20.30.40\",\"port\":8080},\"additionalEndpoints\":{},\
                 \"status\":\"STOPPING\",\"shard\":1}"
                    .to_owned(),
            ),
            (
                Nerve,
                object("{\"weight\":10}"),
                "{\"host\":\"10.20.30.40\",\"port\":8080,\"name\":\"host1\",\"weight\":10}".to_owned(),
            ),
            (Raw, Data::Text("as it is\n".into()), "as it is\n".to_owned()),
        ] {
            assert_eq!(written(format, data), expected);
        }
        assert_eq!(encode(Raw, Data::Bytes(b"\xff\0".into()), &about(None)), Ok(b"\xff\0".to_vec()));
    }

    #[test]
    fn what_a_format_cannot_express_is_an_error() {
        use MemberFormat::{Curator, Nerve, Raw, Registry, Serverset};
        let encode = |format, data, port| encode(format, data, &about(port)).unwrap_err();
        for format in [Curator, Serverset, Nerve] {
            assert_eq!(encode(format, object(""), None), EncodeError::NoPort);
        }
        assert_eq!(encode(Nerve, object("{\"host\":\"x\"}"), Some(1)), EncodeError::OwnKey("host".into()));
        for own in ["{\"pid\":1}", "{\"created\":\"now\"}"] {
            assert!(matches!(encode(Registry, object(own), Some(1)), EncodeError::OwnKey(_)), "{own}");
        }
        let nowhere = About { host: "", ..about(Some(80)) };
        for format in [Curator, Serverset, Nerve] {
            assert_eq!(super::encode(format, object(""), &nowhere), Err(EncodeError::NoHost));
        }
        assert!(super::encode(Registry, object(""), &nowhere).is_ok());
        let class = encode(Curator, object("{\"@class\":\"x\"}"), Some(1));
        assert_eq!(class, EncodeError::OwnKey("@class".into()));
        assert_eq!(encode(Nerve, Data::Text("x".into()), Some(1)), EncodeError::NoObject);
        assert_eq!(encode(Serverset, Data::Text("x".into()), Some(1)), EncodeError::NoObject);
        assert_eq!(encode(Registry, Data::Bytes(b"\xff".into()), None), EncodeError::NoText);
        assert_eq!(encode(Raw, object(""), None), EncodeError::Object);
    }

    #[test]
    fn what_is_written_is_read_as_it_was_meant() {
        let data = encode(MemberFormat::Registry, Data::Text("x".into()), &about(None)).unwrap();
        let read = plain::write(&object::member(&data));
        assert_eq!(
            read, "{\"created\":\"2012-12-15 00:45:03\",\"pid\":10733,\"string_value\":\"x\"}",
            "what is shown is sorted"
        );
    }

    #[test]
    fn an_address_has_a_host_and_perhaps_a_port() {
        for (address, host, port) in [
            ("web1:8080", "web1", Some(8080)),
            ("10.0.0.1:80", "10.0.0.1", Some(80)),
            ("[2001:db8::1]:80", "2001:db8::1", Some(80)),
            ("2001:db8::1", "2001:db8::1", None),
            ("web1", "web1", None),
            ("web1:", "web1:", None),
            ("web1:0", "web1:0", None),
            ("web1:70000", "web1:70000", None),
            ("member_0000000001", "member_0000000001", None),
        ] {
            assert_eq!(host_and_port(address), (host, port), "{address}");
        }
    }
}
