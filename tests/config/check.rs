//! `twitcher check`.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Output;

use super::{TWITCHER, command, watch};

fn check(paths: &[&Path]) -> Output {
    command(TWITCHER).arg("check").args(paths).output().unwrap()
}

#[test]
fn check_names_good_and_bad_files() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    fs::create_dir(root.join("sub")).unwrap();
    fs::write(root.join("a.twc"), watch("/a")).unwrap();
    fs::write(root.join("sub/b.txt"), format!("import \"m\" as m;\n{}", watch("/b"))).unwrap();
    fs::write(root.join("sub/m.rhai"), "").unwrap();
    let output = check(&[root, &root.join("sub/b.txt")]);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let root_path = root.display();
    assert_eq!(
        text(&output.stdout),
        format!("{root_path}/a.twc: ok, 1 watch\n{root_path}/sub/b.txt: ok, 1 watch\n"),
        "{}",
        text(&output.stderr)
    );
    assert_eq!(output.status.code(), Some(0));

    fs::write(root.join("sub/bad.twc"), "\nRegisterWatch(#{zonde: 1});").unwrap();
    let output = check(&[root, Path::new("/no/such.twc")]);
    assert_eq!(output.status.code(), Some(1));
    let stderr = text(&output.stderr);
    assert!(
        stderr.contains(&format!("{root_path}/sub/bad.twc:2:17: unknown key `zonde`; did you mean `znode`?")),
        "{stderr}"
    );
    assert!(stderr.contains("/no/such.twc: No such file"), "{stderr}");
}

#[test]
fn check_refuses_a_config_that_is_a_link_to_nothing() {
    let directory = tempfile::tempdir().unwrap();
    for (target, name) in [("gone/app.txt", "app.twc"), (".gone", "team"), ("gone.json", "web.json")] {
        symlink(target, directory.path().join(name)).unwrap();
    }
    let output = check(&[directory.path()]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), said.lines().count()), (Some(1), 1), "{said}");
    let place = directory.path().join("app.twc");
    assert!(said.contains(&format!("{}: a link to gone/app.txt, which does not", place.display())), "{said}");
}
