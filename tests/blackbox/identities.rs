//! Tests of users and groups that change while the daemon runs.

use std::fs;
use std::path::PathBuf;

use crate::harness::{Daemon, Journal, Sandbox, exec, require_root, wait_for, wait_until, watch};

/// A sandbox with local users and groups of its own: the daemon sees copies of `/etc/passwd` and
/// `/etc/group`.
struct Accounts {
    sandbox: Sandbox,
    journal: Journal,
    passwd: PathBuf,
    group: PathBuf,
}

impl Accounts {
    /// The user `appx` has the number 4001. A watch of `/n` runs as `appx`, and notes its numbers and
    /// content.
    fn new() -> Self {
        require_root();
        let sandbox = Sandbox::directory();
        let journal = sandbox.journal();
        let accounts =
            Self { passwd: sandbox.path("passwd"), group: sandbox.path("group"), journal, sandbox };
        accounts.set_users("appx:x:4001:4001::/home/appx:/bin/sh\n");
        accounts.set_groups("appx:x:4001:\n");
        accounts.sandbox.nodes.set("/n", "1");
        accounts.config("");
        accounts
    }

    fn config(&self, comment: &str) {
        let action = exec(&self.journal.note("$(id -u) $(id -G) $HOME $(cat)"));
        let keys = r#"uid: "appx", run_on_load: CHANGED, description: "named""#;
        self.sandbox.config("app.twc", format!("// {comment}\n{}", watch("/n", &action, keys)));
    }

    /// Has these local users, and those of the machine.
    fn set_users(&self, users: &str) {
        let machine = fs::read_to_string("/etc/passwd").expect("read the users");
        fs::write(&self.passwd, machine + users).expect("write the users");
    }

    fn set_groups(&self, groups: &str) {
        let machine = fs::read_to_string("/etc/group").expect("read the groups");
        fs::write(&self.group, machine + groups).expect("write the groups");
    }

    #[track_caller]
    fn start(&self) -> Daemon {
        let script = format!(
            "mount --bind {} /etc/passwd && mount --bind {} /etc/group && exec \"$@\"",
            self.passwd.display(),
            self.group.display()
        );
        self.sandbox.daemon().under(["unshare", "--mount", "sh", "-c", &script, "sh"]).start()
    }

    /// Waits until exactly these runs are in the journal, in any order.
    #[track_caller]
    fn wait_for_runs(&self, expected: &[&str]) {
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        wait_until(&format!("the journal to say {expected:?}"), || {
            let mut lines = self.journal.lines();
            lines.sort_unstable();
            lines == expected
        });
    }

    #[track_caller]
    fn check(&self, code: i32, said: &[&str]) {
        wait_until(&format!("status --check to say {said:?}"), || {
            let finished = self.sandbox.operator(["status", "--check"]).finish();
            finished.code == Some(code) && said.iter().all(|part| finished.text().contains(part))
        });
    }
}

// "A user made anew with another number ... keeps running actions under the old number, now another user's".
#[test]
fn a_user_that_is_made_anew_runs_actions_under_its_new_number() {
    let accounts = Accounts::new();
    let _daemon = accounts.start();
    accounts.journal.wait_for(&["4001 4001 /home/appx 1"]);
    accounts.set_users("other:x:4001:4001::/:/bin/sh\nappx:x:4002:4002::/srv/appx:/bin/sh\n");
    accounts.sandbox.nodes.set("/n", "2");
    accounts.journal.wait_for(&["4001 4001 /home/appx 1", "4002 4002 /srv/appx 2"]);
    accounts.set_groups("appx:x:4001:\nlogs:x:4500:appx\n");
    accounts.sandbox.nodes.set("/n", "3");
    let mut expected = vec!["4001 4001 /home/appx 1", "4002 4002 /srv/appx 2", "4002 4002 4500 /srv/appx 3"];
    accounts.journal.wait_for(&expected);
    accounts.set_groups("appx:x:4001:\n");
    accounts.sandbox.nodes.set("/n", "4");
    expected.push("4002 4002 /srv/appx 4");
    accounts.journal.wait_for(&expected);
    accounts.check(0, &["ok"]);
}

// "Nothing runs for nothing": a user with another number is no other definition.
#[test]
fn a_new_number_of_a_user_runs_nothing_by_itself() {
    let accounts = Accounts::new();
    let mut daemon = accounts.start();
    accounts.journal.wait_for(&["4001 4001 /home/appx 1"]);
    accounts.set_users("appx:x:4002:4002::/home/appx:/bin/sh\n");
    accounts.sandbox.operator(["reload"]).finish().expect(0);
    accounts.config("changed");
    daemon.wait_for_log(&["app.twc: loaded, 0 added, 0 changed, 0 removed"]);
    daemon.stop();
    let _daemon = accounts.start();
    accounts.check(0, &["ok: 1 watch"]);
    accounts.sandbox.nodes.set("/n", "2");
    accounts.journal.wait_for(&["4001 4001 /home/appx 1", "4002 4002 /home/appx 2"]);
}

// The daemon looks the user up by itself, and the next one must not take its number for another definition.
#[test]
fn a_new_number_that_no_config_brought_runs_nothing_after_a_restart_either() {
    let accounts = Accounts::new();
    let mut daemon = accounts.start();
    accounts.journal.wait_for(&["4001 4001 /home/appx 1"]);
    let definition = || {
        let ledger =
            rusqlite::Connection::open(accounts.sandbox.state().join("ledger.db")).expect("a ledger");
        ledger
            .query_row("SELECT definition FROM watches", [], |row| row.get::<_, rusqlite::types::Value>(0))
            .ok()
    };
    let before = wait_for("the definition", definition);
    accounts.set_users("appx:x:4002:4002::/home/appx:/bin/sh\n");
    accounts.sandbox.operator(["reload"]).finish().expect(0);
    wait_until("the new number", || definition().is_some_and(|now| now != before));
    daemon.kill();
    let _daemon = accounts.start();
    accounts.check(0, &["ok: 1 watch"]);
    accounts.sandbox.nodes.set("/n", "2");
    accounts.journal.wait_for(&["4001 4001 /home/appx 1", "4002 4002 /home/appx 2"]);
}

#[test]
fn the_actions_of_a_user_that_is_gone_wait_for_it() {
    let accounts = Accounts::new();
    let daemon = accounts.start();
    accounts.journal.wait_for(&["4001 4001 /home/appx 1"]);
    accounts.set_users("");
    accounts.sandbox.operator(["reload"]).finish().expect(0);
    accounts.check(1, &["user appx: `uid`: unknown user \"appx\""]);
    accounts.sandbox.nodes.set("/n", "2");
    accounts.check(1, &["app.twc:named: not started: `uid`: unknown user \"appx\""]);
    // Another update comes meanwhile.
    accounts.sandbox.nodes.set("/n", "3");
    accounts.set_users("appx:x:4002:4002::/home/appx:/bin/sh\n");
    accounts.journal.wait_for(&["4001 4001 /home/appx 1", "4002 4002 /home/appx 3"]);
    accounts.check(0, &["ok"]);
    assert_eq!(daemon.log_lines(&["WARNING", "user appx: "]).len(), 1, "said once: {:#?}", daemon.log());
    daemon.wait_for_log(&["user appx: works again"]);
}

// "A file with one unknown user keeps its other watches out only of what names it", and nothing runs for
// nothing once the user is there again.
#[test]
fn an_unknown_user_keeps_out_only_the_watch_that_names_it() {
    let accounts = Accounts::new();
    let named = exec(&accounts.journal.note("named $(id -u) $(cat)"));
    let other = exec(&accounts.journal.note("other $(cat)"));
    let config = watch("/n", &named, r#"uid: "appx", run_on_load: CHANGED, description: "named""#)
        + watch("/n", &other, r#"run_on_load: CHANGED, description: "other""#).as_str();
    accounts.sandbox.config("app.twc", config);
    let mut daemon = accounts.start();
    accounts.wait_for_runs(&["named 4001 1", "other 1"]);
    daemon.stop();

    accounts.set_users("");
    let mut daemon = accounts.start();
    accounts.check(1, &["app.twc:1:", "unknown user \"appx\"; this watch is left out"]);
    accounts.sandbox.operator(["reload"]).finish().expect(1);
    accounts.sandbox.nodes.set("/other", "x");
    let later = watch("/other", &exec(&accounts.journal.note("later")), r#"description: "later""#);
    let config =
        watch("/n", &named, r#"uid: "appx", run_on_load: CHANGED, description: "named""#) + later.as_str();
    accounts.sandbox.config("app.twc", config);
    accounts.wait_for_runs(&["named 4001 1", "other 1", "later"]);
    accounts.check(1, &["unknown user \"appx\"; this watch is left out"]);

    accounts.set_users("appx:x:4001:4001::/home/appx:/bin/sh\n");
    accounts.sandbox.operator(["reload"]).finish().expect(0);
    accounts.check(0, &["ok: 2 watches"]);
    accounts.sandbox.nodes.set("/n", "2");
    accounts.wait_for_runs(&["named 4001 1", "other 1", "later", "named 4001 2"]);

    // While the daemon runs, the last good watch stays, and waits for its user.
    accounts.set_users("");
    accounts.sandbox.operator(["reload"]).finish();
    let named = watch("/n", &named, r#"uid: "appx", run_on_load: CHANGED, description: "named""#);
    accounts.sandbox.config("app.twc", format!("// Changed.\n{later}{named}"));
    daemon.wait_for_log(&["this watch is left out"]);
    accounts.sandbox.nodes.set("/n", "3");
    accounts.check(1, &["app.twc:named: not started: `uid`: unknown user \"appx\""]);
    accounts.set_users("appx:x:4001:4001::/home/appx:/bin/sh\n");
    let all = ["named 4001 1", "other 1", "later", "named 4001 2", "named 4001 3"];
    accounts.wait_for_runs(&all);
    daemon.stop();
}
