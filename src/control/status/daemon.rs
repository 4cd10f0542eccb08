//! The status of the daemon as a whole, its stores and its ledger.

use serde::{Deserialize, Serialize};

use super::service::ServiceStatus;
use crate::text::Timestamp;

/// The reply to `GET /v1/status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DaemonStatus {
    /// The daemon's version, which may differ from the client's.
    pub version: String,
    pub pid: u32,
    pub started: Timestamp,
    /// `starting` until all configs were read, then `running`, and at the end `stopping`.
    pub state: String,
    pub config_path: String,
    /// Whether root's daemon loads files that other users can change (`--allow-untrusted`).
    #[serde(default)]
    pub untrusted_allowed: bool,
    pub stores: Vec<StoreStatus>,
    pub ledger: LedgerStatus,
    /// Files whose last load failed, and directories that cannot be read. The watches that they registered
    /// before stay.
    pub config_errors: Vec<ConfigError>,
    /// Other parts of the daemon that do not work at the moment.
    #[serde(default)]
    pub degraded: Vec<DegradedPart>,
    /// How many watches the files register.
    pub watches: usize,
    /// The services that the files register.
    #[serde(default)]
    pub services: Vec<ServiceStatus>,
    /// How many actions run.
    #[serde(default)]
    pub running_actions: usize,
    /// The largest number of actions that run at once; `null` is no limit.
    #[serde(default)]
    pub max_actions: Option<usize>,
    /// How many watches wait for the end of any action, because `max_actions` run.
    #[serde(default)]
    pub waiting_for_place: usize,
    /// How many bytes the updates hold that wait.
    #[serde(default)]
    pub waiting_bytes: u64,
    /// The largest number of bytes that wait; `null` is no limit.
    #[serde(default)]
    pub max_waiting_bytes: Option<u64>,
}

/// A store and the daemon's connection to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoreStatus {
    pub name: String,
    pub url: String,
    /// `null` until the first attempt to connect has ended.
    pub connected: Option<bool>,
    /// The time of the last connection or disconnection.
    pub since: Option<Timestamp>,
    /// The server and session, or why there is no connection.
    pub detail: Option<String>,
    /// How many nodes of the store are followed.
    pub nodes: usize,
    /// The process that serves the store; `null` until the first one is ready.
    #[serde(default)]
    pub pid: Option<u32>,
    /// How many such processes there were before.
    #[serde(default)]
    pub restarts: u64,
    /// Who the process is, and how it is confined.
    #[serde(default)]
    pub confinement: Option<String>,
    /// The process that keeps the members of services in the store; `null` while there is none.
    #[serde(default)]
    pub keeper_pid: Option<u32>,
    /// How many such processes were replaced.
    #[serde(default)]
    pub keeper_restarts: u64,
}

/// Whether the ledger can be used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LedgerStatus {
    pub usable: bool,
    /// Why the ledger cannot be used.
    pub reason: Option<String>,
}

/// A file or directory whose last load failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConfigError {
    /// The path relative to the config directory, which itself is `./`. A directory's path ends with a slash.
    pub file: String,
    pub error: String,
}

/// A part of the daemon that does not work, although the daemon goes on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DegradedPart {
    pub part: String,
    /// Why it does not work, with the remedy.
    pub what: String,
    pub since: Timestamp,
}

impl ConfigError {
    /// The error without the lines that quote the file.
    pub fn first_line(&self) -> &str {
        self.error.lines().next().unwrap_or_default()
    }
}
