//! Fuzzes what the process of a store says to the daemon, over a real socket, with descriptors.
//!
//! Whatever it says, the daemon neither panics nor believes anything of nodes that it did not ask for,
//! of another store, or before there is a connection. Contents are of the facet that is followed, and whole.
//! Texts are fit for a terminal. What a process may not send ends the conversation.

use std::os::fd::OwnedFd;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::runtime::Builder;
use tokio::task::LocalSet;
use twitcher::model::{Content, Facet, NodePath, State, Subject, Tree};
use twitcher::store::{
    DirectorySettings, DirectoryUrl, EtcdLogin, EtcdSettings, Exposure, Login, StoreEvent, StoreSettings,
    StoreUrl, ZooKeeperSettings, with_played_half,
};

use super::packets::{Body, Input, check_text, receive, say_all, send, state};

pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let settings = settings(input.byte());
    let subjects = [
        ("/a", Facet::Data),
        ("/b", Facet::Children),
        ("/t", Facet::Tree),
        ("/t/a", Facet::Data),
        ("/m", Facet::Members),
    ]
    .map(|(path, facet)| Subject { path: NodePath::parse(path).expect("a path"), facet });
    let is_honest_at_first = input.byte() % 4 != 0;
    let (mut packets, mut is_wrong) = (0, false);
    let play = async |socket: OwnedFd| {
        // First it is told the store and each of the nodes.
        receive(&socket, 1 + subjects.len()).await;
        if is_honest_at_first {
            for message in [json!({ "Ready": { "confinement": "none" } }), connected(&identity(&settings))] {
                send(&socket, message.to_string().as_bytes(), &Body::Inline(Vec::new()));
            }
            packets += 2;
        }
        say_all(&mut input, &socket, &mut packets, |kind, input| {
            let (message, bytes) = message(kind, input, &settings);
            let body = Body::of(input, bytes);
            let is_sent = send(&socket, message.to_string().as_bytes(), &body);
            is_wrong |= is_sent && body.is_wrong();
            is_sent
        });
    };
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let heard = LocalSet::new().block_on(&runtime, with_played_half(settings.clone(), &subjects, play));
    runtime.shutdown_timeout(Duration::ZERO);
    let (events, ended) = heard.expect("a socket");
    assert!(!is_wrong || ended.is_err(), "it was believed what is no content");
    assert!(events.len() <= packets, "an event for nothing");
    check(&events, &subjects, &settings);
}

fn settings(choice: u8) -> StoreSettings {
    let session_timeout = Duration::from_secs(10);
    if choice >= 0xc0 {
        let Ok(StoreUrl::Etcd(url)) = "etcd://localhost:1".parse() else { unreachable!("a server") };
        let login = EtcdLogin::default();
        return StoreSettings::Etcd(EtcdSettings { url, login, session_timeout, readonly: false });
    }
    if choice.is_multiple_of(2) {
        let url = DirectoryUrl { root: "/nonexistent".into() };
        let rescan_interval = Duration::from_secs(60);
        return StoreSettings::Directory(DirectorySettings {
            url,
            session_timeout,
            rescan_interval,
            readonly: false,
        });
    }
    let Ok(StoreUrl::ZooKeeper(url)) = "zk://localhost:1".parse() else { unreachable!("a server") };
    StoreSettings::ZooKeeper(ZooKeeperSettings {
        url,
        login: Login::default(),
        session_timeout,
        readonly: false,
    })
}

fn identity(settings: &StoreSettings) -> String {
    settings.identity().expect("it is known")
}

fn connected(identity: &str) -> Value {
    json!({ "Connected": { "what": "somewhere", "identity": identity } })
}

/// A message of the language, and the bytes that belong to it.
fn message(kind: u8, input: &mut Input<'_>, settings: &StoreSettings) -> (Value, Vec<u8>) {
    let message = match kind % 20 {
        0 => json!({ "Ready": { "confinement": input.text() } }),
        1 => json!("Pong"),
        2 => return (json!("More"), input.bytes()),
        3 => json!("NeedsLogin"),
        4 => json!("Moved"),
        5 => json!({ "Gone": { "id": input.id() } }),
        6 => json!({ "RootMissing": { "reason": input.text() } }),
        7 => json!("RootFound"),
        8 => json!({ "Unreadable": { "id": input.id(), "reason": input.text() } }),
        9 => json!({ "MissedChange": { "id": input.id() } }),
        10 => match input.byte() % 4 {
            0 => json!({ "Connected": { "what": input.text(), "identity": input.text() } }),
            _ => json!({ "Connected": { "what": input.text(), "identity": identity(settings) } }),
        },
        11 => json!({ "Disconnected": { "reason": input.text() } }),
        12 => json!({ "Refused": { "reason": input.text() } }),
        13 => json!({ "Degraded": { "reason": input.text() } }),
        14 => {
            let with_credentials = input.byte().is_multiple_of(2);
            json!({ "Plaintext": { "server": input.text(), "with_credentials": with_credentials } })
        }
        15 => json!({ "Writable": { "path": input.text(), "facet": input.facet() } }),
        16 => json!("MoreWritable"),
        18 => json!({ "Remember": { "memory": input.text() } }),
        _ => {
            let id = input.id();
            let (state, bytes) = state(input);
            return (json!({ "Observed": { "id": id, "state": state } }), bytes);
        }
    };
    (message, Vec::new())
}

fn check(events: &[StoreEvent], subjects: &[Subject], settings: &StoreSettings) {
    let mut was_connected = false;
    let mut last_tree: Option<&Tree> = None;
    for event in events {
        let about = match event {
            StoreEvent::Observed { subject, state } => {
                if let State::Present { version, content, .. } = state {
                    assert!(!version.is_deletion(), "a deletion has a content");
                    check_content(content, subject);
                    if let Content::Tree { tree, .. } = content {
                        // It is compared with the one before.
                        last_tree.map(|last| tree.changes_since(last));
                        last_tree = Some(tree);
                    }
                }
                Some(subject)
            }
            StoreEvent::Unreadable { subject, reason } => {
                check_text(reason);
                Some(subject)
            }
            StoreEvent::MissedChange { subject } => Some(subject),
            StoreEvent::Connected { what, identity: said } => {
                check_text(what);
                assert_eq!(*said, identity(settings), "another store");
                was_connected = true;
                None
            }
            StoreEvent::Disconnected { reason }
            | StoreEvent::Refused { reason }
            | StoreEvent::RootMissing { reason }
            | StoreEvent::Degraded { reason } => {
                check_text(reason);
                None
            }
            StoreEvent::Exposed(Exposure::Plaintext { server, .. }) => {
                check_text(server);
                None
            }
            _ => None,
        };
        if let Some(subject) = about {
            assert!(subjects.contains(subject), "{subject:?} was not asked for");
            assert!(was_connected, "{subject:?} before there is a connection");
        }
    }
}

fn check_content(content: &Content, subject: &Subject) {
    assert_eq!(content.facet(), subject.facet);
    match content {
        Content::Data(_) => {}
        Content::Children { lines, count } => assert!(*count <= lines.len() / 2, "{count} children"),
        Content::Members { object, count } => {
            assert!(object.len() >= 3 && *count <= object.len() / 7 + 1, "{count} members");
        }
        Content::Tree { tree, blob } => {
            let nodes = tree.load();
            assert!(nodes.first().is_some_and(|root| root.path == subject.path), "{nodes:?}");
            assert!(nodes.windows(2).all(|pair| pair[0].path < pair[1].path), "{nodes:?}");
            assert_eq!(tree.nodes_below() + 1, nodes.len() as u64);
            let mut end = 0;
            for node in nodes.iter().filter_map(|node| node.now.as_ref()) {
                assert_eq!(node.piece.start, end, "{nodes:?}");
                end = node.piece.end;
            }
            assert!(end <= blob.len() && tree.data_bytes() <= end, "{nodes:?}");
        }
    }
}
