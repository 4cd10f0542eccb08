//! The tours of the documents: a reader who types what they say gets what they say.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::commits::page::Browser;
use crate::harness::ports::free_port;
use crate::harness::{Etcd, Sandbox, Server, Store, command, etcd_program, set_mode, wait_until};

/// A fenced block of a document.
struct Block<'a> {
    language: &'a str,
    text: String,
}

/// Returns the blocks of a document, or of its section with this heading.
fn blocks<'a>(document: &'a str, section: Option<&str>) -> Vec<Block<'a>> {
    let section = section.map_or(document, |heading| {
        let (_, rest) = document.split_once(&format!("\n## {heading}\n")).expect("the section");
        rest.split("\n## ").next().unwrap_or(rest)
    });
    let mut lines = section.lines();
    let mut found = Vec::new();
    while let Some(line) = lines.next() {
        let Some((indent, language)) = line.split_once("```") else { continue };
        let inside = lines.by_ref().take_while(|line| line.trim() != "```");
        let text = inside.flat_map(|line| [line.strip_prefix(indent).unwrap_or(line), "\n"]).collect();
        found.push(Block { language, text });
    }
    found
}

/// Makes the programs that a reader has: Twitcher, etcdctl and sudo.
fn install(sandbox: &Sandbox) {
    let programs = sandbox.root().join("bin");
    fs::create_dir(&programs).unwrap();
    symlink(env!("CARGO_BIN_EXE_twitcher"), programs.join("twitcher")).unwrap();
    symlink(etcd_program("etcdctl"), programs.join("etcdctl")).unwrap();
    fs::write(programs.join("sudo"), "#!/bin/sh\nexec \"$@\"\n").unwrap();
    set_mode(&programs.join("sudo"), 0o755);
}

/// Runs what a reader types, and returns what the terminal shows.
#[track_caller]
fn typed(sandbox: &Sandbox, text: &str, etcd: &str) -> String {
    let programs = sandbox.root().join("bin");
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap_or_default());
    let output = command("bash")
        .args(["-euc", text])
        .current_dir(sandbox.path(""))
        .env("PATH", path)
        .env("TWITCHER_CONFIG_PATH", sandbox.configs())
        .env("TWITCHER_CONTROL_SOCKET", sandbox.control_socket())
        .env("ETCDCTL_API", "3")
        .env("ETCDCTL_ENDPOINTS", etcd)
        .output()
        .expect("start bash");
    let shown =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(output.status.success(), "{text}{shown}");
    shown
}

#[test]
fn five_minutes_with_etcd() {
    let (server, sandbox) = (Etcd::start(), Sandbox::directory());
    install(&sandbox);
    let address = server.address();
    let readme = include_str!("../../README.md");
    let (mut daemon, mut all, mut commands) = (None, String::new(), 0);
    for Block { language, text } in blocks(readme, Some("Five minutes with etcd")) {
        match language {
            "toml" => sandbox.settings(&text.replace("localhost:2379", &address)),
            "rhai" => sandbox.config("web.twc", &text),
            "json" => sandbox.config("web.json", &text),
            "sh" if text.contains("apt-get") => {}
            "sh" if text == "sudo twitcher run --log-to-stdout\n" => {
                daemon = Some(sandbox.daemon_without_store().start());
            }
            "sh" => {
                all += &typed(&sandbox, &text, &address);
                commands += 1;
            }
            "text" => {
                daemon.as_ref().expect("a daemon").wait_for_log(&[text.trim_end()]);
            }
            other => panic!("what is a block of {other:?}?"),
        }
    }
    assert!(commands > 4, "{commands}");
    assert!(all.contains("\"succeeded\":true") && all.contains("/web/config"), "{all}");
    assert!(all.contains("0 nodes created, 0 changed, 0 removed; 2 the same"), "{all}");
    assert!(all.contains(":8080 {\"") && all.contains("\"weight\":10}\n"), "{all}");
}

// "change a value in the browser, watch a host take it"
#[test]
fn five_minutes_with_versioned_configuration() {
    let (etcd, sandbox, browser) = (Etcd::start(), Sandbox::directory(), Browser::take());
    install(&sandbox);
    let (address, port) = (etcd.address(), free_port());
    let page = format!("http://127.0.0.1:{port}/");
    let database = sandbox.path("database");
    fs::create_dir(&database).unwrap();
    let write = |fields: &[(&str, &str)]| {
        fields.iter().for_each(|(field, text)| browser.fill(field, text));
        browser.click("button.main");
    };
    let readme = include_str!("../../README.md");
    let (mut daemon, mut server, mut all, mut logs) = (None, None, String::new(), 0);
    for Block { language, text } in blocks(readme, Some("Five minutes with versioned configuration")) {
        let text =
            text.replace("localhost:2379", &address).replace("127.0.0.1:8080", &page[7..page.len() - 1]);
        match language {
            "toml" => sandbox.settings(&text.replace(
                "[serve.commits.diary]",
                &format!("[serve]\nlisten = \"127.0.0.1:{port}\"\n\n[serve.commits.diary]"),
            )),
            "rhai" => sandbox.config("diary.twc", &text),
            "sh" if text == "STATE_DIRECTORY=$(mktemp -d) twitcher serve\n" => {
                let serve = sandbox.twitcher(["serve", "--config-path"]).arg(sandbox.configs());
                let started = serve.env("STATE_DIRECTORY", &database).start();
                started.wait_for_log(&["serving diary on"]);
                server = Some(started);
            }
            "sh" if text == "sudo twitcher run --log-to-stdout\n" => {
                daemon = Some(sandbox.daemon_without_store().start());
            }
            "sh" => all += &typed(&sandbox, &text, &address),
            "text" => {
                if logs == 0 {
                    browser.open(&page);
                    browser.follow("diary");
                    browser.follow("New key");
                    write(&[
                        ("#key", "ports"),
                        ("#text", "http = 80"),
                        ("#author", "gian"),
                        ("#comment", "first"),
                    ]);
                } else if logs == 1 {
                    browser.follow("Edit");
                    write(&[("#text", "http = 8080"), ("#comment", "moved")]);
                }
                daemon.as_ref().expect("a daemon").wait_for_log(&[text.trim_end()]);
                logs += 1;
            }
            other => panic!("what is a block of {other:?}?"),
        }
    }
    assert!(logs == 3 && server.is_some());
    // "the page shows what it does without a reload"
    browser.wait_for_text(".history", "as it was");
    assert!(all.contains("-http = 80\n") && all.contains("once more") && all.contains("version 4"), "{all}");
}

// "only for the deployed branch": the git server's hook, as the document has it.
#[test]
fn a_push_of_the_deployed_branch_sets_the_node_and_that_of_another_one_does_not() {
    let sandbox = Sandbox::zookeeper();
    install(&sandbox);
    let readme = include_str!("../../README.md");
    let blocks = blocks(readme, Some("Five minutes with ZooKeeper and git"));
    let [hook] = &blocks.iter().filter(|block| block.text.starts_with("#!/bin/sh\n")).collect::<Vec<_>>()[..]
    else {
        panic!("there is one hook")
    };
    let ours = hook
        .text
        .replace("/usr/sbin/twitcher", env!("CARGO_BIN_EXE_twitcher"))
        .replace("zk://zookeeper.example:2181", &sandbox.nodes.url());
    assert!(ours.contains(env!("CARGO_BIN_EXE_twitcher")) && ours.contains(&sandbox.nodes.url()), "{ours}");
    let git = |words: &str| {
        let user = "git -c user.name=a -c user.email=a@example.com -c init.defaultBranch=main";
        typed(&sandbox, &format!("export HOME=$PWD; {}", words.replace("git ", &format!("{user} "))), "")
    };
    git("git init -q --bare app.git; git clone -q app.git work 2>/dev/null");
    let path = sandbox.path("app.git/hooks/post-receive");
    fs::write(&path, ours).unwrap();
    set_mode(&path, 0o755);
    let commit = |branch: &str| {
        git(&format!("cd work; git checkout -q -B {branch}; git commit -q --allow-empty -m {branch}"));
        git("cd work; git rev-parse HEAD").trim().to_owned()
    };
    let deployed = || sandbox.nodes.get("/git/head").map(|data| String::from_utf8(data).unwrap());

    let first = commit("main");
    git("cd work; git push -q origin main");
    assert_eq!(deployed().as_ref(), Some(&first));
    commit("other");
    git("cd work; git push -q origin other");
    assert_eq!(deployed().as_ref(), Some(&first));
    // Both in one push.
    let second = commit("main");
    commit("other");
    git("cd work; git push -q origin other main");
    assert_eq!(deployed().as_ref(), Some(&second));
    assert_ne!(first, second);
}

#[test]
fn moving_to_etcd() {
    let (old, new) = (Sandbox::zookeeper(), Sandbox::of_kind(Store::Etcd));
    install(&old);
    for (node, data) in [("/app/a", "1"), ("/app/b/c", "2"), ("/other", "x")] {
        old.nodes.set(node, data);
    }
    let document = include_str!("../../docs/moving-to-etcd.md");
    let blocks = blocks(document, None);
    let mut scripts = Vec::new();
    for Block { language, text } in &blocks {
        match *language {
            "toml" => {
                let text = text
                    .replace("zk://zk1:2181,zk2:2181,zk3:2181/prod", &old.nodes.url())
                    .replace("etcd://etcd1:2379,etcd2:2379,etcd3:2379/prod", &new.nodes.url());
                assert!(text.contains(&old.nodes.url()) && text.contains(&new.nodes.url()), "{text}");
                old.settings(&text);
            }
            "sh" => scripts.push(text),
            other => panic!("what is a block of {other:?}?"),
        }
    }
    let [copy, mirror, checked] = scripts[..] else { panic!("{} scripts", scripts.len()) };
    let run = |script: &str| typed(&old, script, "");
    let names = |node: &str| new.client(["ls", node]).finish().text();

    let shown = run(copy);
    assert!(shown.contains("create /app/b/c\n") && shown.contains("4 nodes created, "), "{shown}");
    assert_eq!((names("/"), names("/app")), ("app\n".into(), "a\nb\n".into()));
    assert_eq!(new.nodes.get("/app/b/c").as_deref(), Some(&b"2"[..]));
    old.nodes.set("/app/a", "changed");
    old.nodes.remove("/app/b/c");
    let shown = run(copy);
    assert!(shown.contains("0 nodes created, 1 changed, 0 removed; 2 the same"), "{shown}");
    let shown = run(mirror);
    assert!(shown.contains("0 nodes created, 0 changed, 1 removed; 3 the same"), "{shown}");
    assert_eq!((names("/app/b"), new.nodes.get("/app/a").unwrap()), (String::new(), b"changed".to_vec()));
    old.nodes.set("/app/d", "");
    run(checked);
    assert_eq!(names("/app"), "a\nb\nd\n");
    assert!(Path::new(&old.path("app.jsonl")).exists());

    // "a watch follows a node of a named store", and afterwards that of the other one.
    let journal = old.journal();
    let config = |store: &str| {
        let keys = format!("description: \"app\", store: \"{store}\"");
        old.config(
            "app.twc",
            crate::harness::watch("/app/a", &crate::harness::exec(&journal.record()), &keys),
        );
    };
    config("old");
    let _daemon = old.daemon().start();
    journal.wait_for_last("changed");
    new.nodes.set("/app/a", "in etcd");
    config("new");
    wait_until("the content of the other store", || {
        journal.lines().last().is_some_and(|line| line.ends_with("in etcd"))
    });
}
