//! Tests of what operators see and do: `status`, `trigger`, `pause`, `resume`, `kill`, `reload`, `history`
//! and `logs`, the control socket, and hostile clients of it.

mod abuse;
mod check;
mod documented;
mod follow;
mod history;
mod lost;
mod metrics;
mod orders;
mod pause;
mod pause_terms;
mod selection;
mod socket;
mod status;
mod terminal;

use serde_json::Value;

use crate::harness::control::{ask, connect, get};
use crate::harness::{Sandbox, exec, wait_for, wait_until, watch};

/// A watch with this description whose action runs `script`.
fn described(node: &str, script: &str, description: &str, more: &str) -> String {
    watch(node, &exec(script), &format!("description: {description:?}, {more}"))
}

/// The daemon's status of a watch.
#[track_caller]
fn look_at(sandbox: &Sandbox, watch: &str) -> Value {
    get(&sandbox.control_socket(), &format!("/v1/watches?watch={watch}")).json()
}

/// Waits until the watch is in this state, with none of its runs still being started, and returns its status.
#[track_caller]
fn wait_for_state(sandbox: &Sandbox, watch: &str, state: &str) -> Value {
    wait_until_served(sandbox);
    wait_for(&format!("{watch} to be {state}"), || {
        let watches = get(&sandbox.control_socket(), "/v1/watches").json_lines();
        watches.into_iter().find(|found| {
            // A run has no pid before its program executes.
            let has_started = |run: &Value| !run["pid"].is_null();
            found["description"] == watch
                && found["state"] == state
                && found["runs"].as_array().is_some_and(|runs| runs.iter().all(has_started))
        })
    })
}

/// Waits until the daemon has read its configs and replies to operators.
#[track_caller]
fn wait_until_served(sandbox: &Sandbox) {
    let socket = sandbox.control_socket();
    wait_until("the daemon to answer", || std::os::unix::net::UnixStream::connect(&socket).is_ok());
    wait_until("the configs to be read", || {
        // While the daemon loads thousands of watches at once it may not reply in time.
        let answer = ask(connect(&socket), "GET", "/v1/status");
        answer.status == 200 && answer.json()["state"] == "running"
    });
}

/// All runs in the ledger, newest first.
#[track_caller]
fn runs(sandbox: &Sandbox) -> Vec<Value> {
    get(&sandbox.control_socket(), "/v1/history?limit=1000000").json_lines()
}
