//! `WATCH_TREE`: "a node and everything below it".

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;

use crate::harness::{
    Daemon, Journal, Nodes, Proxy, Sandbox, ZooKeeper, exec, kazoo, on_both_stores, wait_until, watch,
};

/// What the runs of a tree watch were given.
struct Trace(Journal);

impl Trace {
    fn new(sandbox: &Sandbox) -> Self {
        Self(sandbox.journal())
    }

    /// The shell command that notes a run.
    fn note(&self) -> String {
        self.0.note("$TWITCHER_EVENT $(tr '\\n' ' ')")
    }

    fn runs(&self) -> Vec<Run> {
        let text = fs::read_to_string(self.0.path()).expect("read the journal");
        // A shell writes long lines in pieces.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().map(Run::parse).collect()
    }

    /// Waits until the runs are exactly these; see [`Run::text`].
    #[track_caller]
    fn wait_for(&self, expected: &[&str]) {
        wait_until(&format!("the runs {expected:?} in {}", self.0.path()), || {
            let runs: Vec<_> = self.runs().iter().map(Run::text).collect();
            assert_eq!(runs, expected.get(..runs.len()).unwrap_or(expected), "must come to {expected:?}");
            runs.len() == expected.len()
        });
    }

    /// Waits until whoever did what the runs were told has this.
    #[track_caller]
    fn wait_for_mirror(&self, expected: &[(&str, &str)]) {
        let expected: BTreeMap<String, String> =
            expected.iter().map(|(node, text)| ((*node).into(), (*text).into())).collect();
        wait_until(&format!("the runs in {} to lead to {expected:?}", self.0.path()), || {
            mirror(&self.runs()) == expected
        });
    }
}

struct Run {
    event: String,
    changes: Vec<Value>,
}

impl Run {
    fn parse(line: &str) -> Self {
        let (event, changes) = line.split_once(' ').expect("the event and what changed");
        let changes = serde_json::Deserializer::from_str(changes).into_iter();
        Self { event: event.to_owned(), changes: changes.map(|change| change.expect("JSON")).collect() }
    }

    /// `changed: created /t/a=text, deleted /t/b`
    fn text(&self) -> String {
        let changes = self.changes.iter().map(|change| {
            let text = change["text"].as_str().map_or(String::new(), |text| format!("={text}"));
            format!("{} {}{text}", string(change, "event"), string(change, "znode"))
        });
        format!("{}: {}", self.event, changes.collect::<Vec<_>>().join(", "))
    }
}

fn string<'a>(change: &'a Value, key: &str) -> &'a str {
    change[key].as_str().unwrap_or_else(|| panic!("{key} in {change}"))
}

fn mirror(runs: &[Run]) -> BTreeMap<String, String> {
    let mut nodes = BTreeMap::new();
    for change in runs.iter().flat_map(|run| &run.changes) {
        let node = string(change, "znode").to_owned();
        match string(change, "event") {
            "deleted" => drop(nodes.remove(&node)),
            _ => drop(nodes.insert(node, string(change, "text").to_owned())),
        }
    }
    nodes
}

/// A watch on the tree at `/t`.
fn tree(action: &str, more: &str) -> String {
    watch("/t", action, &format!("watch_type: WATCH_TREE, {more}"))
}

/// A daemon that notes what changes in `/t`, where `/t/a` says `1`.
#[track_caller]
fn started(sandbox: &Sandbox) -> (Daemon, Trace) {
    let trace = Trace::new(sandbox);
    sandbox.nodes.set("/t/a", "1");
    sandbox.config("app.twc", tree(&exec(&trace.note()), ""));
    let daemon = sandbox.daemon().arg("--debug").start();
    trace.wait_for(&["load: load /t=, load /t/a=1"]);
    (daemon, trace)
}

/// How often the daemon has observed the tree.
fn observations(daemon: &Daemon) -> usize {
    daemon.log_lines(&["/t (tree): observed"]).len()
}

/// Does something to the tree, and waits until the daemon has seen it.
#[track_caller]
fn observe(daemon: &Daemon, act: impl FnOnce()) {
    let so_far = observations(daemon);
    act();
    wait_until("the tree to be observed", || observations(daemon) > so_far);
}

// "stdin: one JSON object a line, each ended by a newline, sorted by path"
#[test]
fn stdin_is_a_line_of_json_for_each_node() {
    let sandbox = Sandbox::zookeeper();
    sandbox.nodes.set("/t", "root");
    sandbox.nodes.set("/t/b", b"\xff\0");
    sandbox.nodes.set("/t/a/deep", "a \"b\"\n\u{e9}");
    let out = sandbox.path("stdin");
    let copy = format!("cat > {0}.new && mv {0}.new {0}", out.display());
    sandbox.config("app.twc", tree(&exec(&copy), ""));
    let _daemon = sandbox.start();
    let stdin_is = |expected: &[&str]| {
        let expected: String = expected.iter().flat_map(|line| [line, "\n"]).collect();
        wait_until(&format!("stdin to be {expected}"), || {
            sandbox.has("stdin") && sandbox.read_text("stdin") == expected
        });
    };
    stdin_is(&[
        r#"{"znode":"/t","event":"load","version":0,"size":4,"text":"root"}"#,
        r#"{"znode":"/t/a","event":"load","version":0,"size":0,"text":""}"#,
        "{\"znode\":\"/t/a/deep\",\"event\":\"load\",\"version\":0,\"size\":8,\"text\":\"a \\\"b\\\"\\n\u{e9}\"}",
        "{\"znode\":\"/t/b\",\"event\":\"load\",\"version\":0,\"size\":2,\"text\":\"\u{fffd}\\u0000\",\"base64\":\"/wA=\"}",
    ]);
    sandbox.nodes.set("/t/b", "text");
    stdin_is(&[r#"{"znode":"/t/b","event":"changed","version":1,"size":4,"text":"text"}"#]);
    sandbox.nodes.set("/t/a-b", "new");
    stdin_is(&[r#"{"znode":"/t/a-b","event":"created","version":0,"size":3,"text":"new"}"#]);
    sandbox.nodes.remove("/t/b");
    stdin_is(&[r#"{"znode":"/t/b","event":"deleted"}"#]);
}

// "Any creation, change of data or deletion below the root node, or of it, is an update"
#[test]
fn whatever_happens_in_the_tree_is_an_update() {
    on_both_stores(|sandbox| {
        let (_daemon, trace) = started(sandbox);
        let mut expected = vec!["load: load /t=, load /t/a=1"];
        let mut next = |run| {
            expected.push(run);
            trace.wait_for(&expected);
        };
        sandbox.nodes.set("/t/a", "2");
        next("changed: changed /t/a=2");
        sandbox.nodes.set("/t/b", "1");
        next("changed: created /t/b=1");
        sandbox.nodes.remove("/t/a");
        next("changed: deleted /t/a");
        // Two changes, which one run may be given, or two.
        sandbox.nodes.set("/t/c/d", "deep");
        trace.wait_for_mirror(&[("/t", ""), ("/t/b", "1"), ("/t/c", ""), ("/t/c/d", "deep")]);
        sandbox.nodes.set("/t/c/d", "deeper");
        let deeper = || trace.runs().last().map(Run::text);
        wait_until("the deep change", || deeper().as_deref() == Some("changed: changed /t/c/d=deeper"));
        sandbox.nodes.remove("/t/c/d");
        sandbox.nodes.remove("/t/c");
        // Not in the tree.
        sandbox.nodes.set("/tree", "");
        sandbox.nodes.set("/t/b", "end");
        trace.wait_for_mirror(&[("/t", ""), ("/t/b", "end")]);
    });
}

// "the root is a node like any": also its own data.
#[test]
fn a_change_of_the_root_is_an_update() {
    let sandbox = Sandbox::zookeeper();
    let (_daemon, trace) = started(&sandbox);
    sandbox.nodes.set("/t", "root");
    trace.wait_for(&["load: load /t=, load /t/a=1", "changed: changed /t=root"]);
}

// A node without children is a tree of one.
#[test]
fn a_single_node_is_a_tree() {
    on_both_stores(|sandbox| {
        let trace = Trace::new(sandbox);
        sandbox.nodes.set("/t", "1");
        sandbox.config("app.twc", tree(&exec(&trace.note()), ""));
        let _daemon = sandbox.start();
        trace.wait_for(&["load: load /t=1"]);
        sandbox.nodes.set("/t", "2");
        trace.wait_for(&["load: load /t=1", "changed: changed /t=2"]);
    });
}

// "deletion of the root node itself ... runs nothing; its re-creation runs as `created`"
#[test]
fn the_deletion_of_the_root_runs_nothing_and_its_recreation_tells_what_became_of_the_tree() {
    on_both_stores(|sandbox| {
        let (daemon, trace) = started(sandbox);
        sandbox.nodes.remove("/t/a");
        trace.wait_for(&["load: load /t=, load /t/a=1", "changed: deleted /t/a"]);
        observe(&daemon, || sandbox.nodes.remove("/t"));
        sandbox.nodes.set("/t/b", "1");
        trace.wait_for_mirror(&[("/t", ""), ("/t/b", "1")]);
        let runs: Vec<_> = trace.runs().iter().map(Run::text).collect();
        match &runs[2..] {
            [both] => assert_eq!(both, "created: created /t=, created /t/b=1"),
            runs => assert_eq!(runs, ["created: created /t=", "changed: created /t/b=1"]),
        }
    });
}

// "a missing node ... waits, and its creation is an update"
#[test]
fn a_missing_root_is_waited_for() {
    on_both_stores(|sandbox| {
        let trace = Trace::new(sandbox);
        sandbox.config("app.twc", tree(&exec(&trace.note()), ""));
        let daemon = sandbox.daemon().arg("--debug").start();
        daemon.wait_for_log(&["/t (tree): observed"]);
        sandbox.nodes.set("/t/a", "1");
        trace.wait_for_mirror(&[("/t", ""), ("/t/a", "1")]);
        assert!(trace.runs()[0].text().starts_with("created: load /t="));
    });
}

// "A burst ... must not give a thousand trees of growing size."
#[test]
fn a_thousand_nodes_that_come_at_once_are_given_at_once() {
    let sandbox = Sandbox::zookeeper();
    let (_daemon, trace) = started(&sandbox);
    let names: Vec<_> = (0..1000).map(|n| format!("/t/{n:03}")).collect();
    sandbox.nodes.create_many(names.clone());
    let mut expected = vec![("/t", ""), ("/t/a", "1")];
    expected.extend(names.iter().map(|name| (name.as_str(), "old")));
    trace.wait_for_mirror(&expected);
    // They came in two transactions.
    assert!(trace.runs().len() <= 3, "{} runs", trace.runs().len());
    sandbox.nodes.set("/t/a", "2");
    wait_until("the last change", || {
        trace.runs().last().map(Run::text).as_deref() == Some("changed: changed /t/a=2")
    });
}

// The same for files, which come one after the other.
#[test]
fn a_directory_that_is_moved_in_and_out_is_given_with_all_below_it() {
    let sandbox = Sandbox::directory();
    let (_daemon, trace) = started(&sandbox);
    let Nodes::Directory(root) = &sandbox.nodes else { unreachable!() };
    fs::create_dir_all(root.join(".new/sub")).expect("a directory");
    for name in ["x", "y", "sub/z"] {
        fs::write(root.join(".new").join(name), name).expect("a file");
    }
    fs::rename(root.join(".new"), root.join("t/b")).expect("move it in");
    let load = "load: load /t=, load /t/a=1";
    let created = "changed: created /t/b=, created /t/b/sub=, created /t/b/sub/z=sub/z, created /t/b/x=x, created /t/b/y=y";
    trace.wait_for(&[load, created]);
    fs::rename(root.join("t/b"), root.join(".old")).expect("move it out");
    let deleted =
        "changed: deleted /t/b, deleted /t/b/sub, deleted /t/b/sub/z, deleted /t/b/x, deleted /t/b/y";
    trace.wait_for(&[load, created, deleted]);
}

// "What one transaction writes is told of together."
#[test]
fn what_a_transaction_writes_is_given_together() {
    let sandbox = Sandbox::zookeeper();
    let trace = Trace::new(&sandbox);
    for node in ["/t/a/x", "/t/b/x"] {
        sandbox.nodes.set(node, "0");
    }
    sandbox.config("app.twc", tree(&exec(&trace.note()), "run_mode: PARALLEL"));
    let _daemon = sandbox.start();
    trace.wait_for_mirror(&[("/t", ""), ("/t/a", ""), ("/t/a/x", "0"), ("/t/b", ""), ("/t/b/x", "0")]);
    let Nodes::ZooKeeper { address, root } = &sandbox.nodes else { unreachable!() };
    let writes = format!(
        "for n in range(1, 301):\n \
           t = zk.transaction()\n \
           for node in ('a', 'b'): t.set_data('{root}/t/%s/x' % node, str(n).encode())\n \
           assert all(not isinstance(r, Exception) for r in t.commit())"
    );
    kazoo(address, &writes);
    let last = "changed: changed /t/a/x=300, changed /t/b/x=300";
    wait_until("the last write", || trace.runs().iter().any(|run| run.text() == last));
    for run in &trace.runs()[1..] {
        let texts: Vec<_> = run.changes.iter().map(|change| string(change, "text")).collect();
        assert!(texts.len() == 2 && texts[0] == texts[1], "{}", run.text());
    }
}

// "what changed during a failing or running action is ... never lost"
#[test]
fn what_failed_runs_were_given_is_given_again_to_the_next_one() {
    on_both_stores(|sandbox| {
        let trace = Trace::new(sandbox);
        let good = sandbox.path("good");
        sandbox.nodes.set("/t/a", "1");
        fs::write(&good, "").expect("let it succeed");
        let action = format!("{}; test -e {}", trace.note(), good.display());
        sandbox.config("app.twc", tree(&exec(&action), ""));
        let daemon = sandbox.daemon().arg("--debug").start();
        let mut ends = 0;
        let mut ended = |how: &str| {
            ends += 1;
            wait_until("the run to end", || daemon.log_lines(&["app.twc-1", " after "]).len() == ends);
            let last = daemon.log_lines(&["app.twc-1", " after "]).pop().expect("just now");
            assert!(last.contains(how), "{last}");
        };
        ended("ended");
        fs::remove_file(&good).expect("let it fail");
        sandbox.nodes.set("/t/a", "2");
        ended("failed");
        sandbox.nodes.set("/t/b", "2");
        ended("failed");
        // As if nothing had been, but the runs may have done something about it.
        sandbox.nodes.remove("/t/b");
        ended("failed");
        fs::write(&good, "").expect("let it succeed");
        sandbox.nodes.set("/t/c", "2");
        ended("ended");
        sandbox.nodes.set("/t/c", "3");
        ended("ended");
        trace.wait_for(&[
            "load: load /t=, load /t/a=1",
            "changed: changed /t/a=2",
            "changed: changed /t/a=2, created /t/b=2",
            "changed: changed /t/a=2, deleted /t/b",
            "changed: changed /t/a=2, deleted /t/b, created /t/c=2",
            "changed: changed /t/c=3",
        ]);
    });
}

// "QUEUE collapses; a run gets the latest tree." "Nothing runs for nothing": a tree that came back to what the action
// succeeded with is nothing to run for.
#[test]
fn what_changes_while_the_action_runs_is_given_to_one_further_run_and_nothing_to_none() {
    on_both_stores(|sandbox| {
        let trace = Trace::new(sandbox);
        let gates = [sandbox.gate_named("gate-1"), sandbox.gate_named("gate-2")];
        sandbox.nodes.set("/t/a", "1");
        let count = trace.0.path();
        let action = format!(
            "{}; case $(wc -l < {count}) in 1) {} ;; 2) {} ;; esac",
            trace.note(),
            gates[0].pass(),
            gates[1].pass()
        );
        sandbox.config("app.twc", tree(&exec(&action), ""));
        let daemon = sandbox.daemon().arg("--debug").start();
        let first = "load: load /t=, load /t/a=1";
        trace.wait_for(&[first]);
        observe(&daemon, || sandbox.nodes.set("/t/b", "1"));
        observe(&daemon, || sandbox.nodes.set("/t/a", "2"));
        observe(&daemon, || sandbox.nodes.set("/t/a", "3"));
        gates[0].open();
        let second = "changed: changed /t/a=3, created /t/b=1";
        trace.wait_for(&[first, second]);
        observe(&daemon, || sandbox.nodes.set("/t/c", "1"));
        observe(&daemon, || sandbox.nodes.remove("/t/c"));
        gates[1].open();
        daemon.wait_for_log(&["app.twc-1", "not started: all is as it was"]);
        sandbox.nodes.set("/t/a", "4");
        trace.wait_for(&[first, second, "changed: changed /t/a=4"]);
    });
}

// "Where that is not known (... after a restart of the daemon, after a redefinition ...) every node is listed with
// event `load`"
#[test]
fn after_a_restart_or_a_redefinition_the_whole_tree_is_given() {
    on_both_stores(|sandbox| {
        let trace = Trace::new(sandbox);
        sandbox.nodes.set("/t/a", "1");
        let define = |more: &str| {
            sandbox.config("app.twc", tree(&exec(&trace.note()), &format!("run_on_load: CHANGED, {more}")));
        };
        define("");
        let mut daemon = sandbox.daemon().arg("--debug").start();
        daemon.wait_for_log(&["app.twc-1", "ended"]);
        assert_eq!(daemon.stop(), Some(0));
        // Nothing changed, and so its version did not.
        let mut daemon = sandbox.daemon().arg("--debug").start();
        daemon.wait_for_log(&["/t (tree): observed"]);
        assert_eq!(daemon.stop(), Some(0));
        sandbox.nodes.set("/t/b", "2");
        sandbox.nodes.remove("/t/a");
        let daemon = sandbox.daemon().arg("--debug").start();
        let runs = ["load: load /t=, load /t/a=1", "load: load /t=, load /t/b=2"];
        trace.wait_for(&runs);
        daemon.wait_for_log(&["app.twc-1", "ended"]);
        define("timeout: 60");
        trace.wait_for(&[runs[0], runs[1], runs[1]]);
        wait_until("it to end", || daemon.log_lines(&["app.twc-1", "ended"]).len() == 2);
        sandbox.nodes.set("/t/b", "3");
        trace.wait_for(&[runs[0], runs[1], runs[1], "changed: changed /t/b=3"]);
    });
}

/// A daemon that reaches a server of the test's own by way of a proxy, with a tree of three nodes below `/t`.
struct Remote {
    server: ZooKeeper,
    proxy: Proxy,
    sandbox: Sandbox,
    trace: Trace,
    _daemon: Daemon,
}

const REMOTE: &str = "load: load /t=, load /t/a=, load /t/a/x=1, load /t/b=1";

impl Remote {
    fn start() -> Self {
        let server = ZooKeeper::start();
        let proxy = Proxy::to(&server.address());
        let sandbox = Sandbox::on(&server);
        let trace = Trace::new(&sandbox);
        sandbox.nodes.set("/t/a/x", "1");
        sandbox.nodes.set("/t/b", "1");
        sandbox.config("app.twc", tree(&exec(&trace.note()), ""));
        let daemon = sandbox.daemon_on(&sandbox.nodes.url_by_way_of(&proxy.address())).start();
        trace.wait_for(&[REMOTE]);
        Self { server, proxy, sandbox, trace, _daemon: daemon }
    }

    fn isolate(&self) {
        self.proxy.refuse();
        wait_until("the server to see the connection end", || self.server.watches() == 0);
    }

    /// Changes everything, of which there must be one run when the daemon is back, and then another change.
    fn change_and_return(&self, change: impl FnOnce(&Self)) {
        self.sandbox.nodes.set("/t/a/x", "2");
        self.sandbox.nodes.remove("/t/b");
        self.sandbox.nodes.set("/t/c/x/y", "3");
        change(self);
        self.proxy.resume();
        let back =
            "changed: changed /t/a/x=2, deleted /t/b, created /t/c=, created /t/c/x=, created /t/c/x/y=3";
        self.trace.wait_for(&[REMOTE, back]);
        self.sandbox.nodes.set("/t/c/x/y", "4");
        self.trace.wait_for(&[REMOTE, back, "changed: changed /t/c/x/y=4"]);
    }
}

// "After reconnects ... the tree must not be given piecemeal": all that happened meanwhile is one update.
#[test]
fn what_changed_while_the_session_expired_is_given_at_once() {
    let it = Remote::start();
    it.isolate();
    wait_until("the session to expire", || it.server.sessions() == 0);
    it.change_and_return(|_| {});
}

#[test]
fn what_changed_before_a_server_restart_is_given_at_once() {
    let it = Remote::start();
    it.isolate();
    it.change_and_return(|it| {
        it.server.down();
        it.server.up();
    });
}

// "A reconnect ... starts no action."
#[test]
fn a_reconnect_runs_nothing_for_a_tree() {
    let it = Remote::start();
    for _ in 0..3 {
        let so_far = it.proxy.attempts();
        it.proxy.cut();
        wait_until("the watches to be armed again", || {
            it.proxy.attempts() > so_far && it.server.watches() == 4
        });
    }
    it.sandbox.nodes.set("/t/b", "2");
    it.trace.wait_for(&[REMOTE, "changed: changed /t/b=2"]);
}

// "At rest, the last state given is the true one", whatever happens on the way there.
#[test]
fn a_tree_is_right_after_any_changes_over_cuts_and_restarts() {
    let it = Remote::start();
    let seed = fastrand::u32(..);
    let Nodes::ZooKeeper { address, root } = &it.sandbox.nodes else { unreachable!() };
    let changes = format!(
        "import random\n\
         from kazoo.exceptions import NoNodeError, NodeExistsError, NotEmptyError\n\
         chance = random.Random({seed})\n\
         paths = ['/t', '/t/a', '/t/a/x', '/t/a/x/y', '/t/a-b', '/t/b', '/t/c/x/y', '/t/c/z']\n\
         for n in range(400):\n \
           path = '{root}' + chance.choice(paths)\n \
           try:\n  \
             if chance.random() < 0.7:\n   \
               retry(zk.ensure_path, path)\n   \
               retry(zk.set, path, str(n).encode())\n  \
             else:\n   \
               retry(zk.delete, path, recursive=True)\n \
           except (NoNodeError, NodeExistsError, NotEmptyError): pass\n\
         retry(zk.ensure_path, '{root}/t/end')\n\
         def show(path):\n \
           print(path[len('{root}'):], retry(zk.get, path)[0].decode(), sep='=')\n \
           for name in retry(zk.get_children, path): show(path + '/' + name)\n\
         show('{root}/t')"
    );
    let shown = std::thread::scope(|scope| {
        let writer = scope.spawn(|| kazoo(address, &changes));
        for round in 0.. {
            let so_far = it.proxy.attempts();
            if round % 4 == 1 {
                it.server.down();
                it.server.up();
            }
            it.proxy.cut();
            wait_until("the daemon to come back", || it.proxy.attempts() > so_far && it.server.is_watched());
            if writer.is_finished() {
                break;
            }
        }
        writer.join().expect("the changes are made")
    });
    let nodes: Vec<_> = shown.lines().map(|line| line.split_once('=').expect("a node")).collect();
    assert!(nodes.len() >= 2, "{nodes:?}");
    eprintln!("seed {seed}");
    it.trace.wait_for_mirror(&nodes);
}

// "An unreadable node within the tree makes the tree unreadable (with the node's name), never a wrong tree that looks
// complete."
#[test]
fn an_unreadable_node_in_the_tree_is_named_and_holds_it_up_until_it_is_healed() {
    let sandbox = Sandbox::zookeeper();
    let (daemon, trace) = started(&sandbox);
    let Nodes::ZooKeeper { address, root } = &sandbox.nodes else { unreachable!() };
    let locked =
        "[make_acl('world', 'anyone', read=False, write=True, create=True, delete=True, admin=True)]";
    kazoo(address, &format!("zk.create('{root}/t/b', b'secret', acl={locked})"));
    let said = daemon.wait_for_log(&["/t (tree): cannot be read", "/t/b", "no permission", "app.twc-1"]);
    assert!(!said.contains("secret"));
    sandbox.nodes.set("/t/a", "2");
    sandbox.nodes.set("/t/c", "new");
    kazoo(address, &format!("zk.set_acls('{root}/t/b', OPEN_ACL_UNSAFE)"));
    let load = "load: load /t=, load /t/a=1";
    let healed = "changed: changed /t/a=2, created /t/b=secret, created /t/c=new";
    trace.wait_for(&[load, healed]);
    daemon.wait_for_log(&["/t (tree): can be read again"]);
    assert_eq!(daemon.log_lines(&["cannot be read"]).len(), 1, "said once");
}

// "at most 10,000 nodes": beyond that it is unreadable, "and heals when the tree shrinks".
#[test]
fn a_tree_of_too_many_nodes_is_unreadable_until_it_shrinks() {
    let sandbox = Sandbox::directory();
    let journal = sandbox.journal();
    let Nodes::Directory(root) = &sandbox.nodes else { unreachable!() };
    fs::create_dir(root.join("t")).expect("a directory");
    for n in 0..10_000 {
        fs::write(root.join(format!("t/{n}")), "x").expect("a file");
    }
    sandbox.config("app.twc", tree(&exec(&journal.note("$TWITCHER_EVENT $(wc -l)")), ""));
    let daemon = sandbox.start();
    daemon.wait_for_log(&["/t (tree): cannot be read", "more than 10000 nodes", "remove some", "app.twc-1"]);
    fs::remove_file(root.join("t/7")).expect("remove a node");
    journal.wait_for(&["load 10000"]);
}

// "64 MiB of data"
#[test]
fn a_tree_of_too_much_data_is_unreadable_until_it_shrinks() {
    let sandbox = Sandbox::directory();
    let journal = sandbox.journal();
    let Nodes::Directory(root) = &sandbox.nodes else { unreachable!() };
    fs::create_dir(root.join("t")).expect("a directory");
    for n in 0..5 {
        fs::write(root.join(format!("t/{n}")), vec![b'x'; 14 << 20]).expect("a file");
    }
    let action = exec(&journal.note("$TWITCHER_EVENT"));
    sandbox.config("app.twc", tree(&action, "pipe_stdin: false"));
    let daemon = sandbox.start();
    daemon.wait_for_log(&["/t (tree): cannot be read", "more than 64 MiB", "remove some", "app.twc-1"]);
    journal.wait_for(&[]);
    sandbox.nodes.set("/t/3", "small");
    journal.wait_for(&["load"]);
}

// "Function actions: the event gets `changes`"
#[test]
fn a_function_is_given_the_changes() {
    on_both_stores(|sandbox| {
        let journal = sandbox.journal();
        sandbox.nodes.set("/t/a", b"a\xff");
        let body = format!(
            r#"let said = event.event + `:`;
               for change in event.changes {{
                   said += ` ${{change.event}} ${{change.znode}}`;
                   if change.event != `deleted` {{ said += ` ${{change.size}} ${{change.data}}`; }}
               }}
               let noted = run([`/bin/sh`, `-c`, `printf '%s\n' "$1" >> {}`, `sh`, said]);"#,
            journal.path()
        );
        sandbox.config("app.twc", tree(&format!("|event| {{ {body} }}"), ""));
        let _daemon = sandbox.start();
        let load = "load: load /t 0 [] load /t/a 2 [61ff]";
        journal.wait_for(&[load]);
        sandbox.nodes.remove("/t/a");
        journal.wait_for(&[load, "changed: deleted /t/a"]);
    });
}

// "a node may be followed by a plain watch AND by one or more trees"
#[test]
fn trees_and_plain_watches_share_what_they_watch() {
    let server = ZooKeeper::start();
    let sandbox = Sandbox::on(&server);
    let trace = Trace::new(&sandbox);
    let (plain, inner) = (sandbox.journal_named("plain"), sandbox.journal_named("inner"));
    sandbox.nodes.set("/t/a/x", "1");
    sandbox.config("tree.twc", tree(&exec(&trace.note()), ""));
    let inner_tree = watch("/t/a", &exec(&inner.note("$(wc -l)")), "watch_type: WATCH_TREE");
    sandbox.config("inner.twc", inner_tree);
    sandbox.config("plain.twc", watch("/t/a/x", &exec(&plain.record()), ""));
    let _daemon = sandbox.start();
    trace.wait_for(&["load: load /t=, load /t/a=, load /t/a/x=1"]);
    inner.wait_for(&["2"]);
    plain.wait_for(&["1"]);
    // The server counts those on data only.
    assert_eq!(server.watches(), 3);
    sandbox.nodes.set("/t/a/x", "2");
    inner.wait_for(&["2", "1"]);
    plain.wait_for(&["1", "2"]);
    sandbox.remove_config("tree.twc");
    wait_until("what only the outer tree needs to be let go", || server.watches() == 2);
    sandbox.nodes.set("/t/a/x", "3");
    inner.wait_for(&["2", "1", "1"]);
    plain.wait_for(&["1", "2", "3"]);
    sandbox.remove_config("inner.twc");
    wait_until("what only the inner tree needs to be let go", || server.watches() == 1);
    sandbox.nodes.set("/t/a/x", "4");
    plain.wait_for(&["1", "2", "3", "4"]);
    sandbox.config("tree.twc", tree(&exec(&trace.note()), "timeout: 60"));
    trace.wait_for_mirror(&[("/t", ""), ("/t/a", ""), ("/t/a/x", "4")]);
    sandbox.remove_config("plain.twc");
    sandbox.nodes.set("/t/a/x", "5");
    trace.wait_for_mirror(&[("/t", ""), ("/t/a", ""), ("/t/a/x", "5")]);
}

// "`/zookeeper` below the root `/` should not be part of a tree at `/`"
#[test]
fn a_tree_at_the_root_has_nothing_of_zookeepers_own() {
    let server = ZooKeeper::start();
    let sandbox = Sandbox::on_whole(&server);
    let trace = Trace::new(&sandbox);
    sandbox.nodes.set("/a/zookeeper", "1");
    sandbox.config("app.twc", watch("/", &exec(&trace.note()), "watch_type: WATCH_TREE"));
    let _daemon = sandbox.start();
    trace.wait_for(&["load: load /=, load /a=, load /a/zookeeper=1"]);
    sandbox.nodes.set("/b", "2");
    trace.wait_for(&["load: load /=, load /a=, load /a/zookeeper=1", "changed: created /b=2"]);
}

#[test]
fn a_trigger_is_given_the_whole_tree() {
    on_both_stores(|sandbox| {
        let journal = sandbox.journal();
        sandbox.nodes.set("/t/a", "1");
        let action = exec(&format!("cat >> {}", journal.path()));
        sandbox.config("app.twc", watch("/t", &action, "watch_type: WATCH_TREE, description: \"tree\""));
        let _daemon = sandbox.start();
        wait_until("the load", || journal.lines().len() == 2);
        sandbox.operator(["trigger", "tree"]).finish().expect(0);
        wait_until("the trigger", || journal.lines().len() == 4);
        assert!(
            journal.lines().iter().all(|line| line.contains("\"event\":\"load\"")),
            "{:?}",
            journal.lines()
        );
    });
}
