//! The capabilities that systemd/hardening.conf leaves the daemon: all that it needs and no others.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use crate::harness::{Sandbox, exec, require_root, wait_until, watch};

/// For each capability, named as in setpriv(1): settings of a watch that need it, and the error without it.
const NEEDS: [(&str, &str, &str); 6] = [
    ("setuid", r#"uid: "nobody""#, "Operation not permitted"),
    ("setgid", r#"uid: "nobody""#, "Operation not permitted"),
    ("chown", r#"uid: "nobody""#, "Operation not permitted"),
    ("sys_nice", r#"uid: "nobody", nice: -5"#, "nice -5: Permission denied"),
    (
        "sys_resource",
        r#"uid: "nobody", rlimits: #{ nofile: 1100 }"#,
        "rlimits nofile 1100: Operation not permitted",
    ),
    ("dac_override", r#"output: "HOMES/nobody/output""#, "output HOMES/nobody/output: Permission denied"),
];

/// A script that makes read-only what the drop-in does (`ProtectSystem=full`, `ProtectHome=read-only`, ...)
/// and then runs its arguments.
const READ_ONLY: &str = "for place in /usr /etc /boot /home /root /sys /proc/sys; do
    [ -d $place ] || continue
    mount --bind $place $place && mount -o remount,bind,ro $place || exit 99
done
! touch /etc/twitcher-test 2>/dev/null || exit 99
exec \"$@\"";

/// The capabilities that the drop-in leaves.
fn granted() -> Vec<String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/hardening.conf");
    let text = fs::read_to_string(file).expect("read the drop-in");
    let line = text.lines().find_map(|line| line.strip_prefix("CapabilityBoundingSet=")).expect("the set");
    line.split(' ').map(|name| name.trim_start_matches("CAP_").to_lowercase()).collect()
}

/// Whether the suite itself may raise limits. Root in a container may not.
fn may_raise_limits() -> bool {
    const SYS_RESOURCE: u32 = 24;
    let status = fs::read_to_string("/proc/self/status").expect("our status");
    let set = status.lines().find_map(|line| line.strip_prefix("CapBnd:")).expect("the bounding set");
    (u64::from_str_radix(set.trim(), 16).expect("a set") >> SYS_RESOURCE) & 1 == 1
}

/// Runs the daemon with these capabilities except `missing`, without new privileges, and with the read-only
/// directories of the drop-in. Panics unless each of `NEEDS` works, or, if its capability is missing, fails
/// with its error.
#[track_caller]
fn run_with(capabilities: &[String], missing: Option<&str>) {
    let sandbox = Sandbox::directory();
    let homes = sandbox.path("homes");
    let home = homes.join("nobody");
    fs::create_dir_all(&home).expect("create a directory");
    fs::set_permissions(&home, Permissions::from_mode(0o700)).expect("close it");
    chown(&home, Some(65534), Some(65534)).expect("give it away");
    let filled = |text: &str| text.replace("HOMES", &homes.display().to_string());
    let possible = |name: &str| name != "sys_resource" || may_raise_limits();
    let needs =
        NEEDS.iter().filter(|(name, ..)| possible(name) && missing.is_none_or(|missing| missing == *name));
    let needs: Vec<_> = needs.collect();
    sandbox.nodes.set("/n", "content");
    let watches = needs.iter().map(|(name, settings, _)| {
        watch("/n", &exec("true"), &format!("description: {name:?}, {}", filled(settings)))
    });
    sandbox.config("app.twc", watches.collect::<String>());
    let set = capabilities.iter().filter(|name| Some(name.as_str()) != missing);
    let set = set.fold("-all".to_owned(), |set, name| format!("{set},+{name}"));
    let daemon = sandbox.daemon().arg("-v").under(["unshare", "--mount", "--", "sh", "-c", READ_ONLY, "sh"]);
    let daemon = daemon.under(["prlimit", "--nofile=1000:1000", "--"]);
    let bounds = ["setpriv", "--bounding-set", &set, "--inh-caps=-all", "--no-new-privs", "--"];
    let daemon = daemon.under(bounds).start();
    for (name, _, error) in needs {
        match missing {
            None => daemon.wait_for_log(&[&format!(":{name} run"), "ended"]),
            Some(_) => daemon.wait_for_log(&[&format!(":{name} run"), "cannot start", &filled(error)]),
        };
    }
}

#[test]
fn the_drop_in_leaves_the_daemon_the_capabilities_that_it_needs_and_no_others() {
    require_root();
    let granted = granted();
    run_with(&granted, None);
    for name in &granted {
        // The next tests are about these.
        let has_own_test = ["kill", "dac_read_search"].contains(&name.as_str());
        if !has_own_test && (name != "sys_resource" || may_raise_limits()) {
            assert!(NEEDS.iter().any(|(need, ..)| need == name), "nothing needs {name}");
            run_with(&granted, Some(name));
        }
    }
}

#[test]
fn with_the_capabilities_of_the_drop_in_the_daemon_can_signal_actions_of_other_users() {
    require_root();
    let granted = granted();
    let without: Vec<_> = granted.iter().filter(|name| *name != "kill").cloned().collect();
    for (capabilities, signalled) in [(granted, true), (without, false)] {
        let sandbox = Sandbox::directory();
        let (journal, gate) = (sandbox.journal(), sandbox.gate());
        sandbox.nodes.set("/n", "1");
        let action =
            format!("trap {:?} HUP; {}; {}", journal.note("signalled"), journal.note("began"), gate.pass());
        let more = r#"uid: "nobody", notify_signal: "HUP", description: "named""#;
        sandbox.config("app.twc", watch("/n", &exec(&format!("{action}; {}", journal.note("ended"))), more));
        let set = capabilities.iter().fold("-all".to_owned(), |set, name| format!("{set},+{name}"));
        let _daemon =
            sandbox.daemon().under(["setpriv", "--bounding-set", &set, "--inh-caps=-all", "--"]).start();
        journal.wait_for(&["began"]);
        sandbox.nodes.set("/n", "2");
        if signalled {
            journal.wait_for(&["began", "signalled"]);
        } else {
            wait_until("the update to be seen", || {
                sandbox.operator(["status", "named"]).finish().text().contains("waiting")
            });
        }
        gate.open();
        let mut expected = vec!["began", "signalled", "ended", "began", "ended"];
        expected.retain(|line| signalled || *line != "signalled");
        journal.wait_for(&expected);
    }
}

// Without SETPCAP, the bounding set stays as it is. Still the process of the store has one capability only.
#[test]
fn with_the_capabilities_of_the_drop_in_a_directory_of_roots_is_read_without_roots_id() {
    require_root();
    let granted = granted();
    let without: Vec<_> = granted.iter().filter(|name| *name != "dac_read_search").cloned().collect();
    for (capabilities, has_it) in [(granted, true), (without, false)] {
        let sandbox = Sandbox::directory();
        let journal = sandbox.journal();
        sandbox.nodes.set("/n", "content");
        sandbox.config("app.twc", watch("/n", &exec(&journal.record()), ""));
        let set = capabilities.iter().fold("-all".to_owned(), |set, name| format!("{set},+{name}"));
        let bounds = ["setpriv", "--bounding-set", &set, "--inh-caps=-all", "--no-new-privs", "--"];
        let daemon = sandbox.daemon().under(bounds).start();
        journal.wait_for(&["content"]);
        let [half] = daemon.process().halves()[..] else { panic!("one process of the store") };
        assert_eq!(half.status("Uid").starts_with("0\t"), !has_it);
        let expected = if has_it { "0000000000000004" } else { "0000000000000000" };
        assert_eq!(
            (half.status("CapEff"), half.status("CapPrm")),
            (expected.to_owned(), expected.to_owned())
        );
    }
}
