//! What operators see of a service.

use std::sync::Arc;

use super::state::Keeping;
use super::{Condition, Health, Service};

impl Service {
    pub fn condition(&self) -> Condition {
        match (self.verdict.health(), &self.keeping) {
            _ if self.pause.is_some() => Condition::Drained,
            (Health::Failing, _) => Condition::Failing,
            (Health::Unknown, _) => Condition::Waiting,
            (Health::Well, Keeping::Conflict { .. }) => Condition::Conflict,
            (Health::Well, Keeping::No | Keeping::Asked | Keeping::Waiting { .. }) => Condition::Waiting,
            (Health::Well, Keeping::Yes) => Condition::Announced,
        }
    }

    /// Returns what prevents the member, in words, if something does.
    pub fn obstacle(&self) -> Option<Arc<str>> {
        match (self.condition(), &self.keeping, &self.unstartable) {
            (Condition::Conflict, Keeping::Conflict { holder }, _) => Some(holder.to_string().into()),
            (Condition::Waiting, Keeping::Waiting { reason }, _) => Some(reason.clone()),
            (Condition::Failing, ..) => self.last_failure.clone(),
            (Condition::Waiting, _, Some(why)) => Some(why.clone()),
            _ => None,
        }
    }
}
