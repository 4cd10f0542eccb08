use tokio::task::LocalSet;

use super::*;
use crate::model::{Facet, NodePath};
use crate::store::{DirectorySettings, DirectoryUrl, Login, ZooKeeperSettings, ZooKeeperUrl};

impl StoreHandle {
    /// A store at the other end of `channel`, which alone can tell its identity.
    fn fake(name: StoreName, channel: StoreChannel) -> Self {
        let url = ZooKeeperUrl { servers: Vec::new(), chroot: NodePath::parse("/").unwrap() };
        let settings = ZooKeeperSettings {
            url,
            login: Login::default(),
            session_timeout: Duration::ZERO,
            readonly: false,
        };
        let handle = Self::new(name, StoreSettings::ZooKeeper(settings), None);
        Self { ledger_name: None, opened: Some(channel), ..handle }
    }
}

impl Stores {
    /// The default store alone, which is at the other end of `channel`.
    pub fn fake(channel: StoreChannel) -> Self {
        let table = vec![StoreHandle::fake(StoreName::default(), channel)];
        Self { table, ..Self::default() }
    }

    /// As [`Self::fake`], but a directory.
    pub fn fake_directory(channel: StoreChannel) -> Self {
        let settings = settings(std::path::Path::new("/nodes"));
        let store = StoreHandle { settings, ..StoreHandle::fake(StoreName::default(), channel) };
        Self { table: vec![store], ..Self::default() }
    }
}

#[test]
fn each_process_of_a_store_counts_once_and_only_a_living_one_is_shown() {
    let mut store = StoreHandle::fake(StoreName::default(), StoreChannel::new().0);
    let started = |confinement: Option<&str>| {
        // The kernel may use a number again at once.
        HalfStarted { pid: 7, confinement: confinement.map(str::to_owned) }
    };
    for restarts in 0..3 {
        assert_eq!(store.half_started(started(None)), restarts);
        let status = store.status();
        assert_eq!((status.pid, status.confinement, status.restarts), (Some(7), None, restarts));
        assert_eq!(store.half_started(started(Some("as nobody"))), restarts);
        assert_eq!(store.status().confinement.as_deref(), Some("as nobody"));
        store.half_ended();
        let status = store.status();
        assert_eq!((status.pid, status.confinement, status.restarts), (None, None, restarts));
    }
}

#[test]
fn what_the_ledger_recalls_is_believed_until_the_store_has_another_identity() {
    let path = NodePath::parse("/n").unwrap();
    let subject = Subject { path, facet: Facet::Data };
    let watches = [WatchId(1), WatchId(2), WatchId(3)];
    let open = || {
        let (channel, end) = StoreChannel::new();
        let mut store = StoreHandle::fake(StoreName::parse("eu").unwrap(), channel);
        assert!(store.has_ledger_name("eu fake:1") && store.has_ledger_name("eu fake:2"));
        assert!(!store.has_ledger_name("default fake:1"));
        let recalled = [Some("eu fake:1"), Some("eu fake:2"), None];
        for (watch, recalled) in watches.into_iter().zip(recalled) {
            store.join(watch, &subject, recalled);
            assert_eq!(&*store.ledger_name(watch), recalled.unwrap_or("eu "));
        }
        (store, end)
    };
    for (identity, outdated) in
        [("fake:1", vec![WatchId(2)]), ("fake:2", vec![WatchId(1)]), ("fake:3", watches[..2].to_vec())]
    {
        let (mut store, _end) = open();
        let identified = |store: &mut StoreHandle, identity: &str| {
            let mut watches = store.identified(identity);
            watches.sort();
            watches
        };
        assert_eq!(identified(&mut store, identity), outdated);
        let name = format!("eu {identity}");
        assert!(store.has_ledger_name(&name) && !store.has_ledger_name("eu fake:4"));
        assert_eq!(*store.ledger_name(watches[2]), *name);
        assert_eq!(identified(&mut store, identity), []);
        assert_eq!(identified(&mut store, "fake:4"), watches, "another one has taken its place");
    }
}

fn settings(root: &std::path::Path) -> StoreSettings {
    let url = DirectoryUrl { root: root.to_owned() };
    StoreSettings::Directory(DirectorySettings {
        url,
        session_timeout: Duration::from_secs(10),
        rescan_interval: Duration::from_secs(60),
        readonly: false,
    })
}

#[test]
fn a_store_that_has_much_to_say_keeps_none_waiting() {
    let root = tempfile::tempdir().unwrap();
    let name = |name| StoreName::parse(name).unwrap();
    let quiet = BTreeMap::from(["quiet", "silent"].map(|each| (name(each), settings(root.path()))));
    let subject = |path: &str| Subject { path: NodePath::parse(path).unwrap(), facet: Facet::Data };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let mut stores = Stores::open(settings(root.path()), quiet, None, None, |_| None);
        // More events than the channel has room for.
        for number in 0..3000 {
            stores[&StoreName::default()].join(WatchId(number), &subject(&format!("/{number}")), None);
        }
        for heard in 0..100 {
            assert!(stores.next().await.0.is_default(), "{heard}");
        }
        stores[&name("quiet")].join(WatchId(1), &subject("/n"), None);
        let mut heard = Vec::new();
        while heard.iter().filter(|name: &&StoreName| !name.is_default()).count() < 2 {
            heard.push(stores.next().await.0);
            // The tasks of the stores run only while this one yields.
            tokio::task::yield_now().await;
        }
        // Its two events: that it is connected, and the node's state.
        assert!(heard.len() < 20, "{}", heard.len());
        stores.close().await;
    });
}
