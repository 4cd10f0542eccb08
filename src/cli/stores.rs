//! Which stores there are: the default one, which flags and environment replace, and those that `twitcher.toml` names.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;

use super::StoreArgs;
use super::credentials::{self, AuthSection, SaslSection, SettingError, StoreCredentials, TlsSection};
use super::settings::{self, SESSION_TIMEOUT, SettingsError, SettingsFile};
use crate::model::{StoreName, StoreNames};
use crate::store::{CREDENTIALS_DIRECTORY, StoreSettings, StoreUrl, StoreUrlError};
use crate::text::suggest;

/// The default store, unless something names another.
pub const STORE: &str = "zk://localhost:2181";

/// What `--store` is given: a URL has a scheme, a name has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreChoice {
    Url(StoreUrl),
    /// Of a store in `twitcher.toml`.
    Name(StoreName),
}

impl FromStr for StoreChoice {
    type Err = StoreUrlError;

    fn from_str(text: &str) -> Result<Self, StoreUrlError> {
        match (text.parse(), StoreName::parse(text)) {
            (Ok(url), _) => Ok(Self::Url(url)),
            (Err(_), Ok(name)) => Ok(Self::Name(name)),
            (Err(error), Err(_)) => Err(error),
        }
    }
}

/// A `[stores.NAME]` block of `twitcher.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a block [stores.NAME] with its url")]
pub struct StoreSection {
    pub url: String,
    /// Seconds, integer or float.
    pub session_timeout: Option<f64>,
    /// Given to each of its sessions, in this order.
    #[serde(default)]
    pub auth: Vec<AuthSection>,
    pub tls: Option<TlsSection>,
    pub sasl: Option<SaslSection>,
}

impl StoreSection {
    pub fn credentials(&self) -> StoreCredentials<'_> {
        StoreCredentials { auth: &self.auth, tls: self.tls.as_ref(), sasl: self.sasl.as_ref() }
    }
}

/// The store that a client command talks to.
pub fn of_client(args: &StoreArgs) -> Result<StoreSettings, SettingsError> {
    let (choice, config_path) = (choice(args)?, settings::config_path(None));
    let file = match choice {
        // Nothing else says which store that is.
        Some((_, StoreChoice::Name(_))) => settings::of_client(&config_path)?,
        Some((_, StoreChoice::Url(_))) | None => settings::readable(&config_path)?,
    };
    let store = chosen(choice, args.session_timeout, &file, &config_path)?;
    require_credentials([&store], &config_path)?;
    Ok(store)
}

/// The default store, as the file alone says.
pub fn default(file: &SettingsFile, config_path: &Path) -> Result<StoreSettings, SettingsError> {
    chosen(None, None, file, config_path)
}

/// The daemon's stores: the default one, and those that have names.
pub fn of_daemon(
    args: &StoreArgs,
    file: &SettingsFile,
    config_path: &Path,
) -> Result<(StoreSettings, BTreeMap<StoreName, StoreSettings>), SettingsError> {
    let choice = match choice(args)? {
        None => original_choice()?,
        choice => choice,
    };
    let default = chosen(choice, args.session_timeout, file, config_path)?;
    let named = named(file, args.session_timeout, config_path)?;
    require_credentials([&default].into_iter().chain(named.values()), config_path)?;
    Ok((default, named))
}

/// What `check` finds wrong with the files that the settings name: as they are now, a store would not be connected to.
/// Credentials count only where there are any, under systemd.
pub fn problems(file: &SettingsFile, config_path: &Path) -> Vec<SettingsError> {
    let default = default(file, config_path);
    let named = named(file, None, config_path).unwrap_or_default();
    let named = named.into_iter().map(|(name, store)| (format!("stores.{name}."), store));
    // What is wrong with the settings themselves was said when they were read.
    let stores = default.ok().map(|store| (String::new(), store)).into_iter().chain(named);
    let mut problems = Vec::new();
    for (prefix, store) in stores {
        let wrong = |(key, reason): SettingError| {
            settings::value_error(config_path, &format!("{prefix}{key}"), reason)
        };
        if settings::variable(CREDENTIALS_DIRECTORY).is_some() {
            problems.extend(credentials::require_credentials(&store).err().map(wrong));
        }
        problems.extend(credentials::check_files(&store).err().map(wrong));
    }
    problems
}

fn require_credentials<'a>(
    stores: impl IntoIterator<Item = &'a StoreSettings>,
    config_path: &Path,
) -> Result<(), SettingsError> {
    stores.into_iter().try_for_each(|store| {
        credentials::require_credentials(store)
            .map_err(|(key, reason)| settings::value_error(config_path, key, reason))
    })
}

/// The stores that `twitcher.toml` has beside the default one. `session_timeout` is that of those that have none of
/// their own; without it, the file's.
pub fn named(
    file: &SettingsFile,
    session_timeout: Option<Duration>,
    config_path: &Path,
) -> Result<BTreeMap<StoreName, StoreSettings>, SettingsError> {
    let session_timeout = session_timeout.or(file.timeout(config_path)?).unwrap_or(SESSION_TIMEOUT);
    let settings = file.stores.iter().map(|(name, store)| {
        let wrong = |key: &str, reason: String| settings::value_error(config_path, key, reason);
        let of_store = |key: &str, reason: String| wrong(&format!("stores.{name}.{key}"), reason);
        let parsed = StoreName::parse(name).map_err(|error| wrong("stores", error.to_string()))?;
        if parsed.is_default() {
            let reason = "the default store is given as store = \"URL\", above all blocks";
            return Err(wrong("stores.default", reason.to_owned()));
        }
        let url = store.url.parse::<StoreUrl>().map_err(|error| of_store("url", error.to_string()))?;
        let own_timeout = store.session_timeout.map(settings::positive).transpose();
        let own_timeout = own_timeout.map_err(|error| of_store("session_timeout", error))?;
        let settings = store.credentials().settings(url, own_timeout.unwrap_or(session_timeout));
        Ok((parsed, settings.map_err(|(key, reason)| of_store(key, reason))?))
    });
    settings.collect()
}

/// All that a watch may name, where this is the file.
pub fn names(file: &SettingsFile) -> StoreNames {
    let named = file.stores.keys().filter_map(|name| StoreName::parse(name).ok());
    named.chain([StoreName::default()]).collect()
}

/// What `ZKSERVERS` chooses, as /etc/default/twitcher had it for the Python original. For the daemon alone: the name is
/// not ours, and a shell that has it for another program must not send a client to the servers of that.
fn original_choice() -> Result<Option<(&'static str, StoreChoice)>, SettingsError> {
    let variable = "ZKSERVERS";
    let Some(servers) = settings::variable(variable) else { return Ok(None) };
    match StoreUrl::from_servers(&servers.to_string_lossy()) {
        Ok(url) => Ok(Some((variable, StoreChoice::Url(url)))),
        Err(error) => Err(SettingsError::Value { origin: variable.to_owned(), reason: error.to_string() }),
    }
}

/// What flags and environment choose, in this order, and where they do.
fn choice(args: &StoreArgs) -> Result<Option<(&'static str, StoreChoice)>, SettingsError> {
    let variable = "TWITCHER_STORE";
    let flag = args.store.clone().or_else(|| args.zkservers.clone().map(StoreChoice::Url));
    match (flag, settings::variable(variable)) {
        (Some(flag), _) => Ok(Some(("--store", flag))),
        (None, None) => Ok(None),
        (None, Some(text)) => match text.to_string_lossy().parse() {
            Ok(choice) => Ok(Some((variable, choice))),
            Err(error) => {
                Err(SettingsError::Value { origin: variable.to_owned(), reason: error.to_string() })
            }
        },
    }
}

fn chosen(
    choice: Option<(&'static str, StoreChoice)>,
    session_timeout: Option<Duration>,
    file: &SettingsFile,
    config_path: &Path,
) -> Result<StoreSettings, SettingsError> {
    let default = |url| {
        let session_timeout = session_timeout.or(file.timeout(config_path)?).unwrap_or(SESSION_TIMEOUT);
        let settings = file.credentials().settings(url, session_timeout);
        settings.map_err(|(key, reason)| settings::value_error(config_path, key, reason))
    };
    let (origin, name) = match choice {
        Some((_, StoreChoice::Url(url))) => return default(url),
        Some((origin, StoreChoice::Name(name))) if !name.is_default() => (origin, name),
        Some((_, StoreChoice::Name(_))) | None => {
            let url = file.store_url(config_path)?;
            return default(url.unwrap_or_else(|| STORE.parse().unwrap_or_else(|_| unreachable!("{STORE}"))));
        }
    };
    let mut named = named(file, session_timeout, config_path)?;
    let store = named.remove(&name).ok_or_else(|| SettingsError::UnknownStore {
        origin,
        name: name.to_string(),
        file: config_path.join(settings::FILE),
        near: suggest(name.borrow(), named.keys().map(Borrow::borrow)),
    })?;
    // What is given together with the name is meant for it.
    Ok(StoreSettings { session_timeout: session_timeout.unwrap_or(store.session_timeout), ..store })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::trust::Trust;

    fn read(text: &str) -> Result<SettingsFile, String> {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(settings::FILE), text).unwrap();
        let root = dir.path().display().to_string();
        SettingsFile::read(dir.path(), Trust::Anyone).map_err(|error| error.to_string().replace(&root, "DIR"))
    }

    fn chosen_of(
        file: &SettingsFile,
        text: &str,
        session_timeout: Option<u64>,
    ) -> Result<StoreSettings, String> {
        let choice = Some(("--store", text.parse().unwrap()));
        let session_timeout = session_timeout.map(Duration::from_secs);
        chosen(choice, session_timeout, file, Path::new("/etc/twitcher")).map_err(|error| error.to_string())
    }

    const FILE: &str = r#"
        store = "zk://zk1"
        session_timeout = 7
        [[auth]]
        scheme = "digest"
        credentials = "default:secret"
        [stores.eu]
        url = "zk://eu1,eu2/chroot"
        session_timeout = 20.5
        [[stores.eu.auth]]
        scheme = "digest"
        credentials = "eu:secret"
        [stores.local]
        url = "dir:/srv/nodes"
    "#;

    #[test]
    fn each_store_has_its_own_credentials_and_session_timeout() {
        let file = read(FILE).unwrap();
        let described = |store: &StoreSettings| {
            let secrets: Vec<_> = store.auth.iter().map(|auth| auth.credentials.reveal().unwrap()).collect();
            format!("{} {} {:?}", store.url, secrets.join(" "), store.session_timeout)
        };
        let default = chosen(None, None, &file, Path::new("")).unwrap();
        assert_eq!(described(&default), "zk://zk1:2181 default:secret 7s");
        let all = |session_timeout| named(&file, session_timeout, Path::new("")).unwrap();
        let eu = "zk://eu1:2181,eu2:2181/chroot eu:secret 20.5s";
        let described_all = |stores: &BTreeMap<_, _>| stores.values().map(described).collect::<Vec<_>>();
        assert_eq!(described_all(&all(None)), [eu, "dir:/srv/nodes  7s"]);
        // A flag stands for the line at the top of the file.
        assert_eq!(described_all(&all(Some(Duration::from_secs(3)))), [eu, "dir:/srv/nodes  3s"]);
        assert_eq!(described(&chosen_of(&file, "eu", None).unwrap()), eu);
        assert_eq!(described(&chosen_of(&file, "eu", Some(3)).unwrap()), eu.replace("20.5s", "3s"));
        assert_eq!(described(&chosen_of(&file, "default", None).unwrap()), described(&default));
        let elsewhere = chosen_of(&file, "zk://other", Some(3)).unwrap();
        assert_eq!(described(&elsewhere), "zk://other:2181 default:secret 3s");
        assert_eq!(names(&file).len(), 3);
    }

    #[test]
    fn what_is_no_url_and_no_name_gets_the_hint_of_a_url() {
        for wrong in ["/srv/nodes", "localhost:2181", "a.b", "~/nodes", ""] {
            let error = wrong.parse::<StoreChoice>().unwrap_err().to_string();
            assert!(error.contains("has no scheme; write zk://HOST:PORT,.../CHROOT or dir:PATH"), "{error}");
        }
    }

    #[test]
    fn an_unknown_name_is_an_error_with_suggestion_and_remedy() {
        assert_eq!(
            chosen_of(&read(FILE).unwrap(), "locl", None).err().unwrap(),
            "--store: unknown store \"locl\"; add [stores.locl] to /etc/twitcher/twitcher.toml, or give a URL, \
             zk://HOST:PORT,.../CHROOT or dir:PATH; did you mean `local`?"
        );
    }

    #[test]
    fn a_wrong_block_is_named() {
        for (text, expected) in [
            (
                "[stores.default]\nurl = \"dir:/x\"",
                "stores.default: the default store is given as store = \"URL\", above all blocks",
            ),
            (
                "[stores.\"e u\"]\nurl = \"dir:/x\"",
                "stores: \"e u\" is no name of a store; a name has letters, digits, - and _",
            ),
            (
                "[[auth]]\nscheme = \"digest\"\ncredentials = \"password\"",
                "auth.credentials: for digest it is \"user:password\"",
            ),
            (
                "[sasl]\nusername = \"a\"\npassword = \"pässword\"",
                "sasl.password: it has letters like é or ü, with which DIGEST-MD5 fails here; use others",
            ),
            (
                "[stores.eu]\nurl = \"eu1:2181\"",
                "stores.eu.url: store \"eu1:2181\" has no scheme; write zk://HOST:PORT,.../CHROOT or dir:PATH",
            ),
            (
                "[stores.eu]\nurl = \"zk://eu\"\nsession_timeout = 0",
                "stores.eu.session_timeout: 0 is not above 0 and below 2147483 seconds",
            ),
        ] {
            assert_eq!(read(text).unwrap_err(), format!("DIR/twitcher.toml: {expected}"));
        }
        for (text, expected) in [
            ("[stores.eu]\nsession_timeout = 3", "1:1: missing field `url`"),
            (
                "[stores.eu]\nurl = \"zk://eu\"\nstate_dir = \"/x\"",
                "3:1: unknown field `state_dir`, expected one of `url`, `session_timeout`, `auth`, `tls`, `sasl`",
            ),
            (
                "[stores]\neu = \"zk://eu\"",
                "2:6: eu: invalid type: string, expected a block [stores.NAME] with its url",
            ),
        ] {
            assert_eq!(read(text).unwrap_err(), format!("DIR/twitcher.toml:{expected}"));
        }
    }

    #[test]
    fn an_error_does_not_quote_the_secret_beside_it() {
        let error =
            read("[stores.eu]\nurl = \"zk://eu\"\n[[stores.eu.auth]]\ncredential = \"user:secret\"\n");
        let error = error.unwrap_err();
        assert!(error.starts_with("DIR/twitcher.toml:4:1: unknown field `credential`"), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }

    #[test]
    fn the_secrets_of_every_store_count() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(settings::FILE);
        let without = "[stores.eu]\nurl = \"zk://eu\"\n";
        let with = format!("{without}[[stores.eu.auth]]\nscheme = \"digest\"\ncredentials = \"a:b\"\n");
        for (text, mode, exposed) in [(without, 0o644, false), (&with, 0o600, false), (&with, 0o640, true)] {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let warnings = SettingsFile::read(dir.path(), Trust::Anyone).unwrap().warnings;
            assert_eq!(!warnings.is_empty(), exposed, "{text}: {warnings:?}");
        }
    }
}
