//! Which watches and services `status` shows, and in which order.

use std::cmp::Reverse;

use clap::ValueEnum;

use crate::control::status::{ServiceStatus, WatchStatus};
use crate::service;
use crate::text::{did_you_mean, is_glob, matches_glob, suggest};
use crate::watch::Condition;

/// The watches and services to show.
#[derive(Debug, clap::Args)]
pub struct Selection {
    /// Only these watches and services: names in the log, descriptions, or patterns of either with * and ?
    #[arg(value_name = "WATCH")]
    pub names: Vec<String>,
    /// Only watches and services in one of these states, such as failed,stopped
    #[arg(long, value_name = "STATE", value_delimiter = ',', value_parser = state)]
    state: Vec<String>,
    /// The order of the watches
    #[arg(long, value_enum, default_value_t = Order::Name)]
    sort: Order,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Order {
    /// By file and description
    Name,
    /// By node
    Node,
    /// By state
    State,
    /// Those that failed most often in a row first
    Failures,
    /// Those that ran last first
    Last,
}

fn state(text: &str) -> Result<String, String> {
    let known = states();
    match known.contains(&text) {
        true => Ok(text.to_owned()),
        false => {
            let stem = text.get(..4).and_then(|stem| known.iter().find(|state| state.starts_with(stem)));
            let near = stem.map_or_else(|| suggest(text, known.iter().copied()), |stem| did_you_mean(stem));
            Err(format!("no such state; there are {}{near}", known.join(", ")))
        }
    }
}

/// Returns the states of watches, and those that only services have.
fn states() -> Vec<&'static str> {
    let of_watches = Condition::ALL.map(Condition::as_str);
    let of_services = service::Condition::ALL.map(service::Condition::as_str);
    let others = of_services.into_iter().filter(|state| !of_watches.contains(state));
    of_watches.into_iter().chain(others).collect()
}

impl Selection {
    /// Whether only some of all watches and services are shown.
    pub fn is_some(&self) -> bool {
        !self.names.is_empty() || !self.state.is_empty()
    }

    /// The names that are no patterns, which the daemon looks up.
    pub fn exact<'a>(&'a self, all: &'a [WatchStatus]) -> impl Iterator<Item = &'a str> {
        let is_name = |name: &&str| !is_glob(name) || all.iter().any(|watch| watch.watch == **name);
        self.names.iter().map(String::as_str).filter(is_name)
    }

    /// Returns the services to show of `all`.
    pub fn services(&self, all: &[ServiceStatus]) -> Vec<ServiceStatus> {
        let is_named = |service: &&ServiceStatus| {
            self.names.is_empty() || self.names.iter().any(|name| is_of(service, name))
        };
        let has_state =
            |service: &&ServiceStatus| self.state.is_empty() || self.state.contains(&service.state);
        all.iter().filter(is_named).filter(has_state).cloned().collect()
    }

    /// Returns the watches to show of `all`, of which the `exact` ones are named. A pattern that neither a
    /// watch nor one of the `services` matches is an error.
    pub fn select(
        &self,
        all: Vec<WatchStatus>,
        exact: &[String],
        services: &[ServiceStatus],
    ) -> Result<Vec<WatchStatus>, String> {
        let matches = |pattern: &str, watch: &WatchStatus| {
            matches_glob(pattern, &watch.watch) || matches_glob(pattern, &watch.description)
        };
        let patterns: Vec<_> =
            self.names.iter().filter(|name| is_glob(name) && !exact.contains(name)).collect();
        let is_any = |pattern: &str| {
            all.iter().any(|watch| matches(pattern, watch))
                || services.iter().any(|service| is_of(service, pattern))
        };
        if let Some(none) = patterns.iter().find(|pattern| !is_any(pattern)) {
            return Err(format!("no watch or service matches {none}; `twitcher status` lists them"));
        }
        let is_named = |watch: &WatchStatus| {
            self.names.is_empty()
                || exact.contains(&watch.watch)
                || patterns.iter().any(|pattern| matches(pattern, watch))
        };
        let has_state = |watch: &WatchStatus| self.state.is_empty() || self.state.contains(&watch.state);
        let mut found: Vec<_> = all.into_iter().filter(|watch| is_named(watch) && has_state(watch)).collect();
        WatchStatus::sort_by_name(&mut found);
        match self.sort {
            Order::Name => {}
            Order::Node => found.sort_by_cached_key(|watch| (watch.store.clone(), watch.znode.clone())),
            Order::State => {
                let position = |watch: &WatchStatus| {
                    Condition::ALL.iter().position(|state| state.as_str() == watch.state)
                };
                found.sort_by_key(position);
            }
            Order::Failures => found.sort_by_key(|watch| Reverse(watch.failures)),
            Order::Last => found.sort_by_key(|watch| Reverse(watch.last_run.as_ref().map(|run| run.started))),
        }
        Ok(found)
    }
}

/// Whether a name or a pattern is that of the service. Two files may each have a service of one description;
/// then both are meant, since nothing is done to them.
pub fn is_of(service: &ServiceStatus, name: &str) -> bool {
    let ServiceStatus { service, description, .. } = service;
    let is_it = |known: &str| known == name || (is_glob(name) && matches_glob(name, known));
    is_it(service) || is_it(description)
}
