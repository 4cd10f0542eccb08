//! The file of `output`: no user but root chooses which of root's files is written to.

use std::path::Path;

use crate::harness::{Sandbox, exec, require_root, wait_until, watch};

// Otherwise a user who can write to the directory could choose any file of root's as the destination.
#[test]
fn an_output_file_must_not_be_a_symbolic_link() {
    let sandbox = Sandbox::directory();
    sandbox.nodes.set("/n", "1");
    let (link, target) = (sandbox.path("link"), sandbox.path("target"));
    std::fs::write(&target, "").expect("write the target");
    std::os::unix::fs::symlink(&target, &link).expect("make the link");
    sandbox.config(
        "app.twc",
        watch("/n", &exec("echo x"), &format!("output: {:?}", link.display().to_string())),
    );
    let daemon = sandbox.start();
    daemon.wait_for_log(&["cannot start", "output", "a symbolic link; name the file itself"]);
    assert_eq!(sandbox.read("target"), b"");
}

// The attack: the user renames a directory of its own, and puts a link to a directory of root's in its place.
#[test]
fn no_user_can_lead_an_output_file_astray() {
    require_root();
    let sandbox = Sandbox::directory();
    sandbox.nodes.set("/n", "1");
    let (theirs, secret) = (sandbox.path("theirs"), sandbox.path("secret"));
    for directory in [&theirs, &secret] {
        std::fs::create_dir(directory).expect("make a directory");
    }
    let nobody = Some(65534);
    std::os::unix::fs::chown(&theirs, nobody, nobody).expect("give it away");
    std::os::unix::fs::symlink(&secret, theirs.join("logs")).expect("make the link");
    std::os::unix::fs::symlink(&secret, sandbox.root().join("roots")).expect("make a link of root's");
    let to = |path: &Path, name: &str| {
        watch("/n", &exec("echo x"), &format!("output: {path:?}, description: {name:?}"))
    };
    let config = to(&theirs.join("logs/cronjob"), "led") + &*to(&sandbox.root().join("roots/log"), "by-root");
    sandbox.config("app.twc", config + &*to(&theirs.join("log"), "plain"));
    let daemon = sandbox.start();
    daemon.wait_for_log(&[
        "app.twc:led run",
        "output",
        "a symbolic link in a directory that other users can change",
    ]);
    wait_until("the others", || secret.join("log").exists() && theirs.join("log").exists());
    assert!(!secret.join("cronjob").exists());
}

// They are opened by other means, and the operator may have reasons.
#[test]
fn the_daemon_warns_of_a_log_file_and_a_socket_where_others_could_exchange_them() {
    require_root();
    let sandbox = Sandbox::directory();
    let theirs = sandbox.path("theirs");
    std::fs::create_dir(&theirs).expect("make a directory");
    std::os::unix::fs::chown(&theirs, Some(65534), Some(65534)).expect("give it away");
    let (log, socket) = (theirs.join("log"), theirs.join("socket"));
    let daemon =
        sandbox.daemon_logging_elsewhere().arg("--log-file").arg(&log).arg("--control-socket").arg(&socket);
    let _daemon = daemon.start();
    wait_until("the warnings", || {
        let said = std::fs::read_to_string(&log).unwrap_or_default();
        let of = |what: &str, path: &Path| {
            format!("{what} {}: name one in a directory that only root", path.display())
        };
        said.contains(&of("log file", &log)) && said.contains(&of("control socket", &socket))
    });
}
