use std::path::Path;

use super::*;
use crate::trust::Trust;

fn settings(text: &str) -> Result<ServeSettings, String> {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("twitcher.toml"), text).unwrap();
    let file = super::super::read(directory.path(), Trust::Anyone);
    let place = |error: SettingsError| {
        error.to_string().replace(&format!("{}", directory.path().join("twitcher.toml").display()), "FILE")
    };
    ServeSettings::new(&file.map_err(place)?).map_err(place)
}

const DIARY: &str = "[serve.commits.diary]\n";

#[test]
fn without_more_a_namespace_is_a_journal_alone_on_loopback() {
    let settings = settings(DIARY).unwrap();
    assert_eq!(settings.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(settings.database, Database::Sqlite(Path::new("/var/lib/twitcher/commits.db").into()));
    let diary = &settings.namespaces["diary"];
    assert_eq!((diary.table.as_str(), diary.keeper.is_some()), ("diary", false));
    assert!(settings.users.is_empty() && settings.tls.is_none() && diary.validate.is_empty());
}

#[test]
fn a_store_without_a_path_is_a_journal_alone() {
    for store in ["default", "eu", "dir:/nodes"] {
        let text =
            format!("[stores.eu]\nurl = \"etcd://etcd1\"\n[serve.commits.diary]\nstore = \"{store}\"\n");
        assert!(settings(&text).unwrap().namespaces["diary"].keeper.is_none(), "{store}");
    }
}

#[test]
fn a_namespace_has_a_keeper_in_a_store_that_the_file_names() {
    let text = "store = \"zk://zk1\"\n[stores.eu]\nurl = \"etcd://etcd1\"\n\
                [serve.commits.diary]\npath = \"/config/diary\"\n\
                [serve.commits.A-b]\nstore = \"eu\"\npath = \"/config/b\"\npublish_period = 5\n\
                validate = [\"/bin/check\", \"--strict\"]\n";
    let settings = settings(text).unwrap();
    let keeper = settings.namespaces["diary"].keeper.as_ref().unwrap();
    assert_eq!((keeper.store.to_string(), keeper.path.as_str()), ("zk://zk1:2181".into(), "/config/diary"));
    assert_eq!(keeper.period, PUBLISH_PERIOD);
    let other = &settings.namespaces["A-b"];
    assert_eq!((other.table.as_str(), &*other.validate.join(" ")), ("a_b", "/bin/check --strict"));
    let keeper = other.keeper.as_ref().unwrap();
    assert_eq!((keeper.store.to_string(), keeper.period.as_secs()), ("etcd://etcd1:2379".into(), 5));
}

#[test]
fn users_have_tokens_and_rights_in_namespaces_that_there_are() {
    let text = format!(
        "{DIARY}[[serve.users]]\nname = \"gian\"\ntoken = {{ credential = \"t\" }}\nmay = [\"diary:write\"]\n\
         [[serve.users]]\nname = \"eva\"\ntoken = {{ sha256 = \"{0}\" }}\nmay = [\"*:read\"]\n\
         [[serve.users]]\nname = \"ivan\"\ntoken = \"{0}\"\nmay = []\n",
        "0a".repeat(32)
    );
    let settings = settings(&text).unwrap();
    let [gian, eva, ivan] = &*settings.users else { panic!("three users") };
    assert!(matches!(gian.token, UserToken::Secret(Secret::Credential(_))));
    assert_eq!(gian.may, [Grant { namespace: Some("diary".into()), right: Right::Write }]);
    assert_eq!(eva.may, [Grant { namespace: None, right: Right::Read }]);
    for user in [eva, ivan] {
        assert!(matches!(user.token, UserToken::Sha256(hash) if hash == [10; 32]));
    }
}

#[test]
fn mistakes_are_named_with_their_place_and_what_helps() {
    let user = |rest: &str| format!("{DIARY}[[serve.users]]\nname = \"gian\"\n{rest}");
    for (text, told) in [
        ("".to_owned(), "FILE: serve: there is no block [serve]; write one"),
        ("[serve]".to_owned(), "FILE:1:2: serve: nothing is served; add a block [serve.commits.NAME]"),
        (format!("[serve]\nlisten = \"8080\"\n{DIARY}"), "FILE:2:1: serve.listen: \"8080\" is neither"),
        (
            format!("[serve]\nlisten = \"unix:x\"\n{DIARY}"),
            "\"unix:x\" is neither ADDRESS:PORT nor unix:/PATH",
        ),
        (format!("[serve]\nlisten = \"[::]:80\"\n{DIARY}"), "[::]:80 can be reached from other hosts"),
        (format!("[serve]\ndatabase = \"x\"\n{DIARY}"), "FILE:2:1: serve.database: this is no database"),
        (
            format!("[serve]\ndatabase = \"postgres://eva:hunter2/x@db/c\"\n{DIARY}"),
            "FILE:2:1: serve.database: the database's address is wrong: the name of the database is wrong",
        ),
        (
            format!("[serve]\ndatabase_password = \"x\"\n{DIARY}"),
            "FILE:2:1: serve.database_password: a file of SQLite has none",
        ),
        (
            format!("[serve]\ndatabase = \"mysql://a:b@c/d\"\ndatabase_password = \"x\"\n{DIARY}"),
            "serve.database_password: the database's address has one, too",
        ),
        ("[serve.commits.-]".to_owned(), "the name is a part of addresses"),
        ("[serve.commits.diary]\nstore = \"x\"".to_owned(), "x"),
        ("[serve.commits.diary]\nstore = \"x\"\npath = \"/a\"".to_owned(), "x"),
        (
            "[serve.commits.diary]\npath = \"a\"".to_owned(),
            "serve.commits.diary.path: node path \"a\" is not absolute",
        ),
        ("[serve.commits.diary]\npath = \"/a\"\npublish_period = 0.05".to_owned(), "less than 0.1 seconds"),
        (
            "[serve.commits.diary]\nvalidate = [\"check\"]".to_owned(),
            "\"check\" is no absolute path of a program",
        ),
        (
            "[serve.commits.a]\n[serve.commits.A]".to_owned(),
            "it has the table or the keeper's path of serve.commits.A",
        ),
        (
            format!("[serve]\nlisten = \"unix:/s\"\n[serve.tls]\ncert = \"c\"\nkey = \"k\"\n{DIARY}"),
            "serve.tls: a socket needs no TLS",
        ),
        (
            format!("{DIARY}[[serve.users]]\nname = \"{}\"\ntoken = \"x\"\nmay = []", "x".repeat(256)),
            "is no name of a user: one line of at most 255 bytes",
        ),
        (user("token = \"sha256:1\"\nmay = []"), "user \"gian\": a SHA-256 has 64 hexadecimal digits"),
        (user("token = \"x\"\nmay = [\"diary\"]"), "\"diary\" is not NAMESPACE:read, NAMESPACE:write or"),
        (
            user("token = \"x\"\nmay = [\"diray:read\"]"),
            "there is no namespace \"diray\"; did you mean `diary`?",
        ),
        (
            user("token = { file = \"a\", sha256 = \"b\" }\nmay = []"),
            "exactly one of sha256, file and credential",
        ),
    ] {
        let error = settings(&text).err().unwrap_or_else(|| panic!("no error: {text}"));
        assert!(error.contains(told), "{text}\n{error}");
    }
}
