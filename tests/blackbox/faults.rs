//! "Nothing is lost", and "nothing runs for nothing", whatever happens between the daemon and its store.

use std::time::Instant;

use crate::harness::{
    Daemon, Journal, Link, Proxy, Sandbox, Server, Store, ZooKeeper, exec, kazoo, on_every_kind,
    on_every_server, on_every_store, wait_until, watch,
};

/// A daemon that watches `/n` in a store of its own, which can be taken away.
struct Fixture {
    link: Link,
    sandbox: Sandbox,
    journal: Journal,
    daemon: Daemon,
}

impl Fixture {
    /// Starts all of it. `/n` contains `before`, and the action has run with that.
    #[track_caller]
    fn running(store: Store) -> Self {
        let (link, sandbox) = Link::start(store);
        let journal = sandbox.journal();
        sandbox.nodes.set("/n", "before");
        sandbox.config("app.twc", watch("/n", &exec(&journal.record_event()), ""));
        let daemon = link.daemon(&sandbox).start();
        journal.wait_for(&["load before"]);
        Self { link, sandbox, journal, daemon }
    }

    fn server(&self) -> &dyn Server {
        self.link.server()
    }

    fn proxy(&self) -> &Proxy {
        self.link.proxy()
    }

    /// Takes the store away and waits until this is noticed.
    #[track_caller]
    fn isolate(&self) {
        self.link.isolate(&self.sandbox);
    }

    /// Waits until the daemon has made this many further attempts to connect.
    fn wait_for_attempts(&self, more: usize) {
        let so_far = self.proxy().attempts();
        wait_until("attempts to reconnect", || self.proxy().attempts() >= so_far + more);
    }
}

// "Bursts, deletion and re-creation, session expiry, server restarts, network cuts ... do not break this."
on_every_kind!(an_update_while_the_store_forgets_the_daemon_is_not_lost);
fn an_update_while_the_store_forgets_the_daemon_is_not_lost(store: Store) {
    let it = Fixture::running(store);
    it.isolate();
    it.link.forget_the_daemon();
    it.sandbox.nodes.set("/n", "during");
    it.link.resume();
    it.journal.wait_for(&["load before", "changed during"]);
    it.sandbox.nodes.set("/n", "after");
    it.journal.wait_for(&["load before", "changed during", "changed after"]);
}

on_every_server!(updates_after_the_server_froze_past_the_session_are_not_lost);
fn updates_after_the_server_froze_past_the_session_are_not_lost(store: Store) {
    let it = Fixture::running(store);
    it.server().freeze();
    // The frozen server accepts connections and does not reply, so the daemon gives the session up.
    it.wait_for_attempts(1);
    it.server().thaw();
    it.sandbox.nodes.set("/n", "after");
    it.journal.wait_for(&["load before", "changed after"]);
}

on_every_server!(an_update_during_a_server_restart_is_not_lost);
fn an_update_during_a_server_restart_is_not_lost(store: Store) {
    let it = Fixture::running(store);
    it.isolate();
    it.server().down();
    it.server().up();
    it.sandbox.nodes.set("/n", "during");
    it.link.resume();
    it.journal.wait_for(&["load before", "changed during"]);
    it.server().down();
    it.server().up();
    it.sandbox.nodes.set("/n", "after");
    it.journal.wait_for(&["load before", "changed during", "changed after"]);
}

on_every_server!(an_update_behind_a_half_open_connection_is_not_lost);
fn an_update_behind_a_half_open_connection_is_not_lost(store: Store) {
    let it = Fixture::running(store);
    it.proxy().stall();
    it.sandbox.nodes.set("/n", "during");
    // Nothing ends the old connection. The daemon must conclude from the silence that it is dead.
    it.wait_for_attempts(1);
    it.link.resume();
    it.journal.wait_for(&["load before", "changed during"]);
}

// "re-creation runs, also with equal bytes, as `created`, also when the deletion itself went unseen"
on_every_kind!(a_recreation_with_equal_bytes_during_an_outage_runs_as_created);
fn a_recreation_with_equal_bytes_during_an_outage_runs_as_created(store: Store) {
    let it = Fixture::running(store);
    it.isolate();
    it.sandbox.nodes.remove("/n");
    it.sandbox.nodes.set("/n", "before");
    it.link.resume();
    it.journal.wait_for(&["load before", "created before"]);
}

on_every_kind!(a_deletion_during_an_outage_runs_nothing_and_the_recreation_runs);
fn a_deletion_during_an_outage_runs_nothing_and_the_recreation_runs(store: Store) {
    let it = Fixture::running(store);
    it.isolate();
    it.sandbox.nodes.remove("/n");
    it.link.resume();
    // The watch is set again, so the daemon has seen that the node is missing.
    it.link.wait_until_armed(&it.sandbox);
    it.sandbox.nodes.set("/n", "before");
    it.journal.wait_for(&["load before", "created before"]);
}

// "(excepted ... what `run_on_load: false` finds at its first load)": what it finds later runs.
on_every_kind!(an_update_during_an_outage_runs_also_without_run_on_load);
fn an_update_during_an_outage_runs_also_without_run_on_load(store: Store) {
    let it = Fixture::running(store);
    let quiet = it.sandbox.journal_named("quiet");
    let text = [
        watch("/quiet", &exec(&quiet.record_event()), "run_on_load: false"),
        // Both watches share one subscription: when this one has run, the other one has had its first load.
        watch("/quiet", &exec(&it.journal.record_event()), ""),
    ];
    it.sandbox.nodes.set("/quiet", "old");
    it.sandbox.config("quiet.twc", text.concat());
    it.journal.wait_for_line("load old");
    it.isolate();
    it.sandbox.nodes.set("/quiet", "during");
    it.link.resume();
    quiet.wait_for(&["changed during"]);
}

// "A config change takes effect within 1 s", or, if it needs a store that is away, as soon as the store is
// back.
on_every_kind!(watches_that_are_added_and_changed_during_an_outage_run_once_each);
fn watches_that_are_added_and_changed_during_an_outage_run_once_each(store: Store) {
    let it = Fixture::running(store);
    it.sandbox.nodes.set("/new", "new");
    it.isolate();
    let noting = |word: &str| exec(&it.journal.note(&format!("{word} $TWITCHER_EVENT $(cat)")));
    it.sandbox.config("app.twc", watch("/n", &noting("changed-watch"), ""));
    it.sandbox.config("new.twc", watch("/new", &noting("new-watch"), ""));
    it.daemon.wait_for_log(&["new.twc"]);
    it.link.resume();
    it.journal.wait_for_line("new-watch load new");
    it.journal.wait_for_line("changed-watch load before");
    it.sandbox.nodes.set("/n", "after");
    it.journal.wait_for_line("changed-watch changed after");
    assert_eq!(it.journal.lines().len(), 4, "{:?}", it.journal.lines());
}

// "Watches on one node share one subscription": fifty watches cost the server one.
on_every_server!(watches_on_one_node_share_one_watch_of_the_server);
fn watches_on_one_node_share_one_watch_of_the_server(store: Store) {
    let it = Fixture::running(store);
    let config = format!(
        "for n in 0..50 {{ RegisterWatch(#{{ znode: \"/n\", action: {} }}); }}",
        exec(&it.journal.note("many"))
    );
    it.sandbox.config("many.twc", config);
    wait_until("all of them to run", || it.journal.count("many") == 50);
    assert_eq!(it.server().watches(), Some(1));
}

// "Nothing is lost", for a watch on children.
on_every_kind!(a_child_that_came_during_an_outage_is_not_lost);
fn a_child_that_came_during_an_outage_is_not_lost(store: Store) {
    let it = Fixture::running(store);
    let members = it.sandbox.journal_named("members");
    it.sandbox.nodes.set("/members/one", "");
    let names = exec(&members.note("$(tr '\\n' ' ')"));
    it.sandbox.config("members.twc", watch("/members", &names, "watch_type: WATCH_CHILDREN"));
    members.wait_for(&["one "]);
    it.isolate();
    it.sandbox.nodes.set("/members/two", "");
    it.link.resume();
    members.wait_for(&["one ", "one two "]);
    it.sandbox.nodes.remove("/members/one");
    members.wait_for(&["one ", "one two ", "two "]);
}

// "A reconnect, a resync or a reload of an unchanged watch starts no action."
on_every_kind!(a_reconnect_runs_nothing);
fn a_reconnect_runs_nothing(store: Store) {
    let it = Fixture::running(store);
    for _ in 0..3 {
        it.link.interrupt(&it.sandbox);
    }
    it.sandbox.nodes.set("/n", "after");
    it.journal.wait_for(&["load before", "changed after"]);
}

// "A reconnect ... starts no action", also if the session or the history was lost with the connection.
on_every_kind!(a_new_session_runs_nothing);
fn a_new_session_runs_nothing(store: Store) {
    let it = Fixture::running(store);
    it.isolate();
    it.link.forget_the_daemon();
    it.link.resume();
    it.link.wait_until_armed(&it.sandbox);
    it.sandbox.nodes.set("/n", "after");
    it.journal.wait_for(&["load before", "changed after"]);
}

// "Absent at start", and one node is missing when the server comes.
on_every_server!(a_server_that_is_absent_at_start_is_waited_for);
fn a_server_that_is_absent_at_start_is_waited_for(store: Store) {
    let server = store.stopped_server();
    let proxy = Proxy::to(&server.address());
    let sandbox = Sandbox::on_whole(&*server);
    let journal = sandbox.journal();
    sandbox.config(
        "app.twc",
        [
            watch("/there", &exec(&journal.record_event()), ""),
            watch("/later", &exec(&journal.record_event()), ""),
        ]
        .concat(),
    );
    let mut daemon = sandbox.daemon_on(&sandbox.nodes.url_by_way_of(&proxy.address())).arg("--debug").start();
    wait_until("attempts to connect", || proxy.attempts() >= 2);
    assert!(daemon.is_running());
    proxy.refuse();
    server.up();
    sandbox.nodes.set("/there", "content");
    proxy.resume();
    journal.wait_for(&["load content"]);
    daemon.wait_for_log(&["/later", "observed"]);
    sandbox.nodes.set("/later", "content");
    journal.wait_for(&["load content", "created content"]);
}

// `zk://host:port,host:port`: one dead server of several is no outage.
on_every_server!(the_next_server_of_the_list_is_tried_when_one_is_dead);
fn the_next_server_of_the_list_is_tried_when_one_is_dead(store: Store) {
    let (dead, alive) = (store.stopped_server(), store.shared_server());
    let sandbox = Sandbox::of_kind(store);
    let journal = sandbox.journal();
    sandbox.nodes.set("/n", "content");
    sandbox.config("app.twc", watch("/n", &exec(&journal.record()), ""));
    let both = format!("{},{}", dead.address(), alive.address());
    let _daemon = sandbox.daemon_on(&sandbox.nodes.url_by_way_of(&both)).start();
    journal.wait_for(&["content"]);
}

// "While the service is away the daemon idles (no spinning) and keeps its watches", "Reconnect attempts lie
// at most 5 s apart".
on_every_server!(the_daemon_idles_while_the_service_is_away);
fn the_daemon_idles_while_the_service_is_away(store: Store) {
    let it = Fixture::running(store);
    it.isolate();
    // The measurement begins with the first failed attempt and lasts for five more.
    it.wait_for_attempts(1);
    let (began, ticks) = (Instant::now(), it.daemon.process().cpu_ticks());
    for _ in 0..5 {
        it.wait_for_attempts(1);
    }
    let (lasted, ticks) = (began.elapsed(), it.daemon.process().cpu_ticks() - ticks);
    // A busy machine makes the outage longer, but not the processor time. Allowed is a tenth of one core, in
    // ticks of 10 ms, and 200 ms for rounding and reconnecting.
    let allowed = lasted.as_millis() / 100 + 20;
    assert!(u128::from(ticks) <= allowed, "{ticks} ticks in an outage of {lasted:?}");
    it.sandbox.nodes.set("/n", "during");
    it.link.resume();
    it.journal.wait_for(&["load before", "changed during"]);
}

/// Panics unless each of these contents, which are numbers, is there once at most and in order.
#[track_caller]
fn expect_each_once_in_order(lines: &[String]) {
    let values: Vec<u32> = lines.iter().map(|line| line.parse().expect("a number")).collect();
    assert!(values.is_sorted_by(|a, b| a < b), "each content at most once, in order: {values:?}");
}

// "Bursts ... do not break this."
on_every_store!(the_last_content_of_a_burst_is_the_last_content_that_ran);
fn the_last_content_of_a_burst_is_the_last_content_that_ran(sandbox: &Sandbox) {
    let nodes: Vec<_> = (0..3).map(|n| (format!("/n{n}"), sandbox.journal_named(&format!("n{n}")))).collect();
    for (node, journal) in &nodes {
        sandbox.nodes.set(node, "0");
        sandbox.config(&format!("{}.twc", &node[1..]), watch(node, &exec(&journal.record()), ""));
    }
    let _daemon = sandbox.start();
    nodes.iter().for_each(|(_, journal)| journal.wait_for(&["0"]));
    std::thread::scope(|scope| {
        for (node, _) in &nodes {
            scope.spawn(|| sandbox.nodes.set_each(node, 1..=300, |_| {}));
        }
    });
    for (_, journal) in &nodes {
        expect_each_once_in_order(&journal.wait_for_last("300"));
    }
}

// "Bursts ... do not break this": the writer is a foreign client, which also changes ACLs. These changes are
// no updates.
#[test]
fn the_last_content_of_a_burst_of_kazoo_is_the_last_content_that_ran() {
    let sandbox = Sandbox::zookeeper();
    let server = ZooKeeper::shared();
    let crate::harness::Nodes::ZooKeeper { root, .. } = &sandbox.nodes else { unreachable!() };
    let journals: Vec<_> = (0..3).map(|n| sandbox.journal_named(&format!("journal-{n}"))).collect();
    for (n, journal) in journals.iter().enumerate() {
        sandbox.nodes.set(&format!("/n{n}"), "0");
        let text = watch(&format!("/n{n}"), &exec(&journal.record()), "");
        sandbox.config(&format!("watch-{n}.twc"), &text);
    }
    let _daemon = sandbox.start();
    for journal in &journals {
        journal.wait_for(&["0"]);
    }
    kazoo(
        &server.address(),
        &format!(
            "pending = []\n\
             for value in range(1, 301):\n    \
                 for n in range(3):\n        \
                     pending.append(zk.set_async('{root}/n%d' % n, b'%d' % value))\n    \
                 if value % 50 == 0:\n        \
                     zk.set_acls('{root}/n0', OPEN_ACL_UNSAFE)\n\
             for one in pending:\n    one.get(timeout=30)"
        ),
    );
    for journal in &journals {
        expect_each_once_in_order(&journal.wait_for_last("300"));
    }
}
