//! "What talks to the network has no root, and its death is an outage": each store runs in a process of its
//! own, its half.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown, symlink};
use std::process::Command;
use std::time::Duration;

use nix::libc::{ENOSYS, EPERM, SYS_landlock_create_ruleset, SYS_seccomp};
use nix::sys::signal::Signal;

use crate::harness::{
    Daemon, Process, Sandbox, Twitcher, exec, load, on_every_store, poll, require_root, set_mode, wait_for,
    wait_until, watch,
};
use crate::kernel::start_without;

/// Waits until one process serves the default store, which `settled` accepts, and returns it.
#[track_caller]
fn half_where(daemon: &Daemon, settled: impl Fn(Process) -> bool) -> Process {
    wait_for("the process of the store", || match daemon.process().halves()[..] {
        [half] if settled(half) => Some(half),
        _ => None,
    })
}

#[track_caller]
fn half(daemon: &Daemon) -> Process {
    half_where(daemon, Process::is_alive)
}

/// How the process of the default store is confined, as `status` says it.
#[track_caller]
fn confinement(sandbox: &Sandbox) -> String {
    wait_for("the confinement of the store's process", || {
        let status = sandbox.operator(["status", "--json"]).finish().expect(0).text();
        let status: serde_json::Value = serde_json::from_str(&status).unwrap();
        status["daemon"]["stores"][0]["confinement"].as_str().map(str::to_owned)
    })
}

const SETS: [&str; 5] = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"];

const NONE: &str = "0000000000000000";

/// CAP_DAC_READ_SEARCH, as the kernel shows it.
const READING: &str = "0000000000000004";

/// Returns true if the tests have the capability to read all files, which a container may lack.
fn has_reading() -> bool {
    let permitted = u64::from_str_radix(&Process(std::process::id().cast_signed()).status("CapPrm"), 16);
    permitted.unwrap() & 1 << 2 != 0
}

/// The process can use only so much, and cannot change that: what is shown is the soft and the hard limit.
#[track_caller]
fn expect_limits(half: Process) {
    let limits = fs::read_to_string(format!("/proc/{}/limits", half.0)).unwrap();
    let limit = |name: &str| -> [u64; 2] {
        let line = limits.lines().find(|line| line.starts_with(name)).expect(name);
        let mut numbers = line[name.len()..].split_whitespace();
        [numbers.next(), numbers.next()].map(|number| number.unwrap().parse().expect("limited"))
    };
    for (name, expected) in [("Max core file size", 0), ("Max open files", 128), ("Max file size", 1 << 30)] {
        assert_eq!(limit(name), [expected; 2], "{name}");
    }
    // The code of the program comes on top.
    let [memory, hard] = limit("Max address space");
    assert!((256 << 20..512 << 20).contains(&memory) && memory == hard, "{memory} {hard}");
}

/// Nobody else of its user can trace the process or read its memory: its files are root's.
#[track_caller]
fn expect_hidden(half: Process) {
    for name in ["mem", "environ", "fd", "maps"] {
        let owner = fs::metadata(format!("/proc/{}/{name}", half.0)).unwrap().uid();
        assert_eq!(owner, 0, "{name}");
    }
}

// "said once, backoff, a new half, everything read again, nothing lost, nothing run for nothing"
on_every_store!(the_death_of_a_half_loses_nothing_and_runs_nothing_twice);
fn the_death_of_a_half_loses_nothing_and_runs_nothing_twice(sandbox: &Sandbox) {
    let (updates, kills) = load((100, 10), (1000, 200));
    let (journal, other) = (sandbox.journal(), sandbox.journal_named("other"));
    sandbox.nodes.set("/n", "0");
    sandbox.nodes.set("/quiet", "still");
    let record = |node: &str, journal: &str| watch(node, &exec(journal), "");
    sandbox.config("a.twc", [record("/n", &journal.record()), record("/quiet", &other.record())].concat());
    let daemon = sandbox.start();
    journal.wait_for_last("0");
    other.wait_for(&["still"]);
    let mut killed = 0;
    for update in 1..=updates {
        sandbox.nodes.set("/n", update.to_string());
        if update % (updates / kills) == 0 {
            // At any moment of its life: some are not connected yet.
            if let Some(half) = poll(Duration::from_secs(20), || daemon.process().halves().pop()) {
                half.signal(Signal::SIGKILL);
                killed += 1;
            }
        }
    }
    let lines: Vec<u32> =
        journal.wait_for_last(&updates.to_string()).iter().map(|line| line.parse().unwrap()).collect();
    assert!(lines.windows(2).all(|pair| pair[0] < pair[1]), "{lines:?}");
    assert_eq!(killed, kills);
    assert_eq!(other.lines(), ["still"], "nothing happened to it");
    let status = sandbox.operator(["status", "--json"]).finish().expect(0).text();
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert!(status["daemon"]["stores"][0]["restarts"].as_u64().unwrap() > 0, "{status}");
}

// "nothing runs for nothing": a half that starts anew counts the incarnations of a directory's nodes anew.
#[test]
fn what_was_created_anew_stays_known_to_the_next_half() {
    let sandbox = Sandbox::directory();
    let (journal, tree) = (sandbox.journal(), sandbox.journal_named("tree"));
    sandbox.nodes.set("/t/n", "one");
    let node = watch("/t/n", &exec(&journal.note("$TWITCHER_EVENT $(cat)")), "");
    let changes = exec(&tree.note("$TWITCHER_EVENT $(grep -o '\"event\":\"[a-z]*\"' | tr -d '\\n')"));
    sandbox.config("a.twc", [node, watch("/t", &changes, "watch_type: WATCH_TREE")].concat());
    let daemon = sandbox.start();
    journal.wait_for(&["load one"]);
    sandbox.nodes.remove("/t/n");
    wait_until("the tree without the node", || tree.lines().len() == 2);
    sandbox.nodes.set("/t/n", "two");
    journal.wait_for(&["load one", "created two"]);
    wait_until("the tree with the node", || tree.lines().len() == 3);
    let first = half(&daemon);
    first.signal(Signal::SIGKILL);
    half_where(&daemon, |half| half.0 != first.0);
    daemon.wait_for_log(&["connected to", "it was away"]);
    sandbox.nodes.set("/t/n", "three");
    journal.wait_for(&["load one", "created two", "changed three"]);
    wait_until("the tree with the changed node", || tree.lines().len() == 4);
    assert_eq!(tree.lines()[3], "changed \"event\":\"changed\"", "and not the whole tree anew");
}

on_every_store!(a_half_has_no_rights_and_no_belongings);
fn a_half_has_no_rights_and_no_belongings(sandbox: &Sandbox) {
    require_root();
    // A daemon that has what its half must not keep.
    let daemon =
        sandbox.daemon().env("TWITCHER_TEST_SECRET", "secret").under(["setpriv", "--groups=1,2", "--"]);
    let daemon = daemon.under(["prlimit", "--core=unlimited", "--"]).start();
    daemon.wait_for_log(&["connected to"]);
    assert_eq!(daemon.process().status("Groups"), "1 2");
    let half = half(&daemon);
    let is_directory = sandbox.nodes.url().starts_with("dir:");
    let confinement = confinement(sandbox);
    let reads_all = is_directory && has_reading() && confinement.contains("by Landlock");
    assert_eq!(confinement.contains("CAP_DAC_READ_SEARCH, confined"), reads_all, "{confinement}");
    let ids = half.status("Uid");
    assert_eq!(ids.starts_with("0\t"), is_directory && !reads_all, "{ids}: the directory is root's");
    let groups = half.status("Gid");
    assert!(is_directory || groups.split_whitespace().all(|group| group != "0"), "{groups}");
    for set in SETS {
        assert_eq!(half.status(set), if reads_all { READING } else { NONE }, "{set}");
    }
    assert_eq!((half.status("NoNewPrivs"), half.status("Groups")), ("1".to_owned(), String::new()));
    assert!(confinement.contains("by seccomp"), "{confinement}");
    assert_eq!(half.status("Seccomp"), "2", "a filter of system calls");
    let file = |name: &str| format!("/proc/{}/{name}", half.0);
    assert_eq!(fs::read(file("environ")).unwrap(), b"");
    assert_eq!(fs::read_link(file("cwd")).unwrap().to_str(), Some("/"));
    expect_limits(half);
    let open = fs::read_dir(file("fd")).unwrap().flatten();
    // A UNIX socket that had no name yet could take that of a service, or make a file.
    let sockets = fs::read_to_string(file("net/unix")).unwrap();
    let is_named = |inode: &str| {
        let mut fields = sockets.lines().map(|line| line.split_whitespace().skip(6));
        fields.any(|mut fields| fields.next() == Some(inode) && fields.next().is_some())
    };
    let mut named = 0;
    for target in open.map(|entry| fs::read_link(entry.path()).unwrap().display().to_string()) {
        let is_own = ["socket:[", "pipe:[", "anon_inode:"].iter().any(|own| target.starts_with(own));
        assert!(is_own || target == "/dev/null", "{target}");
        let inode = target.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']'));
        if let Some(inode) = inode.filter(|inode| sockets.contains(&format!(" {inode}"))) {
            assert!(is_named(inode), "{inode} has no name in {sockets}");
            named += 1;
        }
    }
    assert!(named > 0, "the socket to the daemon is one");
    let session = fs::read_to_string(file("stat")).unwrap();
    let session = session.rsplit_once(") ").unwrap().1.split(' ').nth(3).unwrap().to_owned();
    assert_eq!(session, half.0.to_string(), "a session of its own");
    expect_hidden(half);
    // Nor can one that would not notice by itself that its daemon has ended.
    half.signal(Signal::SIGSTOP);
    daemon.signal(Signal::SIGKILL);
    wait_until("the half to die with its daemon", || !half.is_alive());
}

// Only the capability reads these files, whoever they belong to, and it reads nothing else.
#[test]
fn a_directory_of_roots_is_read_without_roots_id() {
    require_root();
    if !has_reading() {
        return eprintln!("skipped: no CAP_DAC_READ_SEARCH");
    }
    let sandbox = Sandbox::directory();
    let journal = sandbox.journal();
    let closed = sandbox.path("closed");
    let nodes = closed.join("nodes");
    fs::create_dir_all(nodes.join("of")).unwrap();
    fs::write(nodes.join("n"), "root's").unwrap();
    fs::write(nodes.join("of/others"), "theirs").unwrap();
    chown(nodes.join("of/others"), Some(4321), Some(4321)).unwrap();
    for file in ["n", "of/others"] {
        set_mode(&nodes.join(file), 0o600);
    }
    for directory in [&closed, &nodes, &nodes.join("of")] {
        set_mode(directory, 0o700);
    }
    let record = |node: &str| watch(node, &exec(&journal.record()), "");
    sandbox.config("a.twc", record("/n"));
    let daemon = sandbox.daemon_on(&format!("dir:{}", nodes.display())).start();
    journal.wait_for(&["root's"]);
    assert!(!half(&daemon).status("Uid").starts_with("0\t"));
    sandbox.config("b.twc", record("/of/others"));
    journal.wait_for(&["root's", "theirs"]);

    // Another directory of root's has its place, and then none has it for a while.
    let aside = sandbox.path("aside");
    fs::rename(&nodes, &aside).unwrap();
    daemon.wait_for_log(&["not connected", "No such file"]);
    fs::rename(&aside, &nodes).unwrap();
    fs::write(nodes.join("n"), "again").unwrap();
    journal.wait_for(&["root's", "theirs", "again"]);
    assert!(!half(&daemon).status("Uid").starts_with("0\t"));
    assert_eq!(half(&daemon).status("CapEff"), READING);
}

// A daemon without the capability, as in a container, and one whose namespace has no other user.
#[test]
fn a_directory_of_roots_is_read_by_root_without_capabilities_where_nobody_else_can() {
    require_root();
    let check = |daemon: fn(&Sandbox) -> Twitcher, reason: &str| {
        let sandbox = Sandbox::directory();
        let journal = sandbox.journal();
        sandbox.config("a.twc", watch("/n", &exec(&journal.record()), ""));
        sandbox.nodes.set("/n", "content");
        let daemon = daemon(&sandbox).start();
        journal.wait_for(&["content"]);
        let half = half(&daemon);
        let confinement = confinement(&sandbox);
        assert!(
            confinement.starts_with(&format!("as root without capabilities ({reason})")),
            "{confinement}"
        );
        assert!(half.status("Uid").starts_with("0\t"));
        assert_eq!((half.status("CapEff"), half.status("CapPrm")), (NONE.to_owned(), NONE.to_owned()));
        assert_eq!(half.status("Seccomp"), "2");
    };
    check(
        |sandbox| {
            let without = "--bounding-set=-dac_read_search";
            sandbox.daemon().under(["setpriv", without, "--inh-caps=-dac_read_search", "--"])
        },
        "the daemon has no CAP_DAC_READ_SEARCH",
    );
    let mut unshare = Command::new("unshare");
    if !unshare.args(["--user", "--map-root-user", "true"]).status().is_ok_and(|status| status.success()) {
        return eprintln!("skipped: user namespaces are denied here");
    }
    check(
        |sandbox| sandbox.daemon().under(["unshare", "--user", "--map-root-user", "--"]),
        "this user namespace has no other user",
    );
}

// "Nor a capability where only a part of the sandbox holds."
#[test]
fn a_directory_of_roots_is_read_without_seccomp_as_by_everybody() {
    let sandbox = Sandbox::directory();
    let journal = sandbox.journal();
    set_mode(sandbox.root(), 0o755);
    let nodes = sandbox.root().join("nodes");
    set_mode(&nodes, 0o755);
    sandbox.nodes.set("/n", "open");
    sandbox.nodes.set("/closed", "closed");
    set_mode(&nodes.join("closed"), 0o600);
    let record = |node: &str| watch(node, &exec(&journal.record()), "");
    sandbox.config("a.twc", [record("/n"), record("/closed")].concat());
    let daemon = start_without(&sandbox, &[(SYS_seccomp, EPERM)]);
    journal.wait_for(&["open"]);
    daemon.wait_for_log(&["/closed", "cannot be read", "Permission denied"]);
    let confinement = confinement(&sandbox);
    assert!(confinement.contains("without CAP_DAC_READ_SEARCH, confined by Landlock"), "{confinement}");
    assert!(confinement.contains("without seccomp"), "{confinement}");
    let half = half(&daemon);
    assert!(!half.status("Uid").starts_with("0\t"));
    for set in SETS {
        assert_eq!(half.status(set), NONE, "{set}");
    }
    assert_eq!(journal.lines(), ["open"]);
}

// Landlock answers before the store does, and says less.
#[test]
fn a_link_out_of_the_store_is_called_that() {
    let sandbox = Sandbox::directory();
    fs::write(sandbox.path("secret"), "secret").unwrap();
    fs::create_dir(sandbox.path("elsewhere")).unwrap();
    let nodes = sandbox.root().join("nodes");
    symlink(sandbox.path("secret"), nodes.join("file")).unwrap();
    symlink(sandbox.path("elsewhere"), nodes.join("directory")).unwrap();
    let children = watch("/directory", &exec("true"), "watch_type: WATCH_CHILDREN");
    sandbox.config("a.twc", [watch("/file", &exec("true"), ""), children].concat());
    let daemon = sandbox.start();
    for (node, target) in [("/file", "secret"), ("/directory", "elsewhere")] {
        let target = format!("{}; put there what it leads to", sandbox.path(target).display());
        daemon.wait_for_log(&[node, "cannot be read", "a link leads out of the store, to ", &target]);
    }
}

#[test]
fn a_directory_is_read_by_its_owner_who_must_reach_it() {
    require_root();
    let sandbox = Sandbox::directory();
    let journal = sandbox.journal();
    set_mode(sandbox.root(), 0o755);
    let home = sandbox.path("home");
    fs::create_dir(&home).unwrap();
    let nodes = home.join("nodes");
    sandbox.config("a.twc", watch("/n", &exec(&journal.record()), ""));
    let daemon = sandbox.daemon_on(&format!("dir:{}", nodes.display())).start();
    daemon.wait_for_log(&["not connected", "No such file"]);
    assert_eq!(half(&daemon).status("Uid").starts_with("0\t"), !has_reading(), "it does not exist yet");
    let own = |user: u32| {
        let new = sandbox.path("new");
        fs::create_dir(&new).unwrap();
        fs::write(new.join("n"), user.to_string()).unwrap();
        chown(new.join("n"), Some(user), Some(user)).unwrap();
        set_mode(&new.join("n"), 0o600);
        chown(&new, Some(user), Some(user)).unwrap();
        set_mode(&new, 0o700);
        if nodes.exists() {
            fs::remove_dir_all(&nodes).unwrap();
        }
        fs::rename(&new, &nodes).unwrap();
    };
    own(4321);
    journal.wait_for(&["4321"]);
    assert!(half(&daemon).status("Uid").starts_with("4321\t"));
    own(4322);
    journal.wait_for(&["4321", "4322"]);
    let second = half_where(&daemon, |half| half.status("Uid").starts_with("4322\t"));

    set_mode(&home, 0o700);
    second.signal(Signal::SIGKILL);
    daemon.wait_for_log(&["not connected", "Permission denied", "reads it as its owner"]);
    set_mode(&home, 0o755);
    half_where(&daemon, |half| half.0 != second.0 && half.is_alive());
    fs::write(nodes.join("n"), "again").unwrap();
    journal.wait_for(&["4321", "4322", "again"]);
}

// "non-root daemons split as well, with what they can"
on_every_store!(a_half_of_another_users_daemon_is_confined_as_well);
fn a_half_of_another_users_daemon_is_confined_as_well(sandbox: &Sandbox) {
    require_root();
    let journal = sandbox.journal();
    sandbox.config("a.twc", watch("/n", &exec(&journal.record()), ""));
    sandbox.nodes.set("/n", "content");
    chown(sandbox.state(), Some(65534), Some(65534)).unwrap();
    let as_nobody =
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=+chown", "--"];
    let daemon = sandbox.daemon().binary(&sandbox.copy_of_the_binary()).under(as_nobody);
    let daemon =
        daemon.env("TWITCHER_TEST_SECRET", "secret").under(["prlimit", "--core=unlimited", "--"]).start();
    journal.wait_for(&["content"]);
    let half = half(&daemon);
    assert_ne!(daemon.process().status("CapInh"), NONE, "something to give up");
    assert_eq!(half.status("Uid"), daemon.process().status("Uid"));
    assert_eq!((half.status("Seccomp"), half.status("NoNewPrivs")), ("2".to_owned(), "1".to_owned()));
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(half.status(set), NONE, "{set}");
    }
    expect_limits(half);
    expect_hidden(half);
    assert_eq!(fs::read(format!("/proc/{}/environ", half.0)).unwrap(), b"");
    sandbox.nodes.set("/n", "again");
    journal.wait_for(&["content", "again"]);
}

// "a clear line and `nobody`'s rights where there is none"
#[test]
fn the_half_is_the_system_user_and_without_one_nobody_which_is_said() {
    require_root();
    const LINE: &str = "there is no user twitcher in /etc/passwd, so stores are served as nobody";
    let passwd = fs::read_to_string("/etc/passwd").unwrap();
    let others: String = passwd
        .lines()
        .filter(|line| !line.starts_with("twitcher:"))
        .map(|line| format!("{line}\n"))
        .collect();
    let own = format!("{others}twitcher:x:4711:4712::/nonexistent:/usr/sbin/nologin\n");
    for (passwd, ids, said) in [(own, ["4711", "4712"], 0), (others, ["65534", "65534"], 1)] {
        let sandbox = Sandbox::zookeeper();
        let journal = sandbox.journal();
        sandbox.nodes.set("/n", "content");
        sandbox.config("a.twc", watch("/n", &exec(&journal.record()), ""));
        let file = sandbox.path("passwd");
        fs::write(&file, passwd).unwrap();
        set_mode(&file, 0o644);
        let script = format!("mount --bind {} /etc/passwd && exec \"$@\"", file.display());
        let daemon = sandbox.daemon().under(["unshare", "--mount", "sh", "-c", &script, "sh"]).start();
        journal.wait_for(&["content"]);
        assert_eq!(daemon.log_lines(&[LINE, "add it: useradd --system"]).len(), said);
        let half = half(&daemon);
        for (name, id) in ["Uid", "Gid"].into_iter().zip(ids) {
            assert_eq!(half.status(name).split_whitespace().collect::<Vec<_>>(), [id; 4], "{name}");
        }
    }
}

// What a kernel without Landlock and seccomp leaves of the confinement does not come from them.
#[test]
fn a_half_without_landlock_and_seccomp_has_no_rights_all_the_same() {
    let sandbox = Sandbox::zookeeper();
    let journal = sandbox.journal();
    sandbox.nodes.set("/n", "content");
    sandbox.config("a.twc", watch("/n", &exec(&journal.record()), ""));
    let daemon = start_without(&sandbox, &[(SYS_seccomp, EPERM), (SYS_landlock_create_ruleset, ENOSYS)]);
    journal.wait_for(&["content"]);
    assert_eq!(daemon.process().status("NoNewPrivs"), "0");
    let confinement = confinement(&sandbox);
    assert!(
        confinement.contains("without Landlock") && confinement.contains("without seccomp"),
        "{confinement}"
    );
    let half = half(&daemon);
    // Whatever forbids the daemon these calls is a filter as well.
    assert_eq!(half.status("Seccomp_filters"), daemon.process().status("Seccomp_filters"));
    assert!(!half.status("Uid").split_whitespace().any(|id| id == "0"));
    for set in SETS {
        assert_eq!(half.status(set), NONE, "{set}");
    }
    assert_eq!(half.status("NoNewPrivs"), "1");
    expect_limits(half);
    expect_hidden(half);
}

#[test]
fn a_half_that_dies_again_and_again_is_refused_with_what_helps() {
    let sandbox = Sandbox::directory();
    let daemon = sandbox.start();
    daemon.wait_for_log(&["connected to"]);
    wait_until("the store to be refused", || {
        daemon.process().halves().into_iter().for_each(|half| half.signal(Signal::SIGSEGV));
        !daemon.log_lines(&["again and again", "store_memory"]).is_empty()
    });
    daemon.wait_for_log(&["not connected", "ended by SIGSEGV"]);
}

// "Clients too: `twitcher get` and its like, run by root, give root up before they connect."
#[test]
fn a_client_of_roots_is_root_no_more_when_it_connects() {
    require_root();
    let sandbox = Sandbox::zookeeper();
    sandbox.nodes.set("/n", "content");
    assert_eq!(sandbox.client(["get", "/n"]).finish().expect(0).text(), "content");
    let client = sandbox.client(["watch", "/n"]).start();
    client.wait_for_log(&["content"]);
    let process = client.process();
    assert!(!process.status("Uid").starts_with("0\t"));
    assert_eq!((process.status("CapEff"), process.status("NoNewPrivs")), ("0".repeat(16), "1".to_owned()));
}
