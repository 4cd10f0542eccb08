//! The end of a command. Errors go to stderr. Exit codes: 0 done, 1 failed, 2 wrong
//! usage, 3 a condition did not hold.

use std::error::Error;
use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use anstream::{AutoStream, ColorChoice};
use anstyle::AnsiColor;
use thiserror::Error;

use super::stdout::PrintError;
use crate::settings::SettingsError;
use crate::store::ClientError;
use crate::text::printable;

/// The exit code of a command, or the error that ended it, which is printed.
pub type Exit = Result<ExitCode, Box<dyn Error>>;

/// What is wrong with the command line, where the parser cannot know it.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct UsageError(pub String);

/// A condition does not hold, so that nothing was changed.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct ConditionError(pub String);

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
    let is_condition = matches!(error.downcast_ref(), Some(ClientError::ConditionFailed { .. }));
    if is_condition || error.is::<ConditionError>() {
        return CONDITION_FAILED.into();
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

/// A condition that the command line names does not hold, so that nothing was changed.
pub const CONDITION_FAILED: u8 = 3;

/// Prints a message of one or more lines to stderr, with their control characters escaped: it may quote a
/// config, a name or an action. If stderr is closed or full, only the exit code tells.
pub fn print_error(message: impl Display) {
    let lines: String =
        message.to_string().lines().flat_map(|line| [printable(line.as_bytes()), "\n".into()]).collect();
    let lines = match AutoStream::choice(&io::stderr()) {
        ColorChoice::Never => lines,
        ColorChoice::Always | ColorChoice::AlwaysAnsi | ColorChoice::Auto => coloured(lines),
    };
    let _ = io::stderr().write_all(lines.as_bytes());
}

/// Colours the word with which a message begins, if it tells what kind of message this is, and in the quotes
/// of a config the mark of the place.
fn coloured(message: String) -> String {
    let (error, warning) = (AnsiColor::Red.on_default().bold(), AnsiColor::Yellow.on_default().bold());
    let marked = |line: &str| match line.strip_prefix("  | ").and_then(|quote| quote.strip_suffix('^')) {
        Some(space) if space.trim().is_empty() => format!("  | {space}{error}^{error:#}\n"),
        Some(_) | None => format!("{line}\n"),
    };
    let message: String = message.lines().map(marked).collect();
    for (word, style) in [("twitcher:", error), ("error:", error), ("warning:", warning)] {
        if let Some(rest) = message.strip_prefix(word) {
            return format!("{style}{word}{style:#}{rest}");
        }
    }
    message
}
