//! The definition of the whole command line, for the subcommand that completes it.

use std::sync::OnceLock;

static DEFINITION: OnceLock<clap::Command> = OnceLock::new();

/// Keeps the definition. The first one stays.
pub fn keep(definition: clap::Command) {
    let _ = DEFINITION.set(definition);
}

/// Returns the definition, once it was kept.
pub fn kept() -> Option<&'static clap::Command> {
    DEFINITION.get()
}
