//! Fuzzes what the process of a store is told, over a real socket, with descriptors.
//!
//! The process need not distrust the daemon, but it must understand it exactly: it asks the store for nothing
//! but what it was told, in that order, and ends if it cannot understand something.

use std::os::fd::OwnedFd;

use serde_json::{Value, json};
use tokio::runtime::Builder;
use tokio::task::LocalSet;
use twitcher::store::{StoreCommand, with_played_daemon};

use super::packets::{Body, Input, send, send_raw, settings};

/// As many as fit into the socket.
const MAX_PACKETS: usize = 48;

pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let (mut told, mut is_wrong) = (Vec::new(), false);
    let play = |socket: OwnedFd| {
        if input.byte() % 4 != 0 {
            send(
                &socket,
                json!({ "Start": { "memory": null } }).to_string().as_bytes(),
                &Body::Inline(settings()),
            );
        }
        for _ in 0..MAX_PACKETS {
            if input.is_empty() {
                break;
            }
            let kind = input.byte();
            if kind >= 0xf0 {
                let bytes = input.bytes();
                if !bytes.is_empty() {
                    send_raw(&socket, &bytes, &[]);
                }
                continue;
            }
            let (message, bytes) = message(kind, &mut input);
            let body = Body::of(&mut input, bytes);
            if !send(&socket, message.to_string().as_bytes(), &body) {
                break;
            }
            is_wrong |= body.is_wrong();
            told.push(message);
        }
    };
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (commands, heard) = LocalSet::new().block_on(&runtime, with_played_daemon(play));
    assert!(!is_wrong || heard.is_err(), "it took what is no content");
    let mut told = told.into_iter();
    for command in commands {
        let is_told = told.any(|message| match &command {
            StoreCommand::Follow(subject) => message["Follow"]["path"] == subject.path.as_str(),
            StoreCommand::Leave(_) => message.get("Leave").is_some(),
            StoreCommand::Refresh(_) => message.get("Refresh").is_some(),
        });
        assert!(is_told, "{command:?} was not told");
    }
}

fn message(kind: u8, input: &mut Input<'_>) -> (Value, Vec<u8>) {
    let message = match kind % 12 {
        0 => return (json!({ "Start": { "memory": input.text() } }), input.bytes()),
        1 => return (json!({ "Login": { "error": null } }), input.bytes()),
        2 => json!({ "Login": { "error": input.text() } }),
        3 => json!({ "Leave": { "id": input.id() } }),
        4 => json!({ "Refresh": { "id": input.id() } }),
        5 => json!("Ping"),
        6 => return (json!("More"), input.bytes()),
        7 => json!({ "Follow": { "id": input.id(), "path": input.text(), "facet": input.facet() } }),
        _ => {
            let path = format!("/{}", input.byte() % 4);
            json!({ "Follow": { "id": input.id(), "path": path, "facet": input.facet() } })
        }
    };
    (message, Vec::new())
}
