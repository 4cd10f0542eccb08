//! The statements of a file of SQL.

use std::collections::HashMap;

use super::target::Table;

const MARK: &str = "-- statement: ";

/// Statements by name. In the file, each begins with a line `-- statement: NAME`, and `{table}` stands for
/// the name of the table.
pub(super) struct Statements(HashMap<&'static str, String>);

impl Statements {
    pub(super) fn new(file: &'static str, table: &Table) -> Self {
        let parts = file.split(MARK).skip(1).filter_map(|part| part.split_once('\n'));
        let parts = parts.map(|(name, text)| (name.trim(), text.trim().replace("{table}", table.as_str())));
        Self(parts.collect())
    }

    /// Returns a statement that the file has. Each is asked for in the tests.
    pub(super) fn get(&self, name: &str) -> &str {
        self.0.get(name).unwrap_or_else(|| unreachable!("no statement {name}"))
    }
}
