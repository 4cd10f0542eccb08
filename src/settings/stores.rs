//! The default store and the stores that `twitcher.toml` names.

use std::collections::BTreeMap;
use std::time::Duration;

use super::duration;
use super::environment::variable;
use super::error::SettingsError;
use super::file::{SettingsFile, StoreSection, StoreSections};
use super::store_choice::{ChosenStore, StoreChoice, StoreFlags};
use super::store_settings;
use crate::model::{StoreName, StoreNames};
use crate::store::{CREDENTIALS_DIRECTORY, SettingError, StoreSettings, StoreUrl};
use crate::text::suggest;

pub(super) const DEFAULT_STORE: &str = "zk://localhost:2181";
pub(super) const SESSION_TIMEOUT: Duration = Duration::from_secs(10);

/// Returns the daemon's default store, and the others by name. Checks that their credentials can be read.
pub(super) fn daemon_stores(
    flags: &StoreFlags,
    file: &SettingsFile,
) -> Result<(StoreSettings, BTreeMap<StoreName, StoreSettings>), SettingsError> {
    let (name, default) = chosen_store(flags.daemon_choice()?, flags.session_timeout, file)?;
    let named = named_stores(file, flags.session_timeout)?;
    require_credentials(&name, &default, file)?;
    named.iter().try_for_each(|(name, store)| require_credentials(name, store, file))?;
    Ok((default, named))
}

/// Returns the store that `choice` selects, and its name in the file. A URL replaces that of the default
/// store.
pub(super) fn chosen_store(
    choice: Option<ChosenStore>,
    session_timeout: Option<Duration>,
    file: &SettingsFile,
) -> Result<(StoreName, StoreSettings), SettingsError> {
    let (origin, name) = match choice {
        Some((_, StoreChoice::Url(url))) => return default_store(Some(url), session_timeout, file),
        Some((origin, StoreChoice::Name(name))) if !name.is_default() => (origin, name),
        Some((_, StoreChoice::Name(_))) | None => return default_store(None, session_timeout, file),
    };
    let section = file.stores.get(name.as_str()).ok_or_else(|| SettingsError::UnknownStore {
        origin,
        name: name.to_string(),
        file: file.path.clone(),
        near: suggest(name.as_str(), file.stores.keys().map(String::as_str)),
    })?;
    // A session timeout that is given together with a name is meant for that store.
    let session_timeout = session_timeout.or(own_timeout(&name, section, file)?);
    let settings = named_store(&name, section, session_timeout, file)?;
    Ok((name, settings))
}

fn default_store(
    url: Option<StoreUrl>,
    session_timeout: Option<Duration>,
    file: &SettingsFile,
) -> Result<(StoreName, StoreSettings), SettingsError> {
    // A URL that is given on the command line is another store, unless it is this one.
    let is_own = url.as_ref().is_none_or(|url| file.store.as_ref() == Some(&url.to_string()));
    let url = match (url, &file.store) {
        (Some(url), _) => url,
        (None, Some(url)) => url.parse().map_err(|error| file.error("store", error))?,
        (None, None) => DEFAULT_STORE.parse().unwrap_or_else(|_| unreachable!("{DEFAULT_STORE}")),
    };
    let name = StoreName::default();
    let settings = build(&name, url, file.sections(), session_timeout, file.readonly && is_own, file)?;
    Ok((name, settings))
}

/// Returns the stores with a block `[stores.NAME]`. For a block without a session timeout, `session_timeout`
/// replaces the one at the top of the file.
pub(super) fn named_stores(
    file: &SettingsFile,
    session_timeout: Option<Duration>,
) -> Result<BTreeMap<StoreName, StoreSettings>, SettingsError> {
    let stores = file.stores.iter().map(|(name, section)| {
        let name = StoreName::parse(name).map_err(|error| file.error("stores", error))?;
        if name.is_default() {
            let reason = "the default store is given as store = \"URL\", above all blocks";
            return Err(file.error("stores.default", reason));
        }
        let session_timeout = own_timeout(&name, section, file)?.or(session_timeout);
        let settings = named_store(&name, section, session_timeout, file)?;
        Ok((name, settings))
    });
    stores.collect()
}

fn named_store(
    name: &StoreName,
    section: &StoreSection,
    session_timeout: Option<Duration>,
    file: &SettingsFile,
) -> Result<StoreSettings, SettingsError> {
    let url = section.url.parse::<StoreUrl>();
    let url = url.map_err(|error| store_error(name, file, ("url", error.to_string())))?;
    build(name, url, section.sections(), session_timeout, section.readonly, file)
}

fn own_timeout(
    name: &StoreName,
    section: &StoreSection,
    file: &SettingsFile,
) -> Result<Option<Duration>, SettingsError> {
    let timeout = section.session_timeout.map(duration::positive).transpose();
    timeout.map_err(|reason| store_error(name, file, ("session_timeout", reason)))
}

fn build(
    name: &StoreName,
    url: StoreUrl,
    sections: StoreSections<'_>,
    session_timeout: Option<Duration>,
    readonly: bool,
    file: &SettingsFile,
) -> Result<StoreSettings, SettingsError> {
    let session_timeout = session_timeout.or(file.session_timeout()?).unwrap_or(SESSION_TIMEOUT);
    let settings =
        store_settings::store_settings(url, sections, session_timeout, file.rescan_interval()?, readonly);
    settings.map_err(|error| store_error(name, file, error))
}

/// Checks that the credentials of the store can be read. A directory needs none.
pub(super) fn require_credentials(
    name: &StoreName,
    store: &StoreSettings,
    file: &SettingsFile,
) -> Result<(), SettingsError> {
    match store {
        StoreSettings::ZooKeeper(settings) => settings.login.check_credentials(),
        StoreSettings::Etcd(settings) => settings.login.check_credentials(),
        StoreSettings::Directory(_) => Ok(()),
    }
    .map_err(|error| store_error(name, file, error))
}

/// Names the key: the default store's keys are at the top of the file, those of every other store in its
/// block.
fn store_error(name: &StoreName, file: &SettingsFile, (key, reason): SettingError) -> SettingsError {
    match name.is_default() {
        true => file.error(key, reason),
        false => file.error(&format!("stores.{name}.{key}"), reason),
    }
}

/// Returns the problems that would keep the daemon from connecting to its stores: files and credentials in
/// the settings that cannot be used now, even if the store is a directory. Checks credentials only if
/// `$CREDENTIALS_DIRECTORY` is set, which systemd does for a service.
pub fn problems(file: &SettingsFile) -> Vec<SettingsError> {
    let has_credentials = variable(CREDENTIALS_DIRECTORY).is_some();
    let problems = store_names(file).into_iter().flat_map(|name| {
        let section = file.stores.get(name.as_str());
        let sections = section.map_or_else(|| file.sections(), StoreSection::sections);
        // The settings themselves were checked when the file was read.
        let login = store_settings::login(sections).unwrap_or_default();
        let etcd = store_settings::etcd_login(sections).unwrap_or_default();
        let credentials = || login.check_credentials().and_then(|()| etcd.check_credentials());
        let credentials = if has_credentials { credentials() } else { Ok(()) };
        let files = login.check_files().and_then(|()| etcd.check_files());
        let problems = [credentials.err(), files.err()];
        problems.map(|problem| problem.map(|error| store_error(&name, file, error)))
    });
    problems.flatten().collect()
}

/// Returns the store of this name, if it is there and its settings are right.
pub fn store_named(name: &StoreName, file: &SettingsFile) -> Option<StoreSettings> {
    match file.stores.get(name.as_str()) {
        _ if name.is_default() => default_store(None, None, file).ok().map(|(_, store)| store),
        Some(section) => named_store(name, section, None, file).ok(),
        None => None,
    }
}

/// Returns the names of all stores that a watch may name.
pub fn store_names(file: &SettingsFile) -> StoreNames {
    let named = file.stores.keys().filter_map(|name| StoreName::parse(name).ok());
    named.chain([StoreName::default()]).collect()
}
