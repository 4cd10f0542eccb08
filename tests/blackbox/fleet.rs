//! Many hosts on one node.

use std::collections::BTreeMap;
use std::fs;

use crate::harness::{Daemon, Sandbox, exec, wait_until, watch};

const HOSTS: usize = 20;

// "a hundred hosts pull within a second": one `twitcher set`, and each of them runs it, once.
#[test]
fn one_set_runs_once_on_each_of_twenty_hosts() {
    let sandbox = Sandbox::zookeeper();
    let journal = sandbox.journal();
    sandbox.nodes.set("/git/head", "0");
    // The action's parent process tells which host ran it.
    sandbox.config("app.twc", watch("/git/head", &exec(&journal.note("$PPID $(cat)")), ""));
    let hosts: Vec<Daemon> = (0..HOSTS)
        .map(|host| {
            let state = sandbox.root().join(format!("state-{host}"));
            fs::create_dir(&state).expect("create a directory");
            sandbox.daemon_with_state(&state).start()
        })
        .collect();
    for value in ["0", "1", "2"] {
        if value != "0" {
            sandbox.client(["set", "/git/head", value]).finish().expect(0);
        }
        let ran = || journal.lines().iter().filter(|line| line.ends_with(&format!(" {value}"))).count();
        wait_until(&format!("all hosts to run {value}"), || ran() >= HOSTS);
    }
    let mut runs = BTreeMap::<String, Vec<String>>::new();
    for line in journal.lines() {
        let (host, value) = line.split_once(' ').expect("a host and a value");
        runs.entry(host.to_owned()).or_default().push(value.to_owned());
    }
    let expected =
        hosts.iter().map(|host| (host.process().0.to_string(), vec!["0".into(), "1".into(), "2".into()]));
    assert_eq!(runs, expected.collect());
}
