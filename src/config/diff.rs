//! The changes that a reload of a file makes to its watches and services.

use std::collections::HashMap;

use crate::model::{ServiceSpec, WatchKey, WatchSpec};

#[derive(Clone, Debug)]
pub enum Change<S> {
    Add(S),
    /// It stays, with another definition.
    Change(S),
    /// It keeps its definition, and the user that it names is another one now.
    Identity(S),
    Remove(WatchKey),
}

pub type WatchChange = Change<WatchSpec>;

/// What a file registers under a name.
pub trait Spec: PartialEq {
    fn key(&self) -> &WatchKey;

    /// Whether both are the same definition.
    fn defines_same(&self, other: &Self) -> bool;
}

impl Spec for WatchSpec {
    fn key(&self) -> &WatchKey {
        &self.id
    }

    fn defines_same(&self, other: &Self) -> bool {
        self.defines_same_as(other)
    }
}

impl Spec for ServiceSpec {
    fn key(&self) -> &WatchKey {
        &self.id
    }

    fn defines_same(&self, other: &Self) -> bool {
        self.defines_same_as(other)
    }
}

/// Returns the changes from `current`, what one file registered, to `wanted`, what it registers now. Removals
/// come first, then the other changes in the file's order.
pub fn diff<'a, S: Spec + 'a>(current: impl IntoIterator<Item = &'a S>, wanted: Vec<S>) -> Vec<Change<S>> {
    let mut current: HashMap<&WatchKey, &S> = current.into_iter().map(|spec| (spec.key(), spec)).collect();
    let mut changes = Vec::new();
    for spec in wanted {
        match current.remove(spec.key()) {
            None => changes.push(Change::Add(spec)),
            Some(old) if !old.defines_same(&spec) => changes.push(Change::Change(spec)),
            Some(old) if *old != spec => changes.push(Change::Identity(spec)),
            Some(_) => {}
        }
    }
    let mut removed: Vec<&WatchKey> = current.into_keys().collect();
    removed.sort();
    removed.into_iter().map(|key| Change::Remove(key.clone())).chain(changes).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::model::{
        Account, Action, ExecContext, Facet, Function, Guard, Identity, NodePath, OnFailure, Output, Policy,
        Program, Resource, Retry, RunAs, RunMode, RunOnLoad, Share, StoreName, Subject, Throttle,
    };

    fn spec(name: &str) -> WatchSpec {
        WatchSpec {
            id: WatchKey { file: "a.twc".into(), description: name.into() },
            store: StoreName::default(),
            subject: Subject { path: NodePath::parse("/a").unwrap(), facet: Facet::Data },
            action: Action::Command(["true".into()].into()),
            pipe_stdin: true,
            schema: None,
            run_as: Arc::default(),
            identity: Arc::new(Identity {
                user: "nobody".into(),
                home: "/".into(),
                shell: "/bin/sh".into(),
                uid: 65534,
                gid: 65534,
                change: None,
            }),
            policy: Arc::new(Policy::DEFAULT),
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
        let function = Function { program: program.into(), index, fingerprint: fingerprint.into() };
        let action = Action::Function(function.into());
        WatchSpec { action, ..spec("f") }
    }

    #[test]
    fn tells_what_a_reload_changes() {
        let timeout = Some(Duration::from_secs(1));
        let anew = || {
            let identity = Identity { uid: 1, ..Identity::clone(&spec("a").identity) };
            WatchSpec { identity: identity.into(), ..spec("a") }
        };
        let longer = || WatchSpec { policy: Policy { timeout, ..Policy::DEFAULT }.into(), ..spec("a") };
        for (what, current, wanted, expected) in [
            ("nothing", vec![], vec![], vec![]),
            ("new", vec![], vec![spec("a"), spec("b")], vec!["+a", "+b"]),
            ("same", vec![spec("a")], vec![spec("a")], vec![]),
            ("reordered", vec![spec("a"), spec("b")], vec![spec("b"), spec("a")], vec![]),
            ("gone", vec![spec("b"), spec("a")], vec![], vec!["-a", "-b"]),
            ("changed", vec![spec("a"), spec("b")], vec![longer(), spec("b")], vec!["~a"]),
            ("user made anew", vec![spec("a")], vec![anew()], vec!["=a"]),
            ("function moved", vec![function(0, "x")], vec![function(1, "x")], vec![]),
            ("function changed", vec![function(0, "x")], vec![function(0, "y")], vec!["~f"]),
        ] {
            let changes: Vec<String> = diff(&current, wanted)
                .iter()
                .map(|change| match change {
                    WatchChange::Add(spec) => format!("+{}", spec.id.description),
                    WatchChange::Change(spec) => format!("~{}", spec.id.description),
                    WatchChange::Identity(spec) => format!("={}", spec.id.description),
                    WatchChange::Remove(key) => format!("-{}", key.description),
                })
                .collect();
            assert_eq!(changes, expected, "{what}");
        }
    }

    #[test]
    fn every_part_of_a_definition_counts() {
        let deciding = |policy| WatchSpec { policy: Arc::new(policy), ..spec("a") };
        let within = |exec_context| WatchSpec { exec_context: Arc::new(exec_context), ..spec("a") };
        let usual = ExecContext::default;
        const FREE: Guard = Policy::DEFAULT.guard;
        const AT_ONCE: Throttle = Policy::DEFAULT.throttle;
        let second = Duration::from_secs(1);
        let retry = Retry { attempts: 1, delay: second, max_delay: second };
        let policies = [
            Policy { run_on_load: RunOnLoad::Changed, ..Policy::DEFAULT },
            Policy { run_mode: RunMode::Discard, ..Policy::DEFAULT },
            Policy { notify_signal: Some(1), ..Policy::DEFAULT },
            Policy { timeout: Some(second), ..Policy::DEFAULT },
            Policy { max_parallel: 1, ..Policy::DEFAULT },
            Policy { retry: Some(retry), ..Policy::DEFAULT },
            Policy { on_failure: OnFailure::Stop, ..Policy::DEFAULT },
            Policy { throttle: Throttle { debounce: second, ..AT_ONCE }, ..Policy::DEFAULT },
            Policy { throttle: Throttle { debounce_max: Some(second), ..AT_ONCE }, ..Policy::DEFAULT },
            Policy { throttle: Throttle { min_interval: second, ..AT_ONCE }, ..Policy::DEFAULT },
            Policy { throttle: Throttle { splay: second, ..AT_ONCE }, ..Policy::DEFAULT },
            Policy { guard: Guard { max_data: Some(0), ..FREE }, ..Policy::DEFAULT },
            Policy { guard: Guard { not_empty: true, ..FREE }, ..Policy::DEFAULT },
            Policy { guard: Guard { max_shrink: Share::of_percent(100.0), ..FREE }, ..Policy::DEFAULT },
        ];
        let exec_contexts = [
            ExecContext { variables: [("A".to_owned(), "1".to_owned())].into(), ..usual() },
            ExecContext { cwd: "/srv".to_owned(), ..usual() },
            ExecContext { umask: 0o077, ..usual() },
            ExecContext { nice: Some(0), ..usual() },
            ExecContext { limits: [(Resource::Core, 0)].into(), ..usual() },
            ExecContext { no_new_privs: true, ..usual() },
            ExecContext { output: Output::Discard, ..usual() },
        ];
        let others = [
            WatchSpec { store: StoreName::parse("b").unwrap(), ..spec("a") },
            WatchSpec {
                subject: Subject { path: NodePath::parse("/b").unwrap(), facet: Facet::Data },
                ..spec("a")
            },
            WatchSpec {
                subject: Subject { path: NodePath::parse("/a").unwrap(), facet: Facet::Tree },
                ..spec("a")
            },
            WatchSpec { action: Action::Command(["false".into()].into()), ..spec("a") },
            WatchSpec { action: function(0, "x").action, ..spec("a") },
            WatchSpec { pipe_stdin: false, ..spec("a") },
            WatchSpec {
                run_as: RunAs { uid: None, gid: Some(Account::Id(0)) }.into(),
                identity: Arc::new(Identity { gid: 0, ..Identity::clone(&spec("a").identity) }),
                ..spec("a")
            },
        ];
        let changed = policies.map(deciding).into_iter().chain(exec_contexts.map(within)).chain(others);
        for other in changed {
            assert!(!spec("a").defines_same_as(&other));
            assert_ne!(spec("a").definition_hash(), other.definition_hash(), "{other:?}");
        }
    }
}
