//! The state of the daemon that it collects for each request for the metrics.

use std::collections::BTreeMap;

use prometheus::proto::MetricFamily;

use super::family::{counter, gauge, labelled, labelled_counter};
use super::watch_counts::WatchCounts;
use crate::service::Condition;

/// The state of the daemon at one moment. The daemon's loop fills this in, and the control thread encodes it.
#[derive(Clone, Debug, Default)]
pub struct Gauges {
    /// How many services are in each condition.
    pub services: BTreeMap<Condition, usize>,
    pub watches: WatchCounts,
    pub running_actions: usize,
    /// The largest number of running actions.
    pub max_actions: Option<usize>,
    /// How many watches wait for the end of any action.
    pub waiting_for_place: usize,
    /// How many bytes the updates hold that wait.
    pub waiting_bytes: u64,
    /// The names of the stores, and whether each is connected.
    pub stores: Vec<(String, bool)>,
    /// The names of the stores, and how often the process of each was replaced.
    pub store_restarts: Vec<(String, u64)>,
    /// The names of the stores, and how often the process was replaced that keeps members in it.
    pub keeper_restarts: Vec<(String, u64)>,
    /// How many subscriptions cannot be read: the content of a node and its children count as two.
    pub nodes_unreadable: usize,
    /// How many files failed their last load.
    pub config_errors: usize,
    pub ledger_usable: bool,
    /// The size of the database and its write-ahead log.
    pub ledger_bytes: u64,
    /// The size of the cache.
    pub cache_bytes: u64,
    /// The parts of the daemon that do not work.
    pub degraded: Vec<String>,
    /// How many runs have no output in the ledger because its log was too large.
    pub ledger_outputs_dropped: u64,
    /// How many log lines were dropped since the start.
    pub log_lines_dropped: u64,
}

impl Gauges {
    pub(super) fn families(&self) -> Vec<MetricFamily> {
        let Self {
            services,
            watches,
            running_actions,
            max_actions,
            waiting_for_place,
            waiting_bytes,
            stores,
            store_restarts,
            keeper_restarts,
            nodes_unreadable,
            config_errors,
            ledger_usable,
            ledger_bytes,
            cache_bytes,
            degraded,
            ledger_outputs_dropped,
            log_lines_dropped,
        } = self;
        vec![
            labelled(
                "twitcher_services",
                "Services, by state.",
                "state",
                Condition::ALL.into_iter().map(|condition| {
                    let count = services.get(&condition).copied().unwrap_or_default();
                    (condition.as_str(), count as f64)
                }),
            ),
            labelled(
                "twitcher_watches",
                "Watches, by state.",
                "state",
                watches.conditions().map(|(condition, count)| (condition.as_str(), count as f64)),
            ),
            gauge(
                "twitcher_watches_failing",
                "Watches whose last run failed or that a failure stopped, in whatever state they are now.",
                watches.failing as f64,
            ),
            labelled(
                "twitcher_watch_failures",
                "Failures in a row of the 100 watches with the most; others are left out.",
                "watch",
                watches.worst.iter().map(|(watch, failures)| (watch.as_str(), f64::from(*failures))),
            ),
            gauge("twitcher_waiting_updates", "Updates that wait to be run.", watches.waiting_updates as f64),
            gauge(
                "twitcher_waiting_bytes",
                "Bytes of the updates that wait to be run; see `max_waiting_bytes`.",
                *waiting_bytes as f64,
            ),
            gauge("twitcher_running_actions", "Running actions.", *running_actions as f64),
            gauge(
                "twitcher_max_actions",
                "Largest number of running actions (`max_actions`); 0 is no limit.",
                max_actions.unwrap_or_default() as f64,
            ),
            gauge(
                "twitcher_watches_waiting_for_place",
                "Watches that wait for the end of any action, because `max_actions` run.",
                *waiting_for_place as f64,
            ),
            labelled(
                "twitcher_store_connected",
                "Whether the store is connected.",
                "store",
                stores.iter().map(|(store, connected)| (store.as_str(), f64::from(u8::from(*connected)))),
            ),
            labelled_counter(
                "twitcher_store_restarts_total",
                "Times that the process of the store was replaced by a new one.",
                "store",
                store_restarts.iter().map(|(store, restarts)| (store.as_str(), *restarts as f64)),
            ),
            labelled_counter(
                "twitcher_keeper_restarts_total",
                "Times that the process that keeps members in the store was replaced by a new one.",
                "store",
                keeper_restarts.iter().map(|(store, restarts)| (store.as_str(), *restarts as f64)),
            ),
            gauge(
                "twitcher_nodes_unreadable",
                "Watched nodes that exist and cannot be read.",
                *nodes_unreadable as f64,
            ),
            gauge("twitcher_config_errors", "Config files whose last load failed.", *config_errors as f64),
            gauge(
                "twitcher_ledger_usable",
                "Whether the ledger can be read and written.",
                f64::from(u8::from(*ledger_usable)),
            ),
            gauge(
                "twitcher_ledger_size_bytes",
                "Size of the ledger's database and its write-ahead log.",
                *ledger_bytes as f64,
            ),
            gauge(
                "twitcher_cache_size_bytes",
                "Size of the cache of `twitcher get --cached`; 0 without one.",
                *cache_bytes as f64,
            ),
            labelled(
                "twitcher_degraded",
                "Parts of the daemon that do not work at the moment; those that work are left out.",
                "part",
                degraded.iter().map(|part| (part.as_str(), 1.0)),
            ),
            counter(
                "twitcher_ledger_outputs_dropped_total",
                "Runs whose output the ledger did not record because its write-ahead log was too large.",
                *ledger_outputs_dropped as f64,
            ),
            counter(
                "twitcher_log_lines_dropped_total",
                "Log lines dropped because the log was slow or unavailable.",
                *log_lines_dropped as f64,
            ),
        ]
    }
}
