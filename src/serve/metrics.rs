//! What watches the server: whether it does its work, and how much.

use std::sync::atomic::Ordering;

use hyper::StatusCode;
use prometheus::{Encoder, IntCounterVec, IntGaugeVec, Opts, Registry, TextEncoder};

use super::reply::{Reply, full, reply, text};
use super::server::Server;
use crate::commits::{Key, Page};

/// Whether every journal can be read now. Else it names those that cannot, with status 503.
pub async fn healthy(server: &Server) -> Reply {
    let mut troubles = Vec::new();
    for (name, namespace) in &server.namespaces {
        let page = Page { after: None::<Key>, limit: 1, with_removed: true, with_payloads: false };
        if let Err(error) = namespace.journal.heads(&page).await {
            troubles.push(format!("{name}: {error}"));
        }
    }
    match &*troubles {
        [] => text(StatusCode::OK, "ok"),
        troubles => text(StatusCode::SERVICE_UNAVAILABLE, troubles.join("\n")),
    }
}

/// The metrics in the format of Prometheus.
pub async fn metrics(server: &Server) -> Reply {
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
        let gauge = IntGaugeVec::new(Opts::new(name, help), &["namespace"]);
        let gauge = gauge.unwrap_or_else(|_| unreachable!("{name} is a name"));
        let _ = registry.register(Box::new(gauge.clone()));
        gauge
    };
    let up = gauge("twitcher_serve_journal_up", "Whether the journal can be read.");
    let keys = gauge("twitcher_serve_keys", "Keys of the journal, also removed ones.");
    let commits = gauge("twitcher_serve_commits", "Commits of the journal.");
    for (name, namespace) in &server.namespaces {
        let counts = &namespace.counts;
        for (result, count) in [
            ("kept", &counts.kept),
            ("conflict", &counts.conflicts),
            ("refused", &counts.refused),
            ("failed", &counts.failed),
        ] {
            saves.with_label_values(&[name, result]).inc_by(count.load(Ordering::Relaxed));
        }
        let size = namespace.journal.size().await;
        up.with_label_values(&[name]).set(size.is_ok().into());
        if let Ok(size) = size {
            let whole = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
            keys.with_label_values(&[name]).set(whole(size.keys));
            commits.with_label_values(&[name]).set(whole(size.commits));
        }
    }
    let mut bytes = Vec::new();
    match TextEncoder::new().encode(&registry.gather(), &mut bytes) {
        Ok(()) => reply(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", full(bytes)),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, error),
    }
}
