//! Fuzzes what an etcd server sends on a connection: replies to reads, messages of the stream of watches in
//! parts, and statuses, with pauses between them.
//!
//! Whatever it sends, the client does not panic, reports nothing about nodes that are not followed, and no
//! state that no store has, and makes no more requests than what it heard can lead to.

use std::time::Duration;

use twitcher::content;
use twitcher::model::{Content, Facet, NodePath, State, Subject};
use twitcher::store::{EtcdConversation, StoreEvent};

const PATHS: [&str; 4] = ["/", "/a", "/b", "/b/c"];

/// A request can lead to a read and two watches of each subject, whose former ones are cancelled.
const MAX_REQUESTS: usize = 5;

/// Takes the first byte of each part as its kind, the second one as its length, and the third one as the
/// pause before it.
pub fn run(data: &[u8]) {
    let prefix = NodePath::parse("/p").expect("a path");
    let subjects: Vec<Subject> = PATHS
        .into_iter()
        .flat_map(|path| {
            Facet::ALL.map(|facet| Subject { path: NodePath::parse(path).expect("a path"), facet })
        })
        .collect();
    let mut conversation = EtcdConversation::new(&prefix, &subjects);
    let (mut rest, mut heard) = (data, 0);
    while let [kind, length, pause, after @ ..] = rest {
        let (part, after) = after.split_at(usize::from(*length).min(after.len()));
        rest = after;
        heard += 1 + part.len();
        let pause = Duration::from_millis(u64::from(*pause) * 16);
        let result = match kind % 4 {
            0 | 1 => conversation.hear(pause, part),
            2 => conversation.reply(pause, part),
            _ => {
                let middle = part.iter().position(|byte| *byte == b' ').unwrap_or(part.len());
                let (code, text) = part.split_at(middle);
                conversation.refuse(pause, code, text)
            }
        };
        // A connection that is over says nothing any more.
        if result.is_err() {
            break;
        }
    }
    conversation.events.iter().for_each(|event| check(event, &subjects));
    let most = MAX_REQUESTS * subjects.len() * (1 + heard);
    assert!(conversation.requests <= most, "{} requests for nothing", conversation.requests);
}

fn check(event: &StoreEvent, subjects: &[Subject]) {
    match event {
        StoreEvent::Observed { subject, state } => {
            assert!(subjects.contains(subject), "{subject:?} is not followed");
            let State::Present { version, content, .. } = state else { return };
            assert!(!version.is_deletion(), "a deletion has a content");
            check_content(content, subject);
        }
        StoreEvent::Unreadable { subject, .. } | StoreEvent::MissedChange { subject } => {
            assert!(subjects.contains(subject), "{subject:?} is not followed");
        }
        StoreEvent::Degraded { .. } => {}
        other => panic!("{other:?} is not about a subject"),
    }
}

fn check_content(content: &Content, subject: &Subject) {
    assert_eq!(content.facet(), subject.facet);
    match content {
        Content::Data(_) | Content::Members { .. } => {}
        Content::Children { lines, count } => {
            let lines = content::read(lines).expect("it is in memory");
            let names: Vec<_> = content::names(&lines).collect();
            assert_eq!(names.len() as u64, *count);
            assert!(names.windows(2).all(|pair| pair[0] < pair[1]), "{names:?}");
            for name in &names {
                let is_name = !name.is_empty() && !name.contains('/') && !name.chars().any(char::is_control);
                assert!(is_name && *name != "." && *name != "..", "{name:?}");
            }
        }
        Content::Tree { tree, .. } => {
            let nodes = tree.load();
            assert!(nodes.first().is_some_and(|root| root.path == subject.path), "{nodes:?}");
            assert!(nodes.windows(2).all(|pair| pair[0].path < pair[1].path), "{nodes:?}");
        }
    }
}
