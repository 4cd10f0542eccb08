//! How the descriptors that this process may have are divided among its parts, so that none takes those of
//! another: neither running actions nor idle clients may keep the daemon from reading a config.

use std::io;

use nix::sys::resource::{Resource, getrlimit};

/// What the daemon's own work needs: reading configs, connecting to stores and the ledger take some 10 each
/// at most. Under a small limit it is what remains of [`DescriptorShares::reserved`].
const OWN_WORK: u64 = 64;

/// The largest number of clients that a listener serves at once.
const MAX_CLIENTS: u64 = 64;

/// The control socket and the address of the metrics.
const LISTENERS: u64 = 2;

/// The largest number of clients that a program serves at once which runs no actions.
const MAX_ONLY_CLIENTS: u64 = 256;

/// The shares under a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DescriptorShares {
    /// The soft limit.
    pub limit: u64,
    /// Actions take none of the last ones.
    pub reserved: u64,
    /// How many clients each listener serves at once. All of them have their place in the reserve.
    pub clients: u64,
    /// How many clients a program without actions serves at once at its one listener. The other half of the
    /// descriptors is for its own work: a namespace needs some 20, and a validator that runs 6.
    pub only_clients: u64,
}

impl DescriptorShares {
    /// The shares under the limit that this process has at the moment.
    pub fn now() -> io::Result<Self> {
        let (limit, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
        Ok(Self::under(limit))
    }

    fn under(limit: u64) -> Self {
        let clients = (limit / 32).clamp(1, MAX_CLIENTS);
        let only_clients = (limit / 2).clamp(1, MAX_ONLY_CLIENTS);
        Self { limit, reserved: (OWN_WORK + LISTENERS * clients).min(limit / 4), clients, only_clients }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_leave_most_of_the_reserve_to_the_daemon_and_actions_have_three_quarters() {
        for (limit, reserved, clients, only_clients) in [
            (0, 0, 1, 1),
            (60, 15, 1, 30),
            (64, 16, 2, 32),
            (256, 64, 8, 128),
            (1024, 128, 32, 256),
            (1 << 20, 192, 64, 256),
        ] {
            let expected = DescriptorShares { limit, reserved, clients, only_clients };
            assert_eq!(DescriptorShares::under(limit), expected);
        }
        for limit in 64..5000 {
            let DescriptorShares { reserved, clients, .. } = DescriptorShares::under(limit);
            assert!(reserved - LISTENERS * clients >= OWN_WORK.min(limit / 6), "{limit}");
        }
    }
}
