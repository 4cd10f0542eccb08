use tokio::sync::mpsc::unbounded_channel;

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
        open(&Database::Sqlite(self.path()), &table.parse().unwrap(), unbounded_channel().0).await
    }

    async fn open(&self) -> Arc<dyn Journal> {
        self.try_open("diary").await.unwrap()
    }

    fn connection(&self) -> Connection {
        Connection::open(self.path()).unwrap()
    }
}

fn all() -> Page {
    Page { after: None, limit: 100, bytes: 4 << 20, with_removed: true, with_payloads: true }
}

#[tokio::test]
async fn heads_are_read_without_the_other_versions_and_without_the_keys_of_other_pages() {
    let scratch = Scratch::new();
    drop(scratch.open().await);
    let statements = Statements::new(include_str!("sqlite.sql"), &"diary".parse().unwrap());
    let explained = format!("EXPLAIN QUERY PLAN {}", statements.get("next_head"));
    let connection = scratch.connection();
    let mut plan = connection.prepare(&explained).unwrap();
    let plan = plan.query_map(params!["", true], |row| row.get(3)).unwrap();
    let plan: Vec<String> = plan.collect::<Result<_, _>>().unwrap();
    let is_lazy =
        |step: &String| !["MATERIALIZE", "TEMP B-TREE", "SCAN"].iter().any(|wrong| step.contains(wrong));
    assert!(plan.len() > 1 && plan.iter().all(is_lazy), "{plan:#?}");
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

#[tokio::test]
async fn a_row_that_is_no_commit_holds_up_its_own_key_only_and_is_told_once() {
    let scratch = Scratch::new();
    let (corrupt, mut told) = unbounded_channel();
    let journal = open(&Database::Sqlite(scratch.path()), &"order".parse().unwrap(), corrupt).await.unwrap();
    for name in ["a", "b", "c", "d", "e"] {
        journal.save(commit(name, 1, b"x")).await.unwrap().unwrap();
    }
    scratch
        .connection()
        .execute_batch(
            r#"UPDATE "order" SET mtime = 'today' WHERE name = 'b';
               UPDATE "order" SET name = 'c/d' WHERE name = 'c';
               UPDATE "order" SET author = CAST(x'ff' AS TEXT) WHERE name = 'e'"#,
        )
        .unwrap();
    let names = |heads: &Heads| heads.commits.iter().map(|head| head.header.key.clone()).collect::<Vec<_>>();
    let first = journal.heads(&Page { limit: 1, ..all() }).await.unwrap();
    assert_eq!((names(&first).join(" "), first.corrupt.len(), first.has_more), ("a".to_owned(), 0, true));
    let rest = journal.heads(&Page { after: Some(key("a")), ..all() }).await.unwrap();
    assert_eq!((names(&rest).join(" "), rest.has_more), ("d".to_owned(), false));
    let corrupt: Vec<String> = rest.corrupt.iter().map(ToString::to_string).collect();
    assert_eq!(corrupt[0], "commit 1 of b cannot be read: its mtime \"today\" is no time");
    assert!(corrupt[1].starts_with("commit 1 of c/d cannot be read: the key \"c/d\" has a slash"));
    assert!(corrupt[2].starts_with("commit 1 of e cannot be read: ") && corrupt.len() == 3, "{corrupt:?}");
    assert!(matches!(journal.commit(&key("b"), None).await, Err(JournalError::Corrupt(_))));
    assert_eq!(journal.log(&key("b"), None, 9).await, Ok(Vec::new()));
    journal.heads(&all()).await.unwrap();
    assert_eq!(journal.size().await.unwrap().corrupt, 3);
    let mut once = Vec::new();
    while let Ok(corrupt) = told.try_recv() {
        once.push(corrupt.to_string());
    }
    assert_eq!(once, corrupt);
    assert_eq!(journal.save(commit("b", 2, b"y")).await, Ok(Ok(())), "which mends the key");
    assert_eq!(journal.commit(&key("b"), None).await, Ok(Some(commit("b", 2, b"y"))));
}
