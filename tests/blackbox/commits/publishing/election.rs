//! The elected leader: there is one, and never two, also with programs that use Curator.

use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;
use std::time::Duration;

use super::{Diary, NEVER, PATH, Published, commit, node, wait_until_published};
use crate::harness::wait::throughout;
use crate::harness::{
    Proxy, Sandbox, Store, command, interpreter, kazoo, on_every_server, on_every_store, wait_until,
};

/// A session that ends within the time of a test.
const SHORT: Duration = Duration::from_secs(2);

/// Panics if two lead at one moment.
#[track_caller]
fn never_both(one: &Published, other: &Published) {
    // The first is asked again, so that it led all the time in which the other was asked.
    assert!(!(one.leads() && other.leads() && one.leads()), "two lead at one moment");
}

#[track_caller]
fn wait_until_leads(who: &Published, other: &Published) {
    wait_until("a leader", || {
        never_both(who, other);
        who.leads()
    });
}

// "the auto-publisher, whose leader is elected in the store, so that several servers on one database are
// safe"
on_every_store!(one_of_two_leads_and_the_other_follows_when_it_ends);
fn one_of_two_leads_and_the_other_follows_when_it_ends(sandbox: &Sandbox) {
    let diary = Diary::of(sandbox);
    let url = sandbox.nodes.url();
    let mut leader = diary.publisher(&url, NEVER);
    wait_until("the only one to lead", || leader.leads());
    for version in 1..=3 {
        let follower = diary.publisher(&url, NEVER);
        follower.wait_until_connected();
        throughout(Duration::from_millis(300), || assert!(leader.leads() && !follower.leads()));
        // What was saved with it is published by it, whoever leads.
        diary.publish(&follower, commit("foo", version, "x"));
        wait_until_published(sandbox, &commit("foo", version, "x"));
        std::thread::scope(|scope| {
            scope.spawn(|| Diary::of(sandbox).stop(&leader));
            wait_until_leads(&follower, &leader);
        });
        assert!(!leader.leads() && !leader.publisher.status().connected);
        leader = follower;
    }
}

// A cut-off leader must give up before the server can have elected another one.
on_every_server!(a_leader_that_hears_nothing_gives_up_before_another_one_leads);
fn a_leader_that_hears_nothing_gives_up_before_another_one_leads(kind: Store) {
    let server = kind.server();
    let sandbox = Sandbox::on(&*server);
    let proxy = Proxy::to(&server.address());
    let diary = Diary::of(&sandbox);
    let first = diary.publisher_with_timeout(&sandbox.nodes.url_by_way_of(&proxy.address()), NEVER, SHORT);
    wait_until("the first to lead", || first.leads());
    let second = diary.publisher_with_timeout(&sandbox.nodes.url(), NEVER, SHORT);
    second.wait_until_connected();
    proxy.stall();
    wait_until_leads(&second, &first);
    assert!(!first.leads());
    proxy.resume();
    first.wait_until_connected();
    throughout(Duration::from_millis(500), || assert!(second.leads() && !first.leads()));
    diary.stop(&second);
    wait_until_leads(&first, &second);
}

// A short cut keeps the session, and with it the place.
on_every_server!(a_leader_that_is_cut_off_for_a_moment_leads_again);
fn a_leader_that_is_cut_off_for_a_moment_leads_again(kind: Store) {
    let server = kind.server();
    let sandbox = Sandbox::on(&*server);
    let proxy = Proxy::to(&server.address());
    let diary = Diary::of(&sandbox);
    let first = diary.publisher(&sandbox.nodes.url_by_way_of(&proxy.address()), NEVER);
    wait_until("the first to lead", || first.leads());
    let second = diary.publisher(&sandbox.nodes.url(), NEVER);
    second.wait_until_connected();
    proxy.refuse();
    wait_until("the cut to be seen", || !first.leads());
    proxy.resume();
    wait_until_leads(&first, &second);
    assert!(!second.leads());
}

/// A lock of kazoo, with the names of Curator's.
const CURATOR: &str = "
import uuid
from kazoo.recipe.lock import Lock
class Curator(Lock):
    _NODE_NAME = '-lock-'
    def __init__(self, client, path, identifier=None):
        super().__init__(client, path, identifier, extra_lock_patterns=['-lock-'])
        self.prefix = '_c_%s%s' % (uuid.uuid4(), self._NODE_NAME)
        self.create_path = self.path + '/' + self.prefix
";

#[test]
fn a_program_with_curators_nodes_and_ours_are_elected_in_one_election() {
    let sandbox = Sandbox::zookeeper();
    let url = sandbox.nodes.url();
    let address = url.strip_prefix("zk://").unwrap();
    let election = format!("{PATH}/election");
    let diary = Diary::of(&sandbox);
    diary.save(commit("foo", 1, "x"));
    // Somebody else leads until our process closes its stdin.
    let script = format!(
        "import sys\nfrom kazoo.client import KazooClient\n{CURATOR}\nzk = KazooClient(hosts=sys.argv[1])\n\
         zk.start(timeout=30)\nlock = Curator(zk, '{election}', 'rainer')\nlock.acquire(timeout=30)\n\
         print('leads', flush=True)\nsys.stdin.read()\nlock.release()\nzk.stop()\n"
    );
    let mut other = command(interpreter())
        .args(["-c", &script, address])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("start python");
    let mut output = BufReader::new(other.stdout.take().expect("piped"));
    let mut line = String::new();
    output.read_line(&mut line).expect("a line");
    assert_eq!(line, "leads\n");

    let publisher = diary.publisher(&url, Duration::from_millis(50));
    publisher.wait_until_connected();
    let children = format!("print(len(zk.get_children('{election}')))");
    wait_until("ours to stand in line", || kazoo(address, &children) == "2\n");
    sandbox.nodes.set(&node("foo"), "evil");
    throughout(Duration::from_millis(500), || {
        assert!(!publisher.leads());
        assert_eq!(sandbox.nodes.get(&node("foo")).as_deref(), Some(&b"evil"[..]));
    });
    assert_eq!(publisher.publisher.status().last_round, None);
    drop(other.stdin.take());
    output.read_to_string(&mut line).expect("the rest");
    assert!(other.wait().expect("its end").success());
    wait_until("ours to lead", || publisher.leads());
    wait_until_published(&sandbox, &commit("foo", 1, "x"));

    // And the other way round: ours leads, and the other one waits.
    let script = format!(
        "{CURATOR}\nimport re, socket\nfrom kazoo.exceptions import LockTimeout\n\
         (name,) = zk.get_children('{election}')\n\
         data, stat = zk.get('{election}/' + name)\n\
         uuid4 = '[0-9a-f]{{8}}-[0-9a-f]{{4}}-4[0-9a-f]{{3}}-[89ab][0-9a-f]{{3}}-[0-9a-f]{{12}}'\n\
         print(bool(re.fullmatch('_c_' + uuid4 + '-lock-[0-9]{{10}}', name)), stat.ephemeralOwner != 0)\n\
         print(data.decode() == socket.gethostname())\n\
         lock = Curator(zk, '{election}')\n\
         try:\n    lock.acquire(timeout=1)\n    print('it leads')\n\
         except LockTimeout:\n    print('it waits')\n"
    );
    assert_eq!(kazoo(address, &script), "True True\nTrue\nit waits\n");
    diary.stop(&publisher);
    let script = format!("{CURATOR}\nprint(Curator(zk, '{election}').acquire(timeout=30))");
    assert_eq!(kazoo(address, &script), "True\n");
}

#[test]
fn an_older_key_of_another_program_leads_in_etcd() {
    let sandbox = Sandbox::of_kind(Store::Etcd);
    let diary = Diary::of(&sandbox);
    // As `etcdctl elect` makes it. Others may also be in the same election without a lease.
    let other = format!("{PATH}/election/694d81417acd4754");
    sandbox.nodes.set(&other, "other");
    let publisher = diary.publisher(&sandbox.nodes.url(), NEVER);
    publisher.wait_until_connected();
    throughout(Duration::from_millis(500), || assert!(!publisher.leads()));
    sandbox.nodes.remove(&other);
    wait_until("ours to lead", || publisher.leads());
}

#[test]
fn the_lock_of_a_directory_goes_with_the_process_that_has_it() {
    let sandbox = Sandbox::directory();
    let diary = Diary::of(&sandbox);
    sandbox.nodes.make(&format!("{PATH}/election"));
    let url = sandbox.nodes.url();
    let file = format!("{}{PATH}/election/.leader", url.strip_prefix("dir:").unwrap());
    let script = "import fcntl, sys, time\nf = open(sys.argv[1], 'w')\nfcntl.flock(f, fcntl.LOCK_EX)\n\
                  print('locked', flush=True)\ntime.sleep(600)\n";
    let mut holder =
        command("python3").args(["-c", script, &file]).stdout(Stdio::piped()).spawn().expect("start python");
    let mut line = String::new();
    BufReader::new(holder.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
    let publisher = diary.publisher(&url, NEVER);
    publisher.wait_until_connected();
    throughout(Duration::from_millis(1500), || assert!(!publisher.leads()));
    holder.kill().expect("kill it");
    holder.wait().expect("reap it");
    wait_until("ours to lead", || publisher.leads());
    // Who replaces the file takes the lock with it.
    std::fs::remove_file(&file).expect("remove the file");
    wait_until("ours to give up", || !publisher.leads() || std::path::Path::new(&file).exists());
    wait_until("ours to lead again", || publisher.leads() && std::path::Path::new(&file).exists());
}
