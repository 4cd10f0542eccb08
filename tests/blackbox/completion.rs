//! The completion of names of watches, runs, nodes, stores and commits' keys, in real shells with the shipped
//! scripts.

use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{
    CommitServer, Proxy, Sandbox, Server, ZooKeeper, command, exec, on_every_store, wait_until, watch,
};

const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/completions");

/// Completes a line in an interactive zsh.
const ZSH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/blackbox/zsh_offers.zsh");

/// Returns what this shell prints, in which `twitcher` is the binary under test.
#[track_caller]
fn printed<'a>(sandbox: &Sandbox, shell: &str, arguments: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let programs = sandbox.path("bin");
    if !programs.exists() {
        std::fs::create_dir(&programs).unwrap();
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_twitcher"), programs.join("twitcher")).unwrap();
    }
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let output = command(shell)
        .args(arguments)
        .current_dir(sandbox.root())
        .env("HOME", sandbox.root())
        .env("PATH", path)
        .env("TERM", "xterm")
        .env("TWITCHER_STORE", sandbox.nodes.url())
        .env("TWITCHER_CONFIG_PATH", sandbox.configs())
        .env("TWITCHER_CONTROL_SOCKET", sandbox.control_socket())
        .output()
        .expect(shell);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "it is silent");
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

/// Returns what bash offers for this line.
#[track_caller]
fn offered(sandbox: &Sandbox, line: &str) -> Vec<String> {
    // As readline does: words end at white space and at a colon, which is a word of its own.
    let script = r#"
        source "$1"
        COMP_LINE=$2 COMP_POINT=${#2}
        read -ra COMP_WORDS <<<"${2//:/ : }"
        [[ $2 == *[[:space:]:] ]] && COMP_WORDS+=("")
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        registered=$(complete -p twitcher); function=${registered##*-F }; function=${function%% *}
        "$function" twitcher "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let source = format!("{SCRIPTS}/twitcher.bash");
    printed(sandbox, "bash", ["--norc", "-c", script, "bash", &source, line])
}

/// Waits until a shell offers these words. A busy machine may take too long for one answer of the daemon.
#[track_caller]
fn wait_for_offer(
    shell: fn(&Sandbox, &str) -> Vec<String>,
    sandbox: &Sandbox,
    line: &str,
    expected: &[&str],
) {
    wait_until(&format!("{expected:?} for {line}"), || {
        let offered = shell(sandbox, line);
        // A late answer is none. Nothing else is ever offered.
        assert!(offered == expected || offered.concat().is_empty(), "{line}: {offered:?}");
        offered == expected
    });
}

/// Returns what zsh offers for this line.
#[track_caller]
fn zsh(sandbox: &Sandbox, line: &str) -> Vec<String> {
    assert_installed("zsh");
    let directory = sandbox.path("zsh");
    std::fs::create_dir_all(&directory).expect("create a directory");
    std::fs::copy(format!("{SCRIPTS}/_twitcher"), directory.join("_twitcher")).expect("copy the script");
    printed(sandbox, "zsh", ["-f", ZSH, directory.to_str().unwrap(), line])
}

/// Returns the words that fish offers for this line.
#[track_caller]
fn fish(sandbox: &Sandbox, line: &str) -> Vec<String> {
    assert_installed("fish");
    let script = format!("source {SCRIPTS}/twitcher.fish; complete -C {line:?}");
    let lines = printed(sandbox, "fish", ["--no-config", "-c", &script]);
    let mut words: Vec<String> =
        lines.iter().filter_map(|line| line.split('\t').next()).map(str::to_owned).collect();
    words.sort();
    words
}

#[track_caller]
fn assert_installed(shell: &str) {
    let found = command("sh").args(["-c", "type \"$1\"", "sh", shell]).output().expect("sh").status.success();
    assert!(found, "there is no {shell}; tests/run installs it");
}

on_every_store!(bash_completes_the_paths_of_nodes);
fn bash_completes_the_paths_of_nodes(sandbox: &Sandbox) {
    for node in ["/git/head", "/git/hash", "/services/a b", "/other"] {
        sandbox.nodes.set(node, "");
    }
    assert_eq!(offered(sandbox, "twitcher get /"), ["/git", "/other", "/services"]);
    assert_eq!(offered(sandbox, "twitcher get /g"), ["/git/"], "it goes on below");
    assert_eq!(offered(sandbox, "twitcher set /git/h"), ["/git/hash", "/git/head"]);
    assert_eq!(offered(sandbox, "twitcher rm --recursive /git/hea"), ["/git/head"]);
    assert_eq!(offered(sandbox, "twitcher ls /services/"), ["/services/a\\ b"]);
    // What is no name is completed as before.
    assert_eq!(offered(sandbox, "twitcher get --js"), ["--json"]);
    assert!(offered(sandbox, "twitcher ").contains(&"status".to_owned()));
}

// "shell completion of watch, service and store names (asked of the daemon)"
#[test]
fn the_names_of_services_are_completed_where_a_command_takes_them() {
    let sandbox = Sandbox::directory();
    let service = |name: &str| {
        format!(
            "RegisterService(#{{ service: \"/services/web\", address: {name:?}, description: {name:?} }});\n"
        )
    };
    let watch = watch("/n", &exec("true"), "description: \"watch\"");
    sandbox.config("web.twc", [watch, service("one"), service("two")].concat());
    let daemon = sandbox.start();
    daemon.wait_for_log(&["configs loaded"]);
    let all = ["web.twc:one", "web.twc:two", "web.twc:watch"];
    for command in ["status", "pause", "resume", "history"] {
        wait_for_offer(offered, &sandbox, &format!("twitcher {command} web"), &all);
    }
    wait_for_offer(offered, &sandbox, "twitcher pause web.twc:t", &["two"]);
    wait_for_offer(offered, &sandbox, "twitcher resume o", &["one"]);
    // They run nothing.
    for command in ["trigger", "kill"] {
        wait_for_offer(offered, &sandbox, &format!("twitcher {command} web"), &["web.twc:watch"]);
    }
    for shell in [zsh, fish] {
        wait_for_offer(shell, &sandbox, "twitcher pause web.twc:o", &["web.twc:one"]);
    }
    sandbox.nodes.set("/services/db/a", "");
    assert_eq!(offered(&sandbox, "twitcher services /services/d"), ["/services/db/"]);
    assert_eq!(offered(&sandbox, "twitcher register /services/d"), ["/services/db/"]);
}

#[test]
fn bash_completes_the_names_of_watches() {
    let sandbox = Sandbox::directory();
    let named = |name: &str| watch("/n", &exec("true"), &format!("description: {name:?}"));
    sandbox.config("git.twc", [named("deploy"), named("drain"), named("two words")].concat());
    sandbox.config("app.twc", named("only"));
    let daemon = sandbox.start();
    daemon.wait_for_log(&["configs loaded"]);
    let all = ["git.twc:deploy", "git.twc:drain", "git.twc:two\\ words"];
    wait_for_offer(offered, &sandbox, "twitcher status gi", &all);
    // Bash replaces what stands behind the colon.
    wait_for_offer(offered, &sandbox, "twitcher pause git.twc:d", &["deploy", "drain"]);
    wait_for_offer(offered, &sandbox, "twitcher trigger git.twc:", &["deploy", "drain", "two\\ words"]);
    wait_for_offer(offered, &sandbox, "twitcher history on", &["only"]);
}

// Like those of watches: asked of the server, in 100 ms, silent where there is none.
#[test]
fn the_keys_of_commits_are_completed_and_removed_ones_where_they_have_a_history() {
    let (sandbox, mut server) = (Sandbox::directory(), CommitServer::diary(""));
    for key in ["gone", "old%20one", "ports", "ports.eu"] {
        assert_eq!(server.save(key, 1, b"x").status, 200);
    }
    let removal = [("X-Rainer-Author", "eva"), ("X-Rainer-Empty", "Yes")];
    assert_eq!(server.ask("POST", "/diary/gone/2", &removal, b"").status, 200);
    sandbox.settings(&format!("[commits]\nurl = \"{}\"\n", server.url()));
    for command in ["show", "log", "diff", "save", "edit", "revert", "remove"] {
        wait_for_offer(offered, &sandbox, &format!("twitcher commits {command} po"), &["ports", "ports.eu"]);
    }
    wait_for_offer(offered, &sandbox, "twitcher commits save -m why ol", &["old\\ one"]);
    for command in ["log", "diff", "revert"] {
        wait_for_offer(offered, &sandbox, &format!("twitcher commits {command} g"), &["gone"]);
    }
    assert_eq!(offered(&sandbox, "twitcher commits edit g"), [""]);
    for shell in [zsh, fish] {
        wait_for_offer(shell, &sandbox, "twitcher commits show ports.", &["ports.eu"]);
        wait_for_offer(shell, &sandbox, "twitcher commits log ol", &["old one"]);
    }
    let elsewhere = format!("twitcher commits show --url http://{}/none p", server.address);
    assert_eq!(offered(&sandbox, &elsewhere), [""]);
    server.kill();
    assert_eq!(offered(&sandbox, "twitcher commits show po"), [""]);
}

// "quickly, silently, with a short deadline, never blocking a shell for more than a second"
#[test]
fn a_shell_does_not_wait_for_a_store_or_a_daemon_that_is_not_there() {
    let sandbox = Sandbox::directory();
    let silent = Proxy::to(&ZooKeeper::shared().address());
    silent.stall();
    for address in [silent.address(), ZooKeeper::stopped().address()] {
        let began = Instant::now();
        offered(&sandbox, &format!("twitcher get --store zk://{address} /"));
        // The session timeout of 10 s was not waited for.
        assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
    }
    offered(&sandbox, "twitcher pause ");
}

// "completion of names", in all shells whose scripts are shipped.
#[test]
fn zsh_and_fish_complete_commands_names_and_stores_and_no_files_among_names() {
    let sandbox = Sandbox::directory();
    let named = |name: &str| watch("/git/head", &exec("true"), &format!("description: {name:?}"));
    sandbox.config("git.twc", [named("deploy"), named("drain"), named("two words")].concat());
    sandbox.settings(&format!("[stores.eu]\nurl = \"{}\"\n", sandbox.nodes.url()));
    for node in ["/git/head", "/git/hash", "/services/a b"] {
        sandbox.nodes.set(node, "");
    }
    let daemon = sandbox.start();
    daemon.wait_for_log(&["configs loaded"]);
    std::fs::write(sandbox.root().join("git.file"), "").expect("write a file");
    let cases: &[(&str, &[&str])] = &[
        ("twitcher pau", &["pause"]),
        ("twitcher pause git.twc:d", &["git.twc:deploy", "git.twc:drain"]),
        ("twitcher pause git.twc:tw", &["git.twc:two words"]),
        ("twitcher trigger gi", &["git.twc:deploy", "git.twc:drain", "git.twc:two words"]),
        ("twitcher kill git.f", &[]),
        ("twitcher get /g", &["/git/"]),
        ("twitcher get /git/h", &["/git/hash", "/git/head"]),
        ("twitcher ls /services/", &["/services/a b"]),
        ("twitcher get --store e", &["eu"]),
        ("twitcher get --jso", &["--json"]),
    ];
    for (line, expected) in cases {
        for shell in [zsh, fish] {
            wait_for_offer(shell, &sandbox, line, expected);
        }
    }
    assert_eq!(offered(&sandbox, "twitcher get --store e"), ["eu"]);
    assert_eq!(offered(&sandbox, "twitcher kill git.f"), [""], "nothing");
    wait_until("runs and watches", || {
        let runs = offered(&sandbox, "twitcher logs ");
        runs.iter().any(|run| run.ends_with("-1")) && runs.iter().any(|name| name == "git.twc:drain")
    });
}

// A shell asks at each press of a key.
#[test]
fn a_completion_without_a_daemon_is_silent() {
    let sandbox = Sandbox::directory();
    for line in ["twitcher pause ", "twitcher logs ", "twitcher check ", "twitcher commits show "] {
        let said = printed(&sandbox, "sh", ["-c", "twitcher complete \"$1\" || true", "sh", line]);
        assert_eq!(said, [""; 0], "{line}");
    }
}

// "asked of the daemon, in 100 ms, silent where there is none"
#[test]
fn a_completion_does_not_wait_for_a_daemon_that_does_not_answer() {
    let sandbox = Sandbox::directory();
    let listener = UnixListener::bind(sandbox.control_socket()).expect("bind the socket");
    let accepted = Arc::new(AtomicUsize::new(0));
    let count = accepted.clone();
    // It ends with the tests: a thread that accepts cannot be told to stop.
    thread::spawn(move || {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept() {
            held.push(stream);
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    let socket = sandbox.control_socket();
    sandbox.settings(&format!("[commits]\nurl = \"unix:{}:/diary\"\n", socket.display()));
    for line in ["twitcher trigger ", "twitcher pause ", "twitcher logs ", "twitcher commits show "] {
        // Everything that completes anything ends after 0.7 s, and a busy machine may take longer.
        wait_until("an end before that of all completions", || {
            let began = Instant::now();
            let said = printed(&sandbox, "sh", ["-c", "exec twitcher complete \"$1\"", "sh", line]);
            assert_eq!(said, [""; 0], "{line}");
            began.elapsed() < Duration::from_millis(600)
        });
    }
    assert!(accepted.load(Ordering::Relaxed) >= 4, "the daemon was asked, and the server of commits");
}
