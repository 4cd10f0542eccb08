//! The data of a member with what is only known when it is announced left out.
//!
//! The evaluator writes it, so that the daemon need not know any format: it only fills in numbers and a time.

use std::time::{Duration, UNIX_EPOCH};

use super::member::{About, Data, EncodeError, encode};
use crate::model::{DataPart, MemberData, MemberFormat};

/// What is known of a member before it is announced.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// The last component of the service's path.
    pub service: &'a str,
    /// The name of the member's node.
    pub name: &'a str,
    pub host: &'a str,
    pub port: Option<u16>,
    pub hostname: &'a str,
}

/// Values that differ from one another in each byte. What differs between the data with the first and with
/// the second is what the daemon fills in.
const PIDS: [u32; 2] = [1_111_111_111, 2_222_222_222];
const MILLIS: [u64; 2] = [1_111_111_111_111, 2_222_222_222_222];
const LOCAL_TIMES: [&str; 2] = ["AAAAAAAAAAAAAAAAAAA", "BBBBBBBBBBBBBBBBBBB"];

/// Returns the data of a member. `data` is called several times, and must return the same each time.
pub fn template(
    format: MemberFormat,
    data: impl Fn() -> Data,
    known: &Known<'_>,
) -> Result<MemberData, EncodeError> {
    let Known { service, name, host, port, hostname } = *known;
    let written = |which: usize| {
        let about = About {
            service,
            name,
            host,
            port,
            hostname,
            pid: PIDS[which],
            now: UNIX_EPOCH + Duration::from_millis(MILLIS[which]),
            local_time: LOCAL_TIMES[which],
        };
        encode(format, data(), &about)
    };
    let (first, second) = (written(0)?, written(1)?);
    let mut parts = Vec::new();
    let mut rest = (&first[..], &second[..]);
    while !rest.0.is_empty() {
        let same = rest.0.iter().zip(rest.1).take_while(|(a, b)| a == b).count();
        let (fixed, left) = rest.0.split_at(same);
        if !fixed.is_empty() {
            parts.push(DataPart::Bytes(fixed.to_vec()));
        }
        if left.is_empty() {
            break;
        }
        let differs = left.iter().zip(&rest.1[same..]).take_while(|(a, b)| a != b).count();
        parts.push(match &left[..differs] {
            part if part == LOCAL_TIMES[0].as_bytes() => DataPart::LocalTime,
            part if part == PIDS[0].to_string().as_bytes() => DataPart::Pid,
            _ => DataPart::UnixMillis,
        });
        rest = (&left[differs..], &rest.1[same + differs..]);
    }
    Ok(MemberData(parts.into()))
}

#[cfg(test)]
mod tests {
    use super::super::object::Properties;
    use super::*;

    fn filled(format: MemberFormat, data: &str) -> String {
        let known = Known { service: "web", name: "a:80", host: "a", port: Some(80), hostname: "h" };
        let object = || Data::Object(Properties::read(data.as_bytes()).unwrap());
        let text = || Data::Text(data.to_owned());
        let member = match format {
            MemberFormat::Raw => template(format, text, &known).unwrap(),
            _ => template(format, object, &known).unwrap(),
        };
        String::from_utf8(member.fill(7, "2012-12-15 00:45:03", 1_325_129_459_728)).unwrap()
    }

    #[test]
    fn what_is_filled_in_gives_what_the_format_writes() {
        // Data that looks like what is left out is only data.
        let alike = "{\"a\":1111111111,\"b\":\"AAAAAAAAAAAAAAAAAAA\",\"c\":2222222222}";
        let expected =
            format!("{},\"pid\":7,\"created\":\"2012-12-15 00:45:03\"}}", &alike[..alike.len() - 1]);
        assert_eq!(filled(MemberFormat::Registry, alike), expected);
        assert_eq!(filled(MemberFormat::Registry, "{}"), "{\"pid\":7,\"created\":\"2012-12-15 00:45:03\"}");
        assert!(filled(MemberFormat::Curator, "{}").contains("\"registrationTimeUTC\":1325129459728,"));
        let nerve = filled(MemberFormat::Nerve, "{\"weight\":1}");
        assert_eq!(nerve, "{\"host\":\"a\",\"port\":80,\"name\":\"h\",\"weight\":1}");
        assert_eq!(filled(MemberFormat::Raw, "1111111111"), "1111111111");
        assert_eq!(filled(MemberFormat::Raw, ""), "");
    }
}
