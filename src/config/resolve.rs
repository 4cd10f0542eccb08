//! From what a script says to what the daemon runs: users, groups and node paths.
//!
//! Asks the system's user databases, which may be slow or away for a moment: on the loader's thread only.

use std::collections::HashMap;
use std::ffi::CString;
use std::sync::Arc;

use nix::unistd::{Gid, Group, Uid, User, getegid, geteuid, getgrouplist};
use thiserror::Error;

use super::spec::{
    Account, Action, Credentials, Identity, Program, RawAction, RawWatch, WatchKey, WatchSpec, WatchType,
};
use crate::store::{Facet, NodePath, NodePathError, Subject};

/// All of these may heal while the config stays as it is, except [`ResolveError::Path`].
#[derive(Debug, Error)]
pub enum ResolveError {
    #[error("`uid`: unknown user {0}")]
    UnknownUser(String),
    #[error("`gid`: unknown group {0}")]
    UnknownGroup(String),
    #[error("`uid`/`gid`: only root can run actions as another user or group; this is uid {uid}, gid {gid}")]
    NotRoot { uid: u32, gid: u32 },
    #[error("`{key}`: the user database failed: {reason}")]
    Database { key: &'static str, reason: nix::Error },
    #[error("`znode`: {0}")]
    Path(#[from] NodePathError),
}

/// Remembers what it asked: 10,000 watches of one user are one question. For one scan; users come and go.
#[derive(Default)]
pub struct Accounts {
    identities: HashMap<(Option<String>, Option<String>), Arc<Identity>>,
}

impl Accounts {
    /// The watch as the daemon runs it. `file` is the path below the config directory, `program` what its function
    /// actions run from.
    pub fn resolve(
        &mut self,
        raw: &RawWatch,
        file: &Arc<str>,
        program: &Arc<Program>,
    ) -> Result<WatchSpec, ResolveError> {
        let facet = match raw.watch_type {
            WatchType::Data => Facet::Data,
            WatchType::Children => Facet::Children,
            WatchType::Tree => Facet::Tree,
        };
        Ok(WatchSpec {
            id: WatchKey { file: file.clone(), description: raw.description.as_str().into() },
            subject: Subject { path: NodePath::parse(&raw.znode)?, facet },
            action: match &raw.action {
                RawAction::Command(words) => Action::Command(words.as_slice().into()),
                RawAction::Function { index, fingerprint } => Action::Function {
                    program: program.clone(),
                    index: *index,
                    fingerprint: fingerprint.clone(),
                },
            },
            pipe_stdin: raw.pipe_stdin,
            run_on_load: raw.run_on_load,
            run_mode: raw.run_mode,
            identity: self.identity(raw.uid.as_ref(), raw.gid.as_ref())?,
            notify_signal: raw.notify_signal,
            timeout: raw.timeout,
            max_parallel: raw.max_parallel,
            retry: raw.retry,
            on_failure: raw.on_failure,
            throttle: raw.throttle,
        })
    }

    fn identity(
        &mut self,
        uid: Option<&Account>,
        gid: Option<&Account>,
    ) -> Result<Arc<Identity>, ResolveError> {
        let key = (uid.map(|uid| format!("{uid:?}")), gid.map(|gid| format!("{gid:?}")));
        if let Some(identity) = self.identities.get(&key) {
            return Ok(identity.clone());
        }
        let identity = Arc::new(identity(uid, gid)?);
        self.identities.insert(key, identity.clone());
        Ok(identity)
    }
}

fn identity(uid: Option<&Account>, gid: Option<&Account>) -> Result<Identity, ResolveError> {
    let user = uid.map(find_user).transpose()?;
    let group = gid.map(find_group).transpose()?;
    let (own_uid, own_gid) = (geteuid(), getegid());
    if !own_uid.is_root() {
        // The caller's ids may be spelled out. Another primary group of the caller's own is not theirs to take.
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
    // A name with a NUL cannot come out of the database.
    let name = CString::new(user.name.as_str()).map_err(|_| ResolveError::UnknownUser(user.name.clone()))?;
    let groups =
        getgrouplist(&name, group).map_err(|reason| ResolveError::Database { key: "uid", reason })?;
    let groups = groups.into_iter().map(Gid::as_raw).collect();
    let change = Credentials { uid: user.uid.as_raw(), gid: group.as_raw(), groups };
    Ok(described(user, group, Some(change)))
}

/// The daemon's own identity; whether its user has an entry or not.
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
        // As login has it for an empty field.
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

    #[test]
    fn unknown_names_are_errors_that_name_them() {
        for (uid, gid, expected) in [
            (name("nosuchuser"), None, "`uid`: unknown user \"nosuchuser\""),
            (name("12"), None, "`uid`: unknown user \"12\"; write 12 without quotes for an id"),
            (None, name("nosuchgroup"), "`gid`: unknown group \"nosuchgroup\""),
        ] {
            let error = identity(uid.as_ref(), gid.as_ref()).unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
        assert!(identity(Some(&Account::Id(0x7fff_fff0)), None).is_err());
    }

    #[test]
    fn nothing_asked_changes_nothing() {
        let identity = identity(None, None).unwrap();
        assert_eq!((identity.uid, identity.change), (geteuid().as_raw(), None));
    }

    #[test]
    fn root_gives_everything_away() {
        if !geteuid().is_root() {
            return;
        }
        let nobody = identity(name("nobody").as_ref(), None).unwrap();
        let change = nobody.change.unwrap();
        assert_eq!((change.uid, change.gid), (65534, 65534));
        assert!(!change.groups.contains(&0), "{:?}", change.groups);

        let group_0 = identity(name("nobody").as_ref(), Some(&Account::Id(0))).unwrap().change.unwrap();
        assert_eq!((group_0.uid, group_0.gid), (65534, 0));

        let only_group = identity(None, Some(&Account::Id(54321))).unwrap().change.unwrap();
        assert_eq!((only_group.uid, only_group.gid, only_group.groups), (0, 54321, vec![54321]));
    }
}
