//! What each key accepts.

use std::time::Duration;

use super::*;
use crate::config::registration::{CallPosition, RegisteredAction};
use crate::model::{
    Account, ExecContext, Format, Guard, OnFailure, Output, Policy, RunOnLoad, Share, Throttle, UNLIMITED,
};

#[test]
fn the_defaults_are_those_of_the_contract() {
    let watches = loaded(
        "RegisterWatch(#{znode: `/a`, action: Exec(`true`)});\n \
         RegisterWatch(#{znode: `/b`, action: Exec([`x`, ` y`])})",
    );
    let position = |line, column| CallPosition { source: "git.twc".into(), line, column };
    let expected = Registration {
        description: "git.twc-1".into(),
        store: None,
        znode: "/a".into(),
        facet: Facet::Data,
        action: RegisteredAction::Command(vec!["/bin/sh".into(), "-c".into(), "true".into()]),
        pipe_stdin: true,
        schema: None,
        uid: None,
        gid: None,
        policy: Policy {
            run_mode: RunMode::Queue,
            run_on_load: RunOnLoad::Always,
            run_on_delete: false,
            notify_signal: None,
            timeout: None,
            max_parallel: 64,
            retry: None,
            on_failure: OnFailure::Keep,
            throttle: Throttle::default(),
            guard: Guard::default(),
            decode: None,
        },
        exec_context: ExecContext::default(),
        position: position(1, 1),
        keys: Vec::new(),
    };
    assert_eq!(watches[0], expected);
    let action = RegisteredAction::Command(vec!["x".into(), " y".into()]);
    let (description, position) = ("git.twc-2".into(), position(2, 2));
    assert_eq!(watches[1], Registration { znode: "/b".into(), action, description, position, ..expected });
}

#[test]
fn every_key_is_understood() {
    let with =
        |keys: &str| loaded(&format!("RegisterWatch(#{{znode: `/a`, action: Exec(`x`), {keys}}})")).remove(0);
    assert_eq!(with("store: `eu`").store.as_deref(), Some("eu"));
    assert_eq!(with("watch_type: WATCH_DATA").facet, Facet::Data);
    assert_eq!(with("watch_type: WATCH_CHILDREN").facet, Facet::Children);
    assert_eq!(with("watch_type: WATCH_TREE").facet, Facet::Tree);
    assert_eq!(with("watch_type: WATCH_MEMBERS").facet, Facet::Members);
    assert!(!with("pipe_stdin: false").pipe_stdin);
    for format in Format::ALL {
        assert_eq!(with(&format!("decode: {}", format.as_str())).policy.decode, Some(format));
    }
    assert_eq!(with("run_on_load: false").policy.run_on_load, RunOnLoad::Never);
    assert_eq!(with("run_on_load: CHANGED").policy.run_on_load, RunOnLoad::Changed);
    assert!(with("run_on_delete: true").policy.run_on_delete);
    assert_eq!(with("run_mode: DISCARD").policy.run_mode, RunMode::Discard);
    assert_eq!(with("run_mode: PARALLEL, max_parallel: 3").policy.max_parallel, 3);
    assert_eq!(with("uid: 0").uid, Some(Account::Id(0)));
    assert_eq!(with("uid: `deploy`, gid: 4294967294").gid, Some(Account::Id(u32::MAX - 1)));
    assert_eq!(with("description: `mine`").description, "mine");
    for (signal, expected) in [("1", 1), ("64", 64), ("`HUP`", 1), ("`SIGHUP`", 1), ("`usr1`", 10)] {
        assert_eq!(
            with(&format!("notify_signal: {signal}")).policy.notify_signal,
            Some(expected),
            "{signal}"
        );
    }
    for (timeout, expected) in [("60", 60_000), ("0.5", 500), ("0.001", 1), ("31622400", 31_622_400_000)] {
        assert_eq!(
            with(&format!("timeout: {timeout}")).policy.timeout,
            Some(Duration::from_millis(expected))
        );
    }
}

#[test]
fn every_key_of_a_guard_is_understood() {
    let with = |keys: &str| {
        loaded(&format!("RegisterWatch(#{{znode: `/a`, action: Exec(`x`), {keys}}})")).remove(0).policy.guard
    };
    let none = Guard::default;
    for (keys, expected) in [
        ("", none()),
        ("max_data: 0", Guard { max_data: Some(0), ..none() }),
        ("max_data: 9223372036854775807", Guard { max_data: Some(i64::MAX as u64), ..none() }),
        ("guard: #{ not_empty: true }", Guard { not_empty: true, ..none() }),
        ("guard: #{ not_empty: false }", none()),
        ("guard: #{ max_shrink: 50 }", Guard { max_shrink: Share::of_percent(50.0), ..none() }),
        ("guard: #{ max_shrink: 0 }", Guard { max_shrink: Share::of_percent(0.0), ..none() }),
        ("guard: #{ max_shrink: 100 }", Guard { max_shrink: Share::of_percent(100.0), ..none() }),
        ("guard: #{ max_shrink: 12.5 }", Guard { max_shrink: Share::of_percent(12.5), ..none() }),
        (
            "max_data: 65536, guard: #{ max_shrink: 50, not_empty: true }",
            Guard { max_data: Some(65536), not_empty: true, max_shrink: Share::of_percent(50.0) },
        ),
    ] {
        assert_eq!(with(keys), expected, "{keys}");
    }
    for percent in [0.0, 0.0001, 7.0, 12.4, 33.3333, 99.9999, 100.0] {
        let keys = format!("guard: #{{ max_shrink: {percent:?} }}");
        assert_eq!(with(&keys).max_shrink.map(Share::percent), Some(percent), "as it was written");
    }
}

#[test]
fn every_key_of_the_surroundings_is_understood() {
    let with = |keys: &str| {
        let source = format!("RegisterWatch(#{{znode: `/a`, action: Exec(`x`), {keys}}})");
        loaded(&source).remove(0).exec_context
    };
    let usual = ExecContext::default;
    let variables = |pairs: &[(&str, &str)]| {
        let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        ExecContext { variables: pairs.collect(), ..usual() }
    };
    let text = [("A", ""), ("B_2", "a b\n"), ("_c", "ä")];
    assert_eq!(with("env: #{_c: `ä`, A: ``, B_2: \"a b\\n\"}"), variables(&text));
    let numbers = [("F", "1.0"), ("I", "-3"), ("PATH", "/bin"), ("T", "true")];
    assert_eq!(with("env: #{I: -3, F: 1.0, T: true, PATH: `/bin`}"), variables(&numbers));
    assert_eq!(with("cwd: `/srv/app`"), ExecContext { cwd: "/srv/app".into(), ..usual() });
    for (umask, expected) in [
        ("0", 0),
        ("0o027", 0o027),
        ("0o777", 0o777),
        ("`077`", 0o077),
        ("`0o27`", 0o027),
        ("`22`", 0o022),
        ("7", 0o007),
        ("18", 0o022),
    ] {
        assert_eq!(with(&format!("umask: {umask}")), ExecContext { umask: expected, ..usual() });
    }
    for nice in [-20, 0, 19] {
        assert_eq!(with(&format!("nice: {nice}")), ExecContext { nice: Some(nice), ..usual() });
    }
    for resource in Resource::ALL {
        for (value, expected) in
            [("0", 0), ("9223372036854775807", i64::MAX as u64), ("`unlimited`", UNLIMITED)]
        {
            let limits = [(resource, expected)].into();
            let keys = format!("rlimits: #{{ \"{}\": {value} }}", resource.name());
            assert_eq!(with(&keys), ExecContext { limits, ..usual() });
        }
    }
    assert_eq!(with("no_new_privs: true"), ExecContext { no_new_privs: true, ..usual() });
    let file = Output::File("/var/log/x".into());
    for (output, expected) in [("log", Output::Log), ("discard", Output::Discard), ("/var/log/x", file)] {
        assert_eq!(with(&format!("output: `{output}`")), ExecContext { output: expected, ..usual() });
    }
    // Whether a default is written or not, the definition is the same.
    let spelled_out = "env: #{}, cwd: `/`, umask: 0o022, rlimits: #{}, no_new_privs: false, output: `log`";
    let source = format!("RegisterWatch(#{{znode: `/a`, action: Exec(`x`), {spelled_out}}})");
    assert_eq!(loaded(&source)[0].exec_context, usual());
}
