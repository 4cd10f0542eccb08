//! Whether a table is a journal that this program knows.

use super::target::Table;

pub(super) const PROGRAM: &str = env!("CARGO_PKG_VERSION");

/// What a database has.
pub(super) struct Found {
    /// The version of the table and the program that has written it, if `twitcher_journals` has it.
    pub(super) noted: Option<(i64, String)>,
    pub(super) has_table: bool,
}

/// What is to be done about a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    Use,
    Make,
}

/// Decides about a table, of which this program knows this version. An error says why it is refused.
pub(super) fn judge(table: &Table, known: i64, found: Found) -> Result<Act, String> {
    match (found.noted, found.has_table) {
        (Some((version, _)), true) if version == known => Ok(Act::Use),
        (Some((version, program)), true) => Err(format!(
            "the table {table} has version {version}, and Twitcher {PROGRAM} knows only version {known}; \
             start Twitcher {program} or a later one"
        )),
        (Some(_), false) => Err(format!("the table {table} was removed; restore a backup")),
        (None, true) => Err(format!("the table {table} was not made by Twitcher; name another with `table`")),
        (None, false) => Ok(Act::Make),
    }
}

/// Says that a table is gone that was there when the server started.
pub(super) fn gone(table: &Table) -> String {
    format!("the table {table} is gone; restore a backup, or restart the server to begin anew")
}
