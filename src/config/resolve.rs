//! Resolves the users, groups, stores and node paths of a registration.
//!
//! The system's user databases may be slow, or fail for a moment. So this runs only on the loader's thread.

use std::borrow::Borrow;
use std::collections::{HashMap, HashSet};
use std::ffi::CString;
use std::hash::Hash;
use std::sync::Arc;

use nix::unistd::{Gid, Group, Uid, User, getegid, geteuid, getgrouplist};
use thiserror::Error;

use super::registration::{Registered, RegisteredAction, Registration, ServiceRegistration};
use crate::model::{
    Account, Action, Check, Credentials, ExecContext, Function, Identity, Member, MemberName, NodePath,
    NodePathError, Policy, Program, RunAs, Schema, ServiceSpec, StoreName, StoreNameError, StoreNames,
    Subject, WatchKey, WatchSpec,
};
use crate::text::suggest;

#[derive(Clone, Debug, Error)]
pub enum ResolveError {
    /// The name, with a remedy.
    #[error("`uid`: unknown user {0}")]
    UnknownUser(String),
    #[error("`gid`: unknown group {0}")]
    UnknownGroup(String),
    #[error("`uid`/`gid`: only root can run actions as another user or group; this is uid {uid}, gid {gid}")]
    NotRoot { uid: u32, gid: u32 },
    #[error("`nice`: only root can run actions below 0; the config asks for {nice}, and this is uid {uid}")]
    NiceNotPermitted { nice: i32, uid: u32 },
    #[error("`{key}`: the user database failed: {reason}")]
    Database { key: &'static str, reason: nix::Error },
    #[error("`schema`: {0} was not read; report this")]
    NoSchema(String),
    #[error("`znode`: {0}")]
    Path(#[from] NodePathError),
    #[error("`address`: {0}")]
    Member(NodePathError),
    #[error("`store`: {0}; name the store in twitcher.toml, and restart the daemon")]
    StoreName(#[from] StoreNameError),
    #[error(
        "`store`: unknown store {name:?}; add [stores.{name}] to twitcher.toml and restart the daemon{near}"
    )]
    UnknownStore { name: String, near: String },
}

impl ResolveError {
    /// Whether the error may go away while the config stays the same.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::UnknownUser(_)
            | Self::UnknownGroup(_)
            | Self::NotRoot { .. }
            | Self::NiceNotPermitted { .. }
            | Self::Database { .. } => true,
            Self::NoSchema(_)
            | Self::Path(_)
            | Self::Member(_)
            | Self::StoreName(_)
            | Self::UnknownStore { .. } => false,
        }
    }

    /// Whether only the watch or service that names the user or group is left out. Directory services come up
    /// late, and a user may exist on some hosts only. Every other error keeps out the whole file.
    pub fn leaves_out_only_its_watch(&self) -> bool {
        match self {
            Self::UnknownUser(_) | Self::UnknownGroup(_) | Self::Database { .. } => true,
            Self::NotRoot { .. }
            | Self::NiceNotPermitted { .. }
            | Self::NoSchema(_)
            | Self::Path(_)
            | Self::Member(_)
            | Self::StoreName(_)
            | Self::UnknownStore { .. } => false,
        }
    }

    /// Returns the key whose value is wrong.
    pub fn key(&self) -> &'static str {
        match self {
            Self::UnknownUser(_) | Self::NotRoot { .. } => "uid",
            Self::UnknownGroup(_) => "gid",
            Self::NiceNotPermitted { .. } => "nice",
            Self::Database { key, .. } => key,
            Self::NoSchema(_) => "schema",
            Self::Path(_) => "znode",
            Self::Member(_) => "address",
            Self::StoreName(_) | Self::UnknownStore { .. } => "store",
        }
    }
}

/// Resolves the registrations of one scan. Asks for each user only once, because 10,000 watches may have the
/// same user, and shares equal values. The next scan needs a new one, because users may have changed.
#[derive(Default)]
pub struct Accounts {
    identities: HashMap<Arc<RunAs>, Result<Arc<Identity>, Vec<ResolveError>>>,
    exec_contexts: HashSet<Arc<ExecContext>>,
    policies: HashSet<Arc<Policy>>,
    schemas: HashSet<Arc<Schema>>,
    /// The words of commands, and the paths of nodes.
    words: HashSet<Arc<str>>,
    ignores_host: bool,
    ignores_users: bool,
}

impl Accounts {
    /// Accepts every user, group and `nice`, because the watches are for other hosts. Each watch gets the
    /// identity of this process.
    pub fn of_any_host() -> Self {
        Self { ignores_host: true, ..Self::default() }
    }

    /// Has every action run as the user of this process, whatever its watch names: to try configs out.
    pub fn of_this_user() -> Self {
        Self { ignores_users: true, ..Self::default() }
    }

    /// Returns the watch as the daemon runs it. `stores` are the existing stores (`None`: unknown, so any
    /// name passes), `file` is the path below the config directory, and `program` has the functions of
    /// actions.
    ///
    /// # Errors
    ///
    /// All that is wrong, in the order of the keys.
    pub fn resolve(
        &mut self,
        watch: &Registration,
        stores: Option<&StoreNames>,
        file: &Arc<str>,
        program: &Arc<Program>,
    ) -> Result<WatchSpec, Vec<ResolveError>> {
        // Destructured, so that a new field cannot be forgotten.
        let Registration {
            description,
            store,
            znode,
            facet,
            action,
            pipe_stdin,
            schema,
            uid,
            gid,
            policy,
            exec_context,
            position: _,
            keys: _,
        } = watch;
        let errors = self.errors(watch, stores);
        if !errors.is_empty() {
            return Err(errors);
        }
        let (run_as, identity) = self.identity(uid.as_ref(), gid.as_ref())?;
        Ok(WatchSpec {
            id: WatchKey { file: file.clone(), description: description.as_str().into() },
            store: resolve_store(store.as_deref(), stores).map_err(|error| vec![error])?,
            subject: Subject { path: self.path(znode).map_err(|error| vec![error.into()])?, facet: *facet },
            action: self.action(action, program),
            pipe_stdin: *pipe_stdin,
            schema: schema.as_ref().map(|name| self.schema(name, program)).transpose()?,
            run_as,
            identity,
            policy: shared(&mut self.policies, policy),
            exec_context: shared(&mut self.exec_contexts, exec_context),
        })
    }

    /// Returns the service as the daemon runs it, as [`Self::resolve`] does a watch.
    ///
    /// # Errors
    ///
    /// All that is wrong, in the order of the keys.
    pub fn resolve_service(
        &mut self,
        service: &ServiceRegistration,
        stores: Option<&StoreNames>,
        file: &Arc<str>,
        program: &Arc<Program>,
    ) -> Result<ServiceSpec, Vec<ResolveError>> {
        let errors = self.errors(service, stores);
        if !errors.is_empty() {
            return Err(errors);
        }
        // Destructured, so that a new field cannot be forgotten.
        let ServiceRegistration {
            description,
            store,
            service: _,
            address: _,
            port,
            format,
            given: _,
            data,
            acl,
            check,
            pace,
            drain,
            uid,
            gid,
            exec_context,
            position: _,
            keys: _,
        } = service;
        let (run_as, identity) = self.identity(uid.as_ref(), gid.as_ref())?;
        let path = NodePath::parse(&service.path()).map_err(|error| vec![ResolveError::Member(error)])?;
        let store = resolve_store(store.as_deref(), stores).map_err(|error| vec![error])?;
        let member = Member { name: MemberName { store, path }, data: data.clone(), acl: *acl };
        let check = check.as_ref().map(|check| Check { action: self.action(check, program), pace: *pace });
        Ok(ServiceSpec {
            id: WatchKey { file: file.clone(), description: description.as_str().into() },
            member: Arc::new(member),
            format: *format,
            port: *port,
            check,
            drain: *drain,
            run_as,
            identity,
            exec_context: shared(&mut self.exec_contexts, exec_context),
        })
    }

    fn action(&mut self, action: &RegisteredAction, program: &Arc<Program>) -> Action {
        match action {
            RegisteredAction::Command(words) => {
                Action::Command(words.iter().map(|word| self.word(word)).collect())
            }
            RegisteredAction::Function { index, fingerprint } => {
                let (program, fingerprint) = (program.clone(), fingerprint.clone());
                Action::Function(Function { program, index: *index, fingerprint }.into())
            }
        }
    }

    /// Returns what is wrong with the values of a registration that ask the system, also if others are wrong.
    pub fn errors<T: Registered>(&mut self, it: &T, stores: Option<&StoreNames>) -> Vec<ResolveError> {
        let mut errors = Vec::new();
        errors.extend(resolve_store(it.store(), stores).err());
        errors.extend(self.identity(it.uid(), it.gid()).err().into_iter().flatten());
        let own = geteuid();
        if let Some(nice) = it.exec_context().nice.filter(|nice| *nice < 0)
            && !own.is_root()
            && !self.ignores_host
        {
            errors.push(ResolveError::NiceNotPermitted { nice, uid: own.as_raw() });
        }
        errors
    }

    fn schema(&mut self, name: &str, program: &Program) -> Result<Arc<Schema>, Vec<ResolveError>> {
        // The evaluator checked it, so it was read.
        let Some(text) = program.modules.get(name).cloned() else {
            return Err(vec![ResolveError::NoSchema(name.to_owned())]);
        };
        let name = self.word(name);
        Ok(shared(&mut self.schemas, &Schema { name, text }))
    }

    fn word(&mut self, word: &str) -> Arc<str> {
        if let Some(known) = self.words.get(word) {
            return known.clone();
        }
        let word: Arc<str> = word.into();
        self.words.insert(word.clone());
        word
    }

    fn path(&mut self, path: &str) -> Result<NodePath, NodePathError> {
        NodePath::shared(self.word(path))
    }

    fn identity(
        &mut self,
        uid: Option<&Account>,
        gid: Option<&Account>,
    ) -> Result<(Arc<RunAs>, Arc<Identity>), Vec<ResolveError>> {
        let key = match self.ignores_users {
            true => RunAs::default(),
            false => RunAs { uid: uid.cloned(), gid: gid.cloned() },
        };
        if let Some((run_as, identity)) = self.identities.get_key_value(&key) {
            return identity.clone().map(|identity| (run_as.clone(), identity));
        }
        let found = match self.ignores_host {
            true => Ok(own(geteuid(), getegid())),
            false => identity(&key).map_err(|error| all_errors(&key, error)),
        };
        let (found, run_as) = (found.map(Arc::new), Arc::new(key));
        self.identities.insert(run_as.clone(), found.clone());
        found.map(|identity| (run_as, identity))
    }
}

/// Returns the value among `known` that equals `value`, which is added if there is none.
fn shared<T: Clone + Eq + Hash>(known: &mut HashSet<Arc<T>>, value: &T) -> Arc<T> {
    if let Some(shared) = known.get(value) {
        return shared.clone();
    }
    let shared = Arc::new(value.clone());
    known.insert(shared.clone());
    shared
}

/// Returns what is wrong with the user and what is wrong with the group. `first` stopped the lookup.
fn all_errors(RunAs { uid, gid }: &RunAs, first: ResolveError) -> Vec<ResolveError> {
    let user = uid.as_ref().and_then(|uid| find_user(uid).err());
    let group = gid.as_ref().and_then(|gid| find_group(gid).err());
    let both: Vec<ResolveError> = user.into_iter().chain(group).collect();
    if both.is_empty() { vec![first] } else { both }
}

fn resolve_store(name: Option<&str>, stores: Option<&StoreNames>) -> Result<StoreName, ResolveError> {
    let name = name.unwrap_or(StoreName::DEFAULT);
    let Some(stores) = stores else { return Ok(StoreName::parse(name)?) };
    // 10,000 watches may share one name.
    if let Some(known) = stores.get(name) {
        return Ok(known.clone());
    }
    let name = StoreName::parse(name)?.to_string();
    let near = suggest(&name, stores.iter().map(Borrow::borrow));
    Err(ResolveError::UnknownStore { name, near })
}

/// Asks the system who this is.
pub(super) fn identity(RunAs { uid, gid }: &RunAs) -> Result<Identity, ResolveError> {
    let user = uid.as_ref().map(find_user).transpose()?;
    let group = gid.as_ref().map(find_group).transpose()?;
    let (own_uid, own_gid) = (geteuid(), getegid());
    if !own_uid.is_root() {
        // The config may name the daemon's own user and group, but not another group that the daemon is in.
        let foreign = user.as_ref().is_some_and(|user| user.uid != own_uid)
            || group.is_some_and(|group| group != own_gid);
        if foreign {
            return Err(ResolveError::NotRoot { uid: own_uid.as_raw(), gid: own_gid.as_raw() });
        }
        return Ok(own(own_uid, own_gid));
    }
    let Some(user) = user else {
        let mut identity = own(own_uid, own_gid);
        if let Some(group) = group {
            identity.gid = group.as_raw();
            identity.change =
                Some(Credentials { uid: identity.uid, gid: identity.gid, groups: vec![identity.gid] });
        }
        return Ok(identity);
    };
    let group = group.unwrap_or(user.gid);
    // No name in the database has a NUL.
    let name = CString::new(user.name.as_str()).map_err(|_| ResolveError::UnknownUser(user.name.clone()))?;
    let groups =
        getgrouplist(&name, group).map_err(|reason| ResolveError::Database { key: "uid", reason })?;
    let groups = groups.into_iter().map(Gid::as_raw).collect();
    let change = Credentials { uid: user.uid.as_raw(), gid: group.as_raw(), groups };
    Ok(described(user, group, Some(change)))
}

/// Returns the daemon's own identity, also if its user has no entry in the database.
fn own(uid: Uid, gid: Gid) -> Identity {
    match User::from_uid(uid) {
        Ok(Some(user)) => described(user, gid, None),
        Ok(None) | Err(_) => Identity {
            user: uid.to_string(),
            home: "/".into(),
            shell: "/bin/sh".into(),
            uid: uid.as_raw(),
            gid: gid.as_raw(),
            change: None,
        },
    }
}

fn described(user: User, gid: Gid, change: Option<Credentials>) -> Identity {
    let shell = user.shell.to_string_lossy().into_owned();
    Identity {
        user: user.name,
        home: user.dir.to_string_lossy().into_owned(),
        // An empty field means the same to login(1).
        shell: if shell.is_empty() { "/bin/sh".into() } else { shell },
        uid: user.uid.as_raw(),
        gid: gid.as_raw(),
        change,
    }
}

fn find_user(account: &Account) -> Result<User, ResolveError> {
    let database = |reason| ResolveError::Database { key: "uid", reason };
    match account {
        Account::Id(id) => User::from_uid(Uid::from_raw(*id)).map_err(database)?.ok_or_else(|| {
            ResolveError::UnknownUser(format!("{id} (it needs an entry, for its home and groups)"))
        }),
        Account::Name(name) => User::from_name(name)
            .map_err(database)?
            .ok_or_else(|| ResolveError::UnknownUser(described_name(name, "/etc/passwd"))),
    }
}

fn find_group(account: &Account) -> Result<Gid, ResolveError> {
    match account {
        Account::Id(id) => Ok(Gid::from_raw(*id)),
        Account::Name(name) => Group::from_name(name)
            .map_err(|reason| ResolveError::Database { key: "gid", reason })?
            .map(|group| group.gid)
            .ok_or_else(|| ResolveError::UnknownGroup(described_name(name, "/etc/group"))),
    }
}

/// Returns the name in quotes, and what may have been meant: an id, or a name of the `database`. Names of
/// directory services are not asked for, because there may be a hundred thousand.
fn described_name(name: &str, database: &str) -> String {
    if let Ok(number) = name.parse::<u32>() {
        return format!("{name:?}; write {number} without quotes for an id");
    }
    let local = std::fs::read_to_string(database).unwrap_or_default();
    let names = local.lines().filter_map(|line| line.split(':').next()).filter(|name| !name.is_empty());
    format!("{name:?}{}", suggest(name, names))
}

#[cfg(test)]
mod tests;
