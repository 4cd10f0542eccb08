//! Several stores at once: each watch follows its own, and no store's trouble affects another.

use std::fs;

use nix::sys::signal::Signal;

use crate::harness::{
    Daemon, Etcd, Journal, Nodes, Process, Proxy, Sandbox, Server, ZooKeeper, command, exec, wait_for,
    wait_until, watch,
};

/// Writes settings that name these stores. The default store is on the command line.
fn name_stores<const N: usize>(sandbox: &Sandbox, stores: [(&str, &str); N]) {
    let blocks = stores.map(|(name, url)| format!("[stores.{name}]\nurl = {url:?}\n"));
    settings(sandbox, &blocks.concat());
}

fn settings(sandbox: &Sandbox, text: &str) {
    fs::write(sandbox.configs().join("twitcher.toml"), text).expect("write the settings");
}

/// A watch on a node of the store `name`, which journals `name`, the event and the content.
fn in_store(name: &str, znode: &str, journal: &Journal, more: &str) -> String {
    let action = exec(&journal.note(&format!("{name} $TWITCHER_EVENT $(cat)")));
    watch(znode, &action, &format!("store: {name:?}, description: {name:?}, {more}"))
}

/// The nodes of another server below the same root, so that only the server tells them apart from the
/// sandbox's.
fn same_root(sandbox: &Sandbox, server: &ZooKeeper) -> Nodes {
    let nodes = sandbox.nodes.at(&server.address());
    nodes.create_root();
    nodes
}

fn directory(sandbox: &Sandbox, name: &str) -> Nodes {
    let path = sandbox.root().join(name);
    fs::create_dir(&path).expect("create the store");
    Nodes::Directory(path)
}

// "a watch picks one"
#[test]
fn the_same_path_in_three_stores_is_three_nodes() {
    let server = ZooKeeper::start();
    let sandbox = Sandbox::zookeeper();
    let (eu, local) = (same_root(&sandbox, &server), directory(&sandbox, "local"));
    name_stores(&sandbox, [("eu", &eu.url()), ("local", &local.url())]);
    let journals = ["default", "eu", "local"].map(|name| (name, sandbox.journal_named(name)));
    let all = journals.iter().map(|(name, journal)| in_store(name, "/n", journal, ""));
    sandbox.config("app.twc", all.collect::<String>());
    sandbox.nodes.set("/n", "1");
    eu.set("/n", "2");
    local.set("/n", "3");
    let mut daemon = sandbox.daemon().arg("--debug").start();
    let wait_for_all = |lines: [&[&str]; 3]| {
        for ((name, journal), lines) in journals.iter().zip(lines) {
            let lines: Vec<String> = lines.iter().map(|line| format!("{name} {line}")).collect();
            journal.wait_for(&lines.iter().map(String::as_str).collect::<Vec<_>>());
        }
    };
    wait_for_all([&["load 1"], &["load 2"], &["load 3"]]);
    eu.set("/n", "4");
    wait_for_all([&["load 1"], &["load 2", "changed 4"], &["load 3"]]);
    local.remove("/n");
    daemon.wait_for_log(&["local:/n: observed"]);
    sandbox.nodes.set("/n", "5");
    local.set("/n", "3");
    wait_for_all([&["load 1", "changed 5"], &["load 2", "changed 4"], &["load 3", "created 3"]]);

    // "Reports about a store say which one", and those about a node, too, except for nodes of the default
    // store.
    for name in ["default", "eu", "local"] {
        daemon.wait_for_log(&[&format!("store {name}: connected to")]);
    }
    daemon.wait_for_log(&["app.twc:eu run", "eu:/n changed, version"]);
    daemon.wait_for_log(&["app.twc:default run", ", /n changed, version"]);
    daemon.wait_for_log(&["app.twc:local: watches local:/n"]);
    assert_eq!(daemon.stop(), Some(0));
}

// "only the default store the line stays as it is today"
#[test]
fn the_only_store_is_not_named() {
    let sandbox = Sandbox::directory();
    let daemon = sandbox.start();
    daemon.wait_for_log(&[" store: connected to directory"]);
}

// "A store that is away hurts only its own watches", whichever kinds of stores a daemon has: one after the
// other is away, and is caught up with when it is back.
#[test]
fn a_store_of_each_kind_that_is_away_delays_no_other_and_is_caught_up_with() {
    let (zookeeper, etcd) = (ZooKeeper::stopped(), Etcd::stopped());
    let sandbox = Sandbox::directory();
    let all = [
        ("default", sandbox.nodes.clone()),
        ("eu", zookeeper.nodes(String::new())),
        ("kv", etcd.nodes(String::new())),
    ];
    name_stores(&sandbox, [("eu", &all[1].1.url()), ("kv", &all[2].1.url())]);
    let journals = all.each_ref().map(|(name, _)| sandbox.journal_named(name));
    for ((name, _), journal) in all.iter().zip(&journals) {
        sandbox.config(&format!("{name}.twc"), in_store(name, "/n", journal, ""));
    }
    let mut daemon = sandbox.daemon().arg("--debug").start();
    daemon.wait_for_log(&["store eu: not connected: cannot connect to ZooKeeper"]);
    daemon.wait_for_log(&["store kv: not connected: cannot connect to etcd"]);
    // The daemon sees that the node is missing before it is created.
    daemon.wait_for_log(&[" /n: observed"]);
    let mut expected = [const { Vec::<String>::new() }; 3];
    // Sets the nodes of these stores, whose watches run at once. Nothing runs of the others.
    let mut set = |up: &[usize], content: &str| {
        for place in up.iter().copied() {
            let (name, nodes) = &all[place];
            nodes.set("/n", content);
            let event = if expected[place].is_empty() { "created" } else { "changed" };
            expected[place].push(format!("{name} {event} {content}"));
        }
        for (journal, lines) in journals.iter().zip(&expected) {
            journal.wait_for(&lines.iter().map(String::as_str).collect::<Vec<_>>());
        }
    };
    let is_away = |store: &str| {
        let status = sandbox.operator(["status", "--json"]).finish().expect(0).text();
        let status: serde_json::Value = serde_json::from_str(&status).expect("JSON");
        let stores = status["daemon"]["stores"].as_array().expect("stores");
        stores.iter().any(|found| found["name"] == store && found["connected"] == false)
    };
    set(&[0], "only the directory");
    set(&[0], "again");
    zookeeper.up();
    daemon.wait_for_log(&["store eu: connected to ZooKeeper", "; it was away for "]);
    set(&[0, 1], "no etcd");
    etcd.up();
    daemon.wait_for_log(&["store kv: connected to etcd", "; it was away for "]);
    set(&[0, 1, 2], "all");
    let (root, aside) = (sandbox.root().join("nodes"), sandbox.root().join("aside"));
    fs::rename(&root, &aside).expect("move the store away");
    wait_until("the directory's outage", || is_away("default"));
    set(&[1, 2], "no directory");
    etcd.down();
    wait_until("etcd's outage", || is_away("kv"));
    set(&[1], "only ZooKeeper");
    fs::rename(&aside, &root).expect("move the store back");
    wait_until("the directory to be back", || !is_away("default"));
    set(&[0, 1], "no etcd again");
    zookeeper.down();
    wait_until("ZooKeeper's outage", || is_away("eu"));
    set(&[0], "only the directory again");
    etcd.up();
    wait_until("etcd to be back", || !is_away("kv"));
    set(&[0, 2], "no ZooKeeper");
    // The daemon does not wait for the store that is away.
    assert_eq!(daemon.stop(), Some(0));
}

// "connected to when the first watch names it"
#[test]
fn a_store_that_no_watch_names_is_not_connected_to() {
    let proxy = Proxy::to(&ZooKeeper::shared().address());
    let sandbox = Sandbox::zookeeper();
    name_stores(&sandbox, [("eu", &sandbox.nodes.url_by_way_of(&proxy.address()))]);
    let journal = sandbox.journal();
    sandbox.config("app.twc", in_store("default", "/n", &journal, ""));
    sandbox.nodes.set("/n", "1");
    let daemon = sandbox.start();
    journal.wait_for(&["default load 1"]);
    sandbox.nodes.set("/n", "2");
    journal.wait_for(&["default load 1", "default changed 2"]);
    assert_eq!(proxy.attempts(), 0);
    let eu = sandbox.journal_named("eu");
    sandbox.config("eu.twc", in_store("eu", "/n", &eu, ""));
    eu.wait_for(&["eu load 2"]);
    daemon.wait_for_log(&["store eu: connected to"]);
}

// "nothing learnt from the old one applies": the watch moves to another store while the daemon runs.
#[test]
fn a_watch_that_moves_to_another_store_follows_that_one_only() {
    let server = ZooKeeper::start();
    let sandbox = Sandbox::zookeeper();
    let eu = same_root(&sandbox, &server);
    name_stores(&sandbox, [("eu", &eu.url())]);
    let (journal, witness) = (sandbox.journal(), sandbox.journal_named("witness"));
    let define = |store: &str| {
        let keys = format!("store: {store:?}, run_on_load: false");
        let moving = watch("/n", &exec(&journal.record_event()), &keys);
        sandbox.config("app.twc", [moving, in_store("default", "/w", &witness, "")].concat());
    };
    sandbox.nodes.set("/n", "default 1");
    eu.set("/n", "eu 1");
    define("default");
    let daemon = sandbox.daemon().arg("--debug").start();
    daemon.wait_for_log(&[" /n: observed"]);
    define("eu");
    daemon.wait_for_log(&["eu:/n: observed"]);
    sandbox.nodes.set("/n", "default 2");
    sandbox.nodes.set("/w", "once");
    witness.wait_for(&["default created once"]);
    eu.set("/n", "eu 2");
    journal.wait_for(&["changed eu 2"]);
    // Back in the default store, what the watch finds there is no update.
    let observed = || daemon.log_lines(&[" /n: observed"]).len();
    let so_far = observed();
    define("default");
    wait_until("the default store's node to be read", || observed() > so_far);
    eu.set("/n", "eu 3");
    sandbox.nodes.set("/n", "default 3");
    journal.wait_for(&["changed eu 2", "changed default 3"]);
}

/// Starts a daemon, waits until it has done what is pending, and stops it.
fn run_once(sandbox: &Sandbox, witness: &Journal) {
    let mut daemon = sandbox.daemon().arg("--debug").start();
    // Whatever it does about `/n` at its start comes before what it does about this later update.
    daemon.wait_for_log(&["/n: observed"]);
    let so_far = witness.lines().len().to_string();
    sandbox.nodes.set("/witness", &so_far);
    witness.wait_for_last(&so_far);
    assert_eq!(daemon.stop(), Some(0));
    assert_eq!(daemon.log_lines(&["ledger"]), [""; 0], "nothing is wrong with the ledger");
}

// "nothing learnt from the old one applies", over restarts, and also if a name gets another URL.
#[test]
fn after_a_restart_each_watch_knows_what_it_did_in_its_own_store() {
    let server = ZooKeeper::start();
    let sandbox = Sandbox::zookeeper();
    let (eu, local) = (same_root(&sandbox, &server), directory(&sandbox, "local"));
    let (journal, witness) = (sandbox.journal(), sandbox.journal_named("witness"));
    sandbox.config("witness.twc", watch("/witness", &exec(&witness.record()), ""));
    sandbox.nodes.set("/witness", "up");
    let define = |store: &str, run_on_load: &str| {
        let keys = format!("store: {store:?}, run_on_load: {run_on_load}");
        sandbox.config("app.twc", watch("/n", &exec(&journal.record_event()), &keys));
    };
    name_stores(&sandbox, [("eu", &eu.url()), ("us", &local.url())]);
    sandbox.nodes.set("/n", "default 1");
    eu.set("/n", "eu 1");
    local.set("/n", "us 1");
    let mut expected: Vec<&str> = Vec::new();
    // The content is applied once in each store.
    for (store, line) in [("default", "load default 1"), ("eu", "load eu 1"), ("us", "load us 1")] {
        define(store, "CHANGED");
        expected.push(line);
        run_once(&sandbox, &witness);
        run_once(&sandbox, &witness);
        journal.wait_for(&expected);
    }
    // A change made while no daemon ran runs.
    local.set("/n", "us 2");
    expected.push("load us 2");
    run_once(&sandbox, &witness);
    journal.wait_for(&expected);
    // The names now stand for other URLs, where nothing was applied.
    name_stores(&sandbox, [("eu", &local.url()), ("us", &eu.url())]);
    expected.push("load eu 1");
    run_once(&sandbox, &witness);
    journal.wait_for(&expected);
    // The first load in another store is no change.
    define("default", "false");
    run_once(&sandbox, &witness);
    define("us", "false");
    run_once(&sandbox, &witness);
    journal.wait_for(&expected);
    eu.set("/n", "eu 2");
    expected.push("changed eu 2");
    run_once(&sandbox, &witness);
    journal.wait_for(&expected);
}

// "Runs' intents ... must not carry over": a run that a killed daemon left unfinished.
#[test]
fn a_run_interrupted_in_one_store_is_not_repeated_in_another() {
    let sandbox = Sandbox::directory();
    let local = directory(&sandbox, "local");
    name_stores(&sandbox, [("local", &local.url())]);
    let (journal, witness) = (sandbox.journal(), sandbox.journal_named("witness"));
    sandbox.config("witness.twc", watch("/witness", &exec(&witness.record()), ""));
    sandbox.nodes.set("/witness", "up");
    let hanging = format!("echo $$ > {}; while :; do sleep 1; done", sandbox.path("pid").display());
    let define = |store: &str, script: &str, run_on_load: bool| {
        let keys = format!("store: {store:?}, run_on_load: {run_on_load}");
        sandbox.config("app.twc", watch("/n", &exec(script), &keys));
    };
    for (interrupted_in, then_in, expected) in
        [("default", "local", &[][..]), ("local", "default", &[]), ("local", "local", &["load local"])]
    {
        sandbox.nodes.set("/n", "default");
        local.set("/n", "local");
        let _ = fs::remove_file(sandbox.path("pid"));
        define(interrupted_in, &hanging, true);
        let mut daemon = sandbox.start();
        let pid = wait_for("the action", || {
            fs::read_to_string(sandbox.path("pid")).ok().filter(|pid| pid.ends_with('\n'))
        });
        daemon.kill();
        Process::parse(&pid).signal(Signal::SIGKILL);
        wait_until("the action to be gone", || !Process::parse(&pid).is_alive());
        define(then_in, &journal.record_event(), false);
        run_once(&sandbox, &witness);
        journal.wait_for(expected);
    }
}

// "An unknown store name is an error of the file at load, with FILE:LINE:COLUMN, near-miss suggestion and the
// remedy"
#[test]
fn an_unknown_store_is_an_error_of_its_file_with_suggestion_and_remedy() {
    let sandbox = Sandbox::directory();
    let local = directory(&sandbox, "local");
    name_stores(&sandbox, [("local", &local.url())]);
    let journal = sandbox.journal();
    let wrong = in_store("loca", "/n", &journal, "");
    sandbox.config("wrong.twc", format!("// A comment.\n  {wrong}"));
    sandbox.config("right.twc", in_store("local", "/n", &journal, ""));
    let said = "`store`: unknown store \"loca\"; add [stores.loca] to twitcher.toml and \
                restart the daemon; did you mean `local`?";
    local.set("/n", "1");
    let daemon = sandbox.start();
    journal.wait_for(&["local load 1"]);
    daemon.wait_for_log(&[said]);
    daemon.wait_for_log(&["of watch \"loca\", registered at ", "wrong.twc:2:3"]);
    daemon.wait_for_log(&["not loaded"]);

    let check = |path: &str| sandbox.twitcher(["check"]).arg(sandbox.configs().join(path));
    check("").finish().expect(1).expect_said(&[said, "right.twc: ok, 1 watch"]);
    check("right.twc").finish().expect(0);
    check("wrong.twc").finish().expect(1).expect_said(&[said]);

    // A file in a config directory can name the stores of that directory.
    sandbox.config("below/right.twc", in_store("local", "/n", &journal, ""));
    let below = check("below/right.twc").finish().expect(1);
    below.expect_said(&["unknown store \"local\""]);
    check("below/right.twc").env("TWITCHER_CONFIG_PATH", sandbox.configs()).finish().expect(0);

    // If the settings cannot be read, `check` accepts any name.
    settings(&sandbox, "store = [");
    check("wrong.twc").finish().expect(0).expect_said(&[
        "warning: ",
        "twitcher.toml:1:",
        "names of stores are not checked",
    ]);
    check("").finish().expect(1).expect_said(&["twitcher.toml:1:", "wrong.twc: ok, 1 watch"]);
}

// "`twitcher.toml` is read at start only"
#[test]
fn a_store_that_is_named_later_is_known_after_a_restart() {
    let sandbox = Sandbox::directory();
    let local = directory(&sandbox, "local");
    local.set("/n", "1");
    let journal = sandbox.journal();
    sandbox.config("app.twc", in_store("local", "/n", &journal, ""));
    let mut daemon = sandbox.start();
    daemon.wait_for_log(&["unknown store \"local\"; add [stores.local]"]);
    name_stores(&sandbox, [("local", &local.url())]);
    assert_eq!(daemon.stop(), Some(0));
    let _daemon = sandbox.start();
    journal.wait_for(&["local load 1"]);
}

// "The client commands ... accept a configured name where they take a URL"
#[test]
fn client_commands_take_the_name_of_a_store() {
    let sandbox = Sandbox::directory();
    let local = directory(&sandbox, "local");
    let blocks = format!("store = {:?}\n[stores.local]\nurl = {:?}\n", sandbox.nodes.url(), local.url());
    settings(&sandbox, &blocks);
    let on = |store: &str, args: [&str; 2]| {
        let command = sandbox.twitcher(args).args(["--store", store]);
        command.env("TWITCHER_CONFIG_PATH", sandbox.configs())
    };
    sandbox.nodes.set("/n", "default");
    on("local", ["set", "/n"]).arg("local").finish().expect(0);
    assert_eq!(local.get("/n").as_deref(), Some(&b"local"[..]));
    for (store, content) in [("local", "local"), ("default", "default"), (&*local.url(), "local")] {
        assert_eq!(on(store, ["get", "/n"]).finish().expect(0).text(), content);
    }
    on("local", ["poke", "/n"]).finish().expect(0);
    assert_eq!(on("local", ["ls", "/"]).finish().expect(0).text(), "n\n");
    on("local", ["rm", "/n"]).finish().expect(0);
    assert_eq!(local.get("/n"), None);
    let environment = sandbox.twitcher(["get", "/n"]).env("TWITCHER_CONFIG_PATH", sandbox.configs());
    assert_eq!(environment.env("TWITCHER_STORE", "default").finish().expect(0).text(), "default");

    let unknown = on("locale", ["get", "/n"]).finish().expect(2);
    let file = sandbox.configs().join("twitcher.toml");
    assert_eq!(
        unknown.stderr,
        format!(
            "twitcher: --store: unknown store \"locale\"; add [stores.locale] to {}, or give a URL, \
             zk://HOST:PORT,.../CHROOT, etcd://HOST:PORT,.../PREFIX or dir:PATH; did you mean `local`?\n",
            file.display()
        )
    );
    on("/srv/nodes", ["get", "/n"])
        .finish()
        .expect(2)
        .expect_said(&["has no scheme; write zk://", "dir:PATH"]);
}

// "`--store` ... replace[s] the default store only", also with a name.
#[test]
fn a_flag_replaces_the_default_store_only() {
    let sandbox = Sandbox::directory();
    let (local, other) = (directory(&sandbox, "local"), directory(&sandbox, "other"));
    name_stores(&sandbox, [("local", &local.url()), ("other", &other.url())]);
    let journal = sandbox.journal();
    let watches = ["default", "local"].map(|name| in_store(name, "/n", &journal, ""));
    sandbox.config("app.twc", watches.concat());
    for (nodes, content) in [(&sandbox.nodes, "nodes"), (&local, "local"), (&other, "other")] {
        nodes.set("/n", content);
    }
    let runs_with = |daemon: Daemon, lines: [&str; 2]| {
        let started = wait_for("two runs", || Some(journal.lines()).filter(|lines| lines.len() == 2));
        let mut started: Vec<&str> = started.iter().map(String::as_str).collect();
        started.sort_unstable();
        assert_eq!(started, lines);
        drop(daemon);
        fs::write(journal.path(), "").expect("empty the journal");
    };
    runs_with(sandbox.start(), ["default load nodes", "local load local"]);
    runs_with(sandbox.daemon_on("other").start(), ["default load other", "local load local"]);
}

// "Opening one store that fails ... should not stop the daemon"
#[test]
fn a_directory_store_that_cannot_be_watched_is_tried_again() {
    let sandbox = Sandbox::zookeeper();
    let local = directory(&sandbox, "local");
    name_stores(&sandbox, [("local", &local.url())]);
    local.set("/n", "1");
    sandbox.nodes.set("/n", "2");
    let (journal, local_journal) = (sandbox.journal(), sandbox.journal_named("local"));
    sandbox.config("app.twc", in_store("default", "/n", &journal, ""));
    sandbox.config("local.twc", in_store("local", "/n", &local_journal, ""));
    // The config directory takes the only inotify instance that is allowed.
    let limit = |most: u32| format!("echo {most} > /proc/sys/user/max_inotify_instances");
    let script = format!("{}; exec \"$@\"", limit(1));
    let confined = ["unshare", "--user", "--map-root-user", "sh", "-c", &script, "sh"];
    let daemon = sandbox.daemon().under(confined).start();
    daemon.wait_for_log(&[
        "store local: not connected: cannot watch directory",
        "Too many open files",
        "raise fs.inotify.max_user_instances; watches are kept, trying again",
    ]);
    journal.wait_for(&["default load 2"]);
    local_journal.wait_for(&[]);
    let target = format!("--target={}", daemon.process().0);
    let raised = command("nsenter").args(["--user", &target, "sh", "-c", &limit(9)]).status();
    assert!(raised.expect("run nsenter").success());
    local_journal.wait_for(&["local load 1"]);
    daemon.wait_for_log(&["store local: connected to directory"]);
}
