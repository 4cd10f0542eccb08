//! What the keys of `[commits]` say.

use super::commits_url::CommitsUrl;
use super::error::SettingsError;
use super::file::SettingsFile;
use crate::store::Secret;

/// Checks the keys of `[commits]`.
pub(super) fn check(file: &SettingsFile) -> Result<(), SettingsError> {
    configured_url(file)?;
    configured_token(file).map(drop)
}

pub(super) fn configured_url(file: &SettingsFile) -> Result<Option<CommitsUrl>, SettingsError> {
    let url = file.commits.as_ref().and_then(|section| section.url.as_deref());
    url.map(str::parse).transpose().map_err(|error| file.error("commits.url", error))
}

pub(super) fn configured_token(file: &SettingsFile) -> Result<Option<Secret>, SettingsError> {
    let token = file.commits.as_ref().and_then(|section| section.token.as_ref());
    let token = token.map(|token| token.secret()).transpose();
    token.map_err(|error| file.error("commits.token", error))
}
