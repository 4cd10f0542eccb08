//! Two machines and a cable: the daemon has a network namespace with one link to the server's.

use crate::harness::{Machine, Sandbox, ZooKeeper, exec, load, wait_until, watch};

// "Nothing is lost. ... session expiry, ... network cuts ... do not break this", and "a reconnect ... starts
// no action": the cable of the daemon's machine is pulled for a moment, or until the session has expired.
#[test]
fn an_update_while_the_cable_is_pulled_runs_once_when_it_is_plugged_in_again() {
    let machine = Machine::new();
    let server = ZooKeeper::start_on_all_addresses();
    let sandbox = Sandbox::on(&server);
    let journal = sandbox.journal();
    sandbox.nodes.set("/n", "before");
    sandbox.config("app.twc", watch("/n", &exec(&journal.record()), ""));
    let store = sandbox.nodes.url_by_way_of(&format!("{}:{}", machine.address(), server.port()));
    let daemon = sandbox.daemon_on(&store).args(["--session-timeout", "4"]);
    let daemon = daemon.under(machine.on_it().each_ref().map(String::as_str)).start();
    let mut expected = vec!["before".to_owned()];
    let expect = |expected: &[String]| {
        journal.wait_for(&expected.iter().map(String::as_str).collect::<Vec<_>>());
    };
    expect(&expected);
    for round in 0..load(2, 10) {
        machine.pull();
        sandbox.nodes.set("/n", format!("{round} during"));
        if round % 2 == 0 {
            wait_until("the session to expire", || server.sessions() == 0);
            daemon.wait_for_log(&["store: not connected"]);
        }
        machine.plug();
        expected.push(format!("{round} during"));
        expect(&expected);
        // A run too many would come before the run of this update.
        sandbox.nodes.set("/n", format!("{round} after"));
        expected.push(format!("{round} after"));
        expect(&expected);
    }
}
