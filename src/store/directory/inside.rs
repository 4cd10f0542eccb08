//! Whether a path stays in the store, wherever links lead.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// As many links as the kernel follows in one path.
const MAX_LINKS: usize = 40;

/// Returns an error if `path` leads out of the store at `root`.
pub(super) fn stay_inside(root: &Path, path: &Path) -> io::Result<()> {
    let target = fs::canonicalize(path)?;
    is_inside(&fs::canonicalize(root)?, &target)
}

/// Returns an error if an opened file is out of the store at `root`. After opening, nobody can put another
/// link in its place. A file that was removed since is known by its old path.
pub(super) fn opened_inside(root: &Path, file: &File) -> io::Result<()> {
    let target = fs::read_link(descriptor(file)).map_err(without_proc)?;
    // That the store is away for a moment must not be taken for the absence of the node either.
    let away = |error| io::Error::other(format!("cannot look where the store is ({error}); trying again"));
    is_inside(&fs::canonicalize(root).map_err(away)?, &target)
}

/// Words the error of a look into /proc, which must not be taken for the absence of the node.
pub(super) fn without_proc(error: io::Error) -> io::Error {
    io::Error::other(format!("cannot look where it is in /proc/self/fd ({error}); mount /proc"))
}

/// Both paths are without links.
fn is_inside(root: &Path, target: &Path) -> io::Result<()> {
    if target.starts_with(root) { Ok(()) } else { Err(leads_out(target)) }
}

fn leads_out(target: &Path) -> io::Error {
    let target = target.display();
    io::Error::other(format!("a link leads out of the store, to {target}; put there what it leads to"))
}

pub(super) fn descriptor(file: &File) -> PathBuf {
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}

/// Says better why `path` cannot be read, if that is because links lead out of the store at `root`: there, a
/// process of a store may open nothing.
pub(super) fn explained(root: &Path, path: &Path, error: io::Error) -> io::Error {
    match error.kind() {
        ErrorKind::PermissionDenied => end_outside(root, path).map_or(error, |end| leads_out(&end)),
        // The enum is open.
        _ => error,
    }
}

/// Returns where `path` ends if links lead it out of the store at `root`. Reads links only, and takes for no
/// link what it may not look at.
fn end_outside(root: &Path, path: &Path) -> Option<PathBuf> {
    let names = |path: &Path| -> Vec<OsString> {
        path.components().rev().map(|component| component.as_os_str().to_owned()).collect()
    };
    let mut rest = names(path.strip_prefix(root).ok()?);
    let root = fs::canonicalize(root).ok()?;
    let (mut here, mut links) = (root.clone(), 0);
    while let Some(name) = rest.pop() {
        match name.as_bytes() {
            b"." => {}
            b".." => drop(here.pop()),
            _ => here.push(&name),
        }
        if let Ok(target) = fs::read_link(&here) {
            links += 1;
            if links > MAX_LINKS {
                return None;
            }
            here.pop();
            rest.extend(names(&target));
        }
    }
    (!here.starts_with(root)).then_some(here)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn the_end_of_links_that_lead_out_of_the_store_is_found() {
        let directory = tempfile::tempdir().unwrap();
        let top = directory.path().canonicalize().unwrap();
        let root = top.join("link");
        fs::create_dir_all(top.join("nodes/of")).unwrap();
        symlink("nodes", &root).unwrap();
        for (link, target) in [
            ("inside", "of/n"),
            ("back", "../nodes/of/n"),
            ("absolute", "/etc/shadow"),
            ("relative", "of/../../secret"),
            ("step", "relative"),
            ("loop", "loop"),
        ] {
            symlink(target, root.join(link)).unwrap();
        }
        symlink(&top, root.join("of/up")).unwrap();
        let end = |node: &str| end_outside(&root, &root.join(node));
        for inside in ["inside", "back", "loop", "of/n", "of/up/nodes/of/n", "missing"] {
            assert_eq!(end(inside), None, "{inside}");
        }
        for (node, target) in [
            ("absolute", PathBuf::from("/etc/shadow")),
            ("relative", top.join("secret")),
            ("step", top.join("secret")),
            ("of/up", top.clone()),
            ("of/up/secret", top.join("secret")),
        ] {
            assert_eq!(end(node), Some(target), "{node}");
        }
        let denied = || io::Error::from(ErrorKind::PermissionDenied);
        let said = |node: &str| explained(&root, &root.join(node), denied()).to_string();
        assert!(said("absolute").contains("out of the store, to /etc/shadow; put there what it leads to"));
        assert_eq!(said("inside"), denied().to_string());
    }
}
