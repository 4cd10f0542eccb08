use std::cell::Cell;

use tokio::task::LocalSet;

use super::*;

/// How long a count takes. The rest after it is a hundred times as long.
const COUNT: Duration = Duration::from_millis(200);

thread_local! {
    /// How often the rows were counted.
    static COUNTS: Cell<u64> = const { Cell::new(0) };
}

/// A database with one commit of one key, where counting takes a while.
struct Slow;

impl Session for Slow {
    async fn connect(_: &ServerAddress, _: &Table, _: bool) -> Result<Self, JournalError> {
        Ok(Self)
    }

    fn is_open(&mut self) -> bool {
        true
    }

    async fn end(self) {}

    async fn heads(&mut self, _: &Page) -> Result<Heads, JournalError> {
        unreachable!("nobody asks")
    }

    async fn commit(&mut self, _: &Key, _: Option<i64>) -> Result<Option<FullCommit>, JournalError> {
        unreachable!("nobody asks")
    }

    async fn log(&mut self, _: &Key, _: Option<i64>, _: usize) -> Result<Vec<Commit>, JournalError> {
        unreachable!("nobody asks")
    }

    async fn save(&mut self, commit: &FullCommit) -> Result<Result<(), Conflict>, JournalError> {
        match commit.header.version {
            2 => Ok(Ok(())),
            _ => Ok(Err(Conflict { expected: 2 })),
        }
    }

    async fn size(&mut self) -> Result<Size, JournalError> {
        COUNTS.set(COUNTS.get() + 1);
        tokio::time::sleep(COUNT).await;
        Ok(Size { keys: 1, commits: 1, corrupt: 0 })
    }
}

fn commit(version: i64) -> FullCommit {
    let (author, comment, key) = ("eva".to_owned(), String::new(), "foo".to_owned());
    let mtime = "2026-11-28T05:00:00.000Z".to_owned();
    FullCommit { header: Commit { author, comment, key, mtime, version, empty: false }, payload: Vec::new() }
}

#[tokio::test]
async fn who_asks_often_has_the_rows_counted_seldom() {
    let address = match "postgres://eva@localhost/c".parse() {
        Ok(super::super::target::Database::Server(address)) => address,
        other => panic!("{other:?}"),
    };
    let target = Target { address, table: "diary".parse().unwrap() };
    let (calls, taken) = mpsc::channel(QUEUE);
    let (opened, is_open) = oneshot::channel();
    let local = LocalSet::new();
    local.spawn_local(serve::<Slow>(target, taken, opened));
    local
        .run_until(async {
            is_open.await.unwrap().unwrap();
            let journal = RemoteJournal { calls };
            let size = async || {
                let size = journal.size().await.unwrap();
                (size.keys, size.commits)
            };
            for _ in 0..100 {
                assert_eq!(size().await, (1, 1));
            }
            assert_eq!(COUNTS.get(), 1);
            assert_eq!(journal.save(commit(7)).await, Ok(Err(Conflict { expected: 2 })));
            assert_eq!(journal.save(commit(2)).await, Ok(Ok(())));
            assert_eq!(size().await, (1, 2), "what was saved here counts at once");
            assert_eq!(COUNTS.get(), 1);
        })
        .await;
}
