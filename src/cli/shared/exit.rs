//! The end of a command. Errors go to stderr. Exit codes: 0 done, 1 failed, 2 wrong usage.

use std::error::Error;
use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

use crate::settings::SettingsError;
use crate::text::printable;

/// The exit code of a command, or the error that ended it, which is printed.
pub type Exit = Result<ExitCode, Box<dyn Error>>;

/// Prints the error if there is one, and returns the exit code.
pub fn exit_code(exit: Exit) -> ExitCode {
    let error = match exit {
        Ok(code) => return code,
        Err(error) => error,
    };
    // The message may quote a config or an action. An error in a config has several lines.
    let lines: Vec<_> = error.to_string().lines().map(|line| printable(line.as_bytes())).collect();
    print_error(format_args!("twitcher: {}", lines.join("\n")));
    match error.downcast_ref() {
        // The name was given on the command line.
        Some(SettingsError::UnknownStore { .. }) => ExitCode::from(2),
        Some(SettingsError::Read { .. } | SettingsError::Untrusted { .. } | SettingsError::Value { .. })
        | None => ExitCode::FAILURE,
    }
}

/// Prints a line to stderr. If stderr is closed or full, only the exit code tells.
pub fn print_error(message: impl Display) {
    let _ = writeln!(std::io::stderr(), "{message}");
}
