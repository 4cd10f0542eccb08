//! Fuzzes what the process of a keeper says to the daemon, over a real socket, with descriptors.
//!
//! Whatever it says, the daemon neither panics nor believes anything of members that it did not ask for. A
//! withdrawal has at most one answer, and nothing announces a member that is to go. Texts are fit for a
//! terminal. What a process may not send ends the conversation.

use std::os::fd::OwnedFd;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::runtime::Builder;
use tokio::task::LocalSet;
use twitcher::model::{MemberAcl, NodePath};
use twitcher::store::with_played_keeper;
use twitcher::store::{DirectorySettings, DirectoryUrl, KeeperEvent, KeeperOrder, Member, StoreSettings};

use super::packets::{Body, Input, check_text, receive, say_all, send};

/// The longest name of an owner.
const MAX_OWNER: usize = 256;

const ANNOUNCED: [&str; 2] = ["/s/a:1", "/s/b:1"];
const WITHDRAWN: &str = "/s/c:1";

pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let is_honest_at_first = input.byte() % 4 != 0;
    let (mut packets, mut is_wrong) = (0, false);
    let play = async |socket: OwnedFd| {
        // First it is told the store, and each of the orders.
        receive(&socket, 1 + orders().len()).await;
        if is_honest_at_first {
            let first = [
                json!({ "Ready": { "confinement": "none" } }),
                json!({ "Event": { "Connected": { "what": "a store" } } }),
                json!({ "Event": { "Opened": { "owner": "7" } } }),
            ];
            for message in first {
                send(&socket, message.to_string().as_bytes(), &Body::Inline(Vec::new()));
                packets += 1;
            }
        }
        say_all(&mut input, &socket, &mut packets, |kind, input| {
            let message = message(kind, input);
            // A keeper sends no bodies.
            let body = match input.byte() {
                0..0xe0 => Body::Inline(Vec::new()),
                _ => Body::of(input, b"body".to_vec()),
            };
            let is_sent = send(&socket, message.to_string().as_bytes(), &body);
            is_wrong |= is_sent && !matches!(&body, Body::Inline(bytes) if bytes.is_empty());
            is_sent
        });
    };
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let heard = LocalSet::new().block_on(&runtime, with_played_keeper(settings(), orders(), play));
    runtime.shutdown_timeout(Duration::ZERO);
    let (events, ended) = heard.expect("a socket");
    assert!(!is_wrong || ended.is_err(), "it was believed what no keeper sends");
    assert!(events.len() <= packets, "an event for nothing");
    check(&events);
}

fn path(path: &str) -> NodePath {
    NodePath::parse(path).expect("a path")
}

fn orders() -> Vec<KeeperOrder> {
    let announce =
        |name| KeeperOrder::Announce(Member { path: path(name), data: b"{}".to_vec(), acl: MemberAcl::Read });
    ANNOUNCED.map(announce).into_iter().chain([KeeperOrder::Withdraw(path(WITHDRAWN))]).collect()
}

fn settings() -> StoreSettings {
    StoreSettings::Directory(DirectorySettings {
        url: DirectoryUrl { root: "/nonexistent".into() },
        session_timeout: Duration::from_secs(10),
        rescan_interval: Duration::from_secs(60),
        readonly: false,
    })
}

fn message(kind: u8, input: &mut Input<'_>) -> Value {
    const PATHS: [&str; 6] = [ANNOUNCED[0], ANNOUNCED[1], WITHDRAWN, "/s/d:1", "/s", "no path"];
    let member = |input: &mut Input<'_>| PATHS[usize::from(input.byte()) % PATHS.len()];
    let event = match kind % 12 {
        0 => return json!({ "Ready": { "confinement": input.text() } }),
        1 => return json!("Pong"),
        2 => return json!("NeedsLogin"),
        3 => json!({ "Connected": { "what": input.text() } }),
        4 => json!({ "Opened": { "owner": input.text() } }),
        5 => json!({ "Disconnected": { "reason": input.text() } }),
        6 => json!({ "Refused": { "reason": input.text() } }),
        7 => json!({ "Conflict": { "path": member(input), "holder": input.text() } }),
        8 => json!({ "Waiting": { "path": member(input), "reason": input.text() } }),
        9 => json!({ "Withdrawn": { "path": member(input) } }),
        10 if kind >= 0xe0 => return json!("Moved"),
        _ => json!({ "Announced": { "path": member(input) } }),
    };
    json!({ "Event": event })
}

fn check(events: &[KeeperEvent]) {
    let mut withdrawals = 0;
    for event in events {
        match event {
            KeeperEvent::Connected { what: text }
            | KeeperEvent::Disconnected { reason: text }
            | KeeperEvent::Refused { reason: text } => check_text(text),
            KeeperEvent::Opened { owner } => {
                assert!(owner.len() <= MAX_OWNER, "{owner:?}");
                check_text(owner);
            }
            KeeperEvent::Announced { path } => check_announced(path),
            KeeperEvent::Conflict { path, holder } => {
                check_announced(path);
                holder.iter().for_each(|holder| check_text(holder));
            }
            KeeperEvent::Waiting { path, reason } => {
                assert!(path.as_str() == WITHDRAWN || ANNOUNCED.contains(&path.as_str()), "{path}");
                check_text(reason);
            }
            KeeperEvent::Withdrawn { path } => {
                assert_eq!(path.as_str(), WITHDRAWN);
                withdrawals += 1;
            }
        }
    }
    assert!(withdrawals <= 1, "{withdrawals} answers to one withdrawal");
}

fn check_announced(path: &NodePath) {
    assert!(ANNOUNCED.contains(&path.as_str()), "{path} was not to be announced");
}
