use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

/// A daemon of so many stores, and what systemd would hear of it.
struct Heard {
    socket: UnixDatagram,
    systemd: Systemd,
}

impl Heard {
    fn of(stores: usize) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = format!("twitcher-test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let address = SocketAddr::from_abstract_name(&name).expect("a name");
        let socket = UnixDatagram::bind_addr(&address).expect("listen");
        socket.set_nonblocking(true).expect("a socket that never blocks");
        let ours = NotifySocket::new(format!("@{name}").into()).expect("a socket");
        Self { socket, systemd: Systemd::new(Some(ours), None, stores) }
    }

    /// What is said now, without the status and the time.
    fn now(&mut self) -> Vec<String> {
        self.systemd.send_updates(StatusCounts::default()).expect("somebody listens");
        let mut buffer = [0; 1024];
        let datagrams = std::iter::from_fn(|| {
            let length = self.socket.recv(&mut buffer).ok()?;
            Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
        });
        let lines: Vec<String> =
            datagrams.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
        lines
            .into_iter()
            .filter(|line| !["STATUS", "MONOTONIC_USEC"].iter().any(|key| line.starts_with(key)))
            .collect()
    }
}

const NOTHING: [&str; 0] = [];

#[test]
fn it_is_ready_once_the_configs_are_loaded_and_every_store_was_tried() {
    let mut heard = Heard::of(2);
    heard.systemd.store("a", true);
    // A second word of the same store is none of the other's.
    heard.systemd.store("a", false);
    heard.systemd.first_scan_done();
    assert_eq!(heard.now(), NOTHING);
    heard.systemd.store("b", false);
    assert_eq!(heard.now(), ["READY=1"]);
    heard.systemd.store("b", true);
    assert_eq!(heard.now(), NOTHING);
}

#[test]
fn the_start_waits_for_a_rescan_that_is_asked_for_meanwhile() {
    let mut heard = Heard::of(0);
    heard.systemd.reloading();
    heard.systemd.first_scan_done();
    assert_eq!(heard.now(), NOTHING);
    heard.systemd.rescanned(1);
    assert_eq!(heard.now(), ["READY=1"]);
}

#[test]
fn the_last_of_several_reloads_is_what_makes_it_ready_again() {
    let mut heard = Heard::of(0);
    heard.systemd.first_scan_done();
    assert_eq!(heard.now(), ["READY=1"]);
    heard.systemd.reloading();
    assert_eq!(heard.now(), ["RELOADING=1"]);
    heard.systemd.reloading();
    assert_eq!(heard.now(), ["RELOADING=1"]);
    heard.systemd.rescanned(1);
    assert_eq!(heard.now(), NOTHING);
    heard.systemd.rescanned(1);
    assert_eq!(heard.now(), ["READY=1"]);
}

#[test]
fn a_daemon_that_stops_says_so_once_and_nothing_else() {
    let mut heard = Heard::of(1);
    heard.systemd.stopping();
    heard.systemd.stopping();
    heard.systemd.reloading();
    heard.systemd.rescanned(1);
    heard.systemd.first_scan_done();
    heard.systemd.store("a", true);
    assert_eq!(heard.now(), ["STOPPING=1"]);
}

#[test]
fn what_systemd_has_no_room_for_is_said_later_and_only_what_still_holds() {
    let mut heard = Heard::of(0);
    let address = heard.socket.local_addr().expect("an address");
    // Each from a socket of its own, which may have less room than the queue.
    let make_noise = || {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        socket.send_to_addr(b"noise", &address)
    };
    while make_noise().is_ok() {}
    heard.systemd.first_scan_done();
    let reload = |systemd: &mut Systemd| {
        systemd.reloading();
        systemd.rescanned(1);
    };
    for _ in 0..100 {
        reload(&mut heard.systemd);
        heard.systemd.send_updates(StatusCounts::default()).expect("there is no room, and that is no error");
    }
    heard.systemd.stopping();
    assert!(heard.now().iter().all(|line| line == "noise"));
    let due = heard.systemd.due().expect("something to be said");
    assert!(due <= Instant::now() + RETRY_DELAY);
    heard.systemd.retry_at = Instant::now();
    assert_eq!(heard.now(), ["RELOADING=1", "READY=1", "STOPPING=1"]);
    assert_eq!(heard.systemd.due(), None);
}

#[test]
fn the_watchdog_is_fed_when_the_daemon_is_awake_anyway_in_the_second_half_of_a_period() {
    let mut heard = Heard::of(0);
    let period = Duration::from_secs(3600);
    let now = Instant::now();
    for (feed_in, said) in [(0, true), (3600, false), (1900, false), (1700, true), (3600, false)] {
        let feed_at = now + Duration::from_secs(feed_in);
        heard.systemd.watchdog = Some(Watchdog { period, feed_at });
        assert_eq!(heard.now() == ["WATCHDOG=1"], said, "{feed_in}");
        let due = heard.systemd.watchdog.as_ref().map(|watchdog| watchdog.feed_at);
        assert!(due.is_some_and(|due| if said { due >= now + period } else { due == feed_at }));
    }
}

#[test]
fn nobody_to_hear_it_is_an_error_once() {
    for name in ["/no/such/socket", "vsock:2:1234", ""] {
        let socket = NotifySocket::new(name.into()).expect("a socket");
        let mut systemd = Systemd::new(Some(socket), None, 0);
        systemd.first_scan_done();
        let unheard = systemd.send_updates(StatusCounts::default()).expect_err("nobody is there").to_string();
        assert!(unheard.contains("NOTIFY_SOCKET"), "{unheard}");
        systemd.stopping();
        assert!(!systemd.send_updates(StatusCounts::default()).expect("not tried again at once"));
        assert!(systemd.due().is_some_and(|due| due > Instant::now() + ERROR_DELAY / 2));
    }
}

#[test]
fn the_status_is_one_line_for_people() {
    let mut systemd = Systemd::new(None, None, 1);
    systemd.counts = StatusCounts { watches: 12, running: 2, failing: 1 };
    assert_eq!(systemd.status().to_string(), "12 watches, 2 running, 1 failing; store not tried yet");
    systemd.store("a", false);
    assert_eq!(systemd.status().to_string(), "12 watches, 2 running, 1 failing; store not connected");
    systemd.store("a", true);
    assert_eq!(systemd.status().to_string(), "12 watches, 2 running, 1 failing; store connected");
    systemd.pending.stores = 3;
    systemd.store("b", false);
    assert_eq!(systemd.status().to_string(), "12 watches, 2 running, 1 failing; 1 of 3 stores connected");
    assert_eq!(systemd.due(), None, "nobody is to be told");
}
