//! A network that cuts connections, and one that keeps them open and carries nothing.

use std::time::{Duration, Instant};

use super::oracle::{Numbers, Oracle};
use super::remote::Remote;
use crate::harness::wait::throughout;
use crate::harness::{Sandbox, Store, exec, load, on_every_server, wait_until, watch};

// "Nothing is lost. Bursts, ... network cuts ... do not break this.", "Never two at once in QUEUE", "Nothing
// runs for nothing. A reconnect ... starts no action. One change starts one run at most": each node's last
// content is what its action ran with last, no two runs of a node overlap, and no content runs twice or after
// a later one.
on_every_server!(updates_across_many_network_cuts_run_once_each_at_most_and_the_last_ones_run);
fn updates_across_many_network_cuts_run_once_each_at_most_and_the_last_ones_run(store: Store) {
    const NODES: usize = 12;
    let it = Remote::new(store);
    let oracle = Oracle::new(&it.sandbox);
    let mut numbers: Numbers = (0..NODES).map(|n| (format!("/n{n}"), 0)).collect();
    let watches = numbers.keys().map(|node| watch(node, &oracle.action(), ""));
    it.sandbox.config("app.twc", watches.collect::<String>());
    let set = |node: &str, number: u32| it.sandbox.nodes.set(node, number.to_string());
    numbers.keys().for_each(|node| set(node, 0));
    let _daemon = it.start();
    oracle.expect_last(&numbers);

    let mut next_cut = Instant::now();
    // The promise is about cuts at any moment, so the updates go on for a length of time. Random nodes are
    // updated, so that some of them do not change while the daemon is away.
    throughout(Duration::from_secs(load(8, 60)), || {
        let (node, number) = numbers.iter_mut().nth(fastrand::usize(..NODES)).expect("one of them");
        *number += 1;
        set(node, *number);
        if Instant::now() >= next_cut {
            it.proxy().cut();
            next_cut = Instant::now() + Duration::from_millis(fastrand::u64(100..600));
        }
    });
    let connections = it.proxy().attempts();
    assert!(connections >= load(5, 50), "only {connections} connections, so there were too few cuts");

    // The last updates come while the daemon cannot connect at all.
    it.proxy().refuse();
    let update_all = |numbers: &mut Numbers| {
        for (node, number) in numbers {
            *number += 1;
            set(node, *number);
        }
    };
    update_all(&mut numbers);
    it.proxy().resume();
    oracle.expect_last(&numbers);
    // A run too many would come before the runs of these updates.
    update_all(&mut numbers);
    oracle.expect_last(&numbers);
    oracle.expect_each_once_in_order();
}

// "Reconnect attempts lie at most 5 s apart", also while connections can be made and nobody replies. The
// daemon gives up a silent connection within the session timeout, so that the first attempt comes at most 5 s
// after that. "Nothing is lost. ... network cuts ... do not break this.": what changes in the meantime runs
// once.
on_every_server!(a_half_open_connection_is_given_up_within_the_session_timeout);
fn a_half_open_connection_is_given_up_within_the_session_timeout(store: Store) {
    const SESSION_TIMEOUT: Duration = Duration::from_secs(4);
    const BETWEEN_ATTEMPTS: Duration = Duration::from_secs(5);
    /// The lateness that is allowed to a busy machine.
    const MARGIN: Duration = Duration::from_secs(1);

    let it = Remote::new(store);
    let journal = it.sandbox.journal();
    it.sandbox.nodes.set("/n", "before");
    it.sandbox.config("app.twc", watch("/n", &exec(&journal.record()), ""));
    let _daemon = it.start();
    let mut expected = vec!["before"];
    journal.wait_for(&expected);
    for during in &["one", "two", "three", "four", "five"][..load(1, 5)] {
        let attempts = it.proxy().attempts();
        let mut latest = Instant::now();
        it.proxy().stall();
        it.sandbox.nodes.set("/n", during);
        let limits = [SESSION_TIMEOUT + BETWEEN_ATTEMPTS, BETWEEN_ATTEMPTS, BETWEEN_ATTEMPTS];
        for (limit, so_far) in limits[..load(2, 3)].iter().zip(attempts..) {
            wait_until("the daemon to connect again", || it.proxy().attempts() > so_far);
            let waited = latest.elapsed();
            assert!(waited <= *limit + MARGIN, "connected after {waited:?}, expected within {limit:?}");
            latest = Instant::now();
        }
        it.proxy().resume();
        expected.push(during);
        journal.wait_for(&expected);
    }
}

// "The daemon gives up a silent connection within the session timeout", also if the server hangs: the
// connection is there, and nothing answers.
on_every_server!(a_server_that_hangs_is_given_up_within_the_session_timeout);
fn a_server_that_hangs_is_given_up_within_the_session_timeout(store: Store) {
    const SESSION_TIMEOUT: Duration = Duration::from_secs(4);
    /// The lateness that is allowed to a busy machine.
    const MARGIN: Duration = Duration::from_secs(1);

    let server = store.server();
    let sandbox = Sandbox::on(&*server);
    let journal = sandbox.journal();
    sandbox.nodes.set("/n", "before");
    sandbox.config("app.twc", watch("/n", &exec(&journal.record()), ""));
    let timeout = SESSION_TIMEOUT.as_secs().to_string();
    let daemon = sandbox.daemon().args(["--session-timeout", &timeout]).start();
    journal.wait_for(&["before"]);
    let mut expected = vec!["before".to_owned()];
    for round in 1..=load(2, 10) {
        let frozen = Instant::now();
        server.freeze();
        wait_until("the outage", || daemon.log_lines(&["not connected"]).len() == round);
        let waited = frozen.elapsed();
        server.thaw();
        assert!(waited <= SESSION_TIMEOUT + MARGIN, "given up after {waited:?}");
        sandbox.nodes.set("/n", round.to_string());
        expected.push(round.to_string());
        journal.wait_for(&expected.iter().map(String::as_str).collect::<Vec<_>>());
    }
}
