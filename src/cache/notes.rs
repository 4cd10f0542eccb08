//! What the loop noted and the thread has not written yet: per node, all notes in one.

use std::collections::HashMap;
use std::mem;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::model::{Blob, NodePath, Version};

/// The most bytes of contents that wait, as much as may wait for actions (`max_waiting_bytes`). A content
/// that does not fit is not cached: its node is forgotten.
pub const MAX_HELD_BYTES: u64 = 64 << 20;

/// The most nodes with notes, some 200 bytes each: more than twice as many as one daemon is known to follow.
const MAX_NODES: usize = 1 << 18;

/// The end of the year 9999, after which a time has no text.
const LAST_SECOND: i64 = 253_402_300_799;

/// A node, with the place of its store among those of the daemon.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Node {
    pub store: usize,
    pub path: NodePath,
}

/// A connection to a store, named by the time at which it began, in microseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Connection(i64);

impl Connection {
    /// Names a connection that begins now, otherwise than all that began `before`.
    pub fn new(now: SystemTime, before: Self) -> Self {
        let micros = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
        Self(i64::try_from(micros).unwrap_or(i64::MAX).max(before.0.saturating_add(1)))
    }

    /// No connection, before all others.
    pub const NONE: Self = Self(0);

    pub fn number(self) -> i64 {
        self.0
    }

    fn start(self) -> i64 {
        self.0 / 1_000_000
    }
}

/// Until when a content is known to have been current.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// As long as this connection lasted, or lasts.
    EndOf(Connection),
    /// Until this second since 1970.
    Second(i64),
}

impl Until {
    /// Returns the number that the database has: below zero for a second.
    pub fn number(self) -> i64 {
        match self {
            Until::EndOf(connection) => connection.0,
            Until::Second(second) => -second,
        }
    }

    pub fn of_number(number: i64) -> Self {
        if number > 0 { Until::EndOf(Connection(number)) } else { Until::Second(number.saturating_neg()) }
    }

    /// Returns the second, where `end_of` knows when connections ended. Of others it is known that they
    /// began.
    pub fn second(self, end_of: impl FnOnce(Connection) -> Option<i64>) -> i64 {
        match self {
            Until::EndOf(connection) => end_of(connection).unwrap_or_else(|| connection.start()),
            Until::Second(second) => second,
        }
    }
}

/// Returns the time in seconds since 1970.
pub fn seconds(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
}

/// Returns the time of a second. A damaged cache may have any number, and none of a year that cannot be
/// shown.
pub fn time(seconds: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds.clamp(0, LAST_SECOND) as u64)
}

/// The content that a store reported.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// There is no such node.
    Absent,
    Present {
        version: Version,
        data: Blob,
    },
    /// One that is not cached.
    LeftOut,
}

impl Content {
    fn bytes(&self) -> u64 {
        match self {
            Content::Present { data, .. } => data.len(),
            Content::Absent | Content::LeftOut => 0,
        }
    }
}

/// What the loop noted of a node. Each field is `None` if nothing was noted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Note {
    pub seen: Option<(Content, Until)>,
    /// What was seen in this connection is not known to be current after this second, although the connection
    /// may last: the node cannot be read, or is not followed any more.
    pub ended: Option<(Connection, i64)>,
    /// Whether the node is followed.
    pub followed: Option<bool>,
}

impl Note {
    /// Returns what both notes say together.
    pub fn then(self, newer: Note) -> Note {
        let ended = if newer.seen.is_some() { newer.ended } else { newer.ended.or(self.ended) };
        Note { seen: newer.seen.or(self.seen), ended, followed: newer.followed.or(self.followed) }
    }

    /// Until when a content is known to have been current that was known until then before this note.
    pub fn until(&self, before: Until) -> Until {
        match self.ended {
            Some((connection, second)) if before == Until::EndOf(connection) => Until::Second(second),
            Some(_) | None => before,
        }
    }

    /// Returns how many bytes of content it has.
    pub fn bytes(&self) -> u64 {
        self.seen.as_ref().map_or(0, |(content, _)| content.bytes())
    }
}

/// All notes that wait.
#[derive(Default)]
pub struct Notes {
    of: HashMap<Node, Note>,
    bytes: u64,
}

impl Notes {
    /// Returns how many bytes of contents wait.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub fn get(&self, node: &Node) -> Option<&Note> {
        self.of.get(node)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Node, &Note)> {
        self.of.iter()
    }

    /// Adds a note. Returns false, and forgets all notes, if there are too many.
    #[must_use]
    pub fn add(&mut self, node: Node, newer: Note) -> bool {
        if self.of.len() >= MAX_NODES && !self.of.contains_key(&node) {
            *self = Self::default();
            return false;
        }
        let note = self.of.entry(node).or_default();
        self.bytes -= note.bytes();
        *note = mem::take(note).then(newer);
        if let Some((content, _)) = &mut note.seen
            && self.bytes + content.bytes() > MAX_HELD_BYTES
        {
            *content = Content::LeftOut;
        }
        self.bytes += note.bytes();
        true
    }

    /// Puts back notes that could not be written. Returns false, and forgets all notes, if there are too
    /// many.
    #[must_use]
    pub fn put_back(&mut self, mut older: Notes) -> bool {
        let newer = mem::take(self);
        let fit = newer.of.into_iter().all(|(node, note)| older.add(node, note));
        *self = if fit { older } else { Self::default() };
        fit
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::Timestamp;

    const FIRST: Connection = Connection(1_000_000);
    const SECOND: Connection = Connection(2_000_000);

    fn node(path: &str) -> Node {
        Node { store: 0, path: NodePath::parse(path).unwrap() }
    }

    fn seen(data: Blob, connection: Connection) -> Note {
        let version = Version { incarnation: 1, revision: 1, number: 1 };
        let seen = Some((Content::Present { version, data }, Until::EndOf(connection)));
        Note { seen, ended: None, followed: Some(true) }
    }

    fn left(connection: Connection, at: i64) -> Note {
        Note { seen: None, ended: Some((connection, at)), followed: Some(false) }
    }

    #[test]
    fn of_several_notes_on_a_node_the_newest_counts_and_what_it_leaves_open_is_kept() {
        let both = seen([1].into(), FIRST).then(left(FIRST, 7));
        assert_eq!((both.seen.is_some(), both.followed), (true, Some(false)));
        assert_eq!(both.until(Until::EndOf(FIRST)), Until::Second(7));
        assert_eq!(both.until(Until::EndOf(SECOND)), Until::EndOf(SECOND), "it was seen again");
        assert_eq!(both.until(Until::Second(3)), Until::Second(3));
        let again = both.then(seen([2].into(), FIRST));
        assert_eq!((again.ended, again.followed), (None, Some(true)), "it is current again");
        let joined = left(FIRST, 7).then(Note { followed: Some(true), ..Note::default() });
        assert_eq!(joined, Note { seen: None, ended: Some((FIRST, 7)), followed: Some(true) });
    }

    #[test]
    fn a_content_that_does_not_fit_is_left_out_and_one_that_is_replaced_counts_no_more() {
        let mut notes = Notes::default();
        let large = || vec![0; MAX_HELD_BYTES as usize / 2].into();
        for path in ["/a", "/b", "/a", "/b"] {
            assert!(notes.add(node(path), seen(large(), FIRST)));
        }
        assert_eq!(notes.bytes(), MAX_HELD_BYTES);
        assert!(notes.add(node("/c"), seen([1].into(), FIRST)));
        let content = |notes: &Notes, path: &str| notes.get(&node(path)).unwrap().seen.clone().unwrap().0;
        assert_eq!(content(&notes, "/c"), Content::LeftOut);
        assert!(notes.add(node("/b"), seen([1].into(), FIRST)));
        assert_eq!(notes.bytes(), MAX_HELD_BYTES / 2 + 1);
        let mut newer = Notes::default();
        assert!(newer.add(node("/a"), seen([2].into(), SECOND)));
        assert!(newer.put_back(notes));
        assert!(matches!(content(&newer, "/a"), Content::Present { data, .. } if data == [2].into()));
        assert!(matches!(content(&newer, "/b"), Content::Present { data, .. } if data == [1].into()));
        assert_eq!(newer.bytes(), 2);
    }

    #[test]
    fn so_many_notes_that_they_would_fill_the_memory_are_all_forgotten() {
        let mut notes = Notes::default();
        let path = NodePath::parse("/n").unwrap();
        let of_store = |store| Node { store, path: path.clone() };
        assert!((0..MAX_NODES).all(|store| notes.add(of_store(store), Note::default())));
        assert!(notes.add(of_store(0), Note::default()), "it has a note");
        assert!(!notes.add(of_store(MAX_NODES), Note::default()) && notes.iter().count() == 0);
    }

    #[test]
    fn until_when_a_content_was_current_is_kept_as_a_number() {
        for until in [Until::EndOf(FIRST), Until::Second(0), Until::Second(9)] {
            assert_eq!(Until::of_number(until.number()), until);
        }
        assert_eq!(Until::EndOf(SECOND).second(|_| Some(9)), 9);
        assert_eq!(Until::EndOf(SECOND).second(|_| None), 2, "nobody saw it end");
        assert_eq!(Until::Second(5).second(|_| Some(9)), 5);
        for wrong in [i64::MAX, i64::MIN] {
            let shown = Timestamp(time(Until::of_number(wrong).second(|_| Some(wrong)))).to_string();
            assert!(shown.starts_with("9999-12-31") || shown.starts_with("1970-01-01"), "{shown}");
        }
        let now = UNIX_EPOCH + Duration::from_secs(2);
        assert_eq!(Connection::new(now, Connection::NONE), SECOND);
        assert!(Connection::new(now, SECOND) > SECOND, "two of one microsecond");
    }
}
