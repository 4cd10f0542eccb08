//! The settings of `twitcher commits`: its server, its token, and whom it trusts.

use std::path::PathBuf;

use super::client::ConfigDirectory;
use super::commits_keys::{configured_token, configured_url};
use super::commits_url::{CommitsServer, CommitsUrl};
use super::environment::{absolute, variable};
use super::error::SettingsError;
use super::file::SettingsFile;
use crate::store::Secret;

const URL_VARIABLE: &str = "TWITCHER_URL";
const TOKEN_VARIABLE: &str = "TWITCHER_TOKEN";

/// How a command reaches its server of commits.
#[derive(Debug)]
pub struct CommitsSettings {
    pub url: CommitsUrl,
    pub token: Option<Secret>,
    /// Where [`Self::token`] comes from, or why there is none although the file has one.
    pub token_origin: TokenOrigin,
    /// A file with the CAs that are trusted, in place of the system's.
    pub ca: Option<PathBuf>,
}

/// Where a token comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenOrigin {
    /// Nobody has given one.
    Nowhere,
    Variable,
    File,
    /// The file has one, but for the server at another URL, which is this.
    AnotherServer(String),
}

impl CommitsSettings {
    /// Returns the settings of a client command: the flag, else `TWITCHER_URL`, else the file say where to
    /// go. Reads no file but `twitcher.toml`.
    pub fn new(flag: Option<CommitsUrl>, configs: Option<PathBuf>) -> Result<Self, SettingsError> {
        let configs = ConfigDirectory::of(configs);
        let named = match flag {
            Some(url) => Some(url),
            None => url_in_environment()?,
        };
        let file = match named {
            Some(_) => configs.read_if_possible()?,
            None => configs.read_or_refuse(&super::client::SERVER)?,
        };
        let configured = configured_url(&file)?;
        let url = named.or_else(|| configured.clone()).ok_or_else(|| {
            let reason = "it is not given; name the namespace there, or with --url or TWITCHER_URL, as in \
                          https://HOST/NAMESPACE";
            file.error("commits.url", reason)
        })?;
        let (token, token_origin) = token(&url, configured.as_ref(), &file)?;
        let ca = file.commits.as_ref().and_then(|section| section.ca.clone()).map(absolute);
        Ok(Self { url, token, token_origin, ca })
    }
}

fn url_in_environment() -> Result<Option<CommitsUrl>, SettingsError> {
    let Some(value) = variable(URL_VARIABLE) else { return Ok(None) };
    let wrong = |reason| SettingsError::Value { origin: URL_VARIABLE.to_owned(), reason };
    let text = value.to_str().ok_or_else(|| wrong(format!("{value:?} is not UTF-8")))?;
    text.parse().map(Some).map_err(|error: super::commits_url::CommitsUrlError| wrong(error.to_string()))
}

/// Returns the token for the server at `url`. That of the file is for the file's server: a URL that somebody
/// gives must not get it sent elsewhere.
fn token(
    url: &CommitsUrl,
    configured: Option<&CommitsUrl>,
    file: &SettingsFile,
) -> Result<(Option<Secret>, TokenOrigin), SettingsError> {
    if let Some(value) = variable(TOKEN_VARIABLE) {
        let token = value.into_string().map_err(|_| SettingsError::Value {
            origin: TOKEN_VARIABLE.to_owned(),
            reason: "it is not UTF-8".to_owned(),
        })?;
        return Ok((Some(Secret::Inline(token)), TokenOrigin::Variable));
    }
    Ok(match (configured_token(file)?, configured) {
        (None, _) => (None, TokenOrigin::Nowhere),
        (Some(_), Some(configured)) if !is_same(&configured.server, &url.server) => {
            (None, TokenOrigin::AnotherServer(configured.to_string()))
        }
        (token, _) => (token, TokenOrigin::File),
    })
}

fn is_same(one: &CommitsServer, other: &CommitsServer) -> bool {
    match (one, other) {
        (CommitsServer::Web(one), CommitsServer::Web(other)) => {
            one.host.eq_ignore_ascii_case(&other.host) && (one.is_tls, one.port) == (other.is_tls, other.port)
        }
        (one, other) => one == other,
    }
}
