//! Answers to questions: what the database and the notes say together.

use std::time::SystemTime;

use super::notes::{Connection, Content, Note, Until, time};
use crate::model::{self, Origin, State};

/// What the cache knows of a node.
#[derive(Clone, Debug, PartialEq)]
pub struct CachedNode {
    pub state: State,
    /// Until when this is known to have been the node's state. `None` if it is, as far as the store's
    /// connection tells.
    pub current_until: Option<SystemTime>,
}

/// The answer to a question.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    Found(CachedNode),
    /// The daemon does not follow the node's data, or has no content of it.
    Unknown,
    /// The cache cannot be read, for this reason.
    Unusable(String),
}

/// What the database has of a node.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub content: Content,
    pub until: Until,
    pub followed: bool,
}

/// Returns what is known of a node. `live` is the present connection, and `end_of` returns the second in
/// which another one ended.
pub fn combine(
    row: Option<Row>,
    note: Note,
    live: Option<Connection>,
    end_of: impl FnOnce(Connection) -> Option<i64>,
) -> Answer {
    let followed = note.followed.or(row.as_ref().map(|row| row.followed));
    let seen = note.seen.clone().or(row.map(|row| (row.content, row.until)));
    let Some((content, until)) = seen.filter(|_| followed == Some(true)) else { return Answer::Unknown };
    let state = match content {
        Content::Absent => State::Absent,
        // Nobody asks the cache where a content comes from.
        Content::Present { version, data } => {
            State::Present { version, origin: Origin::UNKNOWN, content: model::Content::Data(data) }
        }
        Content::LeftOut => return Answer::Unknown,
    };
    let current_until = match note.until(until) {
        Until::EndOf(connection) if live == Some(connection) => None,
        until => Some(time(until.second(end_of))),
    };
    Answer::Found(CachedNode { state, current_until })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(second: i64) -> Connection {
        Connection::new(time(second), Connection::NONE)
    }

    #[test]
    fn a_content_is_as_old_as_the_connection_that_is_known_to_have_confirmed_it_last() {
        let (old, live) = (connection(10), connection(30));
        let row = |until, followed| Some(Row { content: Content::Absent, until, followed });
        let end_of = |_| Some(20);
        let age = |answer: Answer| match answer {
            Answer::Found(found) => Some(found.current_until),
            Answer::Unknown => None,
            Answer::Unusable(why) => panic!("{why}"),
        };
        let note = |ended, followed| Note { seen: None, ended, followed };
        let nothing = Note::default;
        for (row, note, expected) in [
            (row(Until::EndOf(live), true), nothing(), Some(None)),
            (row(Until::EndOf(old), true), nothing(), Some(Some(20))),
            (row(Until::Second(7), true), nothing(), Some(Some(7))),
            (row(Until::EndOf(live), true), note(Some((live, 40)), None), Some(Some(40))),
            // The store had not confirmed it when the node became unreadable.
            (row(Until::EndOf(old), true), note(Some((live, 40)), None), Some(Some(20))),
            (row(Until::EndOf(live), false), nothing(), None),
            (row(Until::EndOf(live), true), note(None, Some(false)), None),
            (row(Until::Second(7), false), note(None, Some(true)), Some(Some(7))),
            (None, note(None, Some(true)), None),
            (None, nothing(), None),
        ] {
            let found = age(combine(row.clone(), note.clone(), Some(live), end_of));
            assert_eq!(found, expected.map(|until| until.map(time)), "{row:?} {note:?}");
        }
        let seen = Some((Content::Absent, Until::EndOf(live)));
        let note = Note { seen, ended: None, followed: Some(true) };
        assert_eq!(age(combine(None, note.clone(), Some(live), end_of)), Some(None));
        assert_eq!(age(combine(row(Until::Second(7), true), note, None, end_of)), Some(Some(time(20))));
        let left_out = Note { seen: Some((Content::LeftOut, Until::EndOf(live))), ..Note::default() };
        assert_eq!(combine(row(Until::EndOf(live), true), left_out, Some(live), end_of), Answer::Unknown);
    }
}
