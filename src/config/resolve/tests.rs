use super::*;

fn name(name: &str) -> Option<Account> {
    Some(Account::Name(name.into()))
}

fn resolved(uid: Option<Account>, gid: Option<Account>) -> Result<Identity, ResolveError> {
    identity(&RunAs { uid, gid })
}

#[test]
fn unknown_names_are_errors_that_name_them() {
    for (uid, gid, expected) in [
        (name("nosuchuser"), None, "`uid`: unknown user \"nosuchuser\""),
        (name("12"), None, "`uid`: unknown user \"12\"; write 12 without quotes for an id"),
        (None, name("nosuchgroup"), "`gid`: unknown group \"nosuchgroup\""),
    ] {
        let error = resolved(uid, gid).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
    assert!(resolved(Some(Account::Id(0x7fff_fff0)), None).is_err());
}

#[test]
fn a_watch_has_the_default_store_or_one_that_is_named() {
    let parse = |name| StoreName::parse(name).unwrap();
    let stores = StoreNames::from(["default", "eu", "us-west"].map(parse));
    let found = |name| resolve_store(name, Some(&stores)).map_err(|error| error.to_string());
    assert_eq!(found(None), Ok(StoreName::default()));
    assert_eq!(found(Some("default")), Ok(StoreName::default()));
    assert_eq!(found(Some("us-west")), Ok(parse("us-west")));
    for (name, expected) in [
        ("ue", "`store`: unknown store \"ue\"; add [stores.ue] to twitcher.toml and restart the daemon"),
        (
            "us-wets",
            "`store`: unknown store \"us-wets\"; add [stores.us-wets] to twitcher.toml and restart \
             the daemon; did you mean `us-west`?",
        ),
        (
            "zk://eu",
            "`store`: \"zk://eu\" is no name of a store; a name has letters, digits, - and _; \
             name the store in twitcher.toml, and restart the daemon",
        ),
    ] {
        assert_eq!(found(Some(name)).unwrap_err(), expected);
    }
    assert_eq!(resolve_store(Some("any"), None).unwrap(), parse("any"), "the stores are not known");
}

#[test]
fn nothing_asked_changes_nothing() {
    let identity = resolved(None, None).unwrap();
    assert_eq!((identity.uid, identity.change), (geteuid().as_raw(), None));
}

#[test]
fn root_gives_everything_away() {
    if !geteuid().is_root() {
        return;
    }
    let nobody = resolved(name("nobody"), None).unwrap();
    let change = nobody.change.unwrap();
    assert_eq!((change.uid, change.gid), (65534, 65534));
    assert!(!change.groups.contains(&0), "{:?}", change.groups);

    let group_0 = resolved(name("nobody"), Some(Account::Id(0))).unwrap().change.unwrap();
    assert_eq!((group_0.uid, group_0.gid), (65534, 0));

    let only_group = resolved(None, Some(Account::Id(54321))).unwrap().change.unwrap();
    assert_eq!((only_group.uid, only_group.gid, only_group.groups), (0, 54321, vec![54321]));
}

#[test]
fn equal_exec_contexts_are_kept_once() {
    let mut accounts = Accounts::default();
    let strange = ExecContext { umask: 0o077, ..ExecContext::default() };
    let usual = shared(&mut accounts.exec_contexts, &ExecContext::default());
    assert!(Arc::ptr_eq(&usual, &shared(&mut accounts.exec_contexts, &ExecContext::default())));
    let first = shared(&mut accounts.exec_contexts, &strange);
    assert!(Arc::ptr_eq(&first, &shared(&mut accounts.exec_contexts, &strange.clone())));
    assert_ne!(first, usual);
}
