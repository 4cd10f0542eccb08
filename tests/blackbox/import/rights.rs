//! Imports of a user who may not change all files of a directory store.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::PathBuf;

use crate::harness::{Sandbox, require_root};

const AS_NOBODY: [&str; 5] = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"];

/// Puts files into a directory store, of which user 65534 may not change all.
fn half_closed() -> Sandbox {
    let sandbox = Sandbox::directory();
    let top = sandbox.nodes.url().strip_prefix("dir:").map(PathBuf::from).expect("a directory");
    for node in ["/k/open/old", "/k/closed/n", "/k/closed/empty", "/k/sticky/n", "/k/secret"] {
        sandbox.nodes.set(node, if node.ends_with("empty") { "" } else { "here" });
    }
    let mode = |path: &str, mode| fs::set_permissions(top.join(path), Permissions::from_mode(mode));
    [("k/sticky", 0o1777), ("k/closed", 0o755), ("k/secret", 0o600)]
        .into_iter()
        .for_each(|(path, bits)| mode(path, bits).expect("set a mode"));
    for path in ["", "k", "k/open"] {
        chown(top.join(path), Some(65534), Some(65534)).expect("give a directory away");
    }
    sandbox
}

// What the owners and modes of files do not allow is known before anything is written, also what a mirror is
// to remove. What is the same already needs no right.
#[test]
fn what_one_may_not_write_in_a_directory_is_named_before_anything_is_written() {
    require_root();
    let sandbox = half_closed();
    let binary = sandbox.copy_of_the_binary();
    let import = |lines: &str, args: &[&str]| {
        let import = sandbox.client(["import"]).binary(&binary).under(AS_NOBODY).stdin(lines);
        args.iter().fold(import, |import, arg| import.arg(arg)).finish()
    };
    let line = |node: &str, data: &str| format!("{{\"znode\":\"{node}\",\"data\":\"{data}\"}}\n");
    let first = [line("/k", ""), line("/k/0", "first")].concat();
    for (node, said) in [
        ("/k/closed/n", "to write node /k/closed/n"),
        ("/k/closed/new", "to write node /k/closed/new"),
        ("/k/closed/deep/er", "to write node /k/closed/deep/er"),
        ("/k/closed/empty/below", "to write node /k/closed/empty/below"),
        ("/k/sticky/n", "to write node /k/sticky/n"),
        ("/k/secret", "to read node /k/secret"),
    ] {
        for args in [&[][..], &["--dry-run"]] {
            let refused = import(&[first.clone(), line(node, "other")].concat(), args).expect(1);
            refused.expect_said(&["no permission ", said, "; nothing was changed"]);
            assert_eq!(sandbox.nodes.get("/k/0"), None, "{node}");
        }
    }
    let mirrored = [first.clone(), line("/k/open/new", "x")].concat();
    for args in [&["--mirror"][..], &["--mirror", "--dry-run"]] {
        import(&mirrored, args)
            .expect(1)
            .expect_said(&["no permission to remove node /k/", "nothing was changed"]);
        assert_eq!(sandbox.nodes.get("/k/open/old").as_deref(), Some(&b"here"[..]));
    }
    let allowed = ["/k/closed/n", "/k/open/old", "/k/sticky/n"].map(|node| line(node, "here"));
    let allowed = [first, allowed.concat(), line("/k/sticky/new", "x")].concat();
    import(&allowed, &[]).expect(0).expect_said(&["2 nodes created, 0 changed, 0 removed; 4 the same"]);
    assert_eq!(sandbox.nodes.get("/k/0").as_deref(), Some(&b"first"[..]));
}

// A store that nobody has made yet, and one that the user may only read.
#[test]
fn a_directory_that_one_may_not_make_or_lock_is_named() {
    require_root();
    let sandbox = Sandbox::directory();
    let binary = sandbox.copy_of_the_binary();
    sandbox.nodes.set("/n", "here");
    let url = sandbox.nodes.url();
    let missing = format!("dir:{}", sandbox.path("closed/nodes").display());
    fs::create_dir(sandbox.path("closed")).expect("make a directory");
    for (store, data, code) in [(&url, "here", 0), (&url, "other", 1), (&missing, "here", 1)] {
        let import = sandbox.twitcher(["import", "--store", store]).binary(&binary).under(AS_NOBODY);
        let line = format!("{{\"znode\":\"/n\",\"data\":\"{data}\"}}\n");
        let done = import.stdin(line).finish().expect(code);
        if code == 1 {
            done.expect_said(&["no permission to write node /n", "; nothing was changed"]);
        }
    }
}
