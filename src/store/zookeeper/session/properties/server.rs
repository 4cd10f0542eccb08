//! A model of a server.

use std::collections::{BTreeMap, HashSet, VecDeque};

use super::{Lie, PATHS};

#[derive(Clone, Debug, Default)]
pub(super) struct Node {
    pub(super) created: i64,
    pub(super) changed: i64,
    pub(super) children_changed: i64,
    pub(super) acl_changes: i32,
    pub(super) is_locked: bool,
}

/// A model of a server, and of one connection to it.
#[derive(Default)]
pub(super) struct Server {
    pub(super) nodes: BTreeMap<&'static str, Node>,
    pub(super) last_transaction: i64,
    pub(super) watches: HashSet<(String, bool)>,
    /// What the client has sent and the server has not read.
    pub(super) input: Vec<u8>,
    pub(super) output: VecDeque<u8>,
    pub(super) loses_event: bool,
}

impl Server {
    pub(super) fn set(&mut self, path: &'static str) {
        self.last_transaction += 1;
        let now = self.last_transaction;
        let parent = parent(path);
        if parent.is_some_and(|parent| !self.nodes.contains_key(parent)) {
            return;
        }
        let is_new = !self.nodes.contains_key(path);
        let node = self.nodes.entry(path).or_default();
        node.changed = now;
        if is_new {
            (node.created, node.children_changed) = (now, now);
            self.touch_parent(path);
        }
        self.fire(path, false, if is_new { 1 } else { 3 });
    }

    pub(super) fn remove(&mut self, path: &'static str) {
        if PATHS.iter().any(|other| parent(other) == Some(path) && self.nodes.contains_key(other)) {
            return;
        }
        if self.nodes.remove(path).is_some() {
            self.last_transaction += 1;
            // One event, also for somebody who watches both.
            let both = [false, true].map(|kind| self.watches.contains(&(path.to_owned(), kind)));
            if both == [true, true] {
                self.watches.remove(&(path.to_owned(), true));
            }
            self.fire(path, false, 2);
            self.fire(path, true, 2);
            self.touch_parent(path);
        }
    }

    fn touch_parent(&mut self, path: &str) {
        let Some(parent) = parent(path) else { return };
        if let Some(node) = self.nodes.get_mut(parent) {
            node.children_changed = self.last_transaction;
        }
        self.fire(parent, true, 4);
    }

    /// A server does not announce to somebody without rights, and forgets the watch.
    fn fire(&mut self, path: &str, is_on_children: bool, kind: u8) {
        let is_locked = self.nodes.get(path).is_some_and(|node| node.is_locked);
        if self.watches.remove(&(path.to_owned(), is_on_children))
            && !is_locked
            && !std::mem::take(&mut self.loses_event)
        {
            self.event(path, kind);
        }
    }

    pub(super) fn event(&mut self, path: &str, kind: u8) {
        let length = [0, 0, 0, path.len() as u8];
        self.reply(-1, 0, &[&[0, 0, 0, kind, 0, 0, 0, 3], &length[..], path.as_bytes()].concat());
    }

    pub(super) fn reply(&mut self, xid: i32, code: i32, body: &[u8]) {
        let header = [&xid.to_be_bytes()[..], &[0; 8], &code.to_be_bytes()].concat();
        let length = (header.len() + body.len()) as u32;
        self.output.extend(length.to_be_bytes().into_iter().chain(header).chain(body.iter().copied()));
    }

    /// Reads the next request and replies to it. Returns false if there is none.
    pub(super) fn serve(&mut self, lie: Option<Lie>) -> bool {
        let Some(length) = self.input.first_chunk().map(|length| u32::from_be_bytes(*length) as usize) else {
            return false;
        };
        let request: Vec<u8> = self.input.drain(..4 + length).skip(4).collect();
        let number = |at: usize| i32::from_be_bytes(request[at..at + 4].try_into().unwrap());
        let (xid, operation) = (number(0), number(4));
        if operation == 11 {
            self.reply(-2, 0, &[]);
            return true;
        }
        let end = 12 + number(8) as usize;
        let path = String::from_utf8(request[12..end].to_vec()).unwrap();
        if operation == 18 {
            let was_there = self.watches.remove(&(path, number(end) == 1));
            self.reply(xid, if was_there { 0 } else { -121 }, &[]);
            return true;
        }
        let is_watched = request[end] == 1;
        let node = self.nodes.get(&*path).cloned();
        let (code, body) = match (operation, &node) {
            (3, Some(node)) => (0, stat(node, 0)),
            (4 | 12, Some(Node { is_locked: true, .. })) => (-102, Vec::new()),
            (4, Some(node)) => (0, [&[0; 4][..], &stat(node, 0)].concat()),
            (12, Some(node)) => (0, [&[0; 4][..], &stat(node, 0)].concat()),
            (_, None) => (-101, Vec::new()),
            (other, _) => panic!("operation {other}"),
        };
        if is_watched && (code == 0 || (code == -101 && operation == 3)) {
            self.watches.insert((path.clone(), operation == 12));
        }
        match (lie, &node) {
            (None, _) => self.reply(xid, code, &body),
            (Some(Lie::Overtaken), _) => {
                self.set(PATHS.into_iter().find(|other| *other == path).expect("a path of ours"));
                self.reply(xid, code, &body);
            }
            (Some(Lie::WrongXid), _) => self.reply(xid + 1, code, &body),
            (Some(Lie::Twice), _) => (0..2).for_each(|_| self.reply(xid, code, &body)),
            (Some(Lie::Code(code)), _) => self.reply(xid, code.into(), &[]),
            (Some(Lie::Old), Some(node)) => {
                let old = [&body[..body.len().saturating_sub(68)], &stat(node, 1)].concat();
                self.reply(xid, code, if code == 0 { &old } else { &body });
            }
            (Some(Lie::Garbage(byte)), _) => self.output.extend([byte; 40]),
            (Some(_), _) => {}
        }
        true
    }
}

fn parent(path: &str) -> Option<&'static str> {
    PATHS.into_iter().find(|parent| path.rsplit_once('/').is_some_and(|(above, _)| above == *parent))
}

/// The stat of a node, or of how it might have been before.
fn stat(node: &Node, before: i64) -> Vec<u8> {
    let large = |number: i64| (number - before).to_be_bytes();
    let ids = [node.created.to_be_bytes(), large(node.changed)].concat();
    let acl = node.acl_changes.to_be_bytes();
    [&ids[..], &[0; 24], &acl, &[0; 16], &large(node.children_changed)].concat()
}
