//! Services as operators see and steer them.

use serde_json::json;

use super::{MEMBER, checked, look_at, service, set_well, wait_for_absence, wait_for_member, wait_for_state};
use crate::harness::{Sandbox, exec, wait_until, watch};

// "`twitcher pause SERVICE` withdraws and keeps checking (`drained`); `resume` announces again; kept over
// restarts, as for watches."
#[test]
fn a_paused_service_is_withdrawn_and_checked_until_it_is_resumed() {
    let sandbox = &Sandbox::directory();
    set_well(sandbox, true);
    sandbox.config("web.twc", checked(sandbox, "fall: 1, description: \"web\""));
    let mut daemon = sandbox.start();
    wait_for_member(sandbox);
    let order = |words: [&str; 2]| sandbox.operator(words).finish().expect(0).text();
    let done = order(["pause", "web"]);
    assert_eq!(done, "web.twc:web: paused: its member is withdrawn, and the checks go on\n");
    daemon.wait_for_log(&["web.twc:web: paused by an operator"]);
    wait_for_absence(sandbox);
    wait_for_state(sandbox, "web.twc:web", "drained");
    set_well(sandbox, false);
    wait_until("a failed check", || look_at(sandbox, "web.twc:web")["check"] == json!("failed"));
    set_well(sandbox, true);
    wait_until("a good check", || look_at(sandbox, "web.twc:web")["check"] == json!("passed"));
    daemon.kill();
    let mut next = sandbox.start();
    next.wait_for_log(&["web.twc:web: stays paused"]);
    wait_until("a good check", || look_at(sandbox, "web.twc:web")["check"] == json!("passed"));
    assert_eq!(sandbox.nodes.get(MEMBER), None);
    assert!(order(["resume", "web"]).contains("resumed"));
    wait_for_member(sandbox);
    assert!(order(["resume", "web"]).contains("was not paused"));
    sandbox.operator(["trigger", "web"]).finish().expect(1).expect_said(&["web.twc:web is a service"]);
    assert_eq!(next.stop(), Some(0));
}

#[test]
fn status_shows_services_in_a_table_of_their_own_and_counts_those_that_fail() {
    let sandbox = &Sandbox::directory();
    set_well(sandbox, true);
    sandbox.config("web.twc", checked(sandbox, "fall: 1"));
    let mut daemon = sandbox.start();
    wait_for_state(sandbox, "web.twc-1", "announced");
    let text = sandbox.operator(["status"]).finish().expect(0).text();
    let line = |start: &str| {
        let found = text.lines().find(|line| line.starts_with(start));
        found.unwrap_or_else(|| panic!("{start}: {text}")).split_whitespace().collect::<Vec<_>>()
    };
    assert_eq!(line("SERVICE"), ["SERVICE", "MEMBER", "STATE", "SINCE", "CHECK", "NOTE"]);
    let shown = line("web.twc-1");
    assert_eq!((shown[1], shown[2], shown[4]), (MEMBER, "announced", "passed"), "{text}");
    let checked = sandbox.operator(["status", "--check"]).finish().expect(0);
    assert_eq!(checked.text(), "ok: 0 watches, 1 service\n");
    set_well(sandbox, false);
    wait_for_state(sandbox, "web.twc-1", "failing");
    let checked = sandbox.operator(["status", "--check"]).finish();
    assert_eq!(checked.code, Some(1));
    assert_eq!(checked.text(), "web.twc-1: failing: exit code 3: no file\n");
    assert_eq!(daemon.stop(), Some(0));
}

// "`status NAME|GLOB` picks services as well as watches (and `--check` for it)"
#[test]
fn status_picks_services_by_name_pattern_and_state() {
    let sandbox = &Sandbox::directory();
    sandbox.nodes.set("/n", "1");
    let failing = service("check: Exec(\"exit 4\"), interval: 0.1, fall: 1, description: \"db\"");
    let deploy = watch("/n", &exec("exit 3"), "description: \"deploy\"");
    let web = service("description: \"web\"").replace("h:1", "h:2");
    sandbox.config("app.twc", [failing, web, deploy].concat());
    let mut daemon = sandbox.start();
    wait_for_state(sandbox, "app.twc:web", "announced");
    wait_for_state(sandbox, "app.twc:db", "failing");
    daemon.wait_for_log(&["app.twc:deploy", "exit code 3"]);
    let status = |args: &[&str]| {
        args.iter().fold(sandbox.operator(["status"]), |status, arg| status.arg(arg)).finish()
    };
    let shown = |args: &[&str]| {
        let text = status(args).expect(0).text();
        let names = text.lines().filter_map(|line| line.split_whitespace().next());
        names.filter(|name| name.starts_with("app.twc:")).collect::<Vec<_>>().join(" ")
    };
    for (args, expected) in [
        (&["db"][..], "app.twc:db"),
        (&["app.twc:web"], "app.twc:web"),
        (&["app.twc:d*"], "app.twc:deploy app.twc:db"),
        (&["web", "deploy"], "app.twc:deploy app.twc:web"),
        (&["--state", "failing"], "app.twc:db"),
        (&["--state", "announced,failed"], "app.twc:deploy app.twc:web"),
    ] {
        assert_eq!(shown(args), expected, "{args:?}");
    }
    assert!(!status(&["db"]).expect(0).text().contains("WATCH"), "no table without rows");
    let found = |args: &[&str]| {
        let found: serde_json::Value = serde_json::from_str(&status(args).expect(0).text()).expect("JSON");
        (found["watches"].as_array().map(Vec::len), found["daemon"]["services"].as_array().map(Vec::len))
    };
    assert_eq!(found(&["--json", "web"]), (Some(0), Some(1)));
    assert_eq!(found(&["--json", "deploy"]), (Some(1), Some(0)));
    let problems = |args: &[&str]| {
        let checked = status(&[&["--check"], args].concat());
        (checked.code, checked.text())
    };
    assert_eq!(problems(&["web"]), (Some(0), "ok\n".to_owned()));
    assert_eq!(problems(&["db"]), (Some(1), "app.twc:db: failing: exit code 4\n".to_owned()));
    let (code, text) = problems(&["deploy"]);
    assert!(code == Some(1) && text.lines().count() == 1 && text.contains("app.twc:deploy: "), "{text}");
    status(&["nobody"]).expect(1).expect_said(&["nobody"]);
    status(&["n*"]).expect(1).expect_said(&["no watch or service matches n*"]);
    assert_eq!(daemon.stop(), Some(0));
}

// "`--dry-run` know[s] services"
#[test]
fn a_dry_run_checks_and_announces_nothing() {
    let sandbox = &Sandbox::directory();
    let second = checked(sandbox, "port: 2, description: \"c\"").replace("h:1", "h:2");
    sandbox.config("web.twc", [service(""), second].concat());
    let planned = sandbox.daemon().arg("--dry-run").finish().expect(0).text();
    let line = |name: &str| {
        let line = planned.lines().find(|line| line.starts_with(name));
        line.unwrap_or_else(|| panic!("{name}: {planned}")).to_owned()
    };
    assert!(line("web.twc-1").contains("announce") && line("web.twc:c").contains("check"), "{planned}");
    assert_eq!(sandbox.nodes.get(MEMBER), None);
}

#[test]
fn check_explains_services_and_refuses_wrong_ones() {
    let sandbox = &Sandbox::directory();
    sandbox.config("web.twc", checked(sandbox, "data: #{ weight: 1 }, rise: 2"));
    let configs = sandbox.configs();
    let check = |flag: &str| sandbox.twitcher(["check", flag, "--config-path"]).arg(&configs).finish();
    let explained = check("--explain").expect(0).text();
    for part in [
        "web.twc: ok, 1 service\n",
        "service:       /services/web\n",
        "address:       h:1\n",
        "data:          {\"weight\":1,\"pid\":<pid>,\"created\":\"<time>\"}\n",
        "interval:      0.1 s\n",
        "rise:          2\n",
        "identity:      root, uid 0",
    ] {
        assert!(explained.contains(part), "{part}: {explained}");
    }
    sandbox.config("two.twc", service(""));
    check("--lint").expect(0).expect_said(&["has the member /services/web/h:1, which", "has, too"]);
    sandbox.config("web.twc", "RegisterService(#{ servce: \"/s\", port: 1 });");
    check("--lint").expect(1).expect_said(&["unknown key `servce`; did you mean `service`?"]);
}

// "the ledger keeps announcements and withdrawals in `history`"
#[test]
fn the_history_has_announcements_and_withdrawals_newest_first() {
    let sandbox = &Sandbox::directory();
    set_well(sandbox, true);
    let other = "RegisterService(#{ service: \"/services/db\", address: \"h:2\" });\n";
    sandbox.config("web.twc", checked(sandbox, "fall: 1, description: \"web\"") + other);
    let mut daemon = sandbox.start();
    wait_for_member(sandbox);
    set_well(sandbox, false);
    wait_for_absence(sandbox);
    daemon.wait_for_log(&["web.twc:web: withdrew"]);
    daemon.wait_for_log(&["announced /services/db/h:2"]);
    let listed = |more: &[&str]| {
        let words = more.iter().fold(sandbox.operator(["history"]), |client, word| client.arg(word));
        words.finish().expect(0).text()
    };
    let expected = |text: &str| {
        let lines: Vec<Vec<&str>> =
            text.lines().map(|line| line.split_whitespace().skip(1).collect()).collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert_eq!(lines[1], ["web.twc:web", "withdrawn", "/services/web/h:1"], "{text}");
        assert_eq!(lines[2], ["web.twc:web", "announced", "/services/web/h:1"], "{text}");
    };
    expected(&listed(&["--services=web"]));
    expected(&listed(&["--services=web.twc:web", "--since", "1h"]));
    assert_eq!(listed(&["--services"]).lines().count(), 4);
    assert_eq!(listed(&["--services", "-n", "1"]).lines().count(), 2);
    let objects = listed(&["--services=web", "--json"]);
    let newest: serde_json::Value =
        serde_json::from_str(objects.lines().next().expect("a line")).expect("JSON");
    let members = ["service", "store", "member", "what"].map(|name| newest[name].as_str().expect("a text"));
    assert_eq!(members, ["web.twc:web", "default", "/services/web/h:1", "withdrawn"]);
    sandbox.operator(["history", "--services=nobody"]).finish().expect(1).expect_said(&["\"nobody\""]);
    assert_eq!(daemon.stop(), Some(0));
    // What no daemon answers, the ledger does.
    let offline = sandbox.operator(["history", "--services=web"]).arg("--state-dir").arg(sandbox.state());
    let offline = offline.finish().expect(0);
    offline.expect_said(&["no daemon answers"]);
    expected(&offline.text());
}
