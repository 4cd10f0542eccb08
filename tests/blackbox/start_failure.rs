//! "A command that cannot be started is an error of that run": one cause, one message, with what it concerns
//! and the remedy.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::harness::{STRANGER, Sandbox, exec, require_root, set_mode, watch};

/// The text of an `Exec` action that runs exactly this program.
fn program(path: &Path) -> String {
    format!("Exec([{path:?}])")
}

// The kernel says `No such file` of each of the first, though the file is there.
#[test]
fn what_keeps_a_program_from_being_executed_is_found_and_said() {
    require_root();
    let sandbox = Sandbox::directory();
    sandbox.nodes.set("/n", "1");
    let at = |name: &str| sandbox.path(name);
    let shown = |name: &str| at(name).display().to_string();

    sandbox.executable("windows", "#!/bin/sh\r\necho hi\r\n");
    sandbox.executable("alien", "#!/no/such/interpreter -x\n");
    sandbox.executable("relative", "#!sh\n");
    sandbox.executable("inner", "#!/no/such/inner\n");
    sandbox.executable("nested", &format!("#!{}\n", shown("inner")));
    sandbox.executable("plain", "#!/bin/sh\n");
    set_mode(&at("plain"), 0o644);
    sandbox.executable("by-plain", &format!("#!{}\n", shown("plain")));
    fs::create_dir(at("closed")).expect("make a directory");
    sandbox.executable("closed/inside", "#!/bin/sh\n");
    set_mode(&at("closed"), 0o700);
    symlink(at("nowhere"), at("dangling")).expect("make a link");
    let binary = fs::read("/bin/true").expect("a program");
    let altered = |name: &str, change: &dyn Fn(&mut Vec<u8>)| {
        let mut copy = binary.clone();
        change(&mut copy);
        fs::write(at(name), copy).expect("write a program");
        set_mode(&at(name), 0o755);
    };
    // The field of the machine: MIPS. The loader's name, wherever it stands.
    altered("mips", &|binary| binary[18..20].copy_from_slice(&8u16.to_ne_bytes()));
    altered("loaderless", &|binary| {
        let at = binary.windows(4).position(|four| four == b"/lib").expect("a loader");
        binary[at + 1] = b'L';
    });

    let cases: Vec<(&str, String, &str, Vec<String>)> = vec![
        (
            "windows",
            program(&at("windows")),
            "",
            vec!["names the interpreter /bin/sh\\r".into(), "sed -i".into()],
        ),
        ("alien", program(&at("alien")), "", vec!["interpreter /no/such/interpreter, which does not".into()]),
        ("relative", program(&at("relative")), "", vec!["interpreter sh, which".into()]),
        (
            "nested",
            program(&at("nested")),
            "",
            vec!["interpreter /no/such/inner, which does not exist".into()],
        ),
        ("mips", program(&at("mips")), "", vec!["was built for MIPS, and this machine is".into()]),
        ("loaderless", program(&at("loaderless")), "", vec!["needs the loader /Lib".into()]),
        ("plain", program(&at("plain")), "", vec![format!("may not execute {} (mode 0644", shown("plain"))]),
        ("by-plain", program(&at("by-plain")), "", vec![format!("may not execute {} (mode", shown("plain"))]),
        (
            "closed",
            program(&at("closed/inside")),
            "uid: \"nobody\",",
            vec![format!("user nobody may not enter {} (mode 0700", shown("closed"))],
        ),
        ("dangling", program(&at("dangling")), "", vec![format!("a link to {}, which", shown("nowhere"))]),
        ("missing", program(&at("gone/away")), "", vec![format!("{} does not exist either", shown("gone"))]),
        ("directory", program(&at("closed")), "", vec![format!("{} is a directory", shown("closed"))]),
        (
            "unfound",
            "Exec([\"no-such-word\"])".into(),
            "",
            vec!["it is in none of".into(), "/usr/bin".into()],
        ),
        (
            "large",
            format!("{{ let x = \"x\"; x.pad(120000, \"x\"); Exec([\"/bin/true\"{}]) }}", ", x".repeat(30)),
            "",
            vec!["have 3600".into(), "the longest 120001".into()],
        ),
        ("cwd", exec("true"), "cwd: \"/no/such/directory\",", vec!["/no does not exist either".into()]),
    ];
    let config: String = cases
        .iter()
        .map(|(name, action, keys, _)| watch("/n", action, &format!("{keys} description: {name:?}")))
        .collect();
    sandbox.config("app.twc", config);
    let daemon = sandbox.start();
    for (name, _, _, parts) in &cases {
        let of = format!("app.twc:{name} run");
        let parts: Vec<&str> =
            [of.as_str(), "cannot start"].into_iter().chain(parts.iter().map(String::as_str)).collect();
        daemon.wait_for_log(&parts);
    }
}

#[test]
fn a_file_system_without_execution_is_named() {
    require_root();
    let sandbox = Sandbox::directory();
    sandbox.nodes.set("/n", "1");
    let here = sandbox.path("noexec");
    fs::create_dir(&here).expect("make a directory");
    sandbox.config("app.twc", watch("/n", &program(&here.join("script")), ""));
    let mount = format!(
        "mount -t tmpfs -o noexec tmpfs {0} && printf '#!/bin/sh\\n' > {0}/script && chmod 755 {0}/script && \
         exec \"$@\"",
        here.display()
    );
    let daemon = sandbox.daemon().under(["unshare", "--mount", "sh", "-c", &mount, "sh"]).start();
    daemon.wait_for_log(&["app.twc-1 run", "cannot start", "mounted noexec"]);
}

// A rootless container with one id.
#[test]
fn a_user_namespace_without_the_user_is_named_and_not_the_program() {
    require_root();
    let sandbox = Sandbox::directory();
    sandbox.nodes.set("/n", "1");
    sandbox.config("app.twc", watch("/n", &exec("true"), "uid: \"nobody\""));
    let daemon = sandbox.daemon().under(["unshare", "--user", "--map-root-user", "--"]).start();
    daemon.wait_for_log(&[
        "app.twc-1 run",
        "becoming nobody (uid 65534)",
        "the user namespace of the daemon",
    ]);
}

#[test]
fn a_daemon_that_may_not_change_users_says_what_it_lacks() {
    require_root();
    let sandbox = Sandbox::directory();
    sandbox.nodes.set("/n", "1");
    sandbox.config("app.twc", watch("/n", &exec("true"), "uid: \"nobody\""));
    let bounds = ["setpriv", "--bounding-set", "-setuid", "--inh-caps=-all", "--no-new-privs", "--"];
    let daemon = sandbox.daemon().under(bounds).start();
    daemon.wait_for_log(&["app.twc-1 run", "becoming nobody (uid 65534)", "it needs CAP_SETUID"]);
}

#[test]
fn a_user_without_free_processes_is_named() {
    require_root();
    let sandbox = Sandbox::directory();
    sandbox.nodes.set("/n", "1");
    let keys = |name: &str| format!("uid: {STRANGER:?}, description: {name:?}");
    let sleep = |name: &str| watch("/n", &exec("exec sleep 1000"), &keys(name));
    sandbox.config("app.twc", sleep("first") + &*sleep("other"));
    let daemon = sandbox.daemon_with_a_stranger();
    // Without this capability, the store's process is root, which has no such limit. The user that it would
    // be may have other processes on this machine.
    let bounds = ["setpriv", "--bounding-set", "-dac_read_search", "--inh-caps=-all", "--"];
    let daemon = daemon.arg("-v").under(["prlimit", "--nproc=1:1", "--"]).under(bounds).start();
    daemon.wait_for_log(&["app.twc:first run", "started"]);
    daemon.wait_for_log(&["app.twc:other run", "started"]);
    sandbox.config("more.twc", watch("/n", &exec("true"), &keys("second")));
    let what = format!("user {STRANGER} has as many processes as its limit allows");
    daemon.wait_for_log(&["more.twc:second run", "cannot start", &what]);
}
