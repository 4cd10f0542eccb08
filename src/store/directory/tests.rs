use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;
use tokio::task::LocalSet;
use tokio::time::timeout;

use super::file;
use super::follow::Directory;
use super::settings::{DirectorySettings, DirectoryUrl};
use crate::content;
use crate::model::{Content, Facet, NodePath, State, Subject, Version};
use crate::store::StoreEvent;
use crate::store::backend::Capabilities;
use crate::store::channel::StoreChannel;
use crate::store::tree::router;

mod overflow;
mod root;

/// Longer than anything here takes on the slowest machine.
const DEADLINE: Duration = Duration::from_secs(20);

/// A store on a directory of its own, and the channel to it.
struct Store {
    root: TempDir,
    channel: StoreChannel,
}

fn data(path: &str) -> Subject {
    Subject { path: NodePath::parse(path).unwrap(), facet: Facet::Data }
}

fn children(path: &str) -> Subject {
    Subject { path: NodePath::parse(path).unwrap(), facet: Facet::Children }
}

/// Returns the state as text, or `None` where the node is absent.
fn text(state: &State) -> Option<String> {
    match state {
        State::Absent => None,
        State::Present { content: Content::Data(data), .. } => {
            Some(String::from_utf8_lossy(&content::read(data).unwrap()).into())
        }
        State::Present { content: Content::Children { lines, .. }, .. } => {
            let lines = content::read(lines).unwrap();
            Some(content::names(&lines).collect::<Vec<_>>().join(" "))
        }
        State::Present { content: Content::Tree { .. } | Content::Members { .. }, .. } => panic!("a whole"),
    }
}

fn version(state: &State) -> Version {
    match state {
        State::Absent => panic!("absent"),
        State::Present { version, .. } => *version,
    }
}

impl Store {
    async fn open() -> Self {
        let root = tempfile::tempdir().unwrap();
        let directory = Directory::open(
            &DirectorySettings {
                url: DirectoryUrl { root: root.path().join("nodes") },
                session_timeout: Duration::from_secs(10),
                rescan_interval: Duration::from_secs(60),
                readonly: false,
            },
            None,
        )
        .unwrap();
        fs::create_dir(root.path().join("nodes")).unwrap();
        let (channel, end) = StoreChannel::new();
        router::start(Capabilities::default(), end, |commands, events| async {
            let _ = directory.run(Vec::new(), false, commands, events).await;
        });
        let mut store = Self { root, channel };
        assert!(matches!(store.event().await, StoreEvent::Connected { .. }));
        store
    }

    fn file(&self, path: &str) -> PathBuf {
        self.root.path().join("nodes").join(path)
    }

    fn write(&self, path: &str, text: &str) {
        fs::write(self.file(path), text).unwrap();
    }

    async fn event(&mut self) -> StoreEvent {
        timeout(DEADLINE, self.channel.next()).await.expect("an event in time").expect("the store runs")
    }

    async fn state(&mut self) -> State {
        match self.event().await {
            StoreEvent::Observed { state, .. } => state,
            other => panic!("not a state: {other:?}"),
        }
    }

    async fn text(&mut self) -> Option<String> {
        text(&self.state().await)
    }

    async fn subscribe(&mut self, subject: Subject) -> State {
        self.channel.follow(subject.clone());
        match self.event().await {
            StoreEvent::Observed { subject: reported, state } if reported == subject => state,
            other => panic!("not the state of {subject:?}: {other:?}"),
        }
    }

    /// Every state up to one that reads `last`.
    async fn until(&mut self, last: &str) -> Vec<Option<String>> {
        let mut seen = Vec::new();
        while seen.last().is_none_or(|text: &Option<String>| text.as_deref() != Some(last)) {
            seen.push(self.text().await);
        }
        seen
    }

    /// Waits until the store has nothing more to say of what happened so far: the marker node is written
    /// after it, and told of after it.
    async fn nothing_more(&mut self) {
        self.subscribe(data("/marker")).await;
        self.write("marker", "end");
        assert_eq!(self.until("end").await, [Some("end".to_owned())]);
    }
}

/// Runs `body` where stores can live.
fn with_store<F: Future<Output = ()>>(body: impl FnOnce(Store) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async { body(Store::open().await).await });
}

#[test]
fn a_shell_redirection_gives_exactly_one_new_state() {
    with_store(|mut store| async move {
        store.write("head", "0");
        store.subscribe(data("/head")).await;
        for round in 1..=20 {
            // What `echo N > head` does, with a shell that is preempted in between.
            let mut file = fs::File::create(store.file("head")).unwrap();
            tokio::time::sleep(Duration::from_millis(10 * (round % 8))).await;
            file.write_all(round.to_string().as_bytes()).unwrap();
            drop(file);
            assert_eq!(store.text().await, Some(round.to_string()));
        }
        store.nothing_more().await;
    });
}

#[test]
fn a_file_that_is_truncated_for_good_is_empty() {
    with_store(|mut store| async move {
        store.write("head", "0");
        store.subscribe(data("/head")).await;
        store.write("head", "");
        assert_eq!(store.text().await, Some("".into()));
        let _open = fs::File::create(store.file("head")).unwrap();
        store.write("head", "1");
        assert_eq!(store.text().await, Some("1".into()));
    });
}

#[test]
fn the_last_state_of_a_burst_is_seen() {
    with_store(|mut store| async move {
        store.subscribe(data("/head")).await;
        for burst in 0..5 {
            for write in 0..100 {
                store.write("head", &format!("{burst}-{write:02}"));
            }
            store.until(&format!("{burst}-99")).await;
        }
        store.nothing_more().await;
    });
}

#[test]
fn a_node_created_anew_is_a_new_incarnation_though_its_absence_went_unseen() {
    with_store(|mut store| async move {
        store.write("head", "same");
        let before = version(&store.subscribe(data("/head")).await);
        fs::remove_file(store.file("head")).unwrap();
        store.write("head", "same");
        let after = version(&store.state().await);
        assert_ne!(before.incarnation, after.incarnation);
        store.nothing_more().await;
    });
}

#[test]
fn a_removed_node_is_absent_and_then_created() {
    with_store(|mut store| async move {
        assert_eq!(text(&store.subscribe(data("/head")).await), None);
        store.write("head", "1");
        let before = store.state().await;
        fs::remove_file(store.file("head")).unwrap();
        assert_eq!(store.text().await, None);
        store.write("head", "1");
        let after = store.state().await;
        assert_eq!(text(&after).as_deref(), Some("1"));
        assert_ne!(version(&before).incarnation, version(&after).incarnation);
    });
}

#[test]
fn a_file_renamed_over_a_node_is_a_change_of_it() {
    with_store(|mut store| async move {
        store.write("head", "same");
        let before = version(&store.subscribe(data("/head")).await);
        store.write(".head.new", "same");
        fs::rename(store.file(".head.new"), store.file("head")).unwrap();
        let after = version(&store.state().await);
        assert_eq!(before.incarnation, after.incarnation);
        assert_ne!(before.revision, after.revision);
        store.nothing_more().await;
    });
}

#[test]
fn directories_that_appear_all_at_once_hide_no_node() {
    with_store(|mut store| async move {
        for round in 0..20 {
            let subject = data(&format!("/{round}/a/b/c/head"));
            assert_eq!(text(&store.subscribe(subject).await), None);
            fs::create_dir_all(store.file(&format!("{round}/a/b/c"))).unwrap();
            store.write(&format!("{round}/a/b/c/head"), "deep");
            assert_eq!(store.text().await, Some("deep".into()));
        }
    });
}

#[test]
fn a_parent_removed_and_made_anew_makes_a_new_incarnation() {
    with_store(|mut store| async move {
        fs::create_dir_all(store.file("a/b")).unwrap();
        store.write("a/b/head", "same");
        let before = version(&store.subscribe(data("/a/b/head")).await);
        fs::rename(store.file("a"), store.file("old")).unwrap();
        fs::create_dir_all(store.file("a/b")).unwrap();
        store.write("a/b/head", "same");
        let mut after = store.state().await;
        if after == State::Absent {
            after = store.state().await;
        }
        assert_ne!(before.incarnation, version(&after).incarnation);
        // The watch is on the directory that is there now, not on the one that was moved.
        store.write("a/b/head", "here");
        assert_eq!(store.text().await, Some("here".into()));
        store.write("old/b/head", "elsewhere");
        store.nothing_more().await;
    });
}

#[test]
fn a_directory_that_is_a_swapped_link_is_followed_to_its_new_target() {
    with_store(|mut store| async move {
        for release in ["1", "2"] {
            fs::create_dir(store.file(release)).unwrap();
            store.write(&format!("{release}/head"), release);
        }
        symlink("1", store.file("current")).unwrap();
        assert_eq!(text(&store.subscribe(data("/current/head")).await).as_deref(), Some("1"));
        symlink("2", store.file(".current")).unwrap();
        fs::rename(store.file(".current"), store.file("current")).unwrap();
        assert_eq!(store.text().await, Some("2".into()));
        store.write("2/head", "3");
        assert_eq!(store.text().await, Some("3".into()));
    });
}

#[test]
fn the_file_behind_a_link_is_followed_wherever_it_lies() {
    with_store(|mut store| async move {
        for directory in ["1", ".2"] {
            fs::create_dir(store.file(directory)).unwrap();
            store.write(&format!("{directory}/file"), directory);
        }
        let link = |target: &str, name: &str| {
            symlink(target, store.root.path().join("nodes").join(".new")).unwrap();
            fs::rename(store.file(".new"), store.file(name)).unwrap();
        };
        link("1/file", "a");
        link("a", "b");
        assert_eq!(text(&store.subscribe(data("/a")).await).as_deref(), Some("1"));
        assert_eq!(text(&store.subscribe(data("/b")).await).as_deref(), Some("1"));
        store.write("1/file", "in place");
        assert_eq!(
            [store.text().await, store.text().await],
            [Some("in place".into()), Some("in place".into())]
        );
        store.channel.leave(data("/b"));
        store.write(".new", "renamed");
        fs::rename(store.file(".new"), store.file("1/file")).unwrap();
        assert_eq!(store.text().await, Some("renamed".into()));
        store.write("1/file", "in place again");
        assert_eq!(store.text().await, Some("in place again".into()));
        symlink(".2/file", store.file(".new")).unwrap();
        fs::rename(store.file(".new"), store.file("a")).unwrap();
        assert_eq!(store.text().await, Some(".2".into()));
        store.write("1/file", "of no account");
        store.write(".2/file", "hidden");
        assert_eq!(store.text().await, Some("hidden".into()));
        fs::remove_file(store.file(".2/file")).unwrap();
        assert_eq!(store.text().await, None);
    });
}

#[test]
fn no_link_leads_out_of_the_store() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "s").unwrap();
    with_store(|mut store| async move {
        symlink(outside.path().join("secret"), store.file("file")).unwrap();
        symlink(outside.path(), store.file("directory")).unwrap();
        for subject in [data("/file"), data("/directory/secret"), children("/directory")] {
            store.channel.follow(subject);
            let StoreEvent::Unreadable { reason, .. } = store.event().await else { panic!("read it") };
            assert!(reason.contains("leads out of the store, to "), "{reason}");
        }
    });
}

#[test]
fn children_are_sorted_and_dot_names_are_none_of_them() {
    with_store(|mut store| async move {
        assert_eq!(text(&store.subscribe(children("/hosts")).await), None);
        fs::create_dir(store.file("hosts")).unwrap();
        assert_eq!(store.text().await, Some("".into()));
        store.write("hosts/.hidden", "x");
        // As lines, it would be two.
        store.write("hosts/b\nforged", "x");
        store.write("hosts/b", "x");
        store.until("b").await;
        store.write("hosts/a", "x");
        store.until("a b").await;
        fs::remove_file(store.file("hosts/b")).unwrap();
        store.until("a").await;
        // Content is no matter of the children.
        store.write("hosts/a", "changed");
        store.nothing_more().await;
    });
}

#[test]
fn a_directory_has_empty_data_and_a_file_has_no_children() {
    with_store(|mut store| async move {
        fs::create_dir(store.file("dir")).unwrap();
        store.write("file", "x");
        let before = store.subscribe(data("/dir")).await;
        assert_eq!(text(&before).as_deref(), Some(""));
        assert_eq!(text(&store.subscribe(children("/file")).await).as_deref(), Some(""));
        assert_eq!(text(&store.subscribe(children("/")).await).as_deref(), Some("dir file"));
        // A directory's entries are not its data.
        store.write("dir/entry", "x");
        store.channel.refresh(data("/dir"));
        assert_eq!(version(&store.state().await).revision, version(&before).revision);
        fs::remove_file(store.file("file")).unwrap();
        let mut seen = [store.text().await, store.text().await];
        seen.sort();
        assert_eq!(seen, [None, Some("dir".to_owned())]);
    });
}

#[test]
fn a_chmod_is_no_change() {
    with_store(|mut store| async move {
        store.write("head", "1");
        store.subscribe(data("/head")).await;
        fs::set_permissions(store.file("head"), fs::Permissions::from_mode(0o600)).unwrap();
        store.nothing_more().await;
    });
}

#[test]
fn a_refresh_sends_the_state_though_it_did_not_change() {
    with_store(|mut store| async move {
        store.write("head", "1");
        let before = store.subscribe(data("/head")).await;
        store.channel.refresh(data("/head"));
        assert_eq!(store.state().await, before);
    });
}

#[test]
fn what_is_no_file_is_unreadable_and_heals() {
    with_store(|mut store| async move {
        nix::unistd::mkfifo(&store.file("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        store.channel.follow(data("/pipe"));
        let StoreEvent::Unreadable { reason, .. } = store.event().await else { panic!("read a FIFO") };
        assert!(reason.contains("neither a regular file nor a directory"), "{reason}");
        store.write(".pipe", "healed");
        fs::rename(store.file(".pipe"), store.file("pipe")).unwrap();
        assert_eq!(store.text().await, Some("healed".into()));
    });
}

#[test]
fn a_huge_file_is_unreadable() {
    with_store(|mut store| async move {
        fs::File::create(store.file("log")).unwrap().set_len(file::MAX_NODE_BYTES + 1).unwrap();
        store.channel.follow(data("/log"));
        let StoreEvent::Unreadable { reason, .. } = store.event().await else { panic!("read it") };
        assert!(reason.contains("larger than 16 MiB"), "{reason}");
    });
}

#[test]
fn a_name_with_a_leading_dot_is_refused() {
    with_store(|mut store| async move {
        store.write(".secret", "x");
        for path in ["/.secret", "/.git/head", "/a/.b"] {
            store.channel.follow(data(path));
            let StoreEvent::Unreadable { reason, .. } = store.event().await else { panic!("{path}") };
            assert!(reason.contains("starts with a dot"), "{reason}");
        }
    });
}

#[test]
fn an_unsubscribed_node_is_silent() {
    with_store(|mut store| async move {
        fs::create_dir(store.file("a")).unwrap();
        store.subscribe(data("/a/head")).await;
        store.channel.leave(data("/a/head"));
        store.subscribe(data("/other")).await;
        store.write("a/head", "x");
        store.nothing_more().await;
    });
}
