//! Who the half of a store is.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::sys::statfs::statfs;
use nix::unistd::geteuid;

use super::sandbox;
use super::task::Task;
use crate::store::settings::StoreSettings;
use crate::sys::{HelperUser, can_allow_only, can_pass_reading_on, give_up_root};

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
    /// Whether it may read all files, as far as its sandbox lets it.
    pub(super) reads_all: bool,
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

/// Decides who a process of this store is. This can block, for a directory on a file system that hangs.
pub(super) fn half_user(settings: &StoreSettings, task: Task) -> io::Result<HalfUser> {
    if !geteuid().is_root() {
        let name = "the daemon's own user".to_owned();
        return Ok(HalfUser { user: HelperUser::Unique, name, is_own: false, reads_all: false });
    }
    match settings.directory() {
        Some(root) => owner(root, task),
        None => Ok(system_user(&passwd())),
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
        reads_all: false,
    }
}

/// Reads the login of the store now, and then gives root up, if this process has it and the store is talked
/// to over a network. What comes from there is not parsed as root.
pub fn become_client(settings: StoreSettings) -> Result<StoreSettings, String> {
    if !settings.capabilities().is_remote {
        return Ok(settings);
    }
    let settings = settings.with_login()?;
    let HalfUser { user, name, .. } = system_user(&passwd());
    give_up_root(user).map_err(|error| format!("cannot become {name}: {error}"))?;
    Ok(settings)
}

/// Gives root up, if this process has it, before it talks to a server of commits: over a network, or over the
/// socket at this path, which its owner can use.
pub fn become_commits_client(socket: Option<&Path>) -> Result<(), String> {
    if !geteuid().is_root() {
        return Ok(());
    }
    let system = system_user(&passwd());
    let (user, name) = match socket {
        None => (system.user, system.name),
        Some(path) => {
            let metadata = fs::metadata(path).map_err(|error| format!("{}: {error}", path.display()))?;
            let (uid, gid) = (metadata.uid(), metadata.gid());
            (HelperUser::Ids { uid, gid }, format!("the socket's owner (uid {uid})"))
        }
    };
    give_up_root(user).map_err(|error| format!("cannot become {name}: {error}"))
}

/// The owner of a directory reads it. What root owns is read by the system user, who may read all files for
/// that. As long as the directory does not exist, the same user waits for it, who can go everywhere that
/// root's own directories lead. A keeper writes into the directory, which its owner may: so that of root's
/// has root's id, and neither capabilities nor, where there is Landlock, any other directory.
fn owner(root: &Path, task: Task) -> io::Result<HalfUser> {
    let (uid, gid) = match fs::metadata(root) {
        Ok(metadata) => (metadata.uid(), metadata.gid()),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => (0, 0),
        Err(error) => return Err(with_directory(&error, root)),
    };
    match task {
        Task::Follow if uid == 0 => return Ok(reader(&passwd(), gid, asks_for_ids(root))),
        Task::Keep(_) if uid == 0 => {
            return Ok(root_without_capabilities(gid, "it writes to root's directory"));
        }
        Task::Follow | Task::Keep(_) => {}
    }
    let name = format!("the directory's owner (uid {uid})");
    Ok(HalfUser { user: HelperUser::Ids { uid, gid }, name, is_own: false, reads_all: false })
}

/// Names the directory that cannot be looked at, and what helps.
fn with_directory(error: &io::Error, root: &Path) -> io::Error {
    let remedy = match error.kind() {
        ErrorKind::PermissionDenied => {
            "its file system, or one on the way to it, lets in not even root (one of FUSE does with the \
             option allow_other)"
        }
        // The enum is open.
        _ => "check its file system",
    };
    io::Error::new(error.kind(), format!("cannot look at directory {}: {error}; {remedy}", root.display()))
}

/// Who reads a directory of root's: not root, if anybody else can. The capability to read all files needs
/// Landlock, which leaves it nothing but the directory. Otherwise root's id reads what root may read without
/// capabilities. `asks_for_ids` tells whether the directory's file system may ignore the capability.
///
/// Both need seccomp. Without it, root's id is as good as root, and the system user reads what everybody may.
fn reader(passwd: &str, gid: u32, asks_for_ids: bool) -> HalfUser {
    let user = system_user(passwd);
    if !can_allow_only() && is_mapped(&user) {
        let name = format!("{} without CAP_DAC_READ_SEARCH", user.name);
        return HalfUser { name, ..user };
    }
    let obstacle = if !can_pass_reading_on() {
        "the daemon has no CAP_DAC_READ_SEARCH"
    } else if !sandbox::has_landlock() {
        "this kernel has no Landlock"
    } else if !is_mapped(&user) {
        "this user namespace has no other user"
    } else if asks_for_ids {
        "its file system asks for ids"
    } else {
        let name = format!("{} with CAP_DAC_READ_SEARCH", user.name);
        return HalfUser { name, reads_all: true, ..user };
    };
    root_without_capabilities(gid, obstacle)
}

fn root_without_capabilities(gid: u32, why: &str) -> HalfUser {
    let name = format!("root without capabilities ({why})");
    HalfUser { user: HelperUser::Ids { uid: 0, gid }, name, is_own: false, reads_all: false }
}

/// File systems whose server, or whose process, decides by ids who reads a file: a capability counts on this
/// host only. They are known by the numbers of statfs(2).
const ASKING_FOR_IDS: [u64; 8] = [
    0x6969,      // NFS
    0x6573_5546, // FUSE
    0xff53_4d42, // CIFS
    0xfe53_4d42, // SMB
    0x517b,      // SMB of older kernels
    0x00c3_6400, // Ceph
    0x5346_414f, // AFS
    0x0102_1997, // 9P
];

fn asks_for_ids(root: &Path) -> bool {
    // The type of the number differs between C libraries; all that is known of it are 32 bits.
    statfs(root).is_ok_and(|found| ASKING_FOR_IDS.contains(&(found.filesystem_type().0 as u64 & 0xffff_ffff)))
}

/// Returns true if this process can take the ids of `user`. A user namespace may have few.
fn is_mapped(user: &HalfUser) -> bool {
    let HelperUser::Ids { uid, gid } = user.user else { return false };
    let has = |map: &str, id| fs::read_to_string(map).is_ok_and(|map| contains(&map, id));
    has("/proc/self/uid_map", uid) && has("/proc/self/gid_map", gid)
}

/// Returns true if `map`, which has lines of a first id, the same outside, and a count, maps `id`.
fn contains(map: &str, id: u32) -> bool {
    map.lines().any(|line| {
        let mut numbers = line.split_whitespace().map(str::parse);
        let (Some(Ok(first)), _, Some(Ok(count))) = (numbers.next(), numbers.next(), numbers.next()) else {
            return false;
        };
        id.checked_sub(first).is_some_and(|offset| offset < count)
    })
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

    // A capability counts on this host only.
    #[test]
    fn a_directory_that_another_host_serves_is_read_by_root_without_capabilities() {
        let name = |asks_for_ids| reader("", 5, asks_for_ids).name;
        if name(false).ends_with("with CAP_DAC_READ_SEARCH") {
            assert_eq!(name(true), "root without capabilities (its file system asks for ids)");
            assert_eq!(reader("", 5, true).user, HelperUser::Ids { uid: 0, gid: 5 });
            assert!(!reader("", 5, true).reads_all);
        }
        assert!(!asks_for_ids(Path::new("/")) && !asks_for_ids(Path::new("/nonexistent")));
    }

    #[test]
    fn the_ids_of_a_user_namespace_are_known() {
        let ids = "         0     100000      65536\n     70000          5          1\n";
        assert!([0, 998, 65535, 70000].iter().all(|id| contains(ids, *id)));
        assert!([65536, 69999, 70001, u32::MAX].iter().all(|id| !contains(ids, *id)));
        assert!(!contains("0 1000 1\n", 998) && !contains("garbage\n", 0) && !contains("", 0));
        assert!(contains("0 0 4294967295\n", NOBODY));
    }
}
