//! What watches the server: whether it does its work, and how much.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use hyper::StatusCode;
use prometheus::{Encoder, GaugeVec, IntCounterVec, Opts, Registry, TextEncoder};

use super::namespace::Namespace;
use super::reply::{Reply, full, reply, text};
use crate::commits::{JournalError, Key, Page};

/// Whether every journal can be read now. Else it names those that cannot, with status 503.
pub async fn healthy(namespaces: &BTreeMap<String, Namespace>) -> Reply {
    let mut troubles = Vec::new();
    for (name, namespace) in namespaces {
        if let Err(error) = probe(namespace).await {
            troubles.push(format!("{name}: {error}"));
        }
    }
    match &*troubles {
        [] => text(StatusCode::OK, "ok"),
        troubles => text(StatusCode::SERVICE_UNAVAILABLE, troubles.join("\n")),
    }
}

/// Reads next to nothing of a journal.
async fn probe(namespace: &Namespace) -> Result<(), JournalError> {
    let page = Page { after: None::<Key>, limit: 1, bytes: 0, with_removed: true, with_payloads: false };
    namespace.journal.heads(&page).await.map(drop)
}

/// The metrics in the format of Prometheus.
pub async fn metrics(namespaces: &BTreeMap<String, Namespace>) -> Reply {
    let registry = Registry::new();
    let counter = |name: &str, help: &str, labels: &[&str]| {
        let counter = IntCounterVec::new(Opts::new(name, help), labels);
        let counter = counter.unwrap_or_else(|_| unreachable!("{name} is a name"));
        // Nothing is registered twice.
        let _ = registry.register(Box::new(counter.clone()));
        counter
    };
    let saves = counter("twitcher_serve_saves_total", "Saves by result.", &["namespace", "result"]);
    let gauge = |name: &str, help: &str| {
        let gauge = GaugeVec::new(Opts::new(name, help), &["namespace"]);
        let gauge = gauge.unwrap_or_else(|_| unreachable!("{name} is a name"));
        let _ = registry.register(Box::new(gauge.clone()));
        gauge
    };
    let up = gauge("twitcher_serve_journal_up", "Whether the journal can be read.");
    let keys = gauge("twitcher_serve_keys", "Keys of the journal, also removed ones.");
    let commits = gauge("twitcher_serve_commits", "Commits of the journal.");
    let corrupt = gauge("twitcher_serve_corrupt_commits", "Commits that were met and cannot be read.");
    let lag = gauge(
        "twitcher_serve_publish_lag_seconds",
        "The age of the oldest save that is not published yet, 0 without one.",
    );
    let leader = gauge("twitcher_serve_leader", "Whether this server goes over all keys.");
    let connected = gauge("twitcher_serve_store_connected", "Whether the store can be reached.");
    for (name, namespace) in namespaces {
        let counts = &namespace.counts;
        for (result, count) in [
            ("kept", &counts.kept),
            ("conflict", &counts.conflicts),
            ("refused", &counts.refused),
            ("failed", &counts.failed),
        ] {
            saves.with_label_values(&[name, result]).inc_by(count.load(Ordering::Relaxed));
        }
        let set = |gauge: &GaugeVec, value: f64| gauge.with_label_values(&[name]).set(value);
        let is_up = probe(namespace).await.is_ok();
        set(&up, is_up.into());
        // A journal that is away would hold up the other metrics once more.
        if is_up && let Ok(size) = namespace.journal.size().await {
            set(&keys, size.keys as f64);
            set(&commits, size.commits as f64);
            set(&corrupt, size.corrupt as f64);
        }
        if let Some(publication) = &namespace.publication {
            let status = publication.publisher.status();
            set(&lag, status.lag);
            set(&leader, status.leader.into());
            set(&connected, status.connected.into());
        }
    }
    let mut bytes = Vec::new();
    match TextEncoder::new().encode(&registry.gather(), &mut bytes) {
        Ok(()) => reply(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", full(bytes)),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, error),
    }
}
