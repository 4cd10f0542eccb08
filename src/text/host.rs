//! The hosts of addresses.

use std::net::IpAddr;

/// Whether what is sent to a host stays on this machine: a name, or an address without brackets.
pub fn is_this_machine(host: &str) -> bool {
    match host.parse::<IpAddr>() {
        Ok(address) => address.is_loopback(),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_to_loopback_stays_here() {
        for host in ["localhost", "LocalHost", "127.0.0.1", "127.9.9.9", "::1"] {
            assert!(is_this_machine(host), "{host}");
        }
        for host in ["", "localhost.example", "10.0.0.1", "0.0.0.0", "::", "::2", "[::1]"] {
            assert!(!is_this_machine(host), "{host}");
        }
    }
}
