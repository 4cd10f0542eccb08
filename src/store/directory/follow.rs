//! Following nodes in a directory.
//!
//! File notification gives hints, not the truth: it names directories that were replaced in the meantime,
//! loses events when its queue is full, and does not see what lies behind symbolic links. So a hint only
//! leads to a look at the node. What is found is compared with the last report, and now and then every node
//! is looked at without a hint.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Bound;
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::file;
use super::node::{FollowedNode, HintKind};
use super::settings::DirectorySettings;
use super::watches::{ArmResult, EntryChange, Hint, Watches};
use super::way::Way;
use crate::model::{NodeFacet, NodePath, NodeSubject};
use crate::store::StoreEvent;
use crate::store::backend::{Backend, NodeCommand, Observation};
use crate::store::backoff::Backoff;
use crate::store::channel::StoreEnd;
use crate::store::tree::router::{self, EventSender, NodeCommands, ReceiverDropped};
use crate::sys::inotify_remedy;

/// How often this happens while there are no hints: the root is missing, or the system refuses a watch.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// The pauses before file notification is tried again: at most what the contract promises for a store that is
/// away.
const MIN_RETRY_DELAY: Duration = Duration::from_millis(100);
const MAX_RETRY_DELAY: Duration = Duration::from_secs(5);

/// Starts the tasks that serve `end`. Must be called within a `LocalSet` on a current-thread runtime.
pub(crate) fn start(settings: DirectorySettings, end: StoreEnd) {
    let capabilities = settings.capabilities();
    router::start(capabilities, end, |commands, events| run(settings, commands, events));
}

/// Follows nodes until there are no more commands, or nobody receives the events.
async fn run(settings: DirectorySettings, mut commands: NodeCommands, events: EventSender) {
    let mut backoff = Backoff::new(MIN_RETRY_DELAY, MAX_RETRY_DELAY);
    let (mut outage, mut early) = (false, Vec::new());
    loop {
        let error = match Directory::open(&settings) {
            Ok(directory) => {
                // Either way there is nothing left to do.
                let (Ok(()) | Err(ReceiverDropped)) = directory.run(early, commands, events).await;
                return;
            }
            Err(error) => error,
        };
        if !std::mem::replace(&mut outage, true) {
            let reason = format!(
                "cannot watch directory {}: {error}; {}",
                settings.url.root.display(),
                inotify_remedy(error.raw_os_error())
            );
            // If nobody receives it, this ends below.
            let _ = events.send(StoreEvent::Disconnected { reason }).await;
        }
        let mut retry = pin!(sleep(backoff.next()));
        loop {
            tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => early.push(command),
                    None => return,
                },
                () = &mut retry => break,
            }
        }
    }
}

pub(super) struct Directory {
    identity: String,
    /// Absolute.
    root: PathBuf,
    watches: Watches,
    way: Way,
    nodes: BTreeMap<NodeSubject, FollowedNode>,
    /// The nodes that are to be read, by the time this is due.
    schedule: BTreeSet<(Instant, NodeSubject)>,
    /// How often every node is looked at without a hint. A change that gives no hint (to the target of a
    /// symbolic link, on a network file system, by a mount) is found late by at most this.
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
    /// Prepares to follow nodes. The directory need not exist yet.
    pub(super) fn open(settings: &DirectorySettings) -> io::Result<Self> {
        let DirectorySettings { url, session_timeout: _, rescan_interval } = settings;
        let root = std::path::absolute(&url.root)?;
        Ok(Self {
            identity: url.to_string(),
            way: Way::new(&root),
            root,
            watches: Watches::new()?,
            nodes: BTreeMap::new(),
            schedule: BTreeSet::new(),
            rescan_interval: *rescan_interval,
            rescan_at: Instant::now() + *rescan_interval,
            is_polling: false,
            warning: None,
            warned: false,
        })
    }

    /// Carries out the `early` commands and then all others until there are no more.
    pub(super) async fn run(
        mut self,
        early: Vec<NodeCommand>,
        mut commands: NodeCommands,
        events: EventSender,
    ) -> Result<(), ReceiverDropped> {
        let what = format!("directory {}", self.root.display());
        events.send(StoreEvent::Connected { what, identity: self.identity.clone() }).await?;
        for command in early {
            self.take(command, &events).await?;
        }
        loop {
            let read_at = self.schedule.first().map_or(self.rescan_at, |(due, _)| *due);
            tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => self.take(command, &events).await?,
                    None => return Ok(()),
                },
                _ = self.watches.ready() => self.process_hints(),
                () = self.way.ready() => {
                    let has_turned = self.way.has_turned();
                    self.follow_way(has_turned);
                }
                () = sleep_until(read_at) => {}
                () = sleep_until(self.rescan_at) => self.rescan(),
            }
            while let Some(subject) = self.due() {
                // There must be room for the report before the read, so that a slow daemon gets the latest
                // state.
                let slot = events.reserve().await?;
                if let Some(observation) = self.read_node(&subject) {
                    slot.report(subject, observation);
                }
            }
            if let Some(reason) = self.warning.take() {
                events.send(StoreEvent::Degraded { reason }).await?;
            }
        }
    }

    /// Carries out a command. A path that can be no node is refused at once and for ever.
    async fn take(&mut self, command: NodeCommand, events: &EventSender) -> Result<(), ReceiverDropped> {
        let now = Instant::now();
        match command {
            NodeCommand::Follow(subject) => {
                if let Err(hidden) = file::locate(&self.root, &subject.path) {
                    let reason = format!("{hidden:?} starts with a dot and names no node; rename it");
                    events.reserve().await?.report(subject, Observation::Unreadable(reason));
                    return Ok(());
                }
                self.nodes.entry(subject.clone()).or_insert_with(FollowedNode::new);
                self.alter(&subject, |node| node.force(now));
            }
            NodeCommand::Leave(subject) => {
                self.alter(&subject, |node| node.scheduled = None);
                self.nodes.remove(&subject);
                self.disarm(&subject);
            }
            NodeCommand::Refresh(subject) => self.alter(&subject, |node| node.force(now)),
        }
        Ok(())
    }

    /// Changes a node, if it is followed, and keeps the schedule in step.
    fn alter(&mut self, subject: &NodeSubject, change: impl FnOnce(&mut FollowedNode)) {
        let Some(node) = self.nodes.get_mut(subject) else { return };
        let before = node.scheduled.map(|read| read.due);
        change(node);
        let after = node.scheduled.map(|read| read.due);
        if before == after {
            return;
        }
        if let Some(due) = before {
            self.schedule.remove(&(due, subject.clone()));
        }
        if let Some(due) = after {
            self.schedule.insert((due, subject.clone()));
        }
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
        self.arm(subject, false);
        let file = file::locate(&self.root, &subject.path).ok()?;
        let mut found = file::read(&self.root, &file, subject.facet);
        if matches!(found, Ok(None)) {
            // It may seem absent only because a directory above it was replaced unseen.
            self.arm(subject, true);
            found = file::read(&self.root, &file, subject.facet);
        }
        self.process_hints();
        let mut observation = None;
        self.alter(subject, |node| observation = node.found(scheduled, found, Instant::now()));
        observation
    }

    /// Watches the directories on the way to a node: those that are not watched yet, or all of them if
    /// `afresh`.
    fn arm(&mut self, subject: &NodeSubject, afresh: bool) {
        for directory in directories_on_path(subject) {
            if (afresh || !self.watches.is_armed(directory)) && !self.arm_one(directory) {
                return;
            }
        }
    }

    /// Returns whether the directory is watched now.
    fn arm_one(&mut self, directory: &str) -> bool {
        let file = self.root.join(directory.trim_start_matches('/'));
        match self.watches.arm(directory, &file) {
            ArmResult::Yes => return true,
            // Any other directory is seen to appear in its parent.
            ArmResult::Missing if directory.is_empty() => self.start_polling(),
            ArmResult::Missing => {}
            ArmResult::Refused(error) => {
                self.start_polling();
                if !std::mem::replace(&mut self.warned, true) {
                    self.warning = Some(format!(
                        "cannot watch {} ({}): looking every second instead; raise \
                         fs.inotify.max_user_watches, or make it readable",
                        file.display(),
                        error.desc(),
                    ));
                }
            }
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
        for directory in directories_on_path(subject) {
            let itself = NodeSubject { path: node_path(directory), facet: NodeFacet::Children };
            if below(&self.nodes, directory).next().is_none() && !self.nodes.contains_key(&itself) {
                self.watches.disarm(directory);
            }
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
                        self.hint_tree("", true, now);
                    }
                }
                Hint::Entry { path, change } => self.entry(&path, change, now),
            }
        }
    }

    fn entry(&mut self, path: &str, change: EntryChange, now: Instant) {
        let (hint_kind, gone, moved) = match change {
            EntryChange::Created | EntryChange::Modified => (HintKind::Writing, false, false),
            EntryChange::Closed => (HintKind::Done, false, false),
            EntryChange::Attributes => (HintKind::Now, false, false),
            EntryChange::MovedIn => (HintKind::Done, false, true),
            EntryChange::Gone => (HintKind::Done, true, true),
        };
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
                node.hint(now, HintKind::Now);
            });
        }
    }

    /// Reads every node again if the store's path leads to another directory now. Versions tell whether a
    /// node is another one.
    fn follow_way(&mut self, has_turned: bool) {
        if has_turned {
            self.watches.disarm_tree("");
            self.hint_tree("", false, Instant::now());
        }
    }

    /// Looks for changes that gave no hint.
    fn rescan(&mut self) {
        let now = Instant::now();
        self.is_polling = false;
        self.rescan_at = now + self.rescan_interval;
        let has_turned = self.way.look();
        self.follow_way(has_turned);
        let subjects: Vec<NodeSubject> = self.nodes.keys().cloned().collect();
        // Each directory once, and a parent before its children.
        let directories: BTreeSet<&str> = subjects.iter().flat_map(directories_on_path).collect();
        for directory in directories {
            self.arm_one(directory);
        }
        for subject in subjects {
            let Ok(file) = file::locate(&self.root, &subject.path) else { continue };
            let stamp = file::stamp(&file);
            self.alter(&subject, |node| {
                if node.scheduled.is_none() && node.stamp() != stamp {
                    node.hint(now, HintKind::Writing);
                }
            });
        }
    }
}

/// Iterates over the node paths of the directories in which changes to a subject show, from the root (empty)
/// down.
fn directories_on_path(subject: &NodeSubject) -> impl Iterator<Item = &str> {
    let path = if subject.path.as_str() == "/" { "" } else { subject.path.as_str() };
    let itself = (subject.facet == NodeFacet::Children).then_some(path);
    path.match_indices('/').map(|(end, _)| &path[..end]).chain(itself)
}

/// Makes a node path of the path in a hint, which is empty for the root.
fn node_path(path: &str) -> NodePath {
    NodePath::unchecked(if path.is_empty() { "/" } else { path })
}

/// Iterates over the subjects below the directory `path`; below the root (empty), the root's own are among
/// them.
fn below<'a>(
    nodes: &'a BTreeMap<NodeSubject, FollowedNode>,
    path: &str,
) -> impl Iterator<Item = &'a NodeSubject> {
    let prefix = format!("{path}/");
    let start = NodeSubject { path: NodePath::unchecked(&prefix), facet: NodeFacet::Data };
    nodes
        .range((Bound::Included(start), Bound::Unbounded))
        .map(|(subject, _)| subject)
        .take_while(move |subject| subject.path.as_str().starts_with(&prefix))
}
