//! The end of a command. Errors go to stderr. Exit codes: 0 done, 1 failed, 2 wrong usage.

use std::error::Error;
use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

use thiserror::Error;

use super::stdout::PrintError;
use crate::settings::SettingsError;
use crate::text::printable;

/// The exit code of a command, or the error that ended it, which is printed.
pub type Exit = Result<ExitCode, Box<dyn Error>>;

/// What is wrong with the command line, where the parser cannot know it.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct UsageError(pub String);

/// Prints the error if there is one, and returns the exit code.
pub fn exit_code(exit: Exit) -> ExitCode {
    let error = match exit {
        Ok(code) => return code,
        Err(error) => error,
    };
    if let Some(PrintError::Closed) = error.downcast_ref() {
        return ExitCode::SUCCESS;
    }
    print_error(format_args!("twitcher: {error}"));
    if error.is::<UsageError>() {
        return WRONG_USAGE.into();
    }
    match error.downcast_ref() {
        // The name was given on the command line.
        Some(SettingsError::UnknownStore { .. }) => WRONG_USAGE.into(),
        Some(
            SettingsError::Read { .. }
            | SettingsError::Needed { .. }
            | SettingsError::Untrusted { .. }
            | SettingsError::Value { .. },
        )
        | None => ExitCode::FAILURE,
    }
}

pub const WRONG_USAGE: u8 = 2;

/// Prints a message of one or more lines to stderr, with their control characters escaped: it may quote a
/// config, a name or an action. If stderr is closed or full, only the exit code tells.
pub fn print_error(message: impl Display) {
    let lines: String =
        message.to_string().lines().flat_map(|line| [printable(line.as_bytes()), "\n".into()]).collect();
    let _ = std::io::stderr().write_all(lines.as_bytes());
}
