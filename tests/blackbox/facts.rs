//! `hostname()` and `env("X")`: what a config can learn about its host.

use std::fs;

use nix::sys::signal::Signal;

use crate::harness::{Journal, Sandbox, command, exec, require_root, wait_for, wait_until, watch};

fn sandbox() -> (Sandbox, Journal) {
    let sandbox = Sandbox::directory();
    sandbox.nodes.set("/n", "content");
    let journal = sandbox.journal();
    (sandbox, journal)
}

fn hostname() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname").expect("read the host's name").trim().to_owned()
}

/// An action that notes the value of this expression of the config.
fn noting(journal: &Journal, expression: &str) -> String {
    format!(r#"Exec(["/bin/sh", "-c", "printf '%s\\n' \"$1\" >> {}", "sh", {expression}])"#, journal.path())
}

#[test]
fn a_config_knows_its_host_and_the_daemons_environment() {
    let (sandbox, journal) = sandbox();
    let facts =
        r#"`${hostname()} ${env("SITE")} ${env("NONE") == ()} ${env("NONE", "some")} ${env("SITE", "x")}`"#;
    sandbox.config("app.twc", watch("/n", &noting(&journal, facts), ""));
    let _daemon = sandbox.daemon().env("SITE", "berlin").start();
    journal.wait_for(&[&format!("{} berlin true some berlin", hostname())]);
}

// "Function actions ... must get the values as loaded", and in the body "`env("X")` reads the action's own
// environment".
#[test]
fn a_function_captures_the_facts_as_loaded_and_sees_its_own_environment() {
    let (sandbox, journal) = sandbox();
    let body = format!(
        r#"|event| {{
            let said = `${{site}} ${{hostname()}} ${{env("SITE")}} ${{env("OWN")}} ${{env("USER")}}`;
            run(["/bin/sh", "-c", "printf '%s\\n' \"$1\" >> {}", "sh", said]).code
        }}"#,
        journal.path()
    );
    let text = format!("let site = env(\"SITE\");\n{}", watch("/n", &body, r#"env: #{ OWN: "mine" }"#));
    sandbox.config("app.twc", text);
    let _daemon = sandbox.daemon().env("SITE", "berlin").start();
    journal.wait_for(&[&format!("berlin {}  mine root", hostname())]);
}

#[test]
fn check_uses_its_own_environment() {
    let (sandbox, _) = sandbox();
    sandbox.config("app.twc", watch("/n", &exec("true"), r#"description: env("NAME")"#));
    let check = || sandbox.twitcher(["check", "--explain"]).arg(sandbox.configs());
    check().env("NAME", "given").finish().expect(0).expect_said(&["app.twc:given\n"]);
    check().finish().expect(1).expect_said(&["`description` must be a string, not nothing ()"]);
}

// "A changed hostname is noticed at the next scan."
#[test]
fn a_host_that_is_renamed_gets_the_watches_of_its_new_name() {
    require_root();
    let (sandbox, journal) = sandbox();
    sandbox.config("app.twc", watch("/n", &noting(&journal, "hostname()"), ""));
    sandbox.config("other.twc", watch("/n", &exec(&journal.note("other")), ""));
    // The daemon has a host name of its own, which can change without renaming the machine.
    let rename = "echo first > /proc/sys/kernel/hostname; exec \"$@\"";
    let daemon = sandbox.daemon().under(["unshare", "--uts", "sh", "-c", rename, "sh"]).start();
    wait_until("both", || journal.lines().len() == 2);
    journal.wait_for_line("first");
    let uts = format!("--uts=/proc/{}/ns/uts", daemon.process().0);
    let renamed =
        command("nsenter").args([&uts, "sh", "-c", "echo second > /proc/sys/kernel/hostname"]).status();
    assert!(renamed.expect("run nsenter").success());
    daemon.signal(Signal::SIGHUP);
    journal.wait_for_line("second");
    wait_for("the other file to be loaded again", || {
        daemon.log_lines(&["other.twc: loaded, 0 added, 0 changed"]).pop()
    });
    assert_eq!(journal.count("other"), 1, "it does not ask for the name");
}

#[test]
fn env_with_an_invalid_name_is_an_error() {
    let (sandbox, _) = sandbox();
    sandbox.config("app.twc", "let x = 1;\n  env(\"A B\");");
    let check = sandbox.twitcher(["check"]).arg(sandbox.configs()).finish();
    check
        .expect(1)
        .expect_said(&["app.twc:2:3: `env`: \"A B\" is not a valid name of an environment variable"]);
}

// "constants, functions that return maps for RegisterWatch, and functions that call RegisterWatch themselves
// work from a module"
#[test]
fn a_module_can_hold_what_many_configs_share() {
    let (sandbox, journal) = sandbox();
    let module = format!(
        "export const NODE = \"/n\";\n\
         fn usual() {{ #{{ env: #{{ SITE: env(\"SITE\") }}, cwd: \"/tmp\", run_mode: DISCARD }} }}\n\
         fn notes(name) {{\n  \
             RegisterWatch(usual() + #{{ znode: \"/n\", description: name, action: {} }});\n\
         }}\n",
        exec(&journal.note("$TWITCHER_WATCH $SITE $PWD"))
    );
    sandbox.config("lib/usual.rhai", module);
    let config = format!(
        "import \"lib/usual\" as usual;\nusual::notes(\"one\");\nusual::notes(\"two\");\n\
         RegisterWatch(usual::usual() + #{{ znode: usual::NODE, description: \"three\", action: {} }});",
        exec(&journal.note("$TWITCHER_WATCH $SITE $PWD"))
    );
    sandbox.config("app.twc", config);
    let _daemon = sandbox.daemon().env("SITE", "berlin").start();
    for name in ["one", "two", "three"] {
        journal.wait_for_line(&format!("{name} berlin /tmp"));
    }
}
