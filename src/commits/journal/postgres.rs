//! The journal in PostgreSQL.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::io::{self, AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinHandle;
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::{ChannelBinding, NoTls, TlsConnect, TlsStream};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Config, Row};
use tokio_rustls::client::TlsStream as Encrypted;

use super::address::{Encryption, Place, ServerAddress};
use super::error::{CorruptCommit, JournalError, unavailable};
use super::interface::{Conflict, Heads, Page, Size};
use super::remote::{MAX_TRIES, Session};
use super::schema::{Act, Found as FoundTable, PROGRAM, gone, judge};
use super::statements::Statements;
use super::stored::{Found, checked};
use super::target::Table;
use crate::commits::commit::FullCommit;
use crate::commits::key::Key;
use crate::model::Commit;
use crate::store::WebTls;

/// The version of the tables in `postgres.sql`. It grows with every change that an older program could not
/// handle.
const VERSION: i64 = 1;

type Argument<'a> = (&'a (dyn ToSql + Sync), Type);

pub(super) struct PostgresSession {
    client: Client,
    /// What moves the bytes. It ends with this.
    connection: JoinHandle<()>,
    statements: Statements,
}

impl Drop for PostgresSession {
    fn drop(&mut self) {
        // A server that does not answer would keep it for long.
        self.connection.abort();
    }
}

impl Session for PostgresSession {
    async fn connect(address: &ServerAddress, table: &Table, creates: bool) -> Result<Self, JournalError> {
        let (client, connection) = connect(address).await?;
        let statements = Statements::new(include_str!("postgres.sql"), table);
        let session = Self { client, connection, statements };
        session.query("limits", &[]).await?;
        session.query("durable", &[]).await?;
        let prepared = session.prepare(table, creates).await;
        prepared.map_err(|error| match error {
            JournalError::Refused(why) => JournalError::Refused(format!("{address}: {why}")),
            error => error,
        })?;
        Ok(session)
    }

    fn is_open(&mut self) -> bool {
        !self.client.is_closed()
    }

    async fn end(self) {
        // The client says goodbye when it is dropped.
    }

    async fn heads(&mut self, page: &Page) -> Result<Heads, JournalError> {
        // Every key is after the empty text.
        let mut after = page.after.as_ref().map_or("", Key::as_str).to_owned();
        let limit = i64::try_from(page.limit).unwrap_or(i64::MAX);
        let most = i64::try_from(page.bytes).unwrap_or(i64::MAX);
        let mut found = Found::default();
        loop {
            let arguments: [Argument<'_>; 5] = [
                (&after, Type::TEXT),
                (&limit, Type::INT8),
                (&most, Type::INT8),
                (&page.with_removed, Type::BOOL),
                (&page.with_payloads, Type::BOOL),
            ];
            let rows = self.query("heads", &arguments).await?;
            let mut bytes = 0;
            for row in &rows {
                bytes += row.try_get::<_, &[u8]>(6).map_or(0, <[u8]>::len);
                found.add(commit(row));
            }
            let is_full = rows.len() >= page.limit || bytes > page.bytes;
            if found.len() > 0 || !is_full {
                return Ok(found.page(is_full));
            }
            // All of them are corrupt.
            after = rows.last().map(|row| row.try_get(0)).transpose().map_err(failed)?.unwrap_or_default();
        }
    }

    async fn commit(&mut self, key: &Key, version: Option<i64>) -> Result<Option<FullCommit>, JournalError> {
        let name = key.as_str();
        let rows = match &version {
            Some(version) => self.query("commit", &[(&name, Type::TEXT), (version, Type::INT8)]).await?,
            None => self.query("head", &[(&name, Type::TEXT)]).await?,
        };
        Ok(rows.first().map(commit).transpose()?)
    }

    async fn log(
        &mut self,
        key: &Key,
        before: Option<i64>,
        limit: usize,
    ) -> Result<Vec<Commit>, JournalError> {
        let (name, mut before) = (key.as_str(), before.unwrap_or(i64::MAX));
        let mut headers = Vec::new();
        loop {
            let missing = i64::try_from(limit - headers.len()).unwrap_or(i64::MAX);
            let arguments: [Argument<'_>; 3] =
                [(&name, Type::TEXT), (&before, Type::INT8), (&missing, Type::INT8)];
            let rows = self.query("log", &arguments).await?;
            headers.extend(rows.iter().filter_map(|row| commit(row).ok()).map(|commit| commit.header));
            let last = rows.last().map(|row| row.try_get(1)).transpose().map_err(failed)?;
            match last {
                Some(last) if headers.len() < limit => before = last,
                Some(_) | None => return Ok(headers),
            }
        }
    }

    async fn save(&mut self, commit: &FullCommit) -> Result<Result<(), Conflict>, JournalError> {
        let Commit { key, version, author, comment, mtime, empty } = &commit.header;
        for _ in 0..MAX_TRIES {
            let arguments: [Argument<'_>; 7] = [
                (key, Type::TEXT),
                (version, Type::INT8),
                (author, Type::TEXT),
                (comment, Type::TEXT),
                (mtime, Type::TEXT),
                (empty, Type::BOOL),
                (&commit.payload, Type::BYTEA),
            ];
            let save = self.statements.get("save");
            if self.client.execute_typed(save, &arguments).await.map_err(failed)? > 0 {
                return Ok(Ok(()));
            }
            let rows = self.query("last_version", &[(key, Type::TEXT)]).await?;
            let last: i64 = rows.first().map_or(Ok(0), |row| row.try_get(0)).map_err(failed)?;
            let expected = last.saturating_add(1);
            if expected != *version {
                return Ok(Err(Conflict { expected }));
            }
        }
        Err(unavailable("others save this version and take it back again and again"))
    }

    async fn size(&mut self) -> Result<Size, JournalError> {
        let rows = self.query("size", &[]).await?;
        let count = |column| {
            let count: i64 = rows.first().map_or(Ok(0), |row| row.try_get(column)).map_err(failed)?;
            Ok::<_, JournalError>(count.unsigned_abs())
        };
        Ok(Size { keys: count(0)?, commits: count(1)?, corrupt: 0 })
    }
}

impl PostgresSession {
    async fn query(&self, statement: &str, arguments: &[Argument<'_>]) -> Result<Vec<Row>, JournalError> {
        self.client.query_typed(self.statements.get(statement), arguments).await.map_err(failed)
    }

    async fn has_table(&self, name: &str) -> Result<bool, JournalError> {
        let rows = self.query("has_table", &[(&name, Type::TEXT)]).await?;
        rows.first().map_or(Ok(false), |row| row.try_get(0)).map_err(failed)
    }

    /// Makes the table, or checks that it is one that this program knows. A connection that is dropped rolls
    /// back what it has begun.
    async fn prepare(&self, table: &Table, creates: bool) -> Result<(), JournalError> {
        if creates {
            self.client.batch_execute("BEGIN").await.map_err(failed)?;
            self.query("lock", &[]).await?;
        }
        let noted = match self.has_table("twitcher_journals").await? {
            true => {
                let rows = self.query("find", &[(&table.as_str(), Type::TEXT)]).await?;
                let noted = rows.first().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).transpose();
                noted.map_err(failed)?
            }
            false => None,
        };
        let has_table = self.has_table(&format!("\"{table}\"")).await?;
        match judge(table, VERSION, FoundTable { noted, has_table }).map_err(JournalError::Refused)? {
            Act::Use => {}
            Act::Make if creates => {
                for statement in ["known", "create", "create_key"] {
                    self.query(statement, &[]).await?;
                }
                let arguments: [Argument<'_>; 3] =
                    [(&table.as_str(), Type::TEXT), (&VERSION, Type::INT8), (&PROGRAM, Type::TEXT)];
                self.query("note", &arguments).await?;
            }
            Act::Make => return Err(JournalError::Refused(gone(table))),
        }
        match creates {
            true => self.client.batch_execute("COMMIT").await.map_err(failed),
            false => Ok(()),
        }
    }
}

async fn connect(address: &ServerAddress) -> Result<(Client, JoinHandle<()>), JournalError> {
    let away = |error: &dyn std::fmt::Display| JournalError::Unavailable(format!("{address}: {error}"));
    let mut config = Config::new();
    config.user(&address.user).dbname(&address.database).application_name("twitcher");
    if let Some(password) = &address.password {
        config.password(password.reveal().map_err(|error| away(&error))?);
    }
    match &address.place {
        Place::Socket(path) => {
            let stream = UnixStream::connect(path).await.map_err(|error| away(&error))?;
            log_in(config.ssl_mode(SslMode::Disable), stream, NoTls, address).await
        }
        Place::Tcp { host, port, tls } => {
            let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(|error| away(&error))?;
            stream.set_nodelay(true).map_err(|error| away(&error))?;
            match tls {
                Encryption::None => log_in(config.ssl_mode(SslMode::Disable), stream, NoTls, address).await,
                Encryption::Verified { ca } => {
                    let tls = WebTls::of_a_database(ca.clone()).map_err(|error| away(&error))?;
                    let tls = Tls { tls, host: host.clone() };
                    log_in(config.ssl_mode(SslMode::Require), stream, tls, address).await
                }
            }
        }
    }
}

async fn log_in<S, T>(
    config: &Config,
    stream: S,
    tls: T,
    address: &ServerAddress,
) -> Result<(Client, JoinHandle<()>), JournalError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: TlsConnect<S>,
    T::Stream: Send + 'static,
{
    let connected = config.connect_raw(stream, tls).await;
    let (client, connection) =
        connected.map_err(|error| JournalError::Unavailable(format!("{address}: {}", text(&error))))?;
    // How it ends is told to whoever waits for an answer.
    Ok((client, tokio::spawn(connection.map(drop))))
}

/// Reads a row of the seven columns of a commit.
fn commit(row: &Row) -> Result<FullCommit, CorruptCommit> {
    let read = || {
        let header = Commit {
            key: row.try_get(0)?,
            version: row.try_get(1)?,
            author: row.try_get(2)?,
            comment: row.try_get(3)?,
            mtime: row.try_get(4)?,
            empty: row.try_get(5)?,
        };
        Ok(FullCommit { header, payload: row.try_get(6)? })
    };
    let commit = read().map_err(|error: tokio_postgres::Error| CorruptCommit {
        key: row.try_get(0).unwrap_or_default(),
        version: row.try_get(1).unwrap_or_default(),
        why: text(&error),
    })?;
    checked(commit)
}

fn failed(error: tokio_postgres::Error) -> JournalError {
    JournalError::Unavailable(text(&error))
}

/// The error with its cause. The driver's own text names only the kind.
fn text(error: &tokio_postgres::Error) -> String {
    match (error.as_db_error(), std::error::Error::source(error)) {
        (Some(error), _) => error.message().to_owned(),
        (None, Some(cause)) => cause.to_string(),
        (None, None) => error.to_string(),
    }
}

/// TLS with a server of this name.
struct Tls {
    tls: WebTls,
    host: String,
}

struct Secured(Encrypted<TcpStream>);

impl TlsConnect<TcpStream> for Tls {
    type Stream = Secured;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Secured>>;

    fn connect(self, stream: TcpStream) -> Self::Future {
        async move { self.tls.connect(&self.host, stream).await.map(Secured).map_err(io::Error::other) }
            .boxed()
    }
}

/// The certificate is checked, so the login need not be bound to it.
impl TlsStream for Secured {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl AsyncRead for Secured {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Secured {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
