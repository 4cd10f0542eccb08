//! Decides by the owner and mode of a file, directory or link whether root trusts it.
//!
//! The caller passes the owner and mode of a descriptor that it has opened, so that nobody can exchange the
//! file after the check.

use std::fmt;
use std::path::{Path, PathBuf};

use nix::libc::{
    S_IFBLK, S_IFCHR, S_IFDIR, S_IFIFO, S_IFLNK, S_IFMT, S_IFREG, S_IFSOCK, S_ISVTX, mode_t, uid_t,
};

use crate::text::quoted;

/// Who else than root may be able to change the files that this process reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Nobody: files that other users can change are refused.
    Root,
    /// Anyone, but the daemon warns of files that other users can change (`--allow-untrusted`).
    Warned,
    /// Anyone: the daemon does not run as root, so its actions can do no more than the user who started it.
    Anyone,
}

impl Trust {
    /// Returns the rule for this process. `allow_untrusted` is the value of `--allow-untrusted`.
    pub fn of_this_process(allow_untrusted: bool) -> Self {
        match (nix::unistd::geteuid().is_root(), allow_untrusted) {
            (true, false) => Self::Root,
            (true, true) => Self::Warned,
            (false, _) => Self::Anyone,
        }
    }
}

/// The place of a file, directory or link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Location {
    /// Above the config directory. A sticky directory is trusted here: others can create files in it, but
    /// cannot replace what is there.
    Ancestor,
    /// The config directory, anything in it, or another file or directory that root reads. A sticky directory
    /// is not trusted here, because others can add files to it.
    Inside,
}

/// The reason why a file, directory or link is not trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Users other than root can change it.
    Changeable {
        /// The owner, if that is not root.
        owner: Option<uid_t>,
        /// Whether the group or others can write to it. The group's bits also show what an ACL allows.
        writable: bool,
        is_link: bool,
    },
    /// It is neither a regular file, a directory nor a link. The text says what it is: `a socket`.
    Special(&'static str),
    /// A link in the config directory leads out of it.
    LeadsOut { target: PathBuf },
    /// It holds secrets, and users other than its owner have access to it.
    Exposed,
}

/// Checks a file, directory or link at `path`. `mode` includes the type of file.
pub fn check(path: &Path, owner: uid_t, mode: mode_t, location: Location) -> Result<(), Untrusted> {
    match judge(owner, mode, location) {
        None => Ok(()),
        Some(fault) => Err(Untrusted { path: path.to_owned(), fault }),
    }
}

fn judge(owner: uid_t, mode: mode_t, location: Location) -> Option<Fault> {
    let kind = mode & S_IFMT;
    if let Some(kind) = special(kind) {
        return Some(Fault::Special(kind));
    }
    let is_link = kind == S_IFLNK;
    let is_sticky_ancestor = location == Location::Ancestor && kind == S_IFDIR && mode & S_ISVTX != 0;
    // The mode of a link itself has no effect.
    let writable = !is_link && !is_sticky_ancestor && mode & 0o022 != 0;
    let owner = (owner != 0).then_some(owner);
    (owner.is_some() || writable).then_some(Fault::Changeable { owner, writable, is_link })
}

/// Returns the fault of a file that holds secrets, if users other than its owner have access to it.
pub fn exposed(path: &Path, mode: mode_t) -> Option<Untrusted> {
    (mode & 0o077 != 0).then(|| Untrusted { path: path.to_owned(), fault: Fault::Exposed })
}

fn special(kind: mode_t) -> Option<&'static str> {
    match kind {
        S_IFREG | S_IFDIR | S_IFLNK => None,
        S_IFIFO => Some("a named pipe"),
        S_IFSOCK => Some("a socket"),
        S_IFCHR | S_IFBLK => Some("a device"),
        _ => Some("of no known kind"),
    }
}

/// A file, directory or link that is not trusted. Its text says what is wrong and how to fix it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Untrusted {
    pub path: PathBuf,
    pub fault: Fault,
}

impl fmt::Display for Untrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.reason())
    }
}

impl Untrusted {
    /// Returns the text that follows `path`. The text names the untrusted path only if that is another one,
    /// such as the target of a link, or the directory of a file.
    pub fn reason_at(&self, path: &Path) -> String {
        if self.path == path { self.reason() } else { self.to_string() }
    }

    fn reason(&self) -> String {
        format!("{}; refused; to fix it, {}", self.what(), self.remedy())
    }

    /// Returns a remedy for a file below this directory that is not for what the directory is for.
    pub fn elsewhere(&self) -> String {
        format!(
            "name one in a directory that only root can change: {} is {}",
            self.path.display(),
            self.what()
        )
    }

    /// Returns the text for a daemon that loads the file all the same.
    pub fn warning(&self) -> String {
        format!("{}: {}; to fix it, {}", self.path.display(), self.what(), self.remedy())
    }

    fn what(&self) -> String {
        match &self.fault {
            Fault::Changeable { owner, writable, is_link: _ } => {
                let owner = owner.map(|owner| format!("owned by uid {owner}"));
                let writable = writable.then(|| "writable by its group or others".to_owned());
                let both: Vec<_> = owner.into_iter().chain(writable).collect();
                format!("{}, who could decide what root runs", both.join(" and "))
            }
            Fault::Special(kind) => format!("not a regular file, but {kind}"),
            Fault::LeadsOut { target } => {
                format!("a link that leads out of the config directory, to {}", target.display())
            }
            Fault::Exposed => "holds secrets that users other than its owner can access".to_owned(),
        }
    }

    fn remedy(&self) -> String {
        let path = quoted(&self.path.to_string_lossy());
        match &self.fault {
            Fault::Changeable { owner, writable, is_link } => {
                let of_link = if *is_link { "-h " } else { "" };
                let owner = owner.map(|_| format!("chown {of_link}root {path}"));
                let mode = writable.then(|| format!("chmod go-w {path}"));
                format!("run `{}`", owner.into_iter().chain(mode).collect::<Vec<_>>().join(" && "))
            }
            Fault::Special(_) => format!("run `rm {path}`, or rename it"),
            Fault::LeadsOut { target: _ } => {
                "replace it by its target, or let it point to something in that directory".to_owned()
            }
            Fault::Exposed => format!("run `chmod 600 {path}`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_root_alone_can_change_is_trusted() {
        const NOBODY: uid_t = 65534;
        let foreign = |owner, writable, is_link| Some(Fault::Changeable { owner, writable, is_link });
        let (above, inside) = (Location::Ancestor, Location::Inside);
        for (what, owner, mode, location, expected) in [
            ("file", 0, S_IFREG | 0o644, inside, None),
            ("setuid, sticky", 0, S_IFREG | 0o5755, inside, None),
            ("group's file", 0, S_IFREG | 0o664, inside, foreign(None, true, false)),
            ("others' file", 0, S_IFREG | 0o602, inside, foreign(None, true, false)),
            ("sticky file", 0, S_IFREG | 0o1666, above, foreign(None, true, false)),
            ("nobody's file", NOBODY, S_IFREG | 0o600, inside, foreign(Some(NOBODY), false, false)),
            ("both", NOBODY, S_IFREG | 0o620, inside, foreign(Some(NOBODY), true, false)),
            ("directory", 0, S_IFDIR | 0o755, inside, None),
            ("group's directory", 0, S_IFDIR | 0o775, above, foreign(None, true, false)),
            ("nobody's directory", NOBODY, S_IFDIR | 0o755, above, foreign(Some(NOBODY), false, false)),
            ("/tmp", 0, S_IFDIR | 0o1777, above, None),
            ("configs in /tmp itself", 0, S_IFDIR | 0o1777, inside, foreign(None, true, false)),
            ("nobody's /tmp", NOBODY, S_IFDIR | 0o1777, above, foreign(Some(NOBODY), false, false)),
            ("link", 0, S_IFLNK | 0o777, inside, None),
            ("nobody's link", NOBODY, S_IFLNK | 0o777, above, foreign(Some(NOBODY), false, true)),
            ("pipe", 0, S_IFIFO | 0o600, inside, Some(Fault::Special("a named pipe"))),
            ("socket", 0, S_IFSOCK | 0o600, inside, Some(Fault::Special("a socket"))),
            ("terminal", 0, S_IFCHR | 0o600, inside, Some(Fault::Special("a device"))),
            ("disk", 0, S_IFBLK | 0o600, inside, Some(Fault::Special("a device"))),
        ] {
            assert_eq!(judge(owner, mode, location), expected, "{what}");
        }
    }

    #[test]
    fn each_fault_names_the_path_the_problem_and_the_remedy() {
        let changeable = |owner, writable, is_link| Fault::Changeable { owner, writable, is_link };
        for (path, fault, expected) in [
            (
                "/a.twc",
                changeable(Some(7), false, false),
                "/a.twc: owned by uid 7, who could decide what root runs; refused; to fix it, run \
                 `chown root /a.twc`",
            ),
            (
                "/a b",
                changeable(None, true, false),
                "/a b: writable by its group or others, who could decide what root runs; refused; to fix it, \
                 run `chmod go-w '/a b'`",
            ),
            (
                "/a.twc",
                changeable(Some(7), true, false),
                "/a.twc: owned by uid 7 and writable by its group or others, who could decide what root \
                 runs; refused; to fix it, run `chown root /a.twc && chmod go-w /a.twc`",
            ),
            (
                "/a.twc",
                changeable(Some(7), false, true),
                "/a.twc: owned by uid 7, who could decide what root runs; refused; to fix it, run \
                 `chown -h root /a.twc`",
            ),
            (
                "/a.twc",
                Fault::Special("a named pipe"),
                "/a.twc: not a regular file, but a named pipe; refused; to fix it, run `rm /a.twc`, or \
                 rename it",
            ),
            (
                "/a.twc",
                Fault::LeadsOut { target: "../b".into() },
                "/a.twc: a link that leads out of the config directory, to ../b; refused; to fix it, \
                 replace it by its target, or let it point to something in that directory",
            ),
            (
                "/a.toml",
                Fault::Exposed,
                "/a.toml: holds secrets that users other than its owner can access; refused; to fix it, run \
                 `chmod 600 /a.toml`",
            ),
        ] {
            assert_eq!(Untrusted { path: path.into(), fault }.to_string(), expected);
        }
    }
}
