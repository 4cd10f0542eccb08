//! The command line of the daemon and of `check`.

use std::fs;

use crate::harness::{Journal, Nodes, Sandbox, ZooKeeper, exec, wait_until, watch};

/// A sandbox on ZooKeeper with one watch, which journals the content of `/n`.
fn sandbox() -> (Sandbox, Journal) {
    let sandbox = Sandbox::zookeeper();
    let journal = sandbox.journal();
    sandbox.nodes.set("/n", "content");
    sandbox.config("app.twc", watch("/n", &exec(&journal.record()), ""));
    (sandbox, journal)
}

// "The original's spellings work too: `--config_path`, `--log_to_stdout`, `--logfile`, `--pidfile`, and the
// call with flags and no subcommand (= `run`)", and its `--zkservers`.
#[test]
fn the_originals_spellings_without_a_subcommand_work() {
    let (sandbox, journal) = sandbox();
    let Nodes::ZooKeeper { address, root } = &sandbox.nodes else { unreachable!() };
    let config = watch(&format!("{root}/n"), &exec(&journal.record()), "");
    sandbox.config("app.twc", &config);
    let flags = || {
        sandbox
            .twitcher(["--zkservers", address])
            .arg(format!("--config_path={}", sandbox.configs().display()))
            .arg("--state-dir")
            .arg(sandbox.state())
            .arg(format!("--pidfile={}", sandbox.path("pid").display()))
    };
    let mut daemon = flags().arg("--log_to_stdout").start();
    journal.wait_for(&["content"]);
    daemon.wait_for_log(&["app.twc"]);
    assert_eq!(sandbox.read_text("pid").trim(), daemon.process().0.to_string());
    daemon.stop();
    let log = sandbox.path("log");
    let _daemon = flags().arg("--logfile").arg(&log).start();
    wait_until("the log file", || fs::read_to_string(&log).is_ok_and(|log| log.contains("app.twc")));
}

#[test]
fn a_daemon_that_is_called_wrongly_exits_2() {
    let sandbox = Sandbox::directory();
    for wrong in [
        ["run", "--no-such-flag"],
        ["--no-such-flag", "--log-to-stdout"],
        ["run", "--session-timeout=never"],
        ["run", "--store=nonsense"],
    ] {
        sandbox.twitcher(wrong).finish().expect(2);
    }
}

#[test]
fn help_and_version_exit_0() {
    let sandbox = Sandbox::directory();
    sandbox
        .twitcher(["--help"])
        .finish()
        .expect(0)
        .expect_said(&["run", "check", "get", "set", "poke", "ls", "rm", "watch"]);
    sandbox.twitcher(["--version"]).finish().expect(0).expect_said(&[env!("CARGO_PKG_VERSION")]);
}

#[test]
fn a_mistyped_command_gets_no_suggestion_that_is_not_for_users() {
    let sandbox = Sandbox::directory();
    for wrong in ["create", "evaluat", "drian", "acts", "evaluation"] {
        let refused = sandbox.twitcher([wrong, "/n"]).finish().expect(2);
        refused.expect_said(&[&format!("unrecognized subcommand '{wrong}'")]);
        let hidden = ["'evaluate'", "'drain'", "'act'"];
        assert!(!hidden.iter().any(|name| refused.stderr.contains(name)), "{refused:?}");
    }
    sandbox.twitcher(["statsu"]).finish().expect(2).expect_said(&["similar", "'status'"]);
}

#[test]
fn the_usage_of_each_command_names_the_binary_that_was_called() {
    let sandbox = Sandbox::directory();
    let renamed = sandbox.path("tw");
    std::os::unix::fs::symlink(sandbox.copy_of_the_binary(), &renamed).expect("link the binary");
    for command in ["run", "check", "get", "set", "poke", "ls", "rm", "watch", "status", "trigger", "logs"] {
        let help = sandbox.twitcher([command, "--help"]).binary(&renamed).finish().expect(0);
        help.expect_said(&[&format!("Usage: tw {command} ")]);
    }
    let refused = sandbox.twitcher(["set", "--nonsense"]).binary(&renamed).finish().expect(2);
    refused.expect_said(&["Usage: tw set [OPTIONS] <NODE> <DATA | - | --empty | --acl ACL>"]);
}

#[test]
fn a_missing_config_directory_exits_1_and_is_named() {
    let sandbox = Sandbox::directory();
    fs::remove_dir(sandbox.configs()).expect("remove the config directory");
    let finished = sandbox.daemon().finish().expect(1);
    assert!(finished.stderr.contains("configs"), "{finished:?}");
}

// "`TWITCHER_STORE` and `TWITCHER_CONFIG_PATH` stand for the flags"
#[test]
fn the_environment_stands_for_the_flags() {
    let (sandbox, journal) = sandbox();
    let run = sandbox.twitcher(["run", "--log-to-stdout"]).arg("--state-dir").arg(sandbox.state());
    let environment =
        run.env("TWITCHER_STORE", sandbox.nodes.url()).env("TWITCHER_CONFIG_PATH", sandbox.configs());
    let _daemon = environment.start();
    journal.wait_for(&["content"]);
    let get = sandbox.twitcher(["get", "/n"]).env("TWITCHER_STORE", sandbox.nodes.url()).finish();
    assert_eq!(get.expect(0).stdout, b"content");
}

// "(flags win over environment, environment over file)"
#[test]
fn flags_win_over_the_environment_and_the_environment_over_the_file() {
    let (right, journal) = sandbox();
    let wrong = Sandbox::directory();
    wrong.nodes.set("/n", "from the wrong store");
    let file = |nodes: &Nodes| {
        fs::write(right.configs().join("twitcher.toml"), format!("store = {:?}\n", nodes.url()))
            .expect("write");
    };
    let mut lines = 0;
    let mut works = |daemon: crate::harness::Twitcher| {
        let _daemon = daemon.start();
        lines += 1;
        wait_until("a run", || journal.lines().len() == lines);
        assert_eq!(journal.count("content"), lines);
    };
    file(&wrong.nodes);
    works(right.daemon().env("TWITCHER_STORE", wrong.nodes.url()));
    works(right.daemon_without_store().env("TWITCHER_STORE", right.nodes.url()));
    file(&right.nodes);
    works(right.daemon_without_store());
}

// "/etc/default/twitcher (the original's `ZKSERVERS` honoured)": TWITCHER_STORE wins over it, and it wins
// over twitcher.toml. Clients and children of the daemon do not see it.
#[test]
fn the_originals_variable_is_honoured_by_the_daemon_alone() {
    let sandbox = Sandbox::zookeeper();
    let Nodes::ZooKeeper { address, root } = &sandbox.nodes else { unreachable!() };
    let servers = format!("{address}{root}");
    let wrong = Sandbox::directory();
    let journal = sandbox.journal();
    sandbox.nodes.set("/n", "right");
    wrong.nodes.set("/n", "wrong");
    let script = format!("echo $(cat)${{ZKSERVERS-}} >> {}", journal.path());
    sandbox.config("app.twc", watch("/n", &exec(&script), ""));
    let settings = sandbox.configs().join("twitcher.toml");
    let mut runs = Vec::new();
    let mut runs_with = |daemon: crate::harness::Twitcher, expected| {
        let _daemon = daemon.start();
        runs.push(expected);
        wait_until("a run", || journal.lines().len() >= runs.len());
        assert_eq!(journal.lines(), runs);
    };
    let elsewhere = format!("store = {:?}\n", wrong.nodes.url());
    fs::write(&settings, elsewhere).expect("write the settings");
    runs_with(sandbox.daemon_without_store().env("ZKSERVERS", &servers), "right");
    let both = sandbox.daemon_without_store().env("ZKSERVERS", &servers);
    runs_with(both.env("TWITCHER_STORE", wrong.nodes.url()), "wrong");
    // An empty value counts as none: /etc/default/twitcher may set it so.
    runs_with(sandbox.daemon_without_store().env("ZKSERVERS", ""), "wrong");

    let get = sandbox.twitcher(["get", "/n"]).env("ZKSERVERS", &servers);
    let get = get.env("TWITCHER_CONFIG_PATH", sandbox.configs()).finish();
    assert_eq!(get.expect(0).stdout, b"wrong");
    let refused = sandbox.daemon_without_store().env("ZKSERVERS", "zk://a:2181").finish().expect(1);
    assert!(refused.stderr.contains("ZKSERVERS: "), "{refused:?}");
}

// "daemon settings that hold secrets or lists live in `twitcher.toml`"
#[test]
fn a_wrong_settings_file_exits_1_and_is_named() {
    let sandbox = Sandbox::directory();
    for wrong in ["store = [", "no_such_setting = 1", "store = \"nonsense\""] {
        fs::write(sandbox.configs().join("twitcher.toml"), wrong).expect("write the settings");
        let finished = sandbox.daemon_without_store().finish().expect(1);
        assert!(finished.stderr.contains("twitcher.toml"), "{finished:?}");
    }
}

// "`twitcher check [PATH...]` validate .twc files; exit 1 and show where"
#[test]
fn check_takes_files_and_directories_and_shows_where_they_are_wrong() {
    let sandbox = Sandbox::directory();
    let good = watch("/n", &exec("true"), "");
    sandbox.config("good.twc", &good);
    sandbox.config("below/good.twc", &good);
    let check = |path: &str| sandbox.twitcher(["check"]).arg(sandbox.configs().join(path));
    check("").finish().expect(0);
    check("good.twc").finish().expect(0);
    sandbox.config("below/bad.twc", format!("{good}\n  RegisterWatch(#{{ znode: 3 }});\n"));
    check("").finish().expect(1).expect_said(&["below/bad.twc:3:3", "znode"]);
    check("good.twc").arg(sandbox.configs().join("below/bad.twc")).finish().expect(1);
    check("good.twc").finish().expect(0);
    check("missing.twc").finish().expect(1).expect_said(&["missing.twc"]);
    // Without a path, `check` checks the config directory.
    sandbox.twitcher(["check"]).env("TWITCHER_CONFIG_PATH", sandbox.configs()).finish().expect(1);
}

#[test]
fn every_shipped_example_is_valid() {
    let sandbox = Sandbox::directory();
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/etc/examples");
    sandbox.twitcher(["check", examples]).finish().expect(0);
}

// "session timeout 10 s", "[--session-timeout SECONDS]"
#[test]
fn the_session_timeout_is_asked_of_the_server() {
    let server = ZooKeeper::start();
    let sandbox = Sandbox::on(&server);
    let journal = sandbox.journal();
    sandbox.nodes.set("/n", "content");
    sandbox.config("app.twc", watch("/n", &exec(&journal.record()), ""));
    let _daemon = sandbox.daemon().args(["--session-timeout", "2"]).start();
    journal.wait_for(&["content"]);
    wait_until("the session of 2 s", || server.ask("cons").contains("to=2000,"));
}

// "Flags of the whole program are taken before and after the subcommand."
#[test]
fn the_flags_of_the_program_are_taken_before_and_after_the_subcommand() {
    let (sandbox, journal) = sandbox();
    let (store, socket) = (sandbox.nodes.url(), sandbox.control_socket().display().to_string());
    let configs = sandbox.configs().display().to_string();
    let (equals, state) = (format!("--store={store}"), sandbox.state().display().to_string());
    let run = ["--store", &store, "--config-path", &configs, "-v", "run", "--state-dir", &state];
    let mut daemon = sandbox.twitcher(run).args(["--control-socket", &socket, "--log-to-stdout"]).start();
    journal.wait_for(&["content"]);
    for get in [["--store", &store, "get", "/n"], ["get", "--store", &store, "/n"]] {
        assert_eq!(sandbox.twitcher(get).finish().expect(0).stdout, b"content", "{get:?}");
    }
    let get = sandbox.twitcher(["--session_timeout", "5", &equals, "get", "/n"]).finish().expect(0);
    assert_eq!(get.stdout, b"content");
    for status in [["--control-socket", &socket, "status"], ["status", "--control-socket", &socket]] {
        sandbox.twitcher(status).finish().expect(0).expect_said(&["WATCH"]);
    }
    // The directory of twitcher.toml, for every command that reads it.
    sandbox.settings(&format!("store = \"{store}\"\n[control]\nsocket = \"{socket}\"\n"));
    for command in [&["get", "/n"][..], &["status"], &["check"]] {
        let before = command
            .iter()
            .fold(sandbox.twitcher(["--config-path", &configs]), |so_far, word| so_far.arg(word));
        before.with_default_socket().finish().expect(0);
        let after = command.iter().fold(sandbox.twitcher([]), |so_far, word| so_far.arg(word));
        after.args(["--config-path", &configs]).with_default_socket().finish().expect(0);
    }
    let none = sandbox.twitcher(["get", "--config-path", "/missing", "/n"]).finish().expect(1);
    none.expect_said(&["/missing", "correct --config-path"]);
    // A flag that the command does not have is wrong before it, too.
    sandbox.twitcher(["--devel", "status"]).finish().expect(2).expect_said(&["'--devel'"]);
    sandbox.twitcher(["--json", "status"]).finish().expect(2).expect_said(&["'--json'"]);
    daemon.stop();
}

// "Colour in logs and errors on a terminal (NO_COLOR respected)"
#[test]
fn errors_have_a_colour_on_a_terminal() {
    let (sandbox, _) = sandbox();
    let get = || sandbox.client(["get", "/missing"]);
    let (code, shown) = get().finish_on_terminal(80);
    assert_eq!(code, Some(1));
    assert!(shown.contains("\u{1b}[1m\u{1b}[31mtwitcher:\u{1b}[0m "), "{shown:?}");
    // What a message quotes brings no colours.
    let (code, shown) = sandbox.client(["get", "\u{1b}[32mgreen"]).finish_on_terminal(80);
    assert_eq!(code, Some(2));
    assert!(shown.contains("\u{1b}[31merror:\u{1b}[0m ") && !shown.contains("\u{1b}[32m"), "{shown:?}");
    let (_, plain) = get().env("NO_COLOR", "1").finish_on_terminal(80);
    assert!(!plain.contains('\u{1b}') && plain.contains("twitcher: "), "{plain:?}");
    assert!(!get().finish().stderr.contains('\u{1b}'));
    sandbox.config("bad.twc", "RegisterWatch(#{ znod: 1 });");
    let (_, shown) = sandbox.twitcher(["check"]).arg(sandbox.configs()).finish_on_terminal(80);
    assert!(shown.contains(" \u{1b}[1m\u{1b}[31m^\u{1b}[0m"), "{shown:?}");
}

// A terminal would wrap a long line, and the caret would point to nothing.
#[test]
fn the_caret_below_a_long_line_points_to_the_mistake_on_a_terminal() {
    let (sandbox, _) = sandbox();
    let wide = "日本".repeat(20);
    let keys = [
        format!("description: \"{wide}\""),
        "tiemout: 3".into(),
        "action: Exec(\"true\"), cwd: \"/srv\"".into(),
    ];
    let spaces = " ".repeat(60);
    sandbox.config("long.twc", format!("RegisterWatch(#{{ znode: \"/n\",{spaces}{} }});", keys.join(", ")));
    let check = || sandbox.twitcher(["check"]).arg(sandbox.configs().join("long.twc"));
    for columns in [80, 40] {
        let (_, shown) = check().env("NO_COLOR", "1").finish_on_terminal(columns);
        let quoted: Vec<&str> = shown.lines().filter(|line| line.starts_with("  | ")).collect();
        let [code, caret] = quoted[..] else { panic!("{shown}") };
        let width = |text: &str| unicode_width::UnicodeWidthStr::width(text);
        assert!(
            width(code) <= columns.into() && code.ends_with('…') && code[4..].starts_with('…'),
            "{shown}"
        );
        let (before, _) = code.split_once("tiemout").unwrap_or_else(|| panic!("{shown}"));
        assert_eq!(width(before) + 1, width(caret), "{shown}");
    }
    let whole = check().finish().expect(1).stderr;
    assert!(whole.contains(&wide) && whole.contains(&spaces), "{whole}");
}

// Mistakes on the command line get a remedy, and no word of a parser.
#[test]
fn a_mistake_on_the_command_line_is_explained() {
    let sandbox = Sandbox::directory();
    for (arguments, said) in [
        (&["get", "--store", "zookeeper://a:1/x", "/n"][..], "did you mean zk://a:1/x?"),
        (&["get", "--store", "https://a:2379", "/n"], "did you mean etcd://a:2379?"),
        (&["get", "--store", "zk://a:1;b:2", "/n"], "write a comma between two servers"),
        (&["get", "--zkservers", "zk://a:1", "/n"], "--store takes a URL"),
        (&["get", "zk://a:1/n"], "is a URL; write only the path in the store"),
        (&["status", "--state", "faild"], "there are paused, stopped, running"),
        (&["status", "--state", "faild"], "did you mean `failed`?"),
        (&["history", "-n", "five"], "give a whole number of at least 0"),
        (&["tree", "/a", "--depth", "two"], "give a whole number of at least 1"),
        (&["watch", "/a", "--count", "-1"], "give a whole number of at least 1"),
        (&["set", "/a", "b", "--if-version", "x"], "give a whole number of at least 0"),
        (&["rm", "/a", "--if-version", "1e3"], "give a whole number of at least 0"),
        (&["history", "--since", "-2h"], "give a span such as 2h or 3d"),
        (&["pause", "x", "--for", "-5m"], "give a span such as 90s, 30m, 2h or 1d"),
    ] {
        let command = arguments.iter().fold(sandbox.twitcher([]), |command, word| command.arg(word));
        command.finish().expect(2).expect_said(&[said]);
    }
    let daemon = sandbox.start();
    daemon.wait_for_log(&["configs loaded"]);
    let refused = sandbox.operator(["trigger", "app*"]).finish().expect(1);
    refused.expect_said(&["patterns are for `status`, `pause` and `resume`"]);
    let unknown = sandbox.operator(["logs", "app.twc:a"]).finish().expect(1);
    unknown.expect_said(&["`twitcher logs -f` follows a watch"]);
}
