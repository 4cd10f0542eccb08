//! Where a connection gets the secrets and certificates from that it logs in with.

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;

use super::question::{Question, Questions};

/// What it takes to log in to a store of one kind: secrets and certificates, or where they are.
pub(super) trait StoreLogin: Clone + Default + Serialize + DeserializeOwned + Send + 'static {
    /// Whether there is nothing to read before a connection is made.
    fn is_empty(&self) -> bool;

    /// Reads all secrets and files. This may block.
    fn read(&self) -> Result<Self, String>;
}

/// Who reads secrets and certificates.
pub(crate) enum LoginSource {
    /// This process.
    Here,
    /// The daemon, which may read what this process may not.
    Daemon(Questions),
}

impl LoginSource {
    /// Reads what `login` names. Fails with the reason for people.
    pub(super) async fn read<L: StoreLogin>(&self, login: &L) -> Result<L, String> {
        if login.is_empty() {
            return Ok(L::default());
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

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::store::secret::{Secret, SecretFile};
    use crate::store::tls::Tls;
    use crate::store::zookeeper::{Auth, Login};

    // A client reads them while it is root, and connects when it is root no more.
    #[test]
    fn what_was_read_is_not_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str| {
            let path = directory.path().join(name);
            fs::write(&path, name).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
            path
        };
        let auth =
            Auth { scheme: "digest".into(), credentials: Secret::File(SecretFile(file("user:secret"))) };
        let tls = Tls { ca: file("ca"), identity: None, texts: None };
        let login = Login { auth: vec![auth], tls: Some(tls), sasl: None };
        let read = login.read().unwrap();
        let sent = serde_json::to_vec(&read).unwrap();
        drop(directory);
        assert!(login.read().is_err());
        for read in [read, serde_json::from_slice::<Login>(&sent).unwrap()] {
            assert_eq!(read.read().unwrap().auth[0].credentials.reveal().unwrap(), "user:secret");
            let shown = format!("{read:?}");
            assert!(!shown.contains("user:secret"), "{shown}");
        }
        let outline = serde_json::to_string(&login.read().unwrap_or(login).without_secrets()).unwrap();
        assert!(!outline.contains("texts\":{"), "{outline}");
    }
}
