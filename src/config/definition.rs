//! The hash of a watch's definition. A new daemon uses it to see whether the definition changed while no
//! daemon ran.

use super::vocabulary::Value;
use crate::model::{
    Action, Credentials, ExecContext, Guard, Identity, Output, Policy, Retry, ServiceSpec, Subject, Throttle,
    WatchSpec,
};
use crate::text::StableHash;

impl WatchSpec {
    /// Returns the hash of the definition. The hash must not depend on the release. A later daemon compares
    /// it with the hash in the ledger; if they differ, a watch with `run_on_load: CHANGED` runs.
    ///
    /// The supplementary groups of the action's user count, the URL of the store does not.
    pub fn definition_hash(&self) -> u64 {
        let mut hash = StableHash::default();
        hash.add(&canonical(self));
        hash.fold()
    }
}

impl ServiceSpec {
    /// Returns the hash of what checks the service, without the pace. A new daemon trusts the verdict of a
    /// former one only if the same check made it.
    pub fn check_hash(&self) -> u64 {
        let mut hash = StableHash::default();
        match self.check.as_ref().map(|check| &check.action) {
            Some(Action::Command(words)) => hash.add(&format!("Command({words:?})")),
            Some(Action::Function(function)) => hash.add(&format!("Function({:?})", function.fingerprint)),
            None => hash.add("None"),
        }
        hash.add(&format!("{:?}", (&self.run_as, &self.exec_context)));
        hash.fold()
    }
}

/// Returns the text that is hashed. Its names and their order are those of release 2.0.0 (`Surroundings` is
/// [`ExecContext`]). Append a later key after the last brace, such as `... }}, key: value`, and only if its
/// value is not the default, so that the text of other definitions stays the same. The standard library may
/// change its Debug form of strings and times; a test would notice.
fn canonical(spec: &WatchSpec) -> String {
    // Destructured, so that a new field cannot be forgotten.
    let WatchSpec {
        id: _,
        store,
        subject,
        action,
        pipe_stdin,
        schema,
        run_as: _,
        identity,
        policy,
        exec_context,
    } = spec;
    let Subject { path, facet } = subject;
    let Identity { user, home, shell, uid, gid, change } = &**identity;
    let Policy {
        run_mode,
        run_on_load,
        run_on_delete,
        notify_signal,
        timeout,
        max_parallel,
        retry,
        on_failure,
        throttle: Throttle { debounce, debounce_max, min_interval, splay },
        guard: Guard { max_data, not_empty, max_shrink },
        decode,
    } = &**policy;
    let ExecContext { variables, cwd, umask, nice, limits, no_new_privs, output } = &**exec_context;

    let facet = Value::Facet(*facet).stable_name();
    let action = match action {
        Action::Command(words) => format!("Command({words:?})"),
        Action::Function(function) => format!("Function({:?})", function.fingerprint),
    };
    let run_on_load = Value::RunOnLoad(*run_on_load).stable_name();
    let run_mode = Value::RunMode(*run_mode).stable_name();
    let change = option(change.as_ref().map(|Credentials { uid, gid, groups }| {
        format!("Credentials {{ uid: {uid}, gid: {gid}, groups: {groups:?} }}")
    }));
    let retry = option(retry.as_ref().map(|Retry { attempts, delay, max_delay }| {
        format!("Retry {{ attempts: {attempts}, delay: {delay:?}, max_delay: {max_delay:?} }}")
    }));
    let on_failure = Value::OnFailure(*on_failure).stable_name();
    let max_shrink = option(max_shrink.map(|share| format!("Share({})", share.millionths())));
    let limits: Vec<String> =
        limits.iter().map(|(resource, value)| format!("{}: {value}", title_case(resource.name()))).collect();
    let limits = limits.join(", ");
    let output = match output {
        Output::Log => "Log".to_owned(),
        Output::Discard => "Discard".to_owned(),
        Output::File(path) => format!("File({path:?})"),
    };

    let (store, path) = (store.as_str(), path.as_str());
    let debounce_max = debounce_max.map_or_else(String::new, |max| format!(", debounce_max: {max:?}"));
    let run_on_delete = if *run_on_delete { ", run_on_delete: true" } else { "" };
    let decode =
        decode.map_or_else(String::new, |it| format!(", decode: {}", Value::Format(it).stable_name()));
    let schema = schema.as_ref().map_or_else(String::new, |it| format!(", schema: {:?}", it.text));
    format!(
        "Definition {{ store: StoreName({store:?}), \
         subject: Subject {{ path: NodePath({path:?}), facet: {facet} }}, \
         action: {action}, pipe_stdin: {pipe_stdin}, run_on_load: {run_on_load}, run_mode: {run_mode}, \
         identity: Identity {{ user: {user:?}, home: {home:?}, shell: {shell:?}, \
         uid: {uid}, gid: {gid}, change: {change} }}, \
         notify_signal: {notify_signal:?}, timeout: {timeout:?}, max_parallel: {max_parallel}, \
         retry: {retry}, on_failure: {on_failure}, \
         throttle: Throttle {{ debounce: {debounce:?}, min_interval: {min_interval:?}, splay: {splay:?} }}, \
         guard: Guard {{ max_data: {max_data:?}, not_empty: {not_empty}, max_shrink: {max_shrink} }}, \
         surroundings: Surroundings {{ variables: {variables:?}, cwd: {cwd:?}, umask: {umask}, \
         nice: {nice:?}, limits: {{{limits}}}, no_new_privs: {no_new_privs}, output: {output} }} }}\
         {debounce_max}{run_on_delete}{decode}{schema}"
    )
}

/// Formats as `Some(text)` or `None`.
fn option(text: Option<String>) -> String {
    text.map_or_else(|| "None".to_owned(), |text| format!("Some({text})"))
}

/// Capitalises a name: `Nofile` for `nofile`.
fn title_case(name: &str) -> String {
    let (first, rest) = name.split_at(1);
    format!("{}{rest}", first.to_uppercase())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::model::{
        Facet, Facts, Format, Function, NodePath, OnFailure, Program, Resource, RunMode, RunOnLoad, Schema,
        Share, StoreName, UNLIMITED, WatchKey,
    };

    fn identity(user: &str, uid: u32, gid: u32, groups: Option<&[u32]>) -> Arc<Identity> {
        let change = groups.map(|groups| Credentials { uid, gid, groups: groups.to_vec() });
        let (home, shell) = ("/".into(), "/bin/sh".into());
        Arc::new(Identity { user: user.into(), home, shell, uid, gid, change })
    }

    fn subject(path: &str, facet: Facet) -> Subject {
        Subject { path: NodePath::parse(path).unwrap(), facet }
    }

    fn command(words: &[&str]) -> Action {
        Action::Command(words.iter().map(|word| (*word).into()).collect())
    }

    fn plain() -> WatchSpec {
        WatchSpec {
            id: WatchKey { file: "a.twc".into(), description: "a".into() },
            store: StoreName::default(),
            subject: subject("/git/head", Facet::Data),
            action: command(&["/bin/sh", "-c", "cd /srv/app && git pull --ff-only"]),
            pipe_stdin: true,
            schema: None,
            run_as: Arc::default(),
            identity: identity("root", 0, 0, None),
            policy: Policy::DEFAULT.into(),
            exec_context: Arc::default(),
        }
    }

    /// Definitions that together use every key and every kind of value.
    fn definitions() -> [(WatchSpec, u64); 4] {
        let (s, ms) = (Duration::from_secs, Duration::from_millis);
        let program = Program {
            path: "/a".into(),
            name: "a".into(),
            source: "".into(),
            modules: [].into(),
            facts: Facts::default(),
        };
        let fingerprint = "0123456789abcdef0123456789abcdef".to_owned();
        let variables = [("LANG", "C"), ("GREETING", "it's \"n\u{ef}ce\"\n\u{1b}\u{301}\\")];
        let limits = Resource::ALL.into_iter().zip(0..);
        let queue = WatchSpec {
            store: StoreName::parse("eu-west_1").unwrap(),
            subject: subject("/h\u{e4}user/\"x\"/a b", Facet::Children),
            action: Action::Function(Function { program: Arc::new(program), index: 3, fingerprint }.into()),
            pipe_stdin: false,
            run_as: Arc::default(),
            identity: identity("deploy", 1000, 1001, Some(&[1001, 4, 27])),
            policy: Policy {
                run_on_load: RunOnLoad::Changed,
                notify_signal: Some(10),
                timeout: Some(ms(1500)),
                retry: Some(Retry { attempts: 5, delay: s(1), max_delay: s(60) }),
                on_failure: OnFailure::Stop,
                throttle: Throttle {
                    debounce: ms(250),
                    debounce_max: None,
                    min_interval: s(60),
                    splay: s(30),
                },
                guard: Guard { max_data: Some(65536), not_empty: true, max_shrink: Share::of_percent(12.5) },
                ..Policy::DEFAULT
            }
            .into(),
            exec_context: Arc::new(ExecContext {
                variables: variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
                cwd: "/srv/app".into(),
                umask: 0o027,
                nice: Some(-5),
                limits: limits.map(|(it, n)| (it, if n == 1 { UNLIMITED } else { n })).collect(),
                no_new_privs: true,
                output: Output::File("/var/log/it's.log".into()),
            }),
            ..plain()
        };
        let discard = WatchSpec {
            subject: subject("/", Facet::Tree),
            action: command(&["true"]),
            policy: Policy {
                run_mode: RunMode::Discard,
                run_on_load: RunOnLoad::Never,
                timeout: Some(s(31_622_400)),
                guard: Guard { max_data: Some(0), not_empty: false, max_shrink: Share::of_percent(0.0) },
                ..Policy::DEFAULT
            }
            .into(),
            exec_context: Arc::new(ExecContext {
                nice: Some(0),
                output: Output::Discard,
                ..ExecContext::default()
            }),
            ..plain()
        };
        let parallel = WatchSpec {
            action: command(&["a", "", "\t'\""]),
            run_as: Arc::default(),
            identity: identity("0", 65534, 65534, Some(&[])),
            policy: Policy {
                run_mode: RunMode::Parallel,
                max_parallel: 3,
                timeout: Some(Duration::from_micros(1500)),
                retry: Some(Retry {
                    attempts: u32::MAX,
                    delay: ms(1),
                    max_delay: Duration::from_nanos(1_000_000_001),
                }),
                ..Policy::DEFAULT
            }
            .into(),
            ..plain()
        };
        [
            (plain(), 0xf6ec_f64a_d22a_a605),
            (queue, 0x24aa_837e_1cab_a0ef),
            (discard, 0xf12c_ee42_bcf8_949d),
            (parallel, 0x86de_b4d9_5c89_9fe2),
        ]
    }

    // Keys of later releases stand at the end, and only where they are set.
    #[test]
    fn a_later_key_changes_the_hash_of_the_definitions_that_use_it() {
        let mut spec = plain();
        let before = canonical(&spec);
        Arc::make_mut(&mut spec.policy).throttle.debounce_max = Some(Duration::from_secs(30));
        assert_eq!(canonical(&spec), format!("{before}, debounce_max: 30s"));
        let members = WatchSpec { subject: subject("/git/head", Facet::Members), ..plain() };
        assert_eq!(canonical(&members), before.replace("facet: Data", "facet: Members"));
        let mut spec = plain();
        Arc::make_mut(&mut spec.policy).decode = Some(Format::Json);
        assert_eq!(canonical(&spec), format!("{before}, decode: Json"));
        spec.schema = Some(Schema { name: "s.json".into(), text: "{}".into() }.into());
        assert_eq!(canonical(&spec), format!("{before}, decode: Json, schema: \"{{}}\""));
    }

    // Release 2.0.0 wrote these numbers into its ledgers.
    #[test]
    fn the_hash_of_a_definition_never_changes() {
        for (spec, expected) in definitions() {
            assert_eq!(spec.definition_hash(), expected, "{}", canonical(&spec));
        }
    }
}
