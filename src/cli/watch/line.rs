//! The lines that `twitcher watch` prints.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::model::{Commit, Content, Format, State, Subject};
use crate::text::{Timestamp, printable};
use crate::value::{content, json, plain};
use crate::watch::Seen;

/// Turns the events of a store into lines. A store may report a state twice, which is one line.
#[derive(Debug, Default)]
pub(super) struct Follower {
    seen: Option<Seen>,
    unreadable: bool,
    decode: Option<Format>,
}

/// One line of output. The fields are those of its JSON form, which leaves out fields that do not apply.
#[derive(Debug, Serialize)]
pub(super) struct EventLine<'a> {
    time: Timestamp,
    znode: &'a str,
    event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<i64>,
    /// Size of the data in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    /// The data, with U+FFFD in place of bytes that are not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<Cow<'a, str>>,
    /// What the data means.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Box<RawValue>>,
    /// Why the data cannot be decoded.
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    children: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    members: Option<Members>,
    /// Why the node cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

/// What the members say, as an object, and how many there are.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Members {
    object: Box<RawValue>,
    #[serde(skip)]
    count: u64,
}

impl Follower {
    pub(super) fn new(decode: Option<Format>) -> Self {
        Self { decode, ..Self::default() }
    }

    /// Returns the line for a state, or `None` if the state is the last one again.
    pub(super) fn observed<'a>(
        &mut self,
        subject: &'a Subject,
        state: &'a State,
        now: Timestamp,
    ) -> Option<EventLine<'a>> {
        let recovered = std::mem::take(&mut self.unreadable);
        let before = self.seen.replace(Seen::of(state));
        let (version, content) = match state {
            State::Absent if before == Some(Seen::Absent) && !recovered => return None,
            State::Absent => return Some(EventLine::new(subject, "absent", now)),
            State::Present { version, content, .. } => (*version, content),
        };
        let change = before.and_then(|before| before.change(version, subject.facet));
        let event = match change {
            Some(change) => change.as_str(),
            None if before.is_none() || recovered => "present",
            None => return None,
        };
        let line = EventLine { version: Some(version.number), ..EventLine::new(subject, event, now) };
        // What is in memory can always be read.
        let bytes = crate::content::read(content.blob()).unwrap_or_default();
        Some(match content {
            Content::Data(data) => {
                let (value, fault) = match self.decode.map(|format| decode(format, &bytes, subject)) {
                    Some(Ok(value)) => (Some(value), None),
                    Some(Err(fault)) => (None, Some(fault)),
                    None => (None, None),
                };
                EventLine { size: Some(data.len()), text: Some(text(bytes)), value, fault, ..line }
            }
            Content::Children { .. } => {
                let names = crate::content::names(&bytes).map(Cow::into_owned).collect();
                EventLine { children: Some(names), ..line }
            }
            Content::Members { count, .. } => {
                let object = String::from_utf8_lossy(&bytes).trim_end().to_owned();
                // What the store wrote is JSON.
                let object = RawValue::from_string(object).unwrap_or_default();
                EventLine { members: Some(Members { object, count: *count }), ..line }
            }
            // The command line has no flag that asks for a tree.
            Content::Tree { .. } => line,
        })
    }

    pub(super) fn unreadable<'a>(
        &mut self,
        subject: &'a Subject,
        reason: &'a str,
        now: Timestamp,
    ) -> EventLine<'a> {
        self.unreadable = true;
        EventLine { reason: Some(reason), ..EventLine::new(subject, "unreadable", now) }
    }
}

impl<'a> EventLine<'a> {
    fn new(subject: &'a Subject, event: &'static str, now: Timestamp) -> Self {
        Self {
            time: now,
            znode: subject.path.as_str(),
            event,
            version: None,
            size: None,
            text: None,
            value: None,
            fault: None,
            children: None,
            members: None,
            reason: None,
        }
    }

    pub(super) fn json(&self) -> String {
        // Strings and numbers always serialize.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Returns the line for people, cut to `width` columns if given.
    pub(super) fn text(&self, width: Option<usize>) -> String {
        let mut line = format!("{} {}", self.time, self.event);
        if let Some(version) = self.version {
            line += &format!(" version {version}");
        }
        let (amount, content) = match (self.size, &self.children, &self.members) {
            (Some(size), _, _) => {
                let content = match (&self.value, &self.fault) {
                    (Some(value), _) => Some(Cow::from(value.get())),
                    (None, Some(fault)) => Some(Cow::from(fault)),
                    (None, None) => self.text.as_deref().map(Cow::from),
                };
                (format!(", {size} {}", plural(size, "byte", "bytes")), content)
            }
            (None, Some(names), _) => {
                let count = names.len() as u64;
                (format!(", {count} {}", plural(count, "child", "children")), Some(names.join(", ").into()))
            }
            (None, None, Some(Members { object, count })) => {
                (format!(", {count} {}", plural(*count, "member", "members")), Some(object.get().into()))
            }
            (None, None, None) => (String::new(), self.reason.map(Cow::from)),
        };
        line += &amount;
        if let Some(content) = content.filter(|content| !content.is_empty()) {
            line += ": ";
            line += &printable(content.as_bytes());
        }
        match width {
            Some(width) => fitting(&line, width).to_owned(),
            None => line,
        }
    }
}

/// Returns the value as JSON, in its plain form. A commit is an object of its header and its payload.
fn decode(format: Format, bytes: &[u8], subject: &Subject) -> Result<Box<RawValue>, String> {
    let name = subject.path.components().last().unwrap_or_default();
    let decoded = content::decode(format, bytes, name, None)?;
    let read = decoded.converted.as_deref().unwrap_or(bytes);
    let json = match &decoded.commit {
        // What a command reads is JSON.
        None => String::from_utf8_lossy(&json::compact(read)).into_owned(),
        Some(commit) => {
            let value = content::value(format, read).map_err(|fault| fault.to_string())?;
            commit_json(commit, &plain::write(&value))?
        }
    };
    RawValue::from_string(json).map_err(|error| error.to_string())
}

fn commit_json(commit: &Commit, payload: &str) -> Result<String, String> {
    #[derive(Serialize)]
    struct Whole<'a> {
        #[serde(flatten)]
        commit: &'a Commit,
        payload: &'a RawValue,
    }
    let payload: &RawValue = serde_json::from_str(payload).map_err(|error| error.to_string())?;
    serde_json::to_string(&Whole { commit, payload }).map_err(|error| error.to_string())
}

fn text(bytes: Cow<'_, [u8]>) -> Cow<'_, str> {
    match bytes {
        Cow::Borrowed(bytes) => String::from_utf8_lossy(bytes),
        Cow::Owned(bytes) => String::from_utf8_lossy(&bytes).into_owned().into(),
    }
}

fn plural(count: u64, one: &'static str, many: &'static str) -> &'static str {
    if count == 1 { one } else { many }
}

/// Returns the beginning of the line that certainly fits, counting two columns for every character that is
/// not ASCII: none takes more.
fn fitting(line: &str, width: usize) -> &str {
    let mut columns = 0;
    let end = line.char_indices().find(|(_, letter)| {
        columns += if letter.is_ascii() { 1 } else { 2 };
        columns > width
    });
    end.map_or(line, |(end, _)| &line[..end])
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::model::{Facet, NodePath, Version};

    const EPOCH: Timestamp = Timestamp(SystemTime::UNIX_EPOCH);

    fn subject(facet: Facet) -> Subject {
        Subject { path: NodePath::parse("/n").unwrap(), facet }
    }

    fn present(incarnation: i64, revision: i64, content: Content) -> State {
        State::Present {
            version: Version { incarnation, revision, number: revision },
            origin: Default::default(),
            content,
        }
    }

    fn data(incarnation: i64, revision: i64, bytes: &[u8]) -> State {
        present(incarnation, revision, Content::Data(bytes.into()))
    }

    fn children(revision: i64, names: &[&str]) -> State {
        present(1, revision, Content::sample_children(names))
    }

    /// The lines for these states, without their time.
    fn lines(facet: Facet, states: &[State]) -> Vec<String> {
        let (mut follower, subject) = (Follower::default(), subject(facet));
        let now = EPOCH;
        let texts =
            states.iter().filter_map(|state| Some(follower.observed(&subject, state, now)?.text(None)));
        texts.map(|text| text.strip_prefix("1970-01-01T00:00:00.000Z ").unwrap().to_owned()).collect()
    }

    #[test]
    fn only_what_is_new_is_a_line() {
        let said = lines(
            Facet::Data,
            &[
                State::Absent,
                State::Absent,
                data(1, 0, b"one"),
                data(1, 0, b"one"),
                data(1, 1, b"one"),
                data(2, 0, b""),
                State::Absent,
                State::Absent,
                data(3, 0, b"x"),
            ],
        );
        let expected = [
            "absent",
            "created version 0, 3 bytes: one",
            "changed version 1, 3 bytes: one",
            "created version 0, 0 bytes",
            "absent",
            "created version 0, 1 byte: x",
        ];
        assert_eq!(said, expected);
        let said =
            lines(Facet::Children, &[children(1, &["a", "b c"]), children(2, &["a"]), children(3, &[])]);
        let expected = [
            "present version 1, 2 children: a, b c",
            "children version 2, 1 child: a",
            "children version 3, 0 children",
        ];
        assert_eq!(said, expected);
    }

    #[test]
    fn what_can_be_read_again_is_said_also_where_it_did_not_change() {
        let (mut follower, subject) = (Follower::default(), subject(Facet::Data));
        let now = EPOCH;
        let mut event = |state: Option<&State>| match state {
            Some(state) => follower.observed(&subject, state, now).map(|line| line.event),
            None => Some(follower.unreadable(&subject, "no permission", now).event),
        };
        let (one, two) = (data(1, 1, b""), data(1, 2, b""));
        let states =
            [None, Some(&one), None, Some(&one), Some(&one), None, Some(&two), None, Some(&State::Absent)];
        let said = states.map(&mut event);
        let expected = [
            Some("unreadable"),
            Some("present"),
            Some("unreadable"),
            Some("present"),
            None,
            Some("unreadable"),
            Some("changed"),
            Some("unreadable"),
            Some("absent"),
        ];
        assert_eq!(said, expected);
        let text = follower.unreadable(&subject, "no permission\n", now).text(None);
        assert_eq!(text, "1970-01-01T00:00:00.000Z unreadable: no permission\\n");
    }

    #[test]
    fn json_has_the_documented_fields_and_only_those_that_apply() {
        let (mut follower, now) = (Follower::default(), EPOCH);
        let (of_data, of_children) = (subject(Facet::Data), subject(Facet::Children));
        let state = data(1, 7, b"a\n\"\xff\x1b");
        assert_eq!(
            follower.observed(&of_data, &state, now).unwrap().json(),
            "{\"time\":\"1970-01-01T00:00:00.000Z\",\"znode\":\"/n\",\"event\":\"present\",\"version\":7,\
             \"size\":5,\"text\":\"a\\n\\\"\u{fffd}\\u001b\"}"
        );
        assert_eq!(
            follower.observed(&of_data, &State::Absent, now).unwrap().json(),
            "{\"time\":\"1970-01-01T00:00:00.000Z\",\"znode\":\"/n\",\"event\":\"absent\"}"
        );
        assert_eq!(
            follower.unreadable(&of_data, "why", now).json(),
            "{\"time\":\"1970-01-01T00:00:00.000Z\",\"znode\":\"/n\",\"event\":\"unreadable\",\
             \"reason\":\"why\"}"
        );
        let state = children(3, &["a", "b"]);
        assert_eq!(
            Follower::default().observed(&of_children, &state, now).unwrap().json(),
            "{\"time\":\"1970-01-01T00:00:00.000Z\",\"znode\":\"/n\",\"event\":\"present\",\"version\":3,\
             \"children\":[\"a\",\"b\"]}"
        );
    }

    #[test]
    fn a_line_fits_the_terminal_and_has_no_raw_control_characters() {
        let state = data(1, 1, "tab\t esc\x1b[31m \u{4e16}\u{754c}!".as_bytes());
        let subject = subject(Facet::Data);
        let observed = |width| {
            let mut follower = Follower::default();
            follower.observed(&subject, &state, EPOCH).unwrap().text(width)
        };
        let whole =
            "1970-01-01T00:00:00.000Z present version 1, 21 bytes: tab\\t esc\\u{1b}[31m \u{4e16}\u{754c}!";
        assert_eq!(observed(None), whole);
        // The last three characters take five columns.
        let columns = whole.chars().count() + 2;
        assert_eq!(observed(Some(columns)), whole);
        assert_eq!(observed(Some(columns - 1)), whole.strip_suffix('!').unwrap());
        assert_eq!(observed(Some(columns - 2)), whole.strip_suffix("\u{754c}!").unwrap());
        assert_eq!(observed(Some(10)), "1970-01-01");
    }
}
