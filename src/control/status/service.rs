//! The status of one service.

use serde::{Deserialize, Serialize};

use super::watch::PauseStatus;
use crate::text::Timestamp;

/// A service of this host, in the reply to `GET /v1/status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceStatus {
    /// The service's name in log lines.
    pub service: String,
    /// The path relative to the config directory.
    pub file: String,
    pub description: String,
    pub store: String,
    /// The path of the member's node.
    pub member: String,
    /// The name of a [`Condition`](crate::service::Condition).
    pub state: String,
    /// Since when it has been in this state.
    pub since: Timestamp,
    /// Whether it has a check.
    pub is_checked: bool,
    /// How the last check ended: `passed`, `failed` or `not_started`; `null` if there is no check, or none
    /// has ended.
    pub check: Option<String>,
    /// When the last check ended.
    pub checked: Option<Timestamp>,
    /// How the last check failed, who else holds the member, or why the store refuses it.
    pub error: Option<String>,
    pub pause: Option<PauseStatus>,
    /// Whether the store has confirmed a member that it was not seen to lose since.
    #[serde(default)]
    pub is_present: bool,
    /// The `drain` of its definition, in seconds.
    #[serde(default)]
    pub drain: f64,
}

/// What the error of a service begins with that waits for its store.
pub const STORE_AWAY: &str = "the store is not connected";

impl ServiceStatus {
    /// Whether the service is not announced only because its store is away, for the reason `why`.
    pub fn waits_for_store(&self, why: &str) -> bool {
        let error = self.error.as_deref().unwrap_or_default();
        self.state == "waiting" && (error.starts_with(STORE_AWAY) || !why.is_empty() && error.contains(why))
    }

    /// Returns the problem of a service that somebody has to look at.
    pub fn problem(&self) -> Option<String> {
        let error = self.error.as_deref().unwrap_or("no reason is known");
        match self.state.as_str() {
            "failing" => Some(format!("{}: failing: {error}", self.service)),
            "conflict" => Some(format!("{}: conflict: {error} has {}", self.service, self.member)),
            // Until its first check has ended, a service waits without a reason.
            "waiting" => self.error.as_ref().map(|error| format!("{}: not announced: {error}", self.service)),
            _ => None,
        }
    }

    /// Returns the member in the form of log lines: `eu:/services/web/host:80`.
    pub fn place(&self) -> String {
        match self.store.as_str() {
            "default" => self.member.clone(),
            store => format!("{store}:{}", self.member),
        }
    }
}
