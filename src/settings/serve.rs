//! The settings of `twitcher serve`.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::duration;
use super::environment::{absolute, variable};
use super::error::SettingsError;
use super::file::SettingsFile;
use super::secret_setting::SecretSetting;
use super::serve_section::{NamespaceSection, ServeSection, TokenSetting, UserSection};
use super::store_choice::StoreChoice;
use super::stores;
use crate::commits::{Database, ServerAddress, Table};
use crate::model::{Commit, NodePath, StoreName};
use crate::store::{Secret, SecretFile, StoreSettings};
use crate::text::suggest;

const LISTEN: &str = "127.0.0.1:8080";
/// The directory of the embedded database, unless systemd has made one for the unit (`StateDirectory=`).
const STATE_DIRECTORY: &str = "/var/lib/twitcher";

/// Rainer's.
const PUBLISH_PERIOD: Duration = Duration::from_secs(90);

/// Each round reads the keeper's nodes.
const MIN_PUBLISH_PERIOD: Duration = Duration::from_millis(100);

/// The settings of `twitcher serve`. All paths are absolute.
#[derive(Debug)]
pub struct ServeSettings {
    pub listen: Listen,
    pub database: Database,
    /// The names by which browsers may ask for the server, in lower case, besides its addresses.
    pub hosts: Vec<String>,
    pub tls: Option<ServeTls>,
    pub namespaces: BTreeMap<String, NamespaceSettings>,
    pub users: Vec<UserSettings>,
}

/// Where the server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// Two files in PEM.
#[derive(Debug)]
pub struct ServeTls {
    pub cert: PathBuf,
    pub key: Secret,
}

#[derive(Debug)]
pub struct NamespaceSettings {
    pub table: Table,
    pub keeper: Option<KeeperPlace>,
    /// The program that accepts payloads, and its arguments; empty: everything is accepted.
    pub validate: Vec<String>,
}

/// Where heads are published.
#[derive(Debug)]
pub struct KeeperPlace {
    pub store: StoreSettings,
    pub path: NodePath,
    pub period: Duration,
}

#[derive(Debug)]
pub struct UserSettings {
    pub name: String,
    pub token: UserToken,
    pub may: Vec<Grant>,
}

#[derive(Debug)]
pub enum UserToken {
    Sha256([u8; 32]),
    Secret(Secret),
}

/// What a user may do in a namespace; `None`: in all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    pub namespace: Option<String>,
    pub right: Right,
}

/// Each right includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Right {
    Read,
    Write,
    /// Save as another author.
    Impersonate,
}

impl ServeSettings {
    pub fn new(file: &SettingsFile) -> Result<Self, SettingsError> {
        let Some(section) = &file.serve else {
            let remedy = "there is no block [serve]; write one with a block [serve.commits.NAME] below it";
            return Err(file.error("serve", remedy));
        };
        let settings = Self {
            listen: listen(section, file)?,
            database: database(section, file)?,
            hosts: section.hosts.iter().map(|host| host.to_ascii_lowercase()).collect(),
            tls: tls(section, file)?,
            namespaces: namespaces(section, file)?,
            users: users(section, file)?,
        };
        settings.require_users(file)?;
        Ok(settings)
    }

    /// Without users, everybody who reaches the address may write.
    fn require_users(&self, file: &SettingsFile) -> Result<(), SettingsError> {
        let is_private = match &self.listen {
            Listen::Tcp(address) => address.ip().is_loopback(),
            Listen::Unix(_) => true,
        };
        if is_private || !self.users.is_empty() {
            return Ok(());
        }
        let reason = format!(
            "{} can be reached from other hosts, and everybody could write; add [[serve.users]], or listen \
             on 127.0.0.1 or unix:/PATH",
            self.listen
        );
        Err(file.error("serve.listen", reason))
    }
}

fn listen(section: &ServeSection, file: &SettingsFile) -> Result<Listen, SettingsError> {
    let text = section.listen.as_deref().unwrap_or(LISTEN);
    let wrong = || file.error("serve.listen", format!("{text:?} is neither ADDRESS:PORT nor unix:/PATH"));
    match text.strip_prefix("unix:") {
        Some(path) if path.starts_with('/') => Ok(Listen::Unix(path.into())),
        Some(_) => Err(wrong()),
        None => text.parse().map(Listen::Tcp).map_err(|_| wrong()),
    }
}

fn database(section: &ServeSection, file: &SettingsFile) -> Result<Database, SettingsError> {
    let database = match &section.database {
        Some(text) => text.parse().map_err(|error| file.error("serve.database", error))?,
        None => {
            let made = variable("STATE_DIRECTORY").map(PathBuf::from);
            let directory = made.filter(|path| path.is_absolute()).unwrap_or_else(|| STATE_DIRECTORY.into());
            Database::Sqlite(directory.join("commits.db"))
        }
    };
    let Some(password) = &section.database_password else { return Ok(database) };
    let wrong = |reason: &str| file.error("serve.database_password", reason);
    match database {
        Database::Sqlite(_) => Err(wrong("a file of SQLite has none")),
        Database::Server(ServerAddress { password: Some(_), .. }) => {
            Err(wrong("the database's address has one, too; write it in one place"))
        }
        Database::Server(address) => {
            let password = password.secret().map_err(|error| wrong(&error.to_string()))?;
            Ok(Database::Server(ServerAddress { password: Some(password), ..address }))
        }
    }
}

fn tls(section: &ServeSection, file: &SettingsFile) -> Result<Option<ServeTls>, SettingsError> {
    let Some(tls) = &section.tls else { return Ok(None) };
    if let Listen::Unix(_) = listen(section, file)? {
        return Err(file.error("serve.tls", "a socket needs no TLS; remove it, or listen on ADDRESS:PORT"));
    }
    let key = match &tls.key {
        SecretSetting::Inline(path) => Secret::File(SecretFile(absolute(path.into()))),
        elsewhere => elsewhere.secret().map_err(|error| file.error("serve.tls.key", error))?,
    };
    Ok(Some(ServeTls { cert: absolute(tls.cert.clone()), key }))
}

fn namespaces(
    section: &ServeSection,
    file: &SettingsFile,
) -> Result<BTreeMap<String, NamespaceSettings>, SettingsError> {
    if section.commits.is_empty() {
        return Err(file.error("serve", "nothing is served; add a block [serve.commits.NAME]"));
    }
    let mut namespaces: BTreeMap<String, NamespaceSettings> = BTreeMap::new();
    for (name, section) in &section.commits {
        let settings = namespace(name, section, file)?;
        let same = namespaces.iter().find(|(_, other)| other.is_at_the_place_of(&settings));
        if let Some((other, _)) = same {
            let reason = format!("it has the table or the keeper's path of serve.commits.{other}");
            return Err(file.error(&format!("serve.commits.{name}"), reason));
        }
        namespaces.insert(name.clone(), settings);
    }
    Ok(namespaces)
}

impl NamespaceSettings {
    fn is_at_the_place_of(&self, other: &Self) -> bool {
        let place = |settings: &Self| {
            settings.keeper.as_ref().map(|keeper| (keeper.store.to_string(), keeper.path.clone()))
        };
        self.table == other.table || (self.keeper.is_some() && place(self) == place(other))
    }
}

fn namespace(
    name: &str,
    section: &NamespaceSection,
    file: &SettingsFile,
) -> Result<NamespaceSettings, SettingsError> {
    let error = |key: &str, reason: &dyn fmt::Display| {
        file.error(&format!("serve.commits.{name}{key}"), reason.to_string())
    };
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    if !name.starts_with(|first: char| first.is_ascii_alphanumeric()) || !name.bytes().all(is_word) {
        return Err(error("", &"the name is a part of addresses: letters, digits, _, - and ."));
    }
    let table = match &section.table {
        Some(table) => table.clone(),
        None => name.to_ascii_lowercase().replace(['-', '.'], "_"),
    };
    let table = table.parse().map_err(|why| error(".table", &why))?;
    let chosen_store = |store: &str| {
        let choice = store.parse::<StoreChoice>().map_err(|why| error(".store", &why))?;
        stores::chosen_store(Some(("serve.commits", choice)), None, file).map(|(_, store)| store)
    };
    let keeper = match (&section.path, &section.store) {
        (None, None) => None,
        // A journal alone. The store must exist all the same.
        (None, Some(store)) => {
            chosen_store(store)?;
            None
        }
        (Some(path), store) => {
            let path = NodePath::parse(path).map_err(|why| error(".path", &why))?;
            let store = chosen_store(store.as_deref().unwrap_or(StoreName::DEFAULT))?;
            let period = section.publish_period.map(duration::positive).transpose();
            let period = period.map_err(|why| error(".publish_period", &why))?.unwrap_or(PUBLISH_PERIOD);
            if period < MIN_PUBLISH_PERIOD {
                return Err(error(".publish_period", &"it is less than 0.1 seconds"));
            }
            Some(KeeperPlace { store, path, period })
        }
    };
    if let Some(program) = section.validate.first()
        && !program.starts_with('/')
    {
        return Err(error(".validate", &format!("{program:?} is no absolute path of a program")));
    }
    Ok(NamespaceSettings { table, keeper, validate: section.validate.clone() })
}

fn users(section: &ServeSection, file: &SettingsFile) -> Result<Vec<UserSettings>, SettingsError> {
    let namespaces: Vec<&str> = section.commits.keys().map(String::as_str).collect();
    let mut users: Vec<UserSettings> = Vec::new();
    for section in &section.users {
        let name = &section.name;
        if name.is_empty() || name.len() > Commit::MAX_AUTHOR || name.chars().any(char::is_control) {
            let most = Commit::MAX_AUTHOR;
            let reason = format!("{name:?} is no name of a user: one line of at most {most} bytes");
            return Err(file.error("serve.users.name", reason));
        }
        if users.iter().any(|user| user.name == section.name) {
            return Err(file.error("serve.users.name", format!("{:?} is there twice", section.name)));
        }
        users.push(user(section, &namespaces, file)?);
    }
    Ok(users)
}

fn user(
    section: &UserSection,
    namespaces: &[&str],
    file: &SettingsFile,
) -> Result<UserSettings, SettingsError> {
    let error = |key: &str, reason: String| {
        file.error(&format!("serve.users.{key}"), format!("user {:?}: {reason}", section.name))
    };
    let token = match &section.token {
        TokenSetting::Sha256(digits) => {
            let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(digits.as_bytes()).ok();
            let bytes = bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
            UserToken::Sha256(
                bytes.ok_or_else(|| error("token", "a SHA-256 has 64 hexadecimal digits".into()))?,
            )
        }
        TokenSetting::Secret(secret) => {
            UserToken::Secret(secret.secret().map_err(|why| error("token", why.to_string()))?)
        }
    };
    let grant = |text: &String| {
        let (namespace, right) = text.rsplit_once(':').unwrap_or((text, ""));
        let right = match right {
            "read" => Right::Read,
            "write" => Right::Write,
            "impersonate" => Right::Impersonate,
            _ => {
                let forms = "NAMESPACE:read, NAMESPACE:write or NAMESPACE:impersonate";
                return Err(error("may", format!("{text:?} is not {forms}")));
            }
        };
        let is_known = namespace == "*" || namespaces.contains(&namespace);
        if !is_known {
            let near = suggest(namespace, namespaces.iter().copied());
            return Err(error("may", format!("there is no namespace {namespace:?}{near}")));
        }
        Ok(Grant { namespace: (namespace != "*").then(|| namespace.to_owned()), right })
    };
    let may = section.may.iter().map(grant).collect::<Result<_, _>>()?;
    Ok(UserSettings { name: section.name.clone(), token, may })
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
#[path = "serve_tests.rs"]
mod tests;
