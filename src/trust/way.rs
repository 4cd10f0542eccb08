//! Finds the places that decide where a path leads.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Component, Path, PathBuf};

/// The kernel does not follow more symlinks either.
const MAX_SYMLINKS: usize = 40;

/// Returns each directory in which a name on the way to the absolute `path` is looked up, with that name. The
/// directories are given without links. If the path leads nowhere, the last name is the missing one.
///
/// When one of these names changes, for example because a link gets another target, the path may lead to
/// another file.
pub fn way(path: &Path) -> BTreeSet<(PathBuf, OsString)> {
    let mut places = BTreeSet::new();
    let mut here = PathBuf::from("/");
    let mut ahead: Vec<OsString> = Vec::new();
    push(&mut ahead, path);
    let mut links = 0;
    while let Some(name) = ahead.pop() {
        if name == ".." {
            here.pop();
            continue;
        }
        let there = here.join(&name);
        places.insert((here.clone(), name));
        match fs::symlink_metadata(&there) {
            Ok(metadata) if metadata.is_symlink() && links < MAX_SYMLINKS => {
                links += 1;
                let Ok(target) = fs::read_link(&there) else { break };
                if target.is_absolute() {
                    here = PathBuf::from("/");
                }
                push(&mut ahead, &target);
            }
            Ok(_) => here = there,
            Err(_) => break,
        }
    }
    places
}

/// Puts the names of `path` before those in `ahead`, whose last element is the next name.
pub(super) fn push(ahead: &mut Vec<OsString>, path: &Path) {
    let names = path.components().rev().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    });
    ahead.extend(names);
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn every_link_on_the_way_is_a_place() {
        let directory = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(directory.path()).unwrap();
        fs::create_dir_all(root.join("app/releases/1/twc")).unwrap();
        symlink("releases/1", root.join("app/current")).unwrap();
        symlink(root.join("app/current/twc"), root.join("configs")).unwrap();
        symlink("../configs/a", root.join("app/a")).unwrap();
        let found = |path: &str| {
            let below = |(directory, name): (PathBuf, OsString)| {
                let place = directory.join(name).strip_prefix(&root).ok()?.display().to_string();
                (!place.is_empty()).then_some(place)
            };
            way(&root.join(path)).into_iter().filter_map(below).collect::<Vec<_>>()
        };
        let all = [
            "app",
            "configs",
            "app/a",
            "app/current",
            "app/releases",
            "app/releases/1",
            "app/releases/1/twc",
            "app/releases/1/twc/a",
        ];
        assert_eq!(found("app/a"), all);
        assert_eq!(found("configs/missing/deeper")[6..], ["app/releases/1/twc/missing"]);
        symlink("loop", root.join("loop")).unwrap();
        assert_eq!(found("loop"), ["loop"]);
    }
}
