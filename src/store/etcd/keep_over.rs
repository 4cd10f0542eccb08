//! Why members are kept on a connection no more.

use super::link::CallError;
use super::wire::status::Meaning;

/// Why nothing more is done on a connection.
pub(super) enum Over {
    Closed,
    /// The lease is gone.
    Lease,
    /// The login has expired, which is no outage.
    Login,
    Lost(String),
    /// There is no lease to be had, for this reason.
    Refused(String),
}

impl Over {
    pub(super) fn of(error: CallError) -> Self {
        match error {
            CallError::Status(status) => match status.meaning() {
                Meaning::Token | Meaning::Login => Self::Login,
                Meaning::Forbidden => Self::Refused(status.to_string()),
                Meaning::NoAuth
                | Meaning::Revision
                | Meaning::TooLarge
                | Meaning::NoSpace
                | Meaning::Unavailable
                | Meaning::Other => Self::Lost(status.to_string()),
            },
            CallError::TooLong(_) | CallError::Lost(_) => Self::Lost(error.to_string()),
        }
    }
}
