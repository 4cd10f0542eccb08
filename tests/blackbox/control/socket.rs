//! Tests of the path of the control socket, and of who may use it.

use std::fs::{self, File};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;

use nix::sys::signal::Signal;

use super::wait_until_served;
use crate::harness::control::{connect, get};
use crate::harness::{Sandbox, exec, require_root, wait_until, watch};

/// A command as the user `nobody`. On Debian it and the group `games` always exist.
const NOBODY: [&str; 4] = ["setpriv", "--reuid=65534", "--clear-groups", "--regid=65534"];
const GAMES: u32 = 60;

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::directory();
    sandbox.nodes.set("/n", "1");
    sandbox.config("app.twc", watch("/n", &exec("true"), "description: \"named\""));
    sandbox
}

/// The mode and the group of the socket.
#[track_caller]
fn mode_and_group(socket: &Path) -> (u32, u32) {
    let metadata = fs::symlink_metadata(socket).expect("the socket");
    assert!(metadata.file_type().is_socket());
    (metadata.permissions().mode() & 0o7777, metadata.gid())
}

// "default refused for other users"
#[test]
fn by_default_only_the_daemons_user_can_use_the_socket() {
    require_root();
    let sandbox = sandbox();
    let daemon = sandbox.start();
    wait_until_served(&sandbox);
    daemon.wait_for_log(&["serving control socket", &sandbox.control_socket().display().to_string()]);
    assert_eq!(mode_and_group(&sandbox.control_socket()), (0o600, 0));
    let copy = sandbox.copy_of_the_binary();
    for command in ["status", "reload"] {
        let refused = sandbox.operator([command]).binary(&copy).under(NOBODY).finish().expect(1);
        refused.expect_said(&["permission denied", "[control] in twitcher.toml"]);
    }
    assert_eq!(daemon.log_lines(&["by an operator"]), [""; 0]);
}

// "mode and group from twitcher.toml"
#[test]
fn the_sockets_mode_and_group_come_from_the_settings_and_decide_who_may() {
    require_root();
    let sandbox = sandbox();
    let copy = sandbox.copy_of_the_binary();
    for (group, expected) in [("games", GAMES), ("60", GAMES)] {
        fs::write(
            sandbox.configs().join("twitcher.toml"),
            format!("[control]\nmode = \"0660\"\ngroup = {group:?}\n"),
        )
        .expect("write the settings");
        let mut daemon = sandbox.start();
        wait_until_served(&sandbox);
        assert_eq!(mode_and_group(&sandbox.control_socket()), (0o660, expected));
        let status = |groups: &str| {
            let under = ["setpriv", "--reuid=65534", "--regid=65534", groups];
            sandbox.operator(["status"]).binary(&copy).under(under).finish()
        };
        status("--groups=60").expect(0).expect_said(&["app.twc:named"]);
        status("--clear-groups").expect(1).expect_said(&["permission denied"]);
        assert_eq!(daemon.stop(), Some(0));
    }
}

// Directory services come up late, and the daemon must not wait for them.
#[test]
fn an_unknown_group_in_the_settings_keeps_only_the_group_out() {
    let sandbox = sandbox();
    fs::write(
        sandbox.configs().join("twitcher.toml"),
        "[control]\nmode = \"0660\"\ngroup = \"no-such-group\"\n",
    )
    .expect("write the settings");
    let daemon = sandbox.start();
    wait_until_served(&sandbox);
    daemon.wait_for_log(&[
        "WARNING",
        "twitcher.toml:3:",
        "control.group: there is no group \"no-such-group\"",
    ]);
    let own = nix::unistd::getegid().as_raw();
    assert_eq!(
        mode_and_group(&sandbox.control_socket()),
        (0o600, own),
        "the daemon's own group must not get in instead"
    );
    sandbox.operator(["status"]).finish().expect(0);
}

// "bad [control]/[metrics] values in twitcher.toml named with file and key by `run` and `check`"
#[test]
fn bad_settings_are_named_with_file_and_key_by_run_and_check() {
    let sandbox = sandbox();
    let file = sandbox.configs().join("twitcher.toml");
    let said_by = |text: &str, run: bool, parts: &[&str]| {
        fs::write(&file, text).expect("write the settings");
        let name = file.display().to_string();
        let parts = [&[name.as_str()], parts].concat();
        sandbox.twitcher(["check"]).arg(sandbox.configs()).finish().expect(1).expect_said(&parts);
        if run {
            sandbox.daemon().finish().expect(1).expect_said(&parts);
        }
    };
    for mode in ["660x", "0999", "01777", "rw", "", "-1"] {
        said_by(&format!("[control]\nmode = {mode:?}\n"), true, &["control.mode", "0660"]);
    }
    said_by("[control]\nmode = 660\n", true, &["mode", "string"]);
    said_by("[control]\nmod = \"660\"\n", true, &["mod", "mode"]);
    said_by("[control]\nsocket = 1\n", true, &["socket", "string"]);
    said_by("[control]\ngroup = \"no-such-group\"\n", false, &["control.group", "no-such-group"]);
    for listen in ["9100", "localhost:9100", "127.0.0.1", "127.0.0.1:99999", ""] {
        said_by(&format!("[metrics]\nlisten = {listen:?}\n"), true, &["metrics.listen", "ADDRESS:PORT"]);
    }
    said_by("[metrics]\nlisten = 9100\n", true, &["listen", "string"]);
    said_by("[metrics]\nport = 9100\n", true, &["port", "listen"]);
    fs::write(&file, "[control]\nmode = \"0o600\"\n[metrics]\nlisten = \"[::1]:0\"\n")
        .expect("write the settings");
    sandbox.twitcher(["check"]).arg(sandbox.configs()).finish().expect(0);
}

// A mistake in the settings must not keep operators from the running daemon.
#[test]
fn a_command_that_is_given_the_socket_needs_no_settings() {
    let sandbox = sandbox();
    let _daemon = sandbox.start();
    wait_until_served(&sandbox);
    fs::write(sandbox.configs().join("twitcher.toml"), "[control]\nmode = 1\n").expect("write the settings");
    let command =
        || sandbox.twitcher(["status"]).with_default_socket().env("TWITCHER_CONFIG_PATH", sandbox.configs());
    command().finish().expect(1).expect_said(&["twitcher.toml", "mode"]);
    command().arg("--control-socket").arg(sandbox.control_socket()).finish().expect(0);
    command().env("TWITCHER_CONTROL_SOCKET", sandbox.control_socket()).finish().expect(0);
    let settings = format!("[control]\nsocket = {:?}\n", sandbox.control_socket());
    fs::write(sandbox.configs().join("twitcher.toml"), settings).expect("write the settings");
    command().finish().expect(0).expect_said(&["app.twc:named"]);
    let elsewhere = command().arg("--control-socket").arg(sandbox.path("none"));
    elsewhere.finish().expect(1).expect_said(&["/out/none: ", "does the daemon run?"]);
}

// "left by a dead daemon (kill -9) replaced"; "goes with its daemon"
#[test]
fn a_socket_that_a_dead_daemon_left_is_replaced_and_goes_with_the_living_one() {
    let sandbox = sandbox();
    let mut daemon = sandbox.start();
    wait_until_served(&sandbox);
    daemon.kill();
    assert!(sandbox.control_socket().exists());
    // A process that the daemon was about to start may hold the socket until it executes its program.
    wait_until("nobody to listen any more", || {
        sandbox.operator(["status"]).finish().expect(1).stderr.contains("does the daemon run?")
    });
    let mut daemon = sandbox.start();
    wait_until_served(&sandbox);
    sandbox.operator(["status"]).finish().expect(0);
    assert_eq!(daemon.log_lines(&["control socket", "going on without"]), [""; 0]);
    assert_eq!(daemon.stop(), Some(0));
    let left: Vec<_> = fs::read_dir(sandbox.root())
        .expect("the sandbox")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    assert!(!left.iter().any(|path| path.to_string_lossy().contains("sock")), "{left:?}");
}

// "taken by a living one (that daemon goes on without and says so)"
#[test]
fn a_second_daemon_leaves_the_socket_of_a_living_one_alone() {
    let sandbox = sandbox();
    let mut first = sandbox.start();
    wait_until_served(&sandbox);
    for stopped in [false, true] {
        if stopped {
            // The stopped daemon does not reply, but it is alive.
            first.signal(Signal::SIGSTOP);
        }
        let other = Sandbox::directory();
        let journal = other.journal();
        other.nodes.set("/n", "1");
        other.config("app.twc", watch("/n", &exec(&journal.record()), ""));
        let mut second = other.daemon().arg("--control-socket").arg(sandbox.control_socket()).start();
        second.wait_for_log(&[
            "WARNING",
            &sandbox.control_socket().display().to_string(),
            "another daemon",
            "--control-socket",
            "going on without",
        ]);
        journal.wait_for(&["1"]);
        assert_eq!(second.stop(), Some(0));
        if stopped {
            first.signal(Signal::SIGCONT);
        }
        let status = get(&sandbox.control_socket(), "/v1/status").json();
        assert_eq!(status["pid"], first.process().0);
    }
    assert_eq!(first.stop(), Some(0));
}

// "path taken by a regular file (left alone, said), parent directory missing, path too long for a Unix
// socket"
#[test]
fn an_unusable_path_is_reported_and_left_alone_and_the_daemon_goes_on() {
    let goes_on_without = |path: &Path, parts: &[&str]| {
        let sandbox = Sandbox::directory();
        let journal = sandbox.journal();
        sandbox.nodes.set("/n", "1");
        sandbox.config("app.twc", watch("/n", &exec(&journal.record()), ""));
        let mut daemon = sandbox.daemon().arg("--control-socket").arg(path).start();
        let line = daemon.wait_for_log(&["WARNING", "control socket", "going on without"]);
        for part in parts.iter().chain(&["--control-socket"]) {
            assert!(line.contains(part), "{part}: {line}");
        }
        journal.wait_for(&["1"]);
        sandbox.nodes.set("/n", "2");
        journal.wait_for(&["1", "2"]);
        assert_eq!(daemon.stop(), Some(0));
        assert_eq!(daemon.log_lines(&["going on without"]).len(), 1, "said once");
    };
    let sandbox = sandbox();
    let file = sandbox.path("file");
    fs::write(&file, "precious").expect("write a file");
    goes_on_without(&file, &["/out/file", "not a socket", "remove it"]);
    let link = sandbox.path("link");
    std::os::unix::fs::symlink(&file, &link).expect("link it");
    goes_on_without(&link, &["not a socket"]);
    assert_eq!(fs::read_to_string(&link).expect("the file"), "precious");
    let directory = sandbox.path("directory");
    fs::create_dir(&directory).expect("create a directory");
    goes_on_without(&directory, &["not a socket"]);
    goes_on_without(&file.join("below"), &["/out/file/below"]);
    goes_on_without(&sandbox.path("missing").join("x".repeat(200)), &["more than 107 bytes", "shorter"]);
    assert!(!sandbox.has("missing"));
    // These sockets belong to other programs.
    let datagrams = sandbox.path("datagrams");
    let _other = UnixDatagram::bind(&datagrams).expect("bind a socket");
    goes_on_without(&datagrams, &["/out/datagrams"]);
    assert!(datagrams.exists());
    let listened = sandbox.path("listened");
    let other = UnixListener::bind(&listened).expect("bind a socket");
    other.set_nonblocking(true).expect("a socket that never blocks");
    goes_on_without(&listened, &["another daemon"]);
    // The daemon connected only to see whether somebody listens, now and then.
    let looks: Vec<_> = std::iter::from_fn(|| other.accept().ok()).collect();
    assert!(!looks.is_empty());
    for (mut looked, _) in looks {
        assert_eq!(std::io::Read::read(&mut looked, &mut [0]).expect("its end"), 0);
    }
}

#[test]
fn missing_directories_above_the_socket_are_created() {
    let sandbox = sandbox();
    let socket = sandbox.path("some/where/control.sock");
    let _daemon = sandbox.daemon().arg("--control-socket").arg(&socket).start();
    wait_until("the socket to be there", || socket.exists());
    sandbox.twitcher(["status"]).arg("--control-socket").arg(&socket).finish().expect(0);
    let parent = fs::metadata(sandbox.path("some/where")).expect("the directory");
    assert_eq!(parent.permissions().mode() & 0o777, 0o755);
}

// "removed by somebody while it runs (daemon unaffected, ends fine)"
#[test]
fn a_daemon_whose_socket_is_removed_or_replaced_works_on_and_ends_well() {
    for replaced in [false, true] {
        let sandbox = sandbox();
        let journal = sandbox.journal();
        sandbox.config("app.twc", watch("/n", &exec(&journal.record()), ""));
        let mut daemon = sandbox.start();
        wait_until_served(&sandbox);
        let open = connect(&sandbox.control_socket());
        if replaced {
            let file = sandbox.path("file");
            File::create(&file).expect("a file");
            fs::rename(file, sandbox.control_socket()).expect("put it there");
            sandbox.operator(["status"]).finish().expect(1);
        } else {
            fs::remove_file(sandbox.control_socket()).expect("remove the socket");
        }
        sandbox.nodes.set("/n", "2");
        journal.wait_for_last("2");
        drop(open);
        assert_eq!(daemon.stop(), Some(0));
        assert_eq!(sandbox.control_socket().exists(), replaced);
    }
}

// Users without a daemon of their own mean root's.
#[test]
fn a_users_command_looks_for_the_users_own_daemon_and_then_for_roots() {
    require_root();
    let sandbox = sandbox();
    let copy = sandbox.copy_of_the_binary();
    let runtime = sandbox.path("runtime");
    let own = runtime.join("twitcher/control.sock");
    let asked = |runtime: &Path| {
        // Without the machine's own daemon.
        let hidden = ["unshare", "--mount", "sh", "-c", "mount -t tmpfs tmpfs /run && exec \"$@\"", "sh"];
        let command = sandbox.twitcher(["status"]).with_default_socket().binary(&copy);
        let command = command.env("TWITCHER_CONFIG_PATH", sandbox.configs());
        command.under(hidden).under(NOBODY).env("XDG_RUNTIME_DIR", runtime).finish()
    };
    asked(&runtime).expect(1).expect_said(&["/run/twitcher/control.sock: "]);
    fs::create_dir_all(own.parent().expect("a directory")).expect("create a directory");
    drop(UnixListener::bind(&own).expect("bind a socket"));
    asked(&runtime).expect(1).expect_said(&[&own.display().to_string()]);
}

#[test]
fn a_daemon_without_a_place_for_its_socket_says_so() {
    let sandbox = sandbox();
    let copy = sandbox.copy_of_the_binary();
    let state = sandbox.path("state-of-nobody");
    let daemon = sandbox.twitcher(["run", "--log-to-stdout", "--store", &sandbox.nodes.url()]).binary(&copy);
    let daemon = daemon.arg("--config-path").arg(sandbox.configs()).arg("--state-dir").arg(state);
    let daemon = daemon.with_default_socket();
    let daemon = daemon.under(["setpriv", "--reuid", "65534", "--clear-groups", "--"]);
    daemon.start().wait_for_log(&["no control socket", "XDG_RUNTIME_DIR", "--control-socket"]);
}
