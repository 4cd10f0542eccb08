//! What a reload changes.

use std::collections::HashMap;

use crate::model::{WatchKey, WatchSpec};

#[derive(Clone, Debug)]
pub enum WatchChange {
    Add(WatchSpec),
    /// The watch goes on under another definition.
    Change(WatchSpec),
    Remove(WatchKey),
}

/// What turns `current`, all watches of one file, into `wanted`, what the file now says. Unchanged watches do not
/// appear. Removals come first, then the rest in the file's order.
pub fn diff<'a>(
    current: impl IntoIterator<Item = &'a WatchSpec>,
    wanted: Vec<WatchSpec>,
) -> Vec<WatchChange> {
    let mut current: HashMap<&WatchKey, &WatchSpec> =
        current.into_iter().map(|spec| (&spec.id, spec)).collect();
    let mut changes = Vec::new();
    for spec in wanted {
        match current.remove(&spec.id) {
            None => changes.push(WatchChange::Add(spec)),
            Some(old) if !old.same_definition(&spec) => changes.push(WatchChange::Change(spec)),
            Some(_) => {}
        }
    }
    let mut removed: Vec<&WatchKey> = current.into_keys().collect();
    removed.sort();
    removed.into_iter().map(|key| WatchChange::Remove(key.clone())).chain(changes).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::model::{
        Action, ExecContext, Facet, Guard, Identity, NodePath, OnFailure, Output, Program, Resource, RunMode,
        RunOnLoad, Share, StoreName, Subject, Throttle,
    };

    fn spec(name: &str) -> WatchSpec {
        WatchSpec {
            id: WatchKey { file: "a.twc".into(), description: name.into() },
            store: StoreName::default(),
            subject: Subject { path: NodePath::parse("/a").unwrap(), facet: Facet::Data },
            action: Action::Command(["true".to_owned()].into()),
            pipe_stdin: true,
            run_on_load: RunOnLoad::Always,
            run_mode: RunMode::Queue,
            identity: Arc::new(Identity {
                user: "nobody".into(),
                home: "/".into(),
                shell: "/bin/sh".into(),
                uid: 65534,
                gid: 65534,
                change: None,
            }),
            notify_signal: None,
            timeout: None,
            max_parallel: 64,
            retry: None,
            on_failure: OnFailure::Keep,
            throttle: Throttle::default(),
            guard: Guard::default(),
            exec_context: Arc::default(),
        }
    }

    fn function(index: usize, fingerprint: &str) -> WatchSpec {
        let program = Program {
            path: "/a.twc".into(),
            name: "a.twc".into(),
            source: format!("{index}").into(),
            modules: Default::default(),
            facts: Default::default(),
        };
        let action = Action::Function { program: program.into(), index, fingerprint: fingerprint.into() };
        WatchSpec { action, ..spec("f") }
    }

    #[test]
    fn tells_what_a_reload_changes() {
        let longer = || WatchSpec { timeout: Some(Duration::from_secs(1)), ..spec("a") };
        for (what, current, wanted, expected) in [
            ("nothing", vec![], vec![], vec![]),
            ("new", vec![], vec![spec("a"), spec("b")], vec!["+a", "+b"]),
            ("same", vec![spec("a")], vec![spec("a")], vec![]),
            ("reordered", vec![spec("a"), spec("b")], vec![spec("b"), spec("a")], vec![]),
            ("gone", vec![spec("b"), spec("a")], vec![], vec!["-a", "-b"]),
            ("changed", vec![spec("a"), spec("b")], vec![longer(), spec("b")], vec!["~a"]),
            ("function moved", vec![function(0, "x")], vec![function(1, "x")], vec![]),
            ("function changed", vec![function(0, "x")], vec![function(0, "y")], vec!["~f"]),
        ] {
            let changes: Vec<String> = diff(&current, wanted)
                .iter()
                .map(|change| match change {
                    WatchChange::Add(spec) => format!("+{}", spec.id.description),
                    WatchChange::Change(spec) => format!("~{}", spec.id.description),
                    WatchChange::Remove(key) => format!("-{}", key.description),
                })
                .collect();
            assert_eq!(changes, expected, "{what}");
        }
    }

    #[test]
    fn every_part_of_a_definition_counts() {
        let within = |exec_context| WatchSpec { exec_context: Arc::new(exec_context), ..spec("a") };
        let usual = ExecContext::default;
        let guarded = |guard| WatchSpec { guard, ..spec("a") };
        let free = Guard::default;
        let changed: [WatchSpec; 21] = [
            WatchSpec { store: StoreName::parse("b").unwrap(), ..spec("a") },
            WatchSpec {
                subject: Subject { path: NodePath::parse("/b").unwrap(), facet: Facet::Data },
                ..spec("a")
            },
            WatchSpec { action: Action::Command(["false".to_owned()].into()), ..spec("a") },
            WatchSpec { action: function(0, "x").action, ..spec("a") },
            WatchSpec { pipe_stdin: false, ..spec("a") },
            WatchSpec { run_on_load: RunOnLoad::Changed, ..spec("a") },
            WatchSpec { run_mode: RunMode::Discard, ..spec("a") },
            WatchSpec {
                identity: Arc::new(Identity { gid: 0, ..Identity::clone(&spec("a").identity) }),
                ..spec("a")
            },
            WatchSpec { notify_signal: Some(1), ..spec("a") },
            WatchSpec { timeout: Some(Duration::from_secs(1)), ..spec("a") },
            WatchSpec { max_parallel: 1, ..spec("a") },
            guarded(Guard { max_data: Some(0), ..free() }),
            guarded(Guard { not_empty: true, ..free() }),
            guarded(Guard { max_shrink: Share::of_percent(100.0), ..free() }),
            within(ExecContext { variables: [("A".to_owned(), "1".to_owned())].into(), ..usual() }),
            within(ExecContext { cwd: "/srv".to_owned(), ..usual() }),
            within(ExecContext { umask: 0o077, ..usual() }),
            within(ExecContext { nice: Some(0), ..usual() }),
            within(ExecContext { limits: [(Resource::Core, 0)].into(), ..usual() }),
            within(ExecContext { no_new_privs: true, ..usual() }),
            within(ExecContext { output: Output::Discard, ..usual() }),
        ];
        for other in changed {
            assert!(!spec("a").same_definition(&other), "{other:?}");
            assert_ne!(spec("a").definition_hash(), other.definition_hash(), "{other:?}");
        }
    }
}
