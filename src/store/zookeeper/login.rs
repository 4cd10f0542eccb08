//! Where a connection gets the secrets and certificates from that it logs in with.

use tokio::sync::oneshot;

use super::settings::Login;
use crate::store::question::{Question, Questions};

/// Who reads secrets and certificates.
pub(crate) enum LoginSource {
    /// This process.
    Here,
    /// The daemon, which may read what this process may not.
    Daemon(Questions),
}

impl LoginSource {
    /// Reads what `login` names. Fails with the reason for people.
    pub(super) async fn read(&self, login: &Login) -> Result<Login, String> {
        if login.is_empty() {
            return Ok(Login::default());
        }
        match self {
            Self::Here => {
                let login = login.clone();
                let read = tokio::task::spawn_blocking(move || login.read()).await;
                read.map_err(|error| error.to_string())?
            }
            Self::Daemon(questions) => {
                let gone = || "the daemon has ended".to_owned();
                let (reply, answer) = oneshot::channel();
                questions.send(Question::Login(reply)).map_err(|_| gone())?;
                let login = answer.await.map_err(|_| gone())??;
                serde_json::from_slice(&login).map_err(|error| error.to_string())
            }
        }
    }
}
