//! Whether the store has what the journal has.

use hyper::StatusCode;
use serde::Serialize;

use super::access::Who;
use super::api::Problem;
use super::namespace::Namespace;
use super::reply::{Reply, json, text};
use crate::commits::{Comparison, Difference};
use crate::settings::Right;

/// How a namespace is published.
#[derive(Serialize)]
struct Published<'a> {
    /// Whether this server is the one that goes over all keys by itself.
    leader: bool,
    /// Where the heads are published; `None`: nowhere.
    keeper: Option<&'a str>,
    /// The first of the keys that differ, or did.
    differences: Vec<Differing>,
    /// How many keys differ, or did.
    differing: u64,
    /// How many of them are put right.
    repaired: u64,
    /// How many keys were compared.
    checked: u64,
    /// What keeps this server from publishing now, for people.
    trouble: Option<String>,
}

#[derive(Serialize)]
struct Differing {
    key: String,
    /// The versions.
    journal: Option<i64>,
    store: Option<i64>,
    /// What the store had that no journal has published, for people.
    found: Option<String>,
    repaired: bool,
    /// Why it could not be put right.
    failure: Option<String>,
}

/// Compares journal and store now; if `repairs`, publishes what differs.
pub async fn answer(namespace: &Namespace, repairs: bool, who: Who<'_>) -> Result<Reply, Problem> {
    who.require(&namespace.name, if repairs { Right::Write } else { Right::Read })?;
    let Some(publication) = &namespace.publication else {
        let nowhere = Published {
            leader: false,
            keeper: None,
            differences: Vec::new(),
            differing: 0,
            repaired: 0,
            checked: 0,
            trouble: None,
        };
        return Ok(json(StatusCode::OK, &nowhere));
    };
    let Comparison { checked, differences, differing, repaired, .. } =
        match publication.publisher.compare(repairs).await {
            Ok(comparison) => comparison,
            Err(error) => {
                return Ok(text(StatusCode::SERVICE_UNAVAILABLE, format_args!("Not published: {error}")));
            }
        };
    let differences = differences.into_iter().map(|difference| {
        let Difference { key, journal, store, intruder, failure, is_repaired } = difference;
        Differing { key, journal, store, found: intruder, repaired: is_repaired, failure }
    });
    let status = publication.publisher.status();
    let published = Published {
        leader: status.leader,
        keeper: Some(&publication.place),
        differences: differences.collect(),
        differing,
        repaired,
        checked,
        trouble: status.trouble,
    };
    Ok(json(StatusCode::OK, &published))
}
