use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use super::control::{CONTROL_SOCKET, ControlSettings, metrics_address};
use super::daemon::{DaemonFlags, DaemonSettings, MAX_ACTIONS, MAX_WAITING_BYTES, STATE_DIR, STOP_TIMEOUT};
use super::file::{STORE_MEMORY, SettingsFile};
use super::stores::{DEFAULT_STORE, SESSION_TIMEOUT, chosen_store, named_stores, require_credentials};
use super::{read, store_names};
use crate::store::StoreSettings;
use crate::trust::Trust;

/// The settings of a file with this text, or the error, in which the file's directory is called DIR.
fn settings(text: &str) -> Result<SettingsFile, String> {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("twitcher.toml"), text).unwrap();
    let root = dir.path().display().to_string();
    read(dir.path(), Trust::Anyone).map_err(|error| error.to_string().replace(&root, "DIR"))
}

#[test]
fn a_settings_file_with_an_unknown_key_names_file_and_key() {
    let error = settings("stor = \"dir:/x\"\n").unwrap_err();
    assert!(error.contains("twitcher.toml") && error.contains("stor") && error.contains("store"), "{error}");
}

#[test]
fn a_mistyped_key_gets_a_suggestion_and_a_wrong_value_what_it_must_be() {
    for (text, expected) in [
        ("stor = \"dir:/x\"", "1:1: unknown field `stor`; did you mean `store`?"),
        ("max_action = 3", "1:1: unknown field `max_action`; did you mean `max_actions`?"),
        ("[control]\nmod = \"0660\"", "2:1: unknown field `mod`; did you mean `mode`?"),
        ("[metrics]\nport = 9100", "2:1: unknown field `port`, expected `listen`"),
        ("[tls]\nstore = \"dir:/x\"", "2:1: unknown field `store`; it belongs above the first [block]"),
        (
            "control_user = \"x\"",
            "1:1: unknown field `control_user`; the block [control] has socket, mode and group",
        ),
        ("metrics_port = 1", "1:1: unknown field `metrics_port`; the block [metrics] has listen"),
        (
            "log_level = \"debug\"",
            "1:1: unknown field `log_level`; run the daemon with -v or -d for a longer log",
        ),
        (
            "allow-untrusted = true",
            "1:1: unknown field `allow-untrusted`; --allow-untrusted is a flag of `twitcher run` only",
        ),
        ("stop_timeout = ten", "1:16: stop_timeout: must be a string in quotes, or a number without a unit"),
        ("store: \"dir:/x\"", "1:8: a line is KEY = VALUE, and a comment begins with #"),
        ("// a comment", "1:4: a line is KEY = VALUE, and a comment begins with #"),
        (
            "max_actions = 3,",
            "1:16: max_actions: after its value, a line has nothing but a comment, which begins with #",
        ),
        ("max_actions = -1", "1:15: max_actions: must be an int from 0 to 4294967295"),
        ("max_actions = 1.5", "1:15: max_actions: must be an int from 0 to 4294967295"),
        ("max_actions = 4294967296", "1:15: max_actions: must be an int from 0 to 4294967295"),
        ("max_waiting_bytes = -1", "1:21: max_waiting_bytes: must be an int from 0"),
        ("max_waiting_bytes = \"1M\"", "1:21: max_waiting_bytes: must be an int from 0"),
        (
            "rescan_interval = \"9\"",
            "1:19: rescan_interval: must be a number of seconds, without quotes and without a unit",
        ),
        ("log_file = 3", "1:12: log_file: must be a string with a path"),
        ("log_format = \"xml\"", "1:1: log_format: \"xml\" is not \"text\" or \"json\""),
        ("control = 3", "1:11: control: must be a block [control]"),
    ] {
        assert_eq!(settings(text).err(), Some(format!("DIR/twitcher.toml:{expected}")));
    }
}

#[test]
fn a_character_that_cannot_stand_in_the_file_is_named() {
    for (text, expected) in [
        (
            "stop_timeout =\u{a0}1",
            "1:15: stop_timeout: U+00A0 NO-BREAK SPACE cannot stand here; write a plain",
        ),
        ("\u{200b}stop_timeout = 1", "1:1: U+200B ZERO WIDTH SPACE cannot stand here; remove it"),
        ("# \u{a0} 'x\nstore = \u{201c}dir:/x\u{201d}", "2:9: store: U+201C LEFT DOUBLE QUOTATION MARK"),
        ("store = \"\\\"\u{202e}\" \u{202e}", "1:15: store: U+202E RIGHT-TO-LEFT OVERRIDE"),
        ("store = '''\n\u{a0}\\''' # '\nstop_timeout = 5\u{feff}", "3:17: stop_timeout: U+FEFF ZERO WIDTH"),
        ("store = 'dir:\nstop_timeout = \u{2212}1", "2:16: stop_timeout: U+2212 MINUS SIGN"),
        (
            "stop_timeout = 1\rmax_actions = 1",
            "1:17: stop_timeout: U+000D CARRIAGE RETURN cannot stand here; end",
        ),
        ("# \u{1b}[31m", "1:3: U+001B ESCAPE cannot stand here"),
        // A letter may be part of a secret without quotes, and the second file is wrong elsewhere.
        ("store = \u{e4}", "1:9: store: must be a string in quotes"),
        ("stor = \"\u{a0}\" # \u{202e}", "1:1: unknown field `stor`"),
        (
            "\"max_actions\u{200b}\" = 1",
            "1:1: U+200B ZERO WIDTH SPACE does not show; unknown field, expected",
        ),
    ] {
        let error = settings(text).unwrap_err();
        assert!(error.starts_with(&format!("DIR/twitcher.toml:{expected}")), "{text:?}: {error}");
    }
}

#[test]
fn hidden_characters_in_texts_are_warned_of_but_not_those_of_secrets() {
    let warned = settings("stop_timeout = 1\nstore = \"dir:/x\u{200b}\" # \u{ad}").unwrap().warnings;
    let [warning] = &warned[..] else { panic!("{warned:?}") };
    let expected = "twitcher.toml:2:16: U+200B ZERO WIDTH SPACE does not show (and 1 more in this file)";
    assert!(warning.contains(expected), "{warning}");
    let secret = "[sasl]\nusername = \"a\"\npassword = \"\u{2013}\u{200b}\"";
    let warned = settings(secret).unwrap().warnings;
    assert!(!warned.iter().any(|warning| warning.contains("U+")), "{warned:?}");
}

#[test]
fn numbers_are_what_they_look_like() {
    let file = settings(
        "session_timeout = 1_000\nstop_timeout = 1.5e1\nmax_actions = 0x10\nmax_waiting_bytes = 0\n\
         rescan_interval = +60\n[control]\nmode = \"660\"\ngroup = \"1000\"",
    );
    let file = file.unwrap();
    assert_eq!(file.session_timeout().unwrap(), Some(Duration::from_secs(1000)));
    assert_eq!(file.stop_timeout().unwrap(), Some(Duration::from_secs(15)));
    assert_eq!(file.max_actions().flatten().map(u32::from), Some(16));
    assert_eq!(file.max_waiting_bytes, Some(0));
    assert_eq!(file.rescan_interval().unwrap(), Duration::from_secs(60));
    let control = ControlSettings::new(None, &file).unwrap();
    assert_eq!((control.mode, control.group), (0o660, Some(1000)));
}

#[test]
fn a_directory_needs_no_credentials_that_are_there_for_another_store() {
    let file = settings("store = \"dir:/x\"\n[sasl]\nusername = \"a\"\npassword = { file = \"/no/such\" }");
    let file = file.unwrap();
    let problems = |choice: &str| {
        let store = chosen_of(&file, choice, None).unwrap();
        require_credentials(&Default::default(), &store, &file).err().map(|error| error.to_string())
    };
    assert_eq!(problems("default"), None);
    assert!(problems("zk://a").is_some_and(|error| error.contains("sasl.password: /no/such")));
}

#[test]
fn no_error_quotes_what_may_be_a_secret() {
    for text in [
        "auth = \"user:secret\"",
        "auth = [\"digest:user:secret\"]",
        "[[auth]]\nscheme = \"digest\"\ncredentials = [\"user:\\\"secret\"]",
        "[[auth]]\n\"user:secret\" = 1",
        "[stores.eu]\nurl = \"zk://a\"\nauth = \"secret\"",
        "[stores.eu]\nurl = \"zk://user:secret@host\"",
        "store = \"zk://user:secret@host\"",
        "[sasl]\nusername = \"a\"\npassword = [\"secret\"]",
        "[sasl]\nusername = \"a\"\npassword = { credentials = \"secret\" }",
        "[sasl]\nusername = \"a\"\npassword = { credential = \"b\", x = \"secret\" }",
        "[sasl]\nusername = \"a\"\npasswort = \"secret\"",
        "sasl = \"twitcher:secret\"",
        "[tls]\nca = \"/ca\"\nkey = { x = \"secret\" }",
        "auth = \"user:secret, expected more\"",
        "[sasl]\nusername = \"a\"\npassword = secret\u{201d}",
        "[sasl]\nusername = \"a\"\npassword = \"\"\"\nsecret=\\q\"\"\"",
    ] {
        let error = settings(text).unwrap_err();
        assert!(error.contains("twitcher.toml") && !error.contains("secret"), "{error}");
    }
}

#[test]
fn a_missing_settings_file_holds_nothing() {
    let dir = tempfile::tempdir().unwrap();
    assert!(read(dir.path(), Trust::Anyone).unwrap().store.is_none());
}

#[test]
fn the_shipped_settings_file_parses_as_it_is_and_with_every_line_in_force() {
    let shipped = include_str!("../../etc/twitcher.toml");
    let in_force: String = shipped
        .lines()
        .map(|line| {
            line.strip_prefix('#').filter(|rest| !rest.is_empty() && !rest.starts_with(' ')).unwrap_or(line)
        })
        .flat_map(|line| [line, "\n"])
        .collect();
    settings(shipped).unwrap();
    let file = settings(&in_force).unwrap();
    let default = file.sections();
    assert_eq!((file.store.as_deref(), default.auth.len()), (Some(DEFAULT_STORE), 1));
    assert!(default.tls.is_some() && default.sasl.is_some());
    let auths = file.stores.iter().map(|(name, store)| (&**name, store.sections().auth.len()));
    assert_eq!(auths.collect::<Vec<_>>(), [("config", 0), ("eu", 1), ("local", 0)]);
    assert_eq!(file.session_timeout().unwrap(), Some(SESSION_TIMEOUT));
    assert_eq!(file.stop_timeout().unwrap(), Some(STOP_TIMEOUT));
    assert_eq!(file.max_actions(), Some(Some(MAX_ACTIONS)));
    assert_eq!(file.max_waiting_bytes, Some(MAX_WAITING_BYTES));
    assert_eq!(file.store_memory().unwrap(), Some(STORE_MEMORY));
    assert_eq!(file.state_dir.as_deref(), Some(Path::new(STATE_DIR)));
    assert_eq!(file.control.socket.as_deref(), Some(Path::new(CONTROL_SOCKET)));
    let control = |file: &SettingsFile| ControlSettings::new(None, file).unwrap();
    assert_eq!(control(&file).mode, control(&SettingsFile::default()).mode);
    assert!(control(&file).unknown_group.is_none());
    assert_eq!(control(&file).group, Some(0));
    assert!(metrics_address(&file).unwrap().is_some());
}

#[test]
fn limits_and_intervals_have_the_defaults_of_the_manual_and_0_is_no_limit() {
    let daemon = |text: &str| DaemonSettings::new(DaemonFlags::default(), &settings(text).unwrap()).unwrap();
    let limits = |settings: &DaemonSettings| (settings.max_actions, settings.max_waiting_bytes);
    let default = daemon("");
    assert_eq!(limits(&default), (Some(256), Some(64 << 20)));
    assert_eq!((default.rescan_interval, default.stop_timeout), (Duration::from_secs(60), STOP_TIMEOUT));
    assert_eq!(limits(&daemon("max_actions = 0\nmax_waiting_bytes = 0")), (None, None));
    let given = daemon("max_actions = 3\nmax_waiting_bytes = 4\nrescan_interval = 2.5");
    assert_eq!(limits(&given), (Some(3), Some(4)));
    assert_eq!(given.rescan_interval, Duration::from_millis(2500));
}

#[test]
fn an_error_does_not_quote_the_secret_beside_it() {
    let error =
        settings("[stores.eu]\nurl = \"zk://eu\"\n[[stores.eu.auth]]\ncredential = \"user:secret\"\n");
    let error = error.unwrap_err();
    assert!(error.starts_with("DIR/twitcher.toml:4:1: unknown field `credential`"), "{error}");
    assert!(!error.contains("secret"), "{error}");
}

#[test]
fn an_error_in_a_credential_names_the_key_and_its_place() {
    for (value, expected) in [
        ("{ credential = \"b\", x = 1 }", "DIR/twitcher.toml:3:32: password: unknown field `x`"),
        ("{ credental = \"b\" }", "DIR/twitcher.toml:3:14: password: unknown field `credental`"),
        ("{ file = \"/f\", x = 1 }", "DIR/twitcher.toml:3:27: password: unknown field `x`"),
        ("{ file = \"/f\", credential = \"b\" }", "password: file and credential exclude each other"),
        ("{}", "password: neither a file nor a credential is named"),
        ("{ credential = 3 }", "DIR/twitcher.toml:3:27: "),
        ("[\"b\"]", "invalid type: sequence, expected a text, or { file = PATH }, or { credential = NAME }"),
    ] {
        let error = settings(&format!("[sasl]\nusername = \"a\"\npassword = {value}\n")).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn the_secrets_of_every_store_count() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("twitcher.toml");
    let without = "[stores.eu]\nurl = \"zk://eu\"\n";
    let with = format!("{without}[[stores.eu.auth]]\nscheme = \"digest\"\ncredentials = \"a:b\"\n");
    for (text, mode, exposed) in [(without, 0o644, false), (&with, 0o600, false), (&with, 0o640, true)] {
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let warnings = read(dir.path(), Trust::Anyone).unwrap().warnings;
        assert_eq!(!warnings.is_empty(), exposed, "{text}: {warnings:?}");
    }
}

const STORES: &str = r#"
    store = "zk://zk1"
    session_timeout = 7
    [[auth]]
    scheme = "digest"
    credentials = "default:secret"
    [stores.eu]
    url = "zk://eu1,eu2/chroot"
    session_timeout = 20.5
    [[stores.eu.auth]]
    scheme = "digest"
    credentials = "eu:secret"
    [stores.local]
    url = "dir:/srv/nodes"
"#;

fn chosen_of(file: &SettingsFile, text: &str, session_timeout: Option<u64>) -> Result<StoreSettings, String> {
    let choice = Some(("--store", text.parse().unwrap()));
    let store = chosen_store(choice, session_timeout.map(Duration::from_secs), file);
    store.map(|(_, store)| store).map_err(|error| error.to_string())
}

#[test]
fn each_store_has_its_own_credentials_and_session_timeout() {
    let file = settings(STORES).unwrap();
    let described = |store: &StoreSettings| {
        let auth = match store {
            StoreSettings::ZooKeeper(settings) => &*settings.login.auth,
            StoreSettings::Etcd(_) | StoreSettings::Directory(_) => &[],
        };
        let secrets: Vec<_> = auth.iter().map(|auth| auth.credentials.reveal().unwrap()).collect();
        format!("{store} {} {:?}", secrets.join(" "), store.session_timeout())
    };
    let (_, default) = chosen_store(None, None, &file).unwrap();
    assert_eq!(described(&default), "zk://zk1:2181 default:secret 7s");
    let all = |session_timeout| named_stores(&file, session_timeout).unwrap();
    let eu = "zk://eu1:2181,eu2:2181/chroot eu:secret 20.5s";
    let described_all = |stores: &BTreeMap<_, _>| stores.values().map(described).collect::<Vec<_>>();
    assert_eq!(described_all(&all(None)), [eu, "dir:/srv/nodes  7s"]);
    // A flag stands for the line at the top of the file.
    assert_eq!(described_all(&all(Some(Duration::from_secs(3)))), [eu, "dir:/srv/nodes  3s"]);
    assert_eq!(described(&chosen_of(&file, "eu", None).unwrap()), eu);
    assert_eq!(described(&chosen_of(&file, "eu", Some(3)).unwrap()), eu.replace("20.5s", "3s"));
    assert_eq!(described(&chosen_of(&file, "default", None).unwrap()), described(&default));
    let elsewhere = chosen_of(&file, "zk://other", Some(3)).unwrap();
    assert_eq!(described(&elsewhere), "zk://other:2181 default:secret 3s");
    assert_eq!(store_names(&file).len(), 3);
}

#[test]
fn an_etcd_has_its_own_login_and_a_mistake_in_it_is_named() {
    let login = |text: &str| {
        let file = settings(text)?;
        let (_, store) = chosen_store(None, None, &file).map_err(|error| error.to_string())?;
        let StoreSettings::Etcd(etcd) = store else { panic!("{store}") };
        let user =
            etcd.login.user.map(|user| format!("{} {}", user.username, user.password.reveal().unwrap()));
        Ok::<_, String>((etcd.url.to_string(), user, etcd.login.tls.is_some()))
    };
    let store = "store = \"etcd://a,b:1/p\"\n";
    let url = || "etcd://a:2379,b:1/p".to_owned();
    assert_eq!(login(store), Ok((url(), None, false)));
    let user = "[etcd]\nusername = \"u\"\npassword = \"secret\"\n";
    let tls = "[tls]\nca = \"/ca.pem\"\n";
    assert_eq!(login(&format!("{store}{user}{tls}")), Ok((url(), Some("u secret".to_owned()), true)));
    let no_name = login(&format!("{store}[etcd]\nusername = \"\"\npassword = \"secret\"\n")).unwrap_err();
    assert!(no_name.contains("etcd.username") && !no_name.contains("secret"), "{no_name}");
    let no_host = login(&format!("store = \"etcd://a_b!\"\n{tls}")).unwrap_err();
    assert!(no_host.contains("no certificate can be for"), "{no_host}");
}

#[test]
fn an_unknown_name_is_an_error_with_suggestion_and_remedy() {
    let mut file = settings(STORES).unwrap();
    file.path = "/etc/twitcher/twitcher.toml".into();
    assert_eq!(
        chosen_of(&file, "locl", None).err().unwrap(),
        "--store: unknown store \"locl\"; add [stores.locl] to /etc/twitcher/twitcher.toml, or give a URL, \
         zk://HOST:PORT,.../CHROOT, etcd://HOST:PORT,.../PREFIX or dir:PATH; did you mean `local`?"
    );
}

#[test]
fn a_wrong_block_is_named() {
    for (text, expected) in [
        (
            "[stores.default]\nurl = \"dir:/x\"",
            "1:9: stores.default: the default store is given as store = \"URL\", above all blocks",
        ),
        (
            "[stores.\"e u\"]\nurl = \"dir:/x\"",
            "1:2: stores: \"e u\" is no name of a store; a name has letters, digits, - and _",
        ),
        (
            "[[auth]]\nscheme = \"digest\"\ncredentials = \"password\"",
            "3:1: auth.credentials: for digest it is \"user:password\"",
        ),
        (
            "[sasl]\nusername = \"a\"\npassword = \"pässword\"",
            "3:1: sasl.password: it has letters like é or ü, with which DIGEST-MD5 fails here; use others",
        ),
        (
            "[stores.eu]\nurl = \"eu1:2181\"",
            "2:1: stores.eu.url: store \"eu1:2181\" has no scheme; write zk://HOST:PORT,.../CHROOT, \
             etcd://HOST:PORT,.../PREFIX or dir:PATH",
        ),
        (
            "[stores.eu]\nurl = \"zk://eu\"\nsession_timeout = 0",
            "3:1: stores.eu.session_timeout: 0 is not between 0.001 and 2147483 seconds",
        ),
    ] {
        assert_eq!(settings(text).unwrap_err(), format!("DIR/twitcher.toml:{expected}"));
    }
    for (text, expected) in [
        ("[stores.eu]\nsession_timeout = 3", "1:1: missing field `url`"),
        (
            "[stores.eu]\nurl = \"zk://eu\"\nstate_dir = \"/x\"",
            "3:1: unknown field `state_dir`; it belongs above the first [block]",
        ),
        ("[stores]\neu = \"zk://eu\"", "2:6: eu: must be a block [stores.NAME] with its url"),
    ] {
        assert_eq!(settings(text).unwrap_err(), format!("DIR/twitcher.toml:{expected}"));
    }
}
