//! Fuzzes what the process of a keeper is told, over a real socket, with descriptors.
//!
//! The process need not distrust who gives the orders, but it must understand them exactly: its keeper gets
//! each order that was given, whole and in its place, and no other. The process ends if it cannot understand
//! something.

use std::os::fd::OwnedFd;

use rustix::net::{Shutdown, shutdown};
use serde_json::{Value, json};
use tokio::runtime::Builder;
use tokio::task::LocalSet;
use twitcher::model::{MemberAcl, NodePath};
use twitcher::store::{KeeperOrder, Member, with_played_orders};

use super::packets::{Body, Input, send, send_raw, settings};

/// As many as fit into the socket.
const MAX_PACKETS: usize = 48;

pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let mut told = Told::default();
    let play = |socket: &OwnedFd| {
        let first = input.byte();
        if first % 4 == 0 {
            told.is_uncertain = true;
        } else {
            let at_end = if first < 0x80 { "Leave" } else { "Withdraw" };
            let start = json!({ "Start": { "at_end": at_end } }).to_string();
            send(socket, start.as_bytes(), &Body::Inline(settings()));
        }
        for _ in 0..MAX_PACKETS {
            if input.is_empty() {
                break;
            }
            let kind = input.byte();
            let is_sent = if kind >= 0xf0 {
                let bytes = input.bytes();
                told.is_uncertain |= !bytes.is_empty();
                bytes.is_empty() || send_raw(socket, &bytes, &[])
            } else {
                let (message, bytes) = message(kind, &mut input);
                let body = Body::of(&mut input, bytes);
                let is_sent = send(socket, message.to_string().as_bytes(), &body);
                if is_sent {
                    told.note(&message, body);
                }
                is_sent
            };
            if !is_sent {
                break;
            }
        }
        shutdown(socket, Shutdown::Write).expect("the end");
    };
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (orders, heard) = LocalSet::new().block_on(&runtime, with_played_orders(play)).expect("a socket");
    let common = orders.len().min(told.orders.len());
    assert_eq!(orders[..common], told.orders[..common], "it was not told so");
    if !told.is_uncertain {
        assert_eq!(orders, told.orders, "it did what it was not told, or not all of it");
        assert_eq!(heard.is_err(), told.is_wrong, "{heard:?}");
    }
}

/// What the process must have understood.
#[derive(Default)]
struct Told {
    orders: Vec<KeeperOrder>,
    /// The body of the next message, as far as it was sent.
    parts: Vec<u8>,
    /// Whether it was told something that it cannot understand, or that it is to close. What follows does not
    /// matter.
    is_over: bool,
    is_wrong: bool,
    /// Whether something was sent of which this does not know what it means.
    is_uncertain: bool,
}

impl Told {
    fn note(&mut self, message: &Value, body: Body) {
        if self.is_over || self.is_uncertain {
            return;
        }
        let body = match body {
            Body::Inline(bytes) | Body::Sealed(bytes) | Body::Both(bytes) => bytes,
            Body::Wrong(_) => return self.end(true),
        };
        self.parts.extend(body);
        if message == "More" {
            return;
        }
        let body = std::mem::take(&mut self.parts);
        let path = |of: &Value| NodePath::parse(of["path"].as_str().unwrap_or_default()).ok();
        let (announce, withdraw, recorded) =
            (&message["Announce"], &message["Withdraw"], &message["Recorded"]);
        let order = if announce.is_object() {
            let acl = serde_json::from_value::<MemberAcl>(announce["acl"].clone()).expect("an ACL");
            path(announce).map(|path| KeeperOrder::Announce(Member { path, data: body, acl }))
        } else if withdraw.is_object() {
            path(withdraw).map(KeeperOrder::Withdraw)
        } else if recorded.is_object() {
            let owner = recorded["owner"].as_str().unwrap_or_default().to_owned();
            serde_json::from_slice(&body).ok().map(|former| KeeperOrder::Recorded { owner, former })
        } else if message == "Close" {
            return self.end(false);
        } else if message["Start"].is_object() {
            None
        } else {
            return;
        };
        match order {
            Some(order) => self.orders.push(order),
            None => self.end(true),
        }
    }

    fn end(&mut self, is_wrong: bool) {
        self.is_over = true;
        self.is_wrong = is_wrong;
    }
}

fn message(kind: u8, input: &mut Input<'_>) -> (Value, Vec<u8>) {
    let acl = |input: &mut Input<'_>| ["Open", "Read", "Owner"][usize::from(input.byte() % 3)];
    let member = |input: &mut Input<'_>| format!("/s/{}:1", input.byte() % 4);
    match kind % 12 {
        0 => (json!({ "Start": { "at_end": "Leave" } }), settings()),
        1 => (json!({ "Login": { "error": null } }), input.bytes()),
        2 => (json!({ "Login": { "error": input.text() } }), Vec::new()),
        3 => (json!({ "Withdraw": { "path": input.text() } }), Vec::new()),
        4 => (json!({ "Recorded": { "owner": input.text() } }), input.bytes()),
        5 => (json!("Ping"), Vec::new()),
        6 => (json!("More"), input.bytes()),
        7 => (json!({ "Announce": { "path": input.text(), "acl": acl(input) } }), input.bytes()),
        8 if kind >= 0xd0 => (json!("Close"), Vec::new()),
        8 => {
            let former: Vec<_> = (0..input.byte() % 4).map(|owner| owner.to_string()).collect();
            (json!({ "Recorded": { "owner": input.text() } }), json!(former).to_string().into_bytes())
        }
        9 => (json!({ "Withdraw": { "path": member(input) } }), Vec::new()),
        _ => (json!({ "Announce": { "path": member(input), "acl": acl(input) } }), input.bytes()),
    }
}
