//! What people are told of a problem.

use hyper::StatusCode;

use super::super::access::Denied;
use super::super::api::Problem;
use crate::commits::JournalError;
use crate::model::Commit;
use crate::text::quoted;

/// Returns a problem in a few words, and then with what helps.
pub fn of(problem: Problem) -> (StatusCode, &'static str, String) {
    match problem {
        Problem::Denied(Denied::Unknown) => {
            (StatusCode::UNAUTHORIZED, "Who are you?", "Log in first.".to_owned())
        }
        Problem::Denied(denied) => (StatusCode::FORBIDDEN, "You may not do this", denied.to_string()),
        Problem::Malformed(why) => (StatusCode::BAD_REQUEST, "This cannot be done", why),
        Problem::NotFound => {
            let why = "No namespace, key or version has this address.";
            (StatusCode::NOT_FOUND, "There is nothing here", why.to_owned())
        }
        Problem::TooLarge => {
            let why = format!("Nothing was saved: {} bytes is the most.", Commit::MAX_PAYLOAD);
            (StatusCode::PAYLOAD_TOO_LARGE, "This is too large", why)
        }
        Problem::Busy(busy) => (StatusCode::SERVICE_UNAVAILABLE, "The server is busy", format!("{busy}.")),
        Problem::Unavailable(JournalError::Corrupt(corrupt)) => {
            let next = corrupt.version.saturating_add(1);
            let why = format!(
                "{corrupt}. Its key goes on with the next version: edit it, or save it with \
                 `twitcher commits save {} --version {next}`.",
                quoted(&corrupt.key)
            );
            (StatusCode::INTERNAL_SERVER_ERROR, "This commit cannot be read", why)
        }
        Problem::Unavailable(error) => {
            let why = format!("{error}. Try again in a moment; what was saved is not lost.");
            (StatusCode::SERVICE_UNAVAILABLE, "The journal is not available", why)
        }
    }
}
