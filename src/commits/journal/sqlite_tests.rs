use super::*;
use crate::commits::journal::{Database, open};

fn key(name: &str) -> Key {
    Key::parse(name).unwrap()
}

fn commit(name: &str, version: i64, payload: &[u8]) -> FullCommit {
    FullCommit {
        header: Commit {
            key: name.to_owned(),
            version,
            author: "eva".to_owned(),
            comment: format!("number {version}"),
            mtime: "2026-11-28T05:00:00.000Z".to_owned(),
            empty: false,
        },
        payload: payload.to_vec(),
    }
}

struct Scratch {
    directory: tempfile::TempDir,
}

impl Scratch {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("commits.db")
    }

    async fn try_open(&self, table: &str) -> Result<Arc<dyn Journal>, JournalError> {
        open(&Database::Sqlite(self.path()), &table.parse().unwrap()).await
    }

    async fn open(&self) -> Arc<dyn Journal> {
        self.try_open("diary").await.unwrap()
    }

    fn connection(&self) -> Connection {
        Connection::open(self.path()).unwrap()
    }
}

fn all() -> Page {
    Page { after: None, limit: 100, with_removed: true, with_payloads: true }
}

#[tokio::test]
async fn what_was_saved_is_there_byte_for_byte_also_for_another_server() {
    let scratch = Scratch::new();
    let journal = scratch.open().await;
    let payload = b"\0\xff\n line\n";
    assert_eq!(journal.commit(&key("foo"), None).await, Ok(None));
    assert_eq!(journal.save(commit("foo", 1, payload)).await, Ok(Ok(())));
    assert_eq!(journal.save(commit("foo", 2, b"")).await, Ok(Ok(())));
    let journal = scratch.open().await;
    assert_eq!(journal.commit(&key("foo"), None).await, Ok(Some(commit("foo", 2, b""))));
    assert_eq!(journal.commit(&key("foo"), Some(1)).await, Ok(Some(commit("foo", 1, payload))));
    assert_eq!(journal.commit(&key("foo"), Some(3)).await, Ok(None));
    assert_eq!(journal.size().await, Ok(Size { keys: 1, commits: 2 }));
}

#[tokio::test]
async fn a_version_that_is_not_the_next_one_is_a_conflict_and_changes_nothing() {
    let scratch = Scratch::new();
    let journal = scratch.open().await;
    for version in [-1, 0, 2, i64::MAX] {
        assert_eq!(journal.save(commit("foo", version, b"x")).await, Ok(Err(Conflict { expected: 1 })));
    }
    assert_eq!(journal.save(commit("foo", 1, b"a")).await, Ok(Ok(())));
    assert_eq!(journal.save(commit("foo", 1, b"a")).await, Ok(Err(Conflict { expected: 2 })));
    assert_eq!(journal.commit(&key("foo"), None).await, Ok(Some(commit("foo", 1, b"a"))));
    assert_eq!(journal.save(commit("bar", 1, b"b")).await, Ok(Ok(())));
    assert_eq!(journal.size().await, Ok(Size { keys: 2, commits: 2 }));
}

#[tokio::test]
async fn of_many_writers_of_a_version_exactly_one_wins_also_over_two_servers() {
    let scratch = Scratch::new();
    let journals = [scratch.open().await, scratch.open().await];
    for version in 1..=10 {
        let saves = (0..16).map(|writer| {
            let payload = format!("{writer}");
            journals[writer % 2].save(commit("foo", version, payload.as_bytes()))
        });
        let results: Vec<_> = futures_util::future::join_all(saves).await;
        let won = results.iter().filter(|result| **result == Ok(Ok(()))).count();
        let lost = results.iter().filter(|result| **result == Ok(Err(Conflict { expected: version + 1 })));
        assert_eq!((won, lost.count()), (1, 15), "{results:?}");
    }
    for journal in journals {
        assert_eq!(journal.size().await, Ok(Size { keys: 1, commits: 10 }));
    }
}

#[tokio::test]
async fn heads_come_sorted_in_pages_and_without_removed_keys_if_so_asked() {
    let scratch = Scratch::new();
    let journal = scratch.open().await;
    for name in ["b", "a", "é", "c", "A"] {
        journal.save(commit(name, 1, b"old")).await.unwrap().unwrap();
        journal.save(commit(name, 2, name.as_bytes())).await.unwrap().unwrap();
    }
    let mut removed = commit("b", 3, b"");
    removed.header.empty = true;
    journal.save(removed.clone()).await.unwrap().unwrap();
    let names = |heads: &Heads| heads.commits.iter().map(|head| head.header.key.clone()).collect::<Vec<_>>();
    let heads = journal.heads(&all()).await.unwrap();
    assert_eq!((names(&heads).join(" "), heads.has_more), ("A a b c é".to_owned(), false));
    assert_eq!(heads.commits[2], removed);
    assert_eq!(heads.commits[4], commit("é", 2, "é".as_bytes()));
    let page = Page { limit: 2, with_removed: false, with_payloads: false, ..all() };
    let first = journal.heads(&page).await.unwrap();
    assert_eq!((names(&first).join(" "), first.has_more), ("A a".to_owned(), true));
    assert!(first.commits.iter().all(|head| head.payload.is_empty()));
    let rest = journal.heads(&Page { after: Some(key("a")), ..page }).await.unwrap();
    assert_eq!((names(&rest).join(" "), rest.has_more), ("c é".to_owned(), false));
}

#[tokio::test]
async fn heads_are_read_without_the_other_versions_and_without_the_keys_of_other_pages() {
    let scratch = Scratch::new();
    drop(scratch.open().await);
    let statements = Statements::new(include_str!("sqlite.sql"), &"diary".parse().unwrap());
    let explained = format!("EXPLAIN QUERY PLAN {}", statements.get("heads"));
    let connection = scratch.connection();
    let mut plan = connection.prepare(&explained).unwrap();
    let plan = plan.query_map(params!["", true], |row| row.get(3)).unwrap();
    let plan: Vec<String> = plan.collect::<Result<_, _>>().unwrap();
    let is_lazy = |step: &String| {
        !["MATERIALIZE", "TEMP B-TREE", "SCAN diary"].iter().any(|wrong| step.contains(wrong))
    };
    assert!(plan.len() > 3 && plan.iter().all(is_lazy), "{plan:#?}");
}

#[tokio::test]
async fn a_page_of_large_payloads_is_short() {
    let scratch = Scratch::new();
    let journal = scratch.open().await;
    let large = vec![7; 1 << 20];
    for name in 0..8 {
        journal.save(commit(&name.to_string(), 1, &large)).await.unwrap().unwrap();
    }
    let heads = journal.heads(&all()).await.unwrap();
    assert_eq!((heads.commits.len(), heads.has_more), (5, true));
    let bare = journal.heads(&Page { with_payloads: false, ..all() }).await.unwrap();
    assert_eq!((bare.commits.len(), bare.has_more), (8, false));
}

#[tokio::test]
async fn a_log_is_newest_first_and_goes_on_where_it_ended() {
    let scratch = Scratch::new();
    let journal = scratch.open().await;
    for version in 1..=5 {
        journal.save(commit("foo", version, b"x")).await.unwrap().unwrap();
    }
    let versions = |log: Vec<Commit>| log.iter().map(|header| header.version).collect::<Vec<_>>();
    assert_eq!(versions(journal.log(&key("foo"), None, 3).await.unwrap()), [5, 4, 3]);
    assert_eq!(versions(journal.log(&key("foo"), Some(3), 3).await.unwrap()), [2, 1]);
    assert_eq!(versions(journal.log(&key("bar"), None, 3).await.unwrap()), [0; 0]);
}

#[tokio::test]
async fn what_this_program_does_not_know_is_refused_and_not_touched() {
    let scratch = Scratch::new();
    drop(scratch.open().await);
    let refusal = |result: Result<Arc<dyn Journal>, JournalError>| result.err().unwrap().to_string();
    scratch.connection().execute("UPDATE twitcher_journals SET version = 2, program = '9.0.0'", []).unwrap();
    let error = refusal(scratch.try_open("diary").await);
    assert!(error.ends_with("start Twitcher 9.0.0 or a later one"), "{error}");
    scratch.connection().execute_batch("CREATE TABLE mine (x); INSERT INTO mine VALUES (1)").unwrap();
    let error = refusal(scratch.try_open("mine").await);
    assert!(error.ends_with("was not made by Twitcher; name another with `table`"), "{error}");
    let kept: i64 = scratch.connection().query_row("SELECT x FROM mine", [], |row| row.get(0)).unwrap();
    assert_eq!(kept, 1);
    assert!(scratch.try_open("other").await.is_ok(), "a namespace of its own");
    let scratch = Scratch::new();
    fs::write(scratch.path(), "no database, but a text that is long enough to be taken for one").unwrap();
    assert!(matches!(scratch.try_open("diary").await, Err(JournalError::Refused(_))));
    assert!(fs::read(scratch.path()).unwrap().starts_with(b"no database"));
}

#[tokio::test]
async fn a_file_that_was_removed_takes_no_commit_that_would_be_lost() {
    let scratch = Scratch::new();
    let journal = scratch.open().await;
    journal.save(commit("foo", 1, b"x")).await.unwrap().unwrap();
    let away = scratch.path().with_extension("away");
    fs::rename(scratch.path(), &away).unwrap();
    let error = journal.save(commit("foo", 2, b"x")).await.unwrap_err().to_string();
    assert!(error.contains("was removed or replaced while it was open"), "{error}");
    assert!(journal.commit(&key("foo"), None).await.is_err());
    fs::rename(&away, scratch.path()).unwrap();
    assert_eq!(journal.save(commit("foo", 2, b"x")).await, Ok(Ok(())));
}

#[tokio::test]
async fn a_batch_that_the_disk_does_not_take_is_not_kept_at_all() {
    let scratch = Scratch::new();
    let journal = scratch.open().await;
    journal.save(commit("foo", 1, b"x")).await.unwrap().unwrap();
    let blocker = scratch.connection();
    // Fails as a full disk does: in the middle of a statement.
    blocker
        .execute_batch(
            "CREATE TRIGGER full BEFORE INSERT ON diary WHEN new.name = 'large'
             BEGIN SELECT raise(ROLLBACK, 'database or disk is full'); END",
        )
        .unwrap();
    let saves =
        ["foo", "large"].map(|name| journal.save(commit(name, if name == "foo" { 2 } else { 1 }, b"y")));
    let results = futures_util::future::join_all(saves).await;
    assert!(
        matches!(&results[1], Err(JournalError::Unavailable(why)) if why.contains("full")),
        "{results:?}"
    );
    let head = journal.commit(&key("foo"), None).await.unwrap().unwrap();
    assert_eq!(head.header.version == 2, results[0].is_ok(), "{results:?}");
    blocker.execute_batch("DROP TRIGGER full").unwrap();
    assert_eq!(journal.save(commit("large", 1, b"y")).await, Ok(Ok(())));
}
