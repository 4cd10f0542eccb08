//! The arguments that say where the server of commits is.

use std::error::Error;
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use super::client::Client;
use crate::cli::shared::configs::ConfigArgs;
use crate::cli::shared::exit::print_error;
use crate::cli::shared::runtime::block_on;
use crate::settings::{CommitsServer, CommitsSettings, CommitsUrl, positive_seconds};
use crate::store::{WebTls, become_commits_client};

/// The server of the commits.
#[derive(Debug, clap::Args)]
pub struct ServerArgs {
    /// The namespace: https://HOST/NAMESPACE, http://HOST:PORT/NAMESPACE or unix:/SOCKET:/NAMESPACE [default:
    /// $TWITCHER_URL, or url of [commits] in twitcher.toml]
    #[arg(long, value_name = "URL")]
    url: Option<CommitsUrl>,
    /// How long the server may take for each answer [default: 35]
    #[arg(long, value_name = "SECONDS", value_parser = positive_seconds)]
    timeout: Option<Duration>,
    #[command(flatten)]
    configs: ConfigArgs,
}

/// Longer than the server's own deadline for a request (30 s), so that its error can arrive.
const TIMEOUT: Duration = Duration::from_secs(35);

impl ServerArgs {
    /// Runs `command` with a client of the server. Root's process is root no more before it connects, so what
    /// `command` reads of files must be open by then.
    pub fn with_client<T>(
        &self,
        command: impl AsyncFnOnce(&Client) -> Result<T, Box<dyn Error>>,
    ) -> Result<T, Box<dyn Error>> {
        let client = self.client()?;
        block_on(command(&client))?
    }

    /// Reads the settings and the secrets, and gives root up.
    fn client(&self) -> Result<Client, Box<dyn Error>> {
        let settings = CommitsSettings::new(self.url.clone(), self.configs.path())?;
        let tls = match &settings.url.server {
            CommitsServer::Web(web) if web.is_tls => Some(WebTls::read(settings.ca.clone())?),
            CommitsServer::Web(_) | CommitsServer::Unix(_) => None,
        };
        let token = settings.token.as_ref().map(|token| token.reveal()).transpose();
        let token = token.map_err(|error| format!("commits.token: {error}"))?;
        if let CommitsServer::Web(web) = &settings.url.server
            && token.is_some()
            && !web.is_tls
            && !web.is_on_this_host()
        {
            print_error(format_args!(
                "warning: {}: everybody on the way can read the token; use https://, if the server has TLS",
                settings.url
            ));
        }
        become_commits_client(socket(&settings.url))
            .map_err(|error| format!("{}: {error}; does the server run?", settings.url))?;
        Ok(Client::new(settings, token, tls, self.timeout.unwrap_or(TIMEOUT))?)
    }

    /// Returns the flags as words of a command line.
    pub fn flags(&self) -> Vec<OsString> {
        let flags = [
            ("--url", self.url.as_ref().map(|url| url.to_string().into())),
            ("--timeout", self.timeout.map(|time| time.as_secs_f64().to_string().into())),
            ("--config-path", self.configs.path().map(OsString::from)),
        ];
        let given = flags.into_iter().filter_map(|(flag, value)| Some([flag.into(), value?]));
        given.flatten().collect()
    }
}

fn socket(url: &CommitsUrl) -> Option<&Path> {
    match &url.server {
        CommitsServer::Web(_) => None,
        CommitsServer::Unix(socket) => Some(socket),
    }
}
