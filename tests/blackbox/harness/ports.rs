//! Ports for servers that are stopped and started again.

use std::net::TcpListener;
use std::sync::Mutex;

use super::wait::wait_for;

/// Ports below those that the kernel gives to outgoing connections, so that none of these takes a server's
/// port while the server is down.
const PORTS: std::ops::Range<u16> = 12_000..32_000;

/// A port that nobody listens on. No two calls return the same one.
pub fn free_port() -> u16 {
    static HANDED_OUT: Mutex<Vec<u16>> = Mutex::new(Vec::new());
    let mut handed_out = HANDED_OUT.lock().unwrap();
    let port = wait_for("a free port", || {
        let port = fastrand::u16(PORTS);
        (!handed_out.contains(&port) && TcpListener::bind(("127.0.0.1", port)).is_ok()).then_some(port)
    });
    handed_out.push(port);
    port
}
