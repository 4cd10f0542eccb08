//! Node paths, store URLs and node data. An accepted path or URL means the same when its text is read again,
//! no node leads out of a directory store, and actions can read what they are given.

use std::cell::OnceCell;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arbitrary::{Result, Unstructured};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use twitcher::act::function::{ActEvent, ActRequest};
use twitcher::action::payload::Payload;
use twitcher::content::node_line::{NodeLine, write_piece};
use twitcher::model::{Blob, Change, Facts, NodeEvent, NodePath, NodeState, Program, StoreName};
use twitcher::store::{
    Client, DirectorySettings, DirectoryUrl, Removal, StoreSettings, StoreUrl, WriteOptions,
};

thread_local! {
    static PLACE: OnceCell<Place> = const { OnceCell::new() };
}

/// A directory that contains only a directory store.
struct Place {
    dir: TempDir,
    runtime: Runtime,
}

/// The first three lines of `data` are a path, a store and a node's data. The rest are changes of nodes.
pub fn run(data: &[u8]) {
    let mut lines = data.splitn(4, |byte| *byte == b'\n');
    let mut next = || lines.next().unwrap_or_default();
    let (path, store, bytes, rest) = (next(), next(), next(), next());
    let (path, store) = (String::from_utf8_lossy(path), String::from_utf8_lossy(store));
    if let Some(node) = check_path(&path) {
        PLACE.with(|place| place.get_or_init(Place::new).check(&node, bytes));
    }
    check_store(&store);
    let _ = check_changes(&mut Unstructured::new(rest));
}

fn check_path(path: &str) -> Option<NodePath> {
    let node = NodePath::parse(path).map_err(|error| is_readable(&error.to_string())).ok()?;
    assert_eq!(node.as_str(), path);
    let components: Vec<&str> = node.components().collect();
    assert_eq!(path, format!("/{}", components.join("/")));
    for component in components {
        assert!(!["", ".", ".."].contains(&component) && !component.contains(['/', '\0', '\n']));
    }
    Some(node)
}

fn check_store(text: &str) {
    let _ = StoreName::parse(text).map_err(|error| is_readable(&error.to_string()));
    for url in [text.parse::<StoreUrl>(), StoreUrl::from_servers(text)] {
        match url {
            Ok(url) => {
                let shown = url.to_string();
                assert_eq!(shown.parse::<StoreUrl>().as_ref(), Ok(&url), "{shown:?}");
            }
            Err(error) => is_readable(&error.to_string()),
        }
    }
}

/// Checks that the text can go to a terminal or a log as it is.
fn is_readable(error: &str) {
    assert!(!error.contains(char::is_control), "{error:?}");
}

impl Place {
    fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
        Self { dir: tempfile::tempdir().expect("a directory"), runtime }
    }

    /// Checks that the node is a file below the root, at its path.
    fn check(&self, node: &NodePath, data: &[u8]) {
        let root = self.dir.path().join("nodes");
        self.runtime.block_on(async {
            let client = client(&root).await;
            if client.set(node, data, &WriteOptions::default()).await.is_ok() {
                assert_eq!(client.get(node).await.expect("what was set"), data);
                let mut parent = NodePath::parse("/").expect("the root");
                for name in node.components() {
                    let names = client.ls(&parent).await.expect("a parent");
                    assert_eq!(names, [name]);
                    let below = format!("{}/{name}", parent.as_str().trim_end_matches('/'));
                    parent = NodePath::parse(&below).expect("a child of a node is a node");
                }
                let file = root.join(node.as_str().trim_start_matches('/'));
                assert!(file.symlink_metadata().is_ok(), "{file:?}");
            }
            let _ = client.rm(node, true, &Removal::default()).await;
        });
        self.check_listing(&root, data);
        let beside = entries(self.dir.path());
        assert!(beside.is_empty() || beside == [root.clone()], "{beside:?}");
        // The parents were made on the way.
        let _ = std::fs::remove_dir_all(root);
    }

    /// Checks that a directory lists only nodes, whatever its files are called.
    fn check_listing(&self, root: &Path, name: &[u8]) {
        let file = root.join(OsStr::from_bytes(name));
        if file.parent() != Some(root) || std::fs::create_dir_all(root).and(std::fs::write(file, "")).is_err()
        {
            return;
        }
        self.runtime.block_on(async {
            let client = client(root).await;
            for name in client.ls(&NodePath::parse("/").expect("the root")).await.expect("the root") {
                let child = NodePath::parse(&format!("/{name}")).expect("a child of a node is a node");
                assert_eq!(child.components().collect::<Vec<_>>(), [name]);
            }
        });
    }
}

async fn client(root: &Path) -> Client {
    let url = DirectoryUrl { root: root.to_owned() };
    let settings = DirectorySettings {
        url,
        session_timeout: Duration::from_secs(1),
        rescan_interval: Duration::from_secs(60),
        readonly: false,
    };
    Client::connect(&StoreSettings::Directory(settings)).await.expect("a directory needs no connection")
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let entries = dir.read_dir().expect("a directory");
    entries.map(|entry| entry.expect("an entry").path()).collect()
}

fn check_changes(input: &mut Unstructured<'_>) -> Result<()> {
    let mut changes = Vec::new();
    let mut data_of_nodes: Vec<&[u8]> = Vec::new();
    let mut pieces = Vec::new();
    while !input.is_empty() && changes.len() < 20 {
        let name: &str = input.arbitrary()?;
        let Ok(path) = NodePath::parse(&format!("/{name}")) else { continue };
        let event =
            *input.choose(&[NodeEvent::Load, NodeEvent::Created, NodeEvent::Changed, NodeEvent::Deleted])?;
        let data: &[u8] = input.arbitrary()?;
        let now = match event {
            NodeEvent::Deleted => None,
            NodeEvent::Load | NodeEvent::Created | NodeEvent::Changed => {
                let start = pieces.len() as u64;
                write_piece(data, &mut pieces).expect("a vector grows");
                Some(NodeState { version: input.arbitrary()?, piece: start..pieces.len() as u64 })
            }
        };
        data_of_nodes.push(data);
        changes.push(Change { path, event, now });
    }
    let payload = Payload::Changes { changes: changes.clone(), blob: pieces.into() };
    check_lines(&payload, &changes, &data_of_nodes);
    check_request(&payload);
    let rest: Blob = input.bytes(input.len())?.into();
    check_request(&Payload::Children(rest.clone()));
    check_request(&Payload::Data(rest));
    Ok(())
}

fn read(mut file: File) -> Vec<u8> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).expect("a file in memory");
    bytes
}

/// Checks that each change is a line of JSON with all of its parts.
fn check_lines(payload: &Payload, changes: &[Change], data: &[&[u8]]) {
    let text = read(payload.open().expect("a file in memory"));
    let text = std::str::from_utf8(&text).expect("JSON is text");
    assert!(text.is_empty() || text.ends_with('\n'));
    assert_eq!(text.lines().count(), changes.len());
    for ((line, change), data) in text.lines().zip(changes).zip(data) {
        let line: serde_json::Value = serde_json::from_str(line).expect("a line of JSON");
        assert_eq!(line["znode"], change.path.as_str());
        assert_eq!(line["event"], change.event.as_str());
        match &change.now {
            None => assert_eq!(line.as_object().map(serde_json::Map::len), Some(2)),
            Some(NodeState { version, .. }) => {
                assert_eq!((&line["version"], &line["size"]), (&(*version).into(), &data.len().into()));
                assert_eq!(line["text"], *String::from_utf8_lossy(data));
                assert_eq!(line.get("base64").is_some(), std::str::from_utf8(data).is_err());
            }
        }
    }
    let lines = NodeLine::parse_all(text.as_bytes()).expect("lines as the store and the daemon write them");
    for ((line, change), data) in lines.iter().zip(changes).zip(data) {
        let expected = change.now.is_some().then(|| data.to_vec());
        assert_eq!(line.data().expect("data as the store writes it"), expected);
    }
}

/// Checks that a function action gets the payload.
fn check_request(payload: &Payload) {
    let text = |text: &str| Arc::<str>::from(text);
    let program = Program {
        path: "/etc/twitcher/a.twc".into(),
        name: text("a.twc"),
        source: text(""),
        modules: [].into(),
        facts: Facts::default(),
    };
    let (event, facet) = ("changed".into(), payload.facet());
    let event = ActEvent {
        znode: "/a".into(),
        event,
        version: 1,
        watch: "a".into(),
        facet,
        format: None,
        commit: None,
    };
    let request = ActRequest { program: program.into(), index: 0, event };
    let encoded = read(payload.open_after(request.encode()).expect("a file in memory"));
    let (decoded, content) = ActRequest::decode(encoded.clone()).expect("what was encoded");
    assert_eq!(decoded.event, request.event);
    assert_eq!(content, read(payload.open().expect("a file in memory")));
    // A part of it must not panic.
    let _ = ActRequest::decode(encoded[..encoded.len() / 2].into());
}
