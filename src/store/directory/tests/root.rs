//! The directory that is the store goes, comes back, or is another one.

use super::*;

impl Store {
    /// Waits for an outage. Returns its reason.
    async fn outage(&mut self) -> String {
        match self.event().await {
            StoreEvent::Disconnected { reason } => reason,
            other => panic!("no outage: {other:?}"),
        }
    }

    async fn connected(&mut self) {
        let event = self.event().await;
        assert!(matches!(event, StoreEvent::Connected { .. }), "{event:?}");
    }
}

#[test]
fn a_store_that_is_removed_is_away_and_its_nodes_are_not_deleted() {
    with_store(|mut store| async move {
        store.write("head", "1");
        let before = version(&store.subscribe(data("/head")).await);
        fs::remove_dir_all(store.file("")).unwrap();
        let reason = store.outage().await;
        assert!(reason.contains("/nodes: No such file") && reason.contains("create it"), "{reason}");
        fs::create_dir(store.file("")).unwrap();
        let StoreEvent::Refused { reason } = store.event().await else { panic!("it is empty") };
        assert!(reason.contains("it is empty, and another one than before"), "{reason}");
        store.write("head", "1");
        store.connected().await;
        assert_ne!(version(&store.state().await).incarnation, before.incarnation);
        store.write("head", "2");
        assert_eq!(store.text().await, Some("2".into()));
    });
}

#[test]
fn a_store_that_comes_back_as_it_was_has_changed_nothing() {
    with_store(|mut store| async move {
        store.write("head", "1");
        let before = [store.subscribe(data("/head")).await, store.subscribe(data("/none")).await];
        let aside = store.root.path().join("aside");
        fs::rename(store.file(""), &aside).unwrap();
        store.outage().await;
        // This is followed when it is back, and reported like all others.
        store.channel.follow(data("/late"));
        store.channel.refresh(data("/head"));
        fs::rename(&aside, store.file("")).unwrap();
        store.connected().await;
        let mut after = Vec::new();
        for _ in 0..3 {
            after.push(store.state().await);
        }
        assert_eq!(after, [before[0].clone(), State::Absent, State::Absent]);
        assert_eq!(before[1], State::Absent);
        store.nothing_more().await;
    });
}

// A file in its place says nothing about the nodes, and neither does a link in a circle.
#[test]
fn what_is_no_directory_in_place_of_the_store_deletes_nothing() {
    with_store(|mut store| async move {
        store.write("head", "1");
        store.subscribe(data("/head")).await;
        let (aside, path) = (store.root.path().join("aside"), store.root.path().join("nodes"));
        let circle: fn(&PathBuf) = |path| symlink("nodes", path).unwrap();
        let file: fn(&PathBuf) = |path| fs::write(path, "").unwrap();
        for (put, said) in [(circle, "symbolic links"), (file, "Not a directory")] {
            fs::rename(&path, &aside).unwrap();
            put(&path);
            let mut reason = store.outage().await;
            // It may have been looked at in between.
            while !reason.contains(said) {
                let StoreEvent::Refused { reason: other } = store.event().await else { panic!("{reason}") };
                reason = other;
            }
            fs::remove_file(&path).unwrap();
            fs::rename(&aside, &path).unwrap();
            while !matches!(store.event().await, StoreEvent::Connected { .. }) {}
            assert_eq!(store.text().await, Some("1".into()));
        }
    });
}

#[test]
fn another_directory_with_content_takes_the_place_of_the_store_without_an_outage() {
    with_store(|mut store| async move {
        store.write("head", "1");
        store.subscribe(data("/head")).await;
        store.subscribe(data("/other")).await;
        let (other, path) = (store.root.path().join("other"), store.root.path().join("nodes"));
        fs::create_dir(&other).unwrap();
        fs::write(other.join("other"), "2").unwrap();
        // Both exchanged in one step, so that the store is never away.
        nix::fcntl::renameat2(
            nix::fcntl::AT_FDCWD,
            &other,
            nix::fcntl::AT_FDCWD,
            &path,
            nix::fcntl::RenameFlags::RENAME_EXCHANGE,
        )
        .unwrap();
        let mut seen = [store.text().await, store.text().await];
        seen.sort();
        assert_eq!(seen, [None, Some("2".into())]);
    });
}

#[test]
fn a_node_that_is_deleted_in_a_store_that_stays_is_absent() {
    with_store(|mut store| async move {
        fs::create_dir(store.file("a")).unwrap();
        store.write("a/head", "1");
        store.subscribe(data("/a/head")).await;
        fs::remove_dir_all(store.file("a")).unwrap();
        assert_eq!(store.text().await, None);
        // A path through a file leads nowhere: that node holds data, and has no children.
        store.write("a", "data");
        store.nothing_more().await;
    });
}

// Whoever replaces a link to the directory removes it first. A node that is looked for in that moment is not
// deleted, and what is found after it is told of without waiting for the next look at everything.
#[test]
fn a_store_that_is_away_for_moments_has_its_nodes_all_the_time() {
    with_store(|mut store| async move {
        store.write("head", "0");
        store.subscribe(data("/head")).await;
        let (path, aside) = (store.file(""), store.root.path().join("aside"));
        for round in 1..=20 {
            let (path, aside) = (path.clone(), aside.clone());
            let flicker = std::thread::spawn(move || {
                for _ in 0..200 {
                    fs::rename(&path, &aside).unwrap();
                    fs::rename(&aside, &path).unwrap();
                }
            });
            while !flicker.is_finished() {
                store.channel.refresh(data("/head"));
                match store.event().await {
                    StoreEvent::Observed { state, .. } => {
                        assert_ne!(text(&state), None, "it was not deleted")
                    }
                    StoreEvent::Unreadable { .. } => break,
                    StoreEvent::Disconnected { .. } | StoreEvent::Connected { .. } => {}
                    other => panic!("{other:?}"),
                }
            }
            flicker.join().unwrap();
            store.write("head", &round.to_string());
            loop {
                match store.event().await {
                    StoreEvent::Observed { state, .. } if text(&state) == Some(round.to_string()) => break,
                    StoreEvent::Observed { state, .. } => assert_ne!(text(&state), None),
                    _ => {}
                }
            }
        }
    });
}
