//! Why a connection ends.

use std::time::Duration;

use thiserror::Error;

/// Why a connection is not used any more.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(super) enum Ended {
    #[error("{0}")]
    Lost(String),
    #[error("no answer within {} s", .0.as_secs_f64())]
    NoAnswer(Duration),
    /// The login has expired. There is no outage unless the next login fails.
    #[error("the login has expired")]
    Login,
    /// The server says what no etcd says.
    #[error("{0}")]
    Unusual(String),
}
