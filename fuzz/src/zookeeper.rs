//! Fuzzes what a ZooKeeper server sends in a session, in parts and with pauses between them.
//!
//! Whatever it sends, the client neither panics nor takes memory for what did not arrive, reports no name
//! that no node has, and sends no more than the replies and events can lead to.

use std::time::Duration;

use twitcher::store::Conversation;

const PATHS: [&str; 3] = ["/a", "/b", "/b/c"];

/// The longest request about these nodes, with its length.
const LONGEST_REQUEST: usize = 21;

/// Takes the first byte of each part as its length and the second one as the pause before it.
pub fn run(data: &[u8]) {
    let mut conversation = Conversation::new(&PATHS);
    let (mut rest, mut heard) = (data, 0);
    while let [length, pause, after @ ..] = rest {
        let (part, after) = after.split_at(usize::from(*length).min(after.len()));
        rest = after;
        heard += 1 + part.len();
        // A session that is over says nothing any more.
        if conversation.hear(Duration::from_millis(u64::from(*pause) * 16), part).is_err() {
            break;
        }
    }
    for name in &conversation.names {
        let is_control = name.chars().any(char::is_control);
        assert!(
            !is_control && !name.is_empty() && !name.contains('/') && name != "." && name != "..",
            "{name:?}"
        );
    }
    assert!(conversation.reports <= heard, "a report for nothing");
    assert!(conversation.sent <= (2 * PATHS.len() + 2 * heard) * LONGEST_REQUEST, "a request for nothing");
}
