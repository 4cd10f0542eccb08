//! What goes wrong around services: checks that misbehave, and stores that are away, closed or swept.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{MEMBER, data, look_at, said, service, wait_for_absence, wait_for_member, wait_for_state};
use crate::harness::wait::throughout;
use crate::harness::{
    Daemon, Ensemble, Nodes, Proxy, Sandbox, Store, exec, kazoo, load, on_every_server, on_every_store,
    wait_for, wait_until, watch,
};

// "a check that hangs, forks, floods its output": it hurts its own service only.
#[test]
fn checks_that_hang_fork_or_flood_their_output_hurt_no_other_service() {
    let sandbox = &Sandbox::directory();
    let rounds = sandbox.journal();
    let one = |number: usize, script: &str, timeout: u32| {
        let keys = format!("check: {}, interval: 0.1, timeout: {timeout}, fall: 1", exec(script));
        service(&keys).replace("h:1", &format!("h:{number}"))
    };
    let fork = format!("{}; for n in 1 2 3 4 5; do sleep 60 & done; echo left", rounds.note("forked"));
    sandbox.config(
        "web.twc",
        [
            one(1, "true", 30),
            one(2, "head -c 20000000 /dev/zero", 30),
            one(3, &fork, 30),
            one(4, "sleep 1000", 1),
            one(5, "yes 'it floods' & wait", 1),
        ]
        .concat(),
    );
    let mut daemon = sandbox.start();
    for (number, state) in
        [(1, "announced"), (2, "announced"), (3, "announced"), (4, "failing"), (5, "failing")]
    {
        wait_for_state(sandbox, &format!("web.twc-{number}"), state);
    }
    let before = rounds.lines().len();
    // What a check leaves behind prolongs it by a second.
    wait_until("more checks", || {
        assert!(sandbox.nodes.get(MEMBER).is_some());
        rounds.lines().len() > before + 2
    });
    let memory = daemon.process().resident();
    assert!(memory < 64 << 10, "{memory} KiB");
    assert_eq!(look_at(sandbox, "web.twc-5")["error"], json!("timed out after 1 s: it floods"));
    assert_eq!(said(&daemon, "withdrew"), 0);
    assert_eq!(daemon.stop(), Some(0));
}

// "the store away for three session timeouts": the member expires and is back, and nothing is withdrawn.
on_every_server!(a_store_that_is_away_for_three_session_timeouts_gets_the_member_back);
fn a_store_that_is_away_for_three_session_timeouts_gets_the_member_back(store: Store) {
    let sandbox = &Sandbox::of_kind(store);
    let proxy = Proxy::to(&store.shared_server().address());
    sandbox.config("web.twc", service("check: Exec(\"true\"), interval: 0.2, data: #{ weight: 3 }"));
    let url = sandbox.nodes.url_by_way_of(&proxy.address());
    let mut daemon = sandbox.daemon_on(&url).args(["--session-timeout", "2"]).start();
    wait_for_state(sandbox, "web.twc-1", "announced");
    let before = wait_for_member(sandbox);
    let began = Instant::now();
    proxy.refuse();
    wait_for_state(sandbox, "web.twc-1", "waiting");
    // No watch uses the store. That it is away is said once: of the service, if another connection than the
    // keeper's has not noticed yet.
    let check = sandbox.operator(["status", "--check"]).finish();
    let printed = check.text();
    assert_eq!(check.code, Some(1), "{printed}");
    let problems: Vec<&str> = printed.lines().filter(|line| line.contains("not connected: ")).collect();
    let expected =
        ["store default: not connected: ", "web.twc-1: not announced: the store is not connected: "];
    assert!(matches!(&*problems, [one] if expected.iter().any(|it| one.starts_with(it))), "{printed}");
    wait_for_absence(sandbox);
    wait_for("three session timeouts", || (began.elapsed() > Duration::from_secs(6)).then_some(()));
    assert_eq!(look_at(sandbox, "web.twc-1")["check"], json!("passed"), "the checks go on");
    proxy.resume();
    let after = wait_for_member(sandbox);
    wait_for_state(sandbox, "web.twc-1", "announced");
    assert_eq!((&after["weight"], &after["pid"]), (&json!(3), &before["pid"]));
    throughout(Duration::from_secs(3), || assert!(sandbox.nodes.get(MEMBER).is_some()));
    assert_eq!(said(&daemon, "members cannot be announced"), 1, "an outage is said once");
    assert_eq!((said(&daemon, "withdrew"), said(&daemon, "cannot announce")), (0, 0));
    assert_eq!(daemon.stop(), Some(0));
}

// "a member's parent deleted"
on_every_store!(a_member_whose_service_is_deleted_is_back_with_it);
fn a_member_whose_service_is_deleted_is_back_with_it(sandbox: &Sandbox) {
    sandbox.config("web.twc", service(""));
    let mut daemon = sandbox.start();
    wait_for_state(sandbox, "web.twc-1", "announced");
    for _ in 0..2 {
        sandbox.client(["rm", "/services", "--recursive"]).finish().expect(0);
        wait_for_member(sandbox);
    }
    assert_eq!(daemon.stop(), Some(0));
    let listed = sandbox.client(["services", "/services/web"]).finish().expect(0);
    assert_eq!(listed.text(), "", "the service is there without members");
}

// "an ACL that forbids the write (said once, retried, shown)"
#[test]
fn a_member_that_the_store_refuses_is_said_once_shown_and_tried_again() {
    let sandbox = &Sandbox::zookeeper();
    let Nodes::ZooKeeper { address, root } = &sandbox.nodes else { unreachable!() };
    sandbox.nodes.make("/services");
    let script = format!("zk.create('{root}/services/web', acl=[make_acl('world', 'anyone', read=True)])");
    kazoo(address, &script);
    sandbox.config("web.twc", service(""));
    let mut daemon = sandbox.start();
    daemon.wait_for_log(&["web.twc-1: cannot announce", "no permission to create it", "trying again"]);
    let it = wait_for_state(sandbox, "web.twc-1", "waiting");
    assert!(it["error"].as_str().is_some_and(|error| error.contains("no permission")), "{it}");
    let check = sandbox.operator(["status", "--check"]).finish();
    assert_eq!(check.code, Some(1));
    check.expect_said(&["web.twc-1: not announced: ", "no permission"]);
    let began = Instant::now();
    // It is tried again after 1, 2 and 4 s.
    wait_for("three more tries", || (began.elapsed() > Duration::from_secs(4)).then_some(()));
    assert_eq!(said(&daemon, "cannot announce"), 1);
    sandbox.nodes.remove("/services/web");
    wait_for_member(sandbox);
    wait_for_state(sandbox, "web.twc-1", "announced");
    assert_eq!(daemon.stop(), Some(0));
}

// "1,000 members on 50 daemons over a leader's death (each back or kept, no duplicates; time reported)"
on_every_server!(members_of_many_daemons_outlive_the_leader);
fn members_of_many_daemons_outlive_the_leader(store: Store) {
    let (daemons, each) = load((4, 25), (50, 20));
    let ensemble = Ensemble::start(store);
    let sandbox = &Sandbox::on_ensemble(&ensemble);
    sandbox.config(
        "web.twc",
        format!(
            "for n in 0..{each} {{ RegisterService(#{{ service: \"/services/web\", \
             address: `d${{env(\"DAEMON\")}}-${{n}}:1` }}); }}"
        ),
    );
    let start = |number: usize| -> Daemon {
        let state = sandbox.root().join(format!("daemon{number}"));
        std::fs::create_dir(&state).expect("create a directory");
        let daemon = sandbox.daemon_with_state(&state).env("DAEMON", number.to_string());
        daemon.args(["--session-timeout", "6"]).start()
    };
    let mut running: Vec<Daemon> = (0..daemons).map(start).collect();
    let pids: Vec<Value> = running.iter().map(|daemon| json!(daemon.process().0)).collect();
    // Each member by its name, if the store answers; the daemon that holds it must be the one that it names.
    let listed = |address: &str| {
        let url = sandbox.nodes.at(address).url();
        let listed = sandbox.twitcher(["services", "/services/web", "--json", "--store", &url]);
        let listed = listed.args(["--session-timeout", "4"]).finish();
        let all: Value = serde_json::from_slice(&listed.stdout).unwrap_or_default();
        let members = all["children"].as_object().cloned().unwrap_or_default();
        for (name, said) in &members {
            let number =
                name.trim_start_matches('d').split('-').next().and_then(|it| it.parse::<usize>().ok());
            assert_eq!(number.map(|number| &pids[number]), Some(&said["pid"]), "{name}");
        }
        members.len()
    };
    wait_until("all members", || listed(&ensemble.address()) == daemons * each);
    let leader = ensemble.leader();
    let others = ensemble.address_without(leader);
    leader.down();
    let died = Instant::now();
    let mut fewest = daemons * each;
    wait_until("all members, and all daemons to have another server", || {
        let count = listed(&others);
        // Nobody answers before there is another leader.
        fewest = if count == 0 { fewest } else { fewest.min(count) };
        count == daemons * each
    });
    eprintln!(
        "{} members were there {:?} after the leader's death, at least {fewest} before",
        daemons * each,
        died.elapsed()
    );
    // What still hangs on a session of before expires. Of very many daemons, some need longer than a session
    // lasts to find another server, and have their members back then.
    let (may_expire, mut complete_since) = (load(false, true), Instant::now());
    wait_until("all members to stay", || {
        let count = listed(&others);
        if count != daemons * each {
            assert!(may_expire, "{count} members");
            complete_since = Instant::now();
        }
        complete_since.elapsed() > Duration::from_secs(10)
    });
    for daemon in &mut running {
        assert_eq!((said(daemon, "withdrew"), said(daemon, "cannot announce")), (0, 0));
        assert_eq!(daemon.stop(), Some(0));
    }
    assert_eq!(data(sandbox, "/services/web/d0-0:1"), None);
}

// "`dir:` stores have members too (... one left by a dead daemon ... is seen to be dead)", and not before the
// next daemon could have taken it over.
#[test]
fn what_a_dead_daemon_left_in_a_directory_is_seen_to_be_dead() {
    let sandbox = &Sandbox::directory();
    sandbox.config("web.twc", service(""));
    let mut daemon = sandbox.daemon().args(["--session-timeout", "3"]).start();
    wait_for_state(sandbox, "web.twc-1", "announced");
    // Somebody else's file is there whatever becomes of members.
    sandbox.nodes.set("/services/web/other", "{}");
    let journal = sandbox.journal();
    let configs = sandbox.root().join("watching");
    std::fs::create_dir(&configs).expect("create a directory");
    let action = exec(&journal.record());
    let members = watch("/services/web", &action, "watch_type: WATCH_MEMBERS");
    let data_seen = sandbox.journal_named("data");
    let seen = exec(&data_seen.note("$(grep -q . && echo there || echo gone)"));
    let its_data = watch(MEMBER, &seen, "run_on_delete: true");
    std::fs::write(configs.join("a.twc"), [members, its_data].concat()).expect("write a config");
    let state = sandbox.root().join("other");
    std::fs::create_dir(&state).expect("create a directory");
    let mut watching = sandbox.daemon_with_state(&state).arg("--config-path").arg(&configs).start();
    let last = || journal.lines().last().cloned().unwrap_or_default();
    wait_until("both members", || last().contains("h:1") && last().contains("other"));
    // Longer than it takes to be seen dead.
    throughout(Duration::from_secs(4), || assert!(last().contains("h:1")));
    let began = Instant::now();
    daemon.kill();
    let listed = || sandbox.client(["services", "/services/web"]).finish().expect(0).text();
    assert!(listed().contains("h:1 "), "the next daemon can take it over");
    let got = || sandbox.client(["get", MEMBER]).finish();
    wait_until("it to be seen dead", || !listed().contains("h:1 "));
    assert!(began.elapsed() > Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(listed(), "other {}\n");
    got().expect(1).expect_said(&["node /services/web/h:1 does not exist"]);
    wait_until("the watch of its data to see it", || {
        data_seen.lines().last().is_some_and(|last| last == "gone")
    });
    journal.wait_for_last("{\"other\":{}}");
    let mut next = sandbox.start();
    wait_for_state(sandbox, "web.twc-1", "announced");
    wait_until("it to be seen alive", || last().contains("h:1"));
    assert!(listed().contains("h:1 ") && got().expect(0).text().starts_with('{'));
    assert_eq!((next.stop(), watching.stop()), (Some(0), Some(0)));
}
