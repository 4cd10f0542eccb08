//! The journal: a table in a database with all commits of a namespace.
//!
//! | database | file | table |
//! |---|---|---|
//! | SQLite, in this process | `sqlite.rs`, `sqlite.sql` | the columns of a commit, one by one |
//! | PostgreSQL | `postgres.rs`, `postgres.sql` | the same |
//! | MySQL and MariaDB | `mysql/`, `mysql.sql` | Rainer's: the payload is the data of a node |
//!
//! All of them keep the same promises, which are those of [`Journal`]. `remote` has the connections to a
//! server, `address` says where it is, and `stored` what makes a row a commit.

mod address;
mod ask;
mod counted;
mod error;
mod interface;
mod mysql;
mod noted;
mod postgres;
mod remote;
mod schema;
mod sqlite;
mod statements;
mod stored;
mod target;

use std::sync::Arc;

use tokio::sync::mpsc::UnboundedSender;

pub use address::{ServerAddress, ServerKind, has_password};
pub use error::{CorruptCommit, JournalError};
pub use interface::{Answer, Conflict, Heads, Journal, Page, Size};
pub use target::{Database, Table, TargetError};

use mysql::MySqlSession;
use noted::NotedJournal;
use postgres::PostgresSession;
use remote::RemoteJournal;
use sqlite::SqliteJournal;

/// Opens the journal, and makes its table where there is none. A table that a newer version has made is
/// refused, and not touched. Each commit that cannot be read is told to `corrupt` once.
pub async fn open(
    database: &Database,
    table: &Table,
    corrupt: UnboundedSender<CorruptCommit>,
) -> Result<Arc<dyn Journal>, JournalError> {
    let journal: Arc<dyn Journal> = match database {
        Database::Sqlite(path) => Arc::new(SqliteJournal::open(path, table).await?),
        Database::Server(address) => Arc::new(match address.kind {
            ServerKind::PostgreSql => RemoteJournal::open::<PostgresSession>(address, table).await?,
            ServerKind::MySql => RemoteJournal::open::<MySqlSession>(address, table).await?,
        }),
    };
    Ok(Arc::new(NotedJournal::new(journal, corrupt)))
}
