//! Following nodes in a directory.
//!
//! File notification gives hints, not the truth: it names directories that were replaced in the meantime,
//! loses events when its queue is full, and sees only the last file behind symbolic links. So a hint only
//! leads to a look at the node. What is found is compared with the last report, and now and then every node
//! is looked at without a hint.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::file::{self, Reading};
use super::node::{FollowedNode, HintKind};
use super::root::{Look, Root};
use super::settings::DirectorySettings;
use super::subjects::{below, directories_on_path, node_path};
use super::successor::Successor;
use super::tally::Tally;
use super::watches::{ArmResult, EntryChange, Hint, Watches};
use super::way::Way;
use crate::model::{NodeFacet, NodeSubject};
use crate::store::StoreEvent;
use crate::store::backend::{NodeCommand, Observation};
use crate::store::memory;
use crate::store::outage::Outage;
use crate::store::question::Apart;
use crate::store::tree::router::{EventSender, NodeCommands, ReceiverDropped};

/// How often the store is looked at while there are no hints: it is away, or the system refuses a watch.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// How long the store's directory must be there before it is believed to be back, and how long it must be
/// away before that is an outage. Whoever replaces it, or has a link lead elsewhere, needs a moment.
const SETTLE_TIME: Duration = Duration::from_millis(100);

pub(super) struct Directory {
    identity: String,
    root: Root,
    successor: Successor,
    /// Whether something says that the root may be gone, or another directory.
    is_root_doubted: bool,
    watches: Watches,
    way: Way,
    nodes: BTreeMap<NodeSubject, FollowedNode>,
    tally: Tally,
    /// The nodes that are to be read, by the time this is due.
    schedule: BTreeSet<(Instant, NodeSubject)>,
    /// How often every node is looked at without a hint. A change that gives no hint (another link on the
    /// way to a link's target, a network file system, a mount) is found late by at most this.
    rescan_interval: Duration,
    rescan_at: Instant,
    /// Whether a directory could not be watched since the last rescan.
    is_polling: bool,
    /// What is to be reported of that.
    warning: Option<String>,
    /// Whether it was ever reported.
    warned: bool,
}

impl Directory {
    /// Prepares to follow nodes.
    pub(super) fn open(settings: &DirectorySettings, apart: Option<&Apart>) -> io::Result<Self> {
        let DirectorySettings { url, session_timeout: _, readonly: _, rescan_interval } = settings;
        let root = std::path::absolute(&url.root)?;
        Ok(Self {
            identity: url.to_string(),
            way: Way::new(&root),
            root: Root::new(root, apart),
            successor: Successor::new(apart),
            is_root_doubted: false,
            watches: Watches::new()?,
            nodes: BTreeMap::new(),
            tally: Tally::default(),
            schedule: BTreeSet::new(),
            rescan_interval: *rescan_interval,
            rescan_at: Instant::now() + *rescan_interval,
            is_polling: false,
            warning: None,
            warned: false,
        })
    }

    /// Carries out the `early` commands and then all others until there are no more. `outage` tells whether
    /// the daemon knows already that the store is away.
    pub(super) async fn run(
        mut self,
        early: Vec<NodeCommand>,
        mut outage: bool,
        mut commands: NodeCommands,
        events: EventSender,
    ) -> Result<(), ReceiverDropped> {
        for command in early {
            self.take(command);
        }
        let mut is_first = true;
        loop {
            let Some(was_away) = self.await_root(is_first, outage, &mut commands, &events).await? else {
                return Ok(());
            };
            (outage, is_first) = (false, false);
            if was_away {
                self.connect(&events).await?;
            } else {
                self.read_anew();
            }
            if !self.follow(&mut commands, &events).await? {
                return Ok(());
            }
        }
    }

    /// Waits until the store's directory is there. Returns whether the daemon must be told so, or `None` if
    /// there are no more commands.
    async fn await_root(
        &mut self,
        is_first: bool,
        outage: bool,
        commands: &mut NodeCommands,
        events: &EventSender,
    ) -> Result<Option<bool>, ReceiverDropped> {
        let mut outage = if outage { Outage::known() } else { Outage::default() };
        let (mut is_settled, mut was_away) = (is_first, is_first);
        let began = Instant::now();
        let mut back_since = None;
        loop {
            let now = Instant::now();
            let next_look = match self.look_at_root() {
                Look::BeyondReach => {
                    // What is still in the queue tells which nodes were removed.
                    self.process_hints();
                    self.successor.ask(&self.nodes);
                    now + POLL_INTERVAL
                }
                Look::Away(reason) => {
                    (back_since, is_settled) = (None, false);
                    let outage_at = if is_first { now } else { began + SETTLE_TIME };
                    if now >= outage_at {
                        was_away = true;
                        if let Some(away) = outage.note(reason, true) {
                            events.send(away.into()).await?;
                        }
                    }
                    if was_away { now + POLL_INTERVAL } else { outage_at }
                }
                found => {
                    if found == Look::Another {
                        back_since = None;
                    }
                    let settled_at = *back_since.get_or_insert(now) + SETTLE_TIME;
                    if is_settled || now >= settled_at {
                        return Ok(Some(was_away));
                    }
                    settled_at
                }
            };
            tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => self.take(command),
                    None => return Ok(None),
                },
                () = self.way.changed() => self.way.look(),
                () = sleep_until(next_look) => self.way.look(),
            }
        }
    }

    /// Reports that the store is there, and has every node reported anew.
    async fn connect(&mut self, events: &EventSender) -> Result<(), ReceiverDropped> {
        let what = format!("directory {}", self.root.path().display());
        events.send(StoreEvent::Connected { what, identity: self.identity.clone() }).await?;
        self.read_anew();
        for subject in self.nodes.keys().cloned().collect::<Vec<_>>() {
            self.alter(&subject, |node| node.force(Instant::now()));
        }
        Ok(())
    }

    /// Follows nodes while the store is there. Returns false if there are no more commands.
    async fn follow(
        &mut self,
        commands: &mut NodeCommands,
        events: &EventSender,
    ) -> Result<bool, ReceiverDropped> {
        loop {
            let read_at = self.schedule.first().map_or(self.rescan_at, |(due, _)| *due);
            tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => self.take(command),
                    None => return Ok(false),
                },
                _ = self.watches.ready() => self.process_hints(),
                () = self.way.changed() => {
                    self.way.look();
                    match self.look_at_root() {
                        // What was found meanwhile may be of another directory, or of none.
                        Look::Same | Look::Another => self.read_anew(),
                        // The watches on its old nodes tell which are removed while it is away.
                        Look::Away(_) | Look::BeyondReach => return Ok(true),
                    }
                }
                () = sleep_until(read_at) => {}
                () = sleep_until(self.rescan_at) => self.rescan(),
            }
            if !self.is_root_there() {
                return Ok(true);
            }
            while let Some(subject) = self.due() {
                // There must be room for the report before the read, so that a slow daemon gets the latest
                // state.
                let slot = events.reserve().await?;
                while memory::is_crowded() {
                    sleep(memory::PAUSE).await;
                }
                if let Some(observation) = self.read_node(&subject) {
                    slot.report(subject, observation);
                }
                if !self.is_root_there() {
                    return Ok(true);
                }
            }
            if let Some(reason) = self.warning.take() {
                events.send(StoreEvent::Degraded { reason }).await?;
            }
        }
    }

    fn take(&mut self, command: NodeCommand) {
        let now = Instant::now();
        match command {
            NodeCommand::Follow(subject) => {
                self.nodes.entry(subject.clone()).or_insert_with(|| {
                    let node = FollowedNode::new();
                    self.tally.put_in(&subject, &node);
                    node
                });
                self.alter(&subject, |node| node.force(now));
            }
            NodeCommand::Leave(subject) => {
                self.alter(&subject, |node| node.scheduled = None);
                if let Some(node) = self.nodes.remove(&subject) {
                    self.tally.take_out(&subject, &node);
                }
                self.disarm(&subject);
            }
            NodeCommand::Refresh(subject) => self.alter(&subject, |node| node.force(now)),
        }
    }

    fn look_at_root(&mut self) -> Look {
        let look = self.root.look(self.tally.has_nodes());
        self.remember();
        look
    }

    /// Has the next process told what this one knows of the root.
    fn remember(&mut self) {
        if self.tally.is_complete() {
            self.root.nodes_are_known();
        }
        self.successor.remember(&mut self.root, self.tally.has_nodes());
    }

    /// Looks at the store's directory if that is in doubt. Returns false if it is away. If it is another
    /// directory now, every node is read anew, and versions tell whether a node is another one.
    fn is_root_there(&mut self) -> bool {
        if !std::mem::take(&mut self.is_root_doubted) {
            return true;
        }
        match self.look_at_root() {
            Look::Same => {}
            Look::Another => self.read_anew(),
            Look::Away(_) | Look::BeyondReach => return false,
        }
        true
    }

    fn read_anew(&mut self) {
        // What is still in the queue tells which nodes were removed.
        self.process_hints();
        self.watches.disarm_tree("");
        self.hint_tree("", false, Instant::now());
    }

    /// Changes a node, if it is followed, and keeps the schedule in step.
    fn alter(&mut self, subject: &NodeSubject, change: impl FnOnce(&mut FollowedNode)) {
        let Some(node) = self.nodes.get_mut(subject) else { return };
        let before = node.scheduled.map(|read| read.due);
        self.tally.take_out(subject, node);
        change(node);
        self.tally.put_in(subject, node);
        let after = node.scheduled.map(|read| read.due);
        if before == after {
            return;
        }
        if let Some(due) = before {
            self.schedule.remove(&(due, subject.clone()));
        }
        self.schedule.extend(after.map(|due| (due, subject.clone())));
    }

    fn due(&self) -> Option<NodeSubject> {
        let (due, subject) = self.schedule.first()?;
        (*due <= Instant::now()).then(|| subject.clone())
    }

    /// Reads a node that is due. Watches are set first, so that nothing can happen unseen after the read.
    fn read_node(&mut self, subject: &NodeSubject) -> Option<Observation> {
        // If a removal is still in the queue, what is read now must be a new incarnation.
        self.process_hints();
        let scheduled = self.nodes.get(subject)?.scheduled?;
        if scheduled.due > Instant::now() {
            return None;
        }
        self.alter(subject, |node| node.scheduled = None);
        let found = match self.look_for(subject) {
            Ok(None) => self.root.read(subject),
            found => found,
        };
        if !matches!(found, Ok(Some(_))) {
            // What is not there says nothing about the node if the store itself is not there.
            self.is_root_doubted = true;
            match self.look_at_root() {
                Look::Same => self.is_root_doubted = false,
                Look::Another => {
                    self.read_anew();
                    return None;
                }
                Look::Away(_) | Look::BeyondReach => return None,
            }
        }
        self.process_hints();
        let mut observation = None;
        self.alter(subject, |node| observation = node.found(scheduled, found, Instant::now()));
        self.remember();
        observation
    }

    fn look_for(&mut self, subject: &NodeSubject) -> io::Result<Option<Reading>> {
        let file = file::place(self.root.path(), &subject.path)?;
        self.arm(subject, false);
        if subject.facet == NodeFacet::Data {
            let result = self.watches.arm_target(subject.path.as_str(), &file);
            self.note(result);
        }
        let found = file::read(self.root.path(), &file, subject.facet);
        if !matches!(found, Ok(None)) {
            // What cannot be read may lie outside of the store, where others keep it busy.
            return found.inspect_err(|_| self.watches.disarm_target(subject.path.as_str()));
        }
        // It may seem absent only because a directory above it was replaced unseen.
        self.arm(subject, true);
        file::read(self.root.path(), &file, subject.facet)
    }

    /// Watches the directories on the way to a node: those that are not watched yet, or all of them if
    /// `afresh`.
    fn arm(&mut self, subject: &NodeSubject, afresh: bool) {
        // Where a directory is watched, those above it are as well. To look up each of thousands of levels
        // costs as much as its path is long.
        let is_needed = |directory: &&str| afresh || !self.watches.is_armed(directory);
        let needed: Vec<&str> = directories_on_path(subject).rev().take_while(is_needed).collect();
        for directory in needed.into_iter().rev() {
            if !self.arm_one(directory) {
                return;
            }
        }
    }

    /// Returns whether the directory is watched now.
    fn arm_one(&mut self, directory: &str) -> bool {
        let file = self.root.path().join(directory.trim_start_matches('/'));
        let result = self.watches.arm(directory, &file);
        // Any other directory is seen to appear in its parent.
        self.is_root_doubted |= result == ArmResult::Missing && directory.is_empty();
        self.note(result)
    }

    /// Looks every second from now on if the kernel refused a watch. Returns whether there is one.
    fn note(&mut self, result: ArmResult) -> bool {
        let ArmResult::Refused(reason) = result else { return result == ArmResult::Yes };
        self.start_polling();
        if !std::mem::replace(&mut self.warned, true) {
            self.warning = Some(reason);
        }
        false
    }

    fn start_polling(&mut self) {
        if !std::mem::replace(&mut self.is_polling, true) {
            self.rescan_at = self.rescan_at.min(Instant::now() + POLL_INTERVAL);
        }
    }

    /// Drops the watches that only `subject` needed, which is followed no more.
    fn disarm(&mut self, subject: &NodeSubject) {
        if subject.facet == NodeFacet::Data {
            self.watches.disarm_target(subject.path.as_str());
        }
        for directory in directories_on_path(subject).rev() {
            let itself = NodeSubject { path: node_path(directory), facet: NodeFacet::Children };
            if below(&self.nodes, directory).next().is_some() || self.nodes.contains_key(&itself) {
                // Then those above it are needed as well.
                return;
            }
            self.watches.disarm(directory);
        }
    }

    /// Schedules reads for all that the kernel announced.
    fn process_hints(&mut self) {
        let now = Instant::now();
        for hint in self.watches.drain() {
            match hint {
                Hint::Overflow => {
                    self.rescan_at = now;
                    self.hint_tree("", false, now);
                }
                Hint::DirectoryLost(directory) => {
                    self.watches.disarm_tree(&directory);
                    // The loss of any other directory was announced in its parent.
                    if directory.is_empty() {
                        self.hint_tree("", false, now);
                        self.is_root_doubted = true;
                    }
                }
                Hint::Entry { path, change } => self.entry(&path, change, now),
            }
        }
    }

    fn entry(&mut self, path: &str, change: EntryChange, now: Instant) {
        let (hint_kind, gone) = (HintKind::of(change), change == EntryChange::Gone);
        let moved = gone || change == EntryChange::MovedIn;
        if moved {
            self.watches.disarm_tree(path);
        }
        for facet in [NodeFacet::Data, NodeFacet::Children] {
            self.alter(&NodeSubject { path: node_path(path), facet }, |node| {
                node.generation += i64::from(gone);
                node.hint(now, hint_kind);
            });
        }
        self.hint_tree(path, gone, now);
        if moved || change == EntryChange::Created {
            let parent = &path[..path.rfind('/').unwrap_or(0)];
            let parent = NodeSubject { path: node_path(parent), facet: NodeFacet::Children };
            self.alter(&parent, |node| node.hint(now, hint_kind));
        }
    }

    /// Notes that something happened to the directory `path`, and so to every node below it.
    fn hint_tree(&mut self, path: &str, gone: bool, now: Instant) {
        let subjects: Vec<NodeSubject> = below(&self.nodes, path).cloned().collect();
        for subject in subjects {
            self.alter(&subject, |node| {
                node.generation += i64::from(gone);
                node.hint(now, if gone { HintKind::Gone } else { HintKind::Now });
            });
        }
    }

    /// Looks for changes that gave no hint.
    fn rescan(&mut self) {
        let now = Instant::now();
        self.is_polling = false;
        self.rescan_at = now + self.rescan_interval;
        self.way.look();
        self.is_root_doubted = true;
        if !self.is_root_there() {
            // To be found once more by the caller.
            self.is_root_doubted = true;
            return;
        }
        let subjects: Vec<NodeSubject> = self.nodes.keys().cloned().collect();
        // Each directory once, and a parent before its children.
        let mut directories = BTreeSet::new();
        for subject in &subjects {
            // Where a directory is known, those above it are as well.
            directories_on_path(subject).rev().take_while(|directory| directories.insert(*directory)).count();
        }
        for directory in directories {
            self.arm_one(directory);
        }
        for subject in subjects {
            let Ok(file) = file::locate(self.root.path(), &subject.path) else { continue };
            let stamp = file::stamp(&file);
            self.alter(&subject, |node| {
                if node.scheduled.is_none() && node.stamp() != stamp {
                    node.hint(now, HintKind::Writing);
                }
            });
        }
    }
}
