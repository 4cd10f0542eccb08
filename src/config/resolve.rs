//! Resolves the users, groups, stores and node paths of a registration.
//!
//! The system's user databases may be slow, or fail for a moment. So this runs only on the loader's thread.

use std::borrow::Borrow;
use std::collections::{HashMap, HashSet};
use std::ffi::CString;
use std::sync::Arc;

use nix::unistd::{Gid, Group, Uid, User, getegid, geteuid, getgrouplist};
use thiserror::Error;

use super::registration::{RegisteredAction, Registration};
use crate::model::{
    Account, Action, Credentials, ExecContext, Identity, NodePath, NodePathError, Program, RunAs, StoreName,
    StoreNameError, StoreNames, Subject, WatchKey, WatchSpec,
};
use crate::text::suggest;

#[derive(Debug, Error)]
pub enum ResolveError {
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
    #[error("`znode`: {0}")]
    Path(#[from] NodePathError),
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
            Self::Path(_) | Self::StoreName(_) | Self::UnknownStore { .. } => false,
        }
    }
}

/// Resolves the registrations of one scan. Asks for each user only once, because 10,000 watches may have the
/// same user, and shares equal values. The next scan needs a new one, because users may have changed.
#[derive(Default)]
pub struct Accounts {
    identities: HashMap<Arc<RunAs>, Arc<Identity>>,
    exec_contexts: HashSet<Arc<ExecContext>>,
}

impl Accounts {
    /// Returns the watch as the daemon runs it. `stores` are the existing stores (`None`: unknown, so any
    /// name passes), `file` is the path below the config directory, and `program` has the functions of
    /// actions.
    pub fn resolve(
        &mut self,
        watch: &Registration,
        stores: Option<&StoreNames>,
        file: &Arc<str>,
        program: &Arc<Program>,
    ) -> Result<WatchSpec, ResolveError> {
        // Destructured, so that a new field cannot be forgotten.
        let Registration {
            description,
            store,
            znode,
            facet,
            action,
            pipe_stdin,
            uid,
            gid,
            policy,
            exec_context,
            position: _,
        } = watch;
        let (run_as, identity) = self.identity(uid.as_ref(), gid.as_ref())?;
        Ok(WatchSpec {
            id: WatchKey { file: file.clone(), description: description.as_str().into() },
            store: resolve_store(store.as_deref(), stores)?,
            subject: Subject { path: NodePath::parse(znode)?, facet: *facet },
            action: match action {
                RegisteredAction::Command(words) => Action::Command(words.as_slice().into()),
                RegisteredAction::Function { index, fingerprint } => Action::Function {
                    program: program.clone(),
                    index: *index,
                    fingerprint: fingerprint.clone(),
                },
            },
            pipe_stdin: *pipe_stdin,
            run_as,
            identity,
            policy: policy.clone(),
            exec_context: self.exec_context(exec_context)?,
        })
    }

    fn exec_context(&mut self, asked: &ExecContext) -> Result<Arc<ExecContext>, ResolveError> {
        let own = geteuid();
        if let Some(nice) = asked.nice.filter(|nice| *nice < 0 && !own.is_root()) {
            return Err(ResolveError::NiceNotPermitted { nice, uid: own.as_raw() });
        }
        if let Some(shared) = self.exec_contexts.get(asked) {
            return Ok(shared.clone());
        }
        let shared = Arc::new(asked.clone());
        self.exec_contexts.insert(shared.clone());
        Ok(shared)
    }

    fn identity(
        &mut self,
        uid: Option<&Account>,
        gid: Option<&Account>,
    ) -> Result<(Arc<RunAs>, Arc<Identity>), ResolveError> {
        let key = RunAs { uid: uid.cloned(), gid: gid.cloned() };
        if let Some((run_as, identity)) = self.identities.get_key_value(&key) {
            return Ok((run_as.clone(), identity.clone()));
        }
        let (identity, run_as) = (Arc::new(identity(&key)?), Arc::new(key));
        self.identities.insert(run_as.clone(), identity.clone());
        Ok((run_as, identity))
    }
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
            .ok_or_else(|| ResolveError::UnknownUser(unquoted_hint(name))),
    }
}

fn find_group(account: &Account) -> Result<Gid, ResolveError> {
    match account {
        Account::Id(id) => Ok(Gid::from_raw(*id)),
        Account::Name(name) => Group::from_name(name)
            .map_err(|reason| ResolveError::Database { key: "gid", reason })?
            .map(|group| group.gid)
            .ok_or_else(|| ResolveError::UnknownGroup(unquoted_hint(name))),
    }
}

fn unquoted_hint(name: &str) -> String {
    match name.parse::<u32>() {
        Ok(number) => format!("{name:?}; write {number} without quotes for an id"),
        Err(_) => format!("{name:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> Option<Account> {
        Some(Account::Name(name.into()))
    }

    fn resolved(uid: Option<Account>, gid: Option<Account>) -> Result<Identity, ResolveError> {
        identity(&RunAs { uid, gid })
    }

    #[test]
    fn unknown_names_are_errors_that_name_them() {
        for (uid, gid, expected) in [
            (name("nosuchuser"), None, "`uid`: unknown user \"nosuchuser\""),
            (name("12"), None, "`uid`: unknown user \"12\"; write 12 without quotes for an id"),
            (None, name("nosuchgroup"), "`gid`: unknown group \"nosuchgroup\""),
        ] {
            let error = resolved(uid, gid).unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
        assert!(resolved(Some(Account::Id(0x7fff_fff0)), None).is_err());
    }

    #[test]
    fn a_watch_has_the_default_store_or_one_that_is_named() {
        let parse = |name| StoreName::parse(name).unwrap();
        let stores = StoreNames::from(["default", "eu", "us-west"].map(parse));
        let found = |name| resolve_store(name, Some(&stores)).map_err(|error| error.to_string());
        assert_eq!(found(None), Ok(StoreName::default()));
        assert_eq!(found(Some("default")), Ok(StoreName::default()));
        assert_eq!(found(Some("us-west")), Ok(parse("us-west")));
        for (name, expected) in [
            ("ue", "`store`: unknown store \"ue\"; add [stores.ue] to twitcher.toml and restart the daemon"),
            (
                "us-wets",
                "`store`: unknown store \"us-wets\"; add [stores.us-wets] to twitcher.toml and restart \
                 the daemon; did you mean `us-west`?",
            ),
            (
                "zk://eu",
                "`store`: \"zk://eu\" is no name of a store; a name has letters, digits, - and _; \
                 name the store in twitcher.toml, and restart the daemon",
            ),
        ] {
            assert_eq!(found(Some(name)).unwrap_err(), expected);
        }
        assert_eq!(resolve_store(Some("any"), None).unwrap(), parse("any"), "the stores are not known");
    }

    #[test]
    fn nothing_asked_changes_nothing() {
        let identity = resolved(None, None).unwrap();
        assert_eq!((identity.uid, identity.change), (geteuid().as_raw(), None));
    }

    #[test]
    fn root_gives_everything_away() {
        if !geteuid().is_root() {
            return;
        }
        let nobody = resolved(name("nobody"), None).unwrap();
        let change = nobody.change.unwrap();
        assert_eq!((change.uid, change.gid), (65534, 65534));
        assert!(!change.groups.contains(&0), "{:?}", change.groups);

        let group_0 = resolved(name("nobody"), Some(Account::Id(0))).unwrap().change.unwrap();
        assert_eq!((group_0.uid, group_0.gid), (65534, 0));

        let only_group = resolved(None, Some(Account::Id(54321))).unwrap().change.unwrap();
        assert_eq!((only_group.uid, only_group.gid, only_group.groups), (0, 54321, vec![54321]));
    }

    #[test]
    fn equal_exec_contexts_are_kept_once() {
        let mut accounts = Accounts::default();
        let strange = ExecContext { umask: 0o077, ..ExecContext::default() };
        let usual = accounts.exec_context(&ExecContext::default()).unwrap();
        assert!(Arc::ptr_eq(&usual, &accounts.exec_context(&ExecContext::default()).unwrap()));
        let first = accounts.exec_context(&strange).unwrap();
        assert!(Arc::ptr_eq(&first, &accounts.exec_context(&strange.clone()).unwrap()));
        assert_ne!(first, usual);
    }
}
