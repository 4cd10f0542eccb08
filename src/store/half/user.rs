//! Who the half of a store is.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::unistd::geteuid;

use crate::store::settings::StoreSettings;
use crate::sys::{HelperUser, give_up_root};

/// The system user that the packages make for the halves of stores.
pub const STORE_USER: &str = "twitcher";

/// The ids of `nobody` where /etc/passwd has none.
const NOBODY: u32 = 65534;

/// Who a half is, and how people call that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HalfUser {
    pub(super) user: HelperUser,
    pub(super) name: String,
    /// Whether no other process should have this identity, so that its number of processes can be limited.
    pub(super) is_own: bool,
}

/// Returns the ids of `name` in the text of /etc/passwd.
fn find(passwd: &str, name: &str) -> Option<(u32, u32)> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let found = fields.next() == Some(name);
        let (uid, gid) = (fields.nth(1)?, fields.next()?);
        found.then(|| Some((uid.parse().ok()?, gid.parse().ok()?)))?
    })
}

/// Returns true if the system user is missing that the halves of stores should be. Directory services are not
/// asked: it is a user of this host.
pub fn store_user_is_missing() -> bool {
    geteuid().is_root() && find(&passwd(), STORE_USER).is_none_or(|(uid, _)| uid == 0)
}

fn passwd() -> String {
    fs::read("/etc/passwd").map(|text| String::from_utf8_lossy(&text).into_owned()).unwrap_or_default()
}

/// Decides who the half of this store is. This can block, for a directory on a file system that hangs.
pub(super) fn half_user(settings: &StoreSettings) -> io::Result<HalfUser> {
    if !geteuid().is_root() {
        let name = "the daemon's own user".to_owned();
        return Ok(HalfUser { user: HelperUser::Unique, name, is_own: false });
    }
    match settings {
        StoreSettings::ZooKeeper(_) => Ok(system_user(&passwd())),
        StoreSettings::Directory(directory) => owner(&directory.url.root),
    }
}

fn system_user(passwd: &str) -> HalfUser {
    let own = find(passwd, STORE_USER).filter(|(uid, _)| *uid != 0);
    let (uid, gid) = own.or_else(|| find(passwd, "nobody")).unwrap_or((NOBODY, NOBODY));
    let name = if own.is_some() { STORE_USER } else { "nobody" };
    HalfUser {
        user: HelperUser::Ids { uid, gid },
        name: format!("{name} (uid {uid})"),
        is_own: own.is_some(),
    }
}

/// Reads the login of the store now, and then gives root up, if this process has it and the store is talked
/// to over a network. What comes from there is not parsed as root.
pub fn become_client(settings: StoreSettings) -> Result<StoreSettings, String> {
    if let StoreSettings::Directory(_) = settings {
        return Ok(settings);
    }
    let settings = settings.with_login()?;
    let HalfUser { user, name, .. } = system_user(&passwd());
    give_up_root(user).map_err(|error| format!("cannot become {name}: {error}"))?;
    Ok(settings)
}

/// The owner of a directory reads it. As long as it does not exist, root's id without capabilities waits for
/// it: that is allowed the least of those that can go everywhere that root's own directories lead.
fn owner(root: &Path) -> io::Result<HalfUser> {
    let (uid, gid) = match fs::metadata(root) {
        Ok(metadata) => (metadata.uid(), metadata.gid()),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => (0, 0),
        Err(error) => return Err(error),
    };
    let name = match uid {
        0 => "root without capabilities".to_owned(),
        uid => format!("the directory's owner (uid {uid})"),
    };
    Ok(HalfUser { user: HelperUser::Ids { uid, gid }, name, is_own: false })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_half_is_the_system_user_and_else_nobody_and_never_root() {
        let ids = |passwd: &str| match system_user(passwd).user {
            HelperUser::Ids { uid, gid } => (uid, gid),
            HelperUser::Unique => unreachable!(),
        };
        let nobody = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65533:65532:nobody:/:/bin/false\n";
        assert_eq!(ids(&format!("{nobody}twitcher:x:998:997::/nonexistent:/bin/false\n")), (998, 997));
        assert_eq!(ids(nobody), (65533, 65532));
        assert_eq!(ids(&format!("{nobody}twitcher:x:0:0::/:/bin/sh\n")), (65533, 65532));
        assert_eq!(ids("garbage\n:\nnobody:x:y:z\ntwitcher\n"), (NOBODY, NOBODY));
    }
}
