//! The keys of `[commits]`.

use std::path::PathBuf;

use serde::Deserialize;

use super::secret_setting::SecretSetting;

/// `[commits]`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a block [commits]")]
pub(super) struct CommitsSection {
    pub(super) url: Option<String>,
    pub(super) token: Option<SecretSetting>,
    /// PEM
    pub(super) ca: Option<PathBuf>,
}

impl CommitsSection {
    /// Whether the file itself holds the token.
    pub(super) fn has_secrets(&self) -> bool {
        self.token.as_ref().is_some_and(SecretSetting::is_inline)
    }
}
