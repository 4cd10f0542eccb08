//! Looks up again who an action's user is: users are made anew, and leave groups, while the daemon runs.

use std::fs;
use std::os::unix::fs::MetadataExt;

use nix::unistd::{Uid, User};

use super::resolve::{ResolveError, identity};
use crate::model::{Identity, RunAs};

/// The files that say who local users are, and who else is asked.
const DATABASES: [&str; 3] = ["/etc/passwd", "/etc/group", "/etc/nsswitch.conf"];

/// The state of the [`DATABASES`]. While it stays the same, only a directory service can say something new.
/// Reading it takes some microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountsStamp([Option<FileStamp>; DATABASES.len()]);

/// Device, inode, size, and the times of the last change of content and of metadata with nanoseconds.
type FileStamp = (u64, u64, u64, (i64, i64), (i64, i64));

impl AccountsStamp {
    pub fn now() -> Self {
        Self(DATABASES.map(|path| {
            let found = fs::metadata(path).ok()?;
            let changed = (found.mtime(), found.mtime_nsec());
            Some((found.dev(), found.ino(), found.size(), changed, (found.ctime(), found.ctime_nsec())))
        }))
    }
}

/// The answer of the system's databases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// Taken before the databases were asked.
    pub stamp: AccountsStamp,
    pub found: Result<Identity, String>,
}

/// Asks the system's databases for a user and group, which can take as long as a directory service likes.
/// `known` is the last answer.
///
/// A directory service that is away looks like one without the user. So the last answer stays, unless a local
/// file has changed, or the user's number is somebody else's now.
pub fn look_up(run_as: &RunAs, known: Option<&Lookup>) -> Lookup {
    let stamp = AccountsStamp::now();
    let found = identity(run_as).map_err(|error| (is_gone(&error), error.to_string()));
    let last_known = known.filter(|known| known.stamp == stamp).and_then(|known| known.found.clone().ok());
    let found = match (found, last_known) {
        (Err((is_gone, _)), Some(last)) if !is_gone || !is_of_another(&last) => Ok(last),
        (found, _) => found.map_err(|(_, error)| error),
    };
    Lookup { stamp, found }
}

fn is_gone(error: &ResolveError) -> bool {
    match error {
        ResolveError::UnknownUser(_) | ResolveError::UnknownGroup(_) => true,
        ResolveError::NotRoot { .. }
        | ResolveError::NiceNotPermitted { .. }
        | ResolveError::Database { .. }
        | ResolveError::NoSchema(_)
        | ResolveError::Path(_)
        | ResolveError::Member(_)
        | ResolveError::StoreName(_)
        | ResolveError::UnknownStore { .. } => false,
    }
}

/// Whether the number is a user's with another name.
fn is_of_another(identity: &Identity) -> bool {
    User::from_uid(Uid::from_raw(identity.uid))
        .is_ok_and(|user| user.is_some_and(|user| user.name != identity.user))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Account;

    fn run_as(uid: &str) -> RunAs {
        RunAs { uid: Some(Account::Name(uid.into())), gid: None }
    }

    #[test]
    fn a_user_that_a_directory_no_longer_tells_of_stays_unless_its_number_is_anothers() {
        let own = look_up(&RunAs::default(), None);
        let identity = own.found.clone().unwrap();
        let gone = run_as("no-such-user");
        assert_eq!(look_up(&gone, None).found, Err("`uid`: unknown user \"no-such-user\"".to_owned()));
        let known = |user: &str, uid: u32| {
            let found = Ok(Identity { user: user.into(), uid, ..identity.clone() });
            Lookup { stamp: AccountsStamp::now(), found }
        };
        let nobody_has = known("no-such-user", 0x7fff_fff0);
        assert_eq!(look_up(&gone, Some(&nobody_has)), nobody_has);
        assert!(look_up(&gone, Some(&known("no-such-user", 0))).found.is_err(), "root has this number");
        let before_a_change = Lookup { stamp: AccountsStamp([None; 3]), ..nobody_has };
        assert!(look_up(&gone, Some(&before_a_change)).found.is_err());
    }
}
