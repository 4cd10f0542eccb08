//! `twitcher act`, the process in which a function runs.

use std::collections::BTreeMap;
use std::fs;
use std::process::Output;

use twitcher::model::Facts;

use super::{TWITCHER, command};

/// Runs the function of the config `source` in a child, with this word on its stdin.
fn act(source: &str, stdin: &str) -> Output {
    use twitcher::act::function::{ActEvent, ActRequest};
    use twitcher::model::{Facet, Program};
    let directory = tempfile::tempdir().unwrap();
    let order = directory.path().join("order");
    let program = Program {
        path: "/etc/twitcher/a.twc".into(),
        name: "a.twc".into(),
        source: source.into(),
        modules: BTreeMap::new(),
        facts: Facts::default(),
    };
    let facet = Facet::Data;
    let event = ActEvent {
        znode: "/a".into(),
        event: "load".into(),
        version: 1,
        watch: "w".into(),
        facet,
        format: None,
        commit: None,
    };
    let request = ActRequest { program: program.into(), index: 0, event }.encode();
    fs::write(&order, [request, vec![b'x'; 1 << 20]].concat()).unwrap();
    let shell = format!("exec 9<{}; echo {stdin} | {TWITCHER} act 9", order.display());
    command("/bin/sh").args(["-c", &shell]).output().unwrap()
}

#[test]
fn a_function_runs_in_a_process_of_its_own() {
    let action = |body: &str| format!("RegisterWatch(#{{znode: `/a`, action: |e| {{\n{body}\n}}}});");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();

    let output =
        act(&action("log(`${e.data.len} ${e.text.len}`); print(run(`cat`).stdout); debug(1); 7"), "hello");
    assert_eq!(text(&output.stdout), "1048576 1048576\nhello\n\n");
    assert_eq!((text(&output.stderr).as_str(), output.status.code()), ("2:63: 1\n", Some(7)));

    // The test process may leave descriptors of its own open, but the order is not among them.
    let output = act(&action("print(run(`ls -l /proc/self/fd`).stdout)"), "");
    assert!(output.status.success() && !text(&output.stdout).contains("order"), "{output:?}");

    let output = act(&action("let a = 1;\n  a.nosuch()"), "");
    assert_eq!(output.status.code(), Some(1));
    let stderr = text(&output.stderr);
    assert!(stderr.starts_with("/etc/twitcher/a.twc:3:5: unknown function `nosuch"), "{stderr}");

    for (body, said) in [
        ("log()", "a.twc:2:1: log takes one argument, what to write: log(text)\n"),
        ("read_file(1)", "a.twc:2:1: read_file takes one argument, the path: read_file(\"/path\")\n"),
        (
            "Exec(`x`)",
            "a.twc:2:1: unknown function `Exec` here: it exists while the config is loaded only, not in the \
             function of an action\n",
        ),
        ("'x'", "registration 1 returned a character in single quotes, not an exit code (0 to 255)\n"),
        ("1.5", "registration 1 returned a float, not an exit code (0 to 255)\n"),
        ("1..4", "registration 1 returned a range of numbers, not an exit code (0 to 255)\n"),
        ("timestamp()", "registration 1 returned a point in time, not an exit code (0 to 255)\n"),
    ] {
        let output = act(&action(body), "");
        assert_eq!(output.status.code(), Some(1), "{body}");
        assert!(text(&output.stderr).contains(said), "{body}: {output:?}");
    }

    let output = act(&format!("fn f(n) {{ if n == 0 {{ 9 }} else {{ f(n - 1) }} }}{}", action("f(60)")), "");
    assert_eq!(output.status.code(), Some(9), "{output:?}");

    let output = command(TWITCHER).args(["act", "8"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
}
