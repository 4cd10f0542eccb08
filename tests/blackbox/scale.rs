//! Many watches, many files. The numbers of the promises are those of `FAULTS=full`; without, they are large
//! enough to show what grows faster than they do.

use crate::harness::wait::DEADLINE;
use crate::harness::{Proxy, Sandbox, Store, exec, load, on_every_server, poll, wait_until, watch};

// "10,000 watches with long paths survive a server restart."
on_every_server!(ten_thousand_watches_with_long_paths_survive_a_server_restart);
fn ten_thousand_watches_with_long_paths_survive_a_server_restart(store: Store) {
    // Together the watched paths have 1.3 MB: ten times what a server accepts in one request to restore
    // watches. The smaller number is three times as much.
    let watches = load(3_000, 10_000);
    let parent = format!("/services/{}", "x".repeat(110));
    let server = store.server();
    let proxy = Proxy::to(&server.address());
    let sandbox = Sandbox::on(&*server);
    let journal = sandbox.journal();
    sandbox.nodes.set(&parent, "");
    sandbox.nodes.create_many((0..watches).map(|n| format!("{parent}/node-{n}")));
    let action = exec(&journal.note("$TWITCHER_ZNODE $(cat)")).replace(&parent, "");
    // There are several files because each may take two seconds to evaluate, and the machine may be busy.
    for first in (0..watches).step_by(1_000) {
        sandbox.config(
            &format!("app-{first}.twc"),
            format!(
                "for n in {first}..{first}+1000 {{
                     let node = `{parent}/node-${{n}}`;
                     RegisterWatch(#{{ znode: node, action: {action}, run_on_load: false }});
                 }}"
            ),
        );
    }
    let marker = sandbox.journal_named("marker");
    sandbox.config("marker.twc", watch("/marker", &exec(&marker.record()), ""));
    let _daemon = sandbox.daemon_on(&sandbox.nodes.url_by_way_of(&proxy.address())).start();
    wait_until("all watches to be armed", || server.watches() >= Some(watches));
    // This update comes after everything that was read before, so each watch has seen its node by now.
    sandbox.nodes.set("/marker", "armed");
    marker.wait_for(&["armed"]);
    proxy.refuse();
    server.down();
    server.up();
    let nodes: Vec<_> =
        [0, 1, 777, watches / 2, watches - 2, watches - 1].map(|n| format!("{parent}/node-{n}")).into();
    let expect = |expected: &str| {
        for node in &nodes {
            journal.wait_for_line(&format!("{node} {expected}"));
        }
    };
    for node in &nodes {
        sandbox.nodes.set(node, "during");
    }
    proxy.resume();
    expect("during");
    wait_until("all watches to be armed again", || server.watches() >= Some(watches));
    for node in &nodes {
        sandbox.nodes.set(node, "after");
    }
    expect("after");
    assert_eq!(journal.lines().len(), 2 * nodes.len(), "a restart alone runs nothing");
}

#[test]
fn the_memory_of_removed_watches_goes_back_to_the_kernel() {
    let sandbox = Sandbox::directory();
    let many = |file: &str| {
        format!(
            "for i in 0..1000 {{ RegisterWatch(#{{ znode: \"/{file}-\" + i, action: Exec(\"true\"), \
             description: \"w\" + i }}); }}"
        )
    };
    // Each is well within the 2 s that a file may take, also on a slow machine.
    let files: Vec<String> = (0..load(10, 30)).map(|n| format!("{n}.twc")).collect();
    let daemon = sandbox.start();
    for file in &files {
        sandbox.config(file, many(file));
        daemon.wait_for_log(&[&format!(" {file}: loaded"), "1000 added"]);
    }
    let full = daemon.process().held();
    files.iter().for_each(|file| sandbox.remove_config(file));
    files.iter().for_each(|file| drop(daemon.wait_for_log(&[&format!(" {file}: removed"), "with its"])));
    wait_until("less memory", || daemon.process().held() < full / 2);
}

// A watch that joins others on a node has the node told to itself, and not to all of them once more.
#[test]
fn thousands_of_watches_of_one_node_cost_no_more_than_of_as_many_nodes() {
    let files = load(2, 5);
    let ticks = |znode: &str| {
        let sandbox = Sandbox::directory();
        let journal = sandbox.journal();
        sandbox.nodes.set("/n", "");
        sandbox.nodes.set("/marker", "");
        let daemon = sandbox.start();
        daemon.wait_for_log(&["connected to"]);
        for file in 0..files {
            // Each is well within the 2 s that a file may take, also on a slow machine.
            let many = format!(
                "for i in 0..1000 {{ RegisterWatch(#{{ znode: {znode}, description: `w${{i}}`, \
                 run_on_load: false, action: Exec(\"true\") }}); }}"
            );
            sandbox.config(&format!("{file}.twc"), many.replace("FILE", &file.to_string()));
            daemon.wait_for_log(&[&format!(" {file}.twc: loaded"), "1000 added"]);
        }
        // What was asked before has been told when this runs.
        sandbox.config("marker.twc", watch("/marker", &exec(&journal.note("told")), ""));
        journal.wait_for(&["told"]);
        assert_eq!(daemon.log_lines(&["not connected"]), [""; 0]);
        daemon.process().halves().iter().map(|half| half.cpu_ticks()).sum::<u64>()
            + daemon.process().cpu_ticks()
    };
    let (many, one) = (ticks("`/n/FILE-${i}`"), ticks("\"/n\""));
    assert!(one <= 2 * many + 50, "{one} ticks for one node, {many} for many");
}

// "The daemon stays small: idle ≤ 12 MiB": what only the start needed is no part of it.
#[test]
fn the_code_of_the_start_is_not_kept_in_memory() {
    let sandbox = Sandbox::directory();
    let journal = sandbox.journal();
    sandbox.nodes.set("/n", "1");
    sandbox.config("app.twc", watch("/n", &exec(&journal.record()), ""));
    let daemon = sandbox.start();
    journal.wait_for(&["1"]);
    for process in [daemon.process(), daemon.process().halves()[0]] {
        let mut most = 0;
        wait_until("fewer pages of files", || {
            let pages = process.status("RssFile");
            let pages: u64 = pages.trim_end_matches(" kB").parse().expect("a size");
            most = most.max(pages);
            pages < most * 2 / 3
        });
    }
    sandbox.nodes.set("/n", "2");
    journal.wait_for(&["1", "2"]);
}

// "10,000 files load."
#[test]
fn ten_thousand_config_files_load() {
    let sandbox = Sandbox::directory();
    let journal = sandbox.journal();
    sandbox.nodes.set("/n", "content");
    for n in 0..load(2_000, 10_000) {
        let text = watch(&format!("/none/{n}"), &exec("true"), "");
        std::fs::write(sandbox.configs().join(format!("{n}.twc")), text).expect("write a config");
    }
    // This file is the last in any order of names.
    sandbox.config("zzz/last.twc", watch("/n", &exec(&journal.record()), ""));
    let _daemon = sandbox.start();
    // Each file takes an unoptimized build some milliseconds.
    poll(5 * DEADLINE, || (journal.lines() == ["content"]).then_some(())).expect("all files to be loaded");
}

#[test]
fn hundreds_of_runs_leak_neither_descriptors_nor_zombies() {
    let sandbox = Sandbox::zookeeper();
    let journal = sandbox.journal();
    sandbox.nodes.set("/n", "0");
    // A process left behind holds the run's pipe longer than the run lasts. Such pipes must not add up
    // either.
    let action = format!("sleep 0.1 & {}", journal.record());
    sandbox.config("app.twc", watch("/n", &exec(&action), "run_mode: PARALLEL"));
    let daemon = sandbox.daemon().arg("-v").start();
    journal.wait_for_line("0");
    // After the first run the daemon has what it keeps for itself.
    let descriptors_and_children = || {
        let process = daemon.process();
        let zombies = process.children().iter().filter(|child| !child.is_alive()).count();
        (process.open_files(), process.children().len(), zombies)
    };
    daemon.wait_for_log(&["ended"]);
    let (descriptors, children, _) = descriptors_and_children();
    sandbox.nodes.set_each("/n", 1..=300, |value| journal.wait_for_line(&value.to_string()));
    wait_until("nothing to be left of all the runs", || {
        let now = descriptors_and_children();
        // The ledger's first checkpoint opens some descriptors that it keeps for the next one.
        now.0 <= descriptors + 4 && now.1 <= children && now.2 == 0
    });
}
