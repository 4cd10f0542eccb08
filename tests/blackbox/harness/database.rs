//! The kinds of databases that keep journals, and the tests that run on each of them.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use nix::unistd::{User, geteuid};
use tempfile::TempDir;

use super::certificates::{Authority, Validity};
use super::command::command;
use super::guarded::Guarded;
use super::ports::free_port;
use super::sandbox::{TEMPORARY, set_mode};
use super::wait::wait_until;

/// The user of all tests, who may do everything. The user `secure`, with the same password, may do so by TLS
/// only.
const USER: &str = "twitcher";
pub const PASSWORD: &str = "hunter2/@:?";
const PASSWORD_IN_A_URL: &str = "hunter2%2F%40%3A%3F";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatabaseKind {
    Sqlite,
    PostgreSql,
    MySql,
}

/// A database of one test.
pub struct TestDatabase {
    pub kind: DatabaseKind,
    pub url: String,
    /// Its name on its server.
    pub name: String,
    server: Option<&'static DatabaseServer>,
    /// The directory of a file.
    _home: Option<TempDir>,
}

/// A real server, with a directory of its own.
pub struct DatabaseServer {
    kind: DatabaseKind,
    home: TempDir,
    pub port: u16,
    /// Who has issued its certificate.
    pub authority: Authority,
    guarded: Guarded,
}

impl DatabaseKind {
    /// Makes a database, on a server that tests share.
    #[track_caller]
    pub fn database(self) -> TestDatabase {
        if self == Self::Sqlite {
            let home = TempDir::new_in(TEMPORARY).expect("create a directory");
            let url = format!("sqlite:{}", home.path().join("commits.db").display());
            return TestDatabase { kind: self, url, name: String::new(), server: None, _home: Some(home) };
        }
        let server = DatabaseServer::shared(self);
        let name = server.create();
        TestDatabase { kind: self, url: server.url(&name), name, server: Some(server), _home: None }
    }
}

impl TestDatabase {
    #[track_caller]
    pub fn server(&self) -> &'static DatabaseServer {
        self.server.expect("a database on a server")
    }

    /// Has statements done, and returns what they print.
    #[track_caller]
    pub fn sql(&self, statements: &str) -> String {
        match self.server {
            Some(server) => server.sql(&self.name, statements),
            None => {
                let path = self.url.strip_prefix("sqlite:").expect("a file");
                let connection = rusqlite::Connection::open(path).expect("open the file");
                connection.execute_batch(statements).expect("statements");
                String::new()
            }
        }
    }
}

impl DatabaseServer {
    /// The server that is shared by all tests which do nothing to it. Each has a database of its own there.
    #[track_caller]
    pub fn shared(kind: DatabaseKind) -> &'static Self {
        static POSTGRESQL: OnceLock<DatabaseServer> = OnceLock::new();
        static MYSQL: OnceLock<DatabaseServer> = OnceLock::new();
        let shared = match kind {
            DatabaseKind::Sqlite => panic!("a file has no server"),
            DatabaseKind::PostgreSql => &POSTGRESQL,
            DatabaseKind::MySql => &MYSQL,
        };
        shared.get_or_init(|| Self::start(kind))
    }

    /// Starts a server for one test.
    #[track_caller]
    pub fn start(kind: DatabaseKind) -> Self {
        let home = tempfile::Builder::new().prefix("database-").tempdir_in(TEMPORARY);
        let home = home.expect("create a directory");
        let authority = Authority::new("the databases' CA");
        let certificate = authority.issue(&["localhost"], Validity::Now);
        for (name, text) in [
            ("server.pem", &*certificate.chain),
            ("server.key", &*certificate.key),
            ("password", PASSWORD),
            // Each time that MariaDB starts.
            (
                "init.sql",
                &format!(
                    "CREATE USER IF NOT EXISTS {USER}@'%' IDENTIFIED BY '{PASSWORD}';\n\
                     GRANT ALL ON *.* TO {USER}@'%';\n\
                     CREATE USER IF NOT EXISTS secure@'%' IDENTIFIED BY '{PASSWORD}' REQUIRE SSL;\n\
                     GRANT ALL ON *.* TO secure@'%';\n"
                ),
            ),
        ] {
            let path = home.path().join(name);
            fs::write(&path, text).expect("write a file");
            set_mode(&path, 0o600);
            give(&path);
        }
        give(home.path());
        let server = Self { kind, home, port: free_port(), authority, guarded: Guarded::default() };
        server.initialize();
        server.up();
        if kind == DatabaseKind::PostgreSql {
            server.sql("postgres", &format!("CREATE ROLE secure SUPERUSER LOGIN PASSWORD '{PASSWORD}'"));
        }
        server
    }

    fn path(&self, name: &str) -> String {
        self.home.path().join(name).display().to_string()
    }

    #[track_caller]
    fn initialize(&self) {
        let data = self.path("data");
        let words = match self.kind {
            DatabaseKind::Sqlite => panic!("a file has no server"),
            DatabaseKind::PostgreSql => vec![
                program("initdb"),
                format!("--pgdata={data}"),
                format!("--username={USER}"),
                format!("--pwfile={}", self.path("password")),
                "--auth=scram-sha-256".to_owned(),
                "--encoding=UTF8".to_owned(),
                "--locale=C".to_owned(),
                "--no-sync".to_owned(),
            ],
            DatabaseKind::MySql => vec![
                program("mariadb-install-db"),
                "--no-defaults".to_owned(),
                format!("--datadir={data}"),
                "--auth-root-authentication-method=normal".to_owned(),
                "--skip-test-db".to_owned(),
                "--skip-name-resolve".to_owned(),
                "--innodb-flush-log-at-trx-commit=0".to_owned(),
            ],
        };
        let words = as_nobody(words);
        let output = command(&words[0]).args(&words[1..]).output().expect("start an initialization");
        let told = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&told));
        if self.kind == DatabaseKind::PostgreSql {
            let access = "hostnossl all secure all reject\n\
                          local all all scram-sha-256\n\
                          host all all all scram-sha-256\n";
            let file = self.home.path().join("data/pg_hba.conf");
            fs::write(file, access).expect("write who has access");
        }
    }

    /// Starts it, on the same port and data as before, and waits until it serves.
    #[track_caller]
    pub fn up(&self) {
        wait_until("the database to serve", || {
            // PostgreSQL refuses to start before the processes of one that was killed have ended.
            if !self.guarded.is_alive() {
                self.launch();
            }
            self.is_serving()
        });
    }

    fn launch(&self) {
        let data = self.path("data");
        // A kill loses nothing without fsync; only the machine's end does.
        let words = match self.kind {
            DatabaseKind::Sqlite => panic!("a file has no server"),
            DatabaseKind::PostgreSql => {
                let mut words = vec![program("postgres"), "-D".to_owned(), data];
                for setting in [
                    "fsync=off".to_owned(),
                    "full_page_writes=off".to_owned(),
                    "shared_buffers=16MB".to_owned(),
                    "max_connections=200".to_owned(),
                    "listen_addresses=127.0.0.1".to_owned(),
                    format!("port={}", self.port),
                    format!("unix_socket_directories={}", self.home.path().display()),
                    "ssl=on".to_owned(),
                    format!("ssl_cert_file={}", self.path("server.pem")),
                    format!("ssl_key_file={}", self.path("server.key")),
                ] {
                    words.extend(["-c".to_owned(), setting]);
                }
                words
            }
            DatabaseKind::MySql => vec![
                program("mariadbd"),
                "--no-defaults".to_owned(),
                format!("--datadir={data}"),
                format!("--socket={}", self.path("mysqld.sock")),
                format!("--pid-file={}", self.path("mysqld.pid")),
                format!("--port={}", self.port),
                "--bind-address=127.0.0.1".to_owned(),
                "--skip-name-resolve".to_owned(),
                format!("--init-file={}", self.path("init.sql")),
                format!("--ssl-cert={}", self.path("server.pem")),
                format!("--ssl-key={}", self.path("server.key")),
                "--innodb-flush-log-at-trx-commit=2".to_owned(),
                "--innodb-buffer-pool-size=32M".to_owned(),
                "--innodb-use-native-aio=0".to_owned(),
                "--max-connections=200".to_owned(),
            ],
        };
        let words = as_nobody(words);
        let words: Vec<&OsStr> = words.iter().map(AsRef::as_ref).collect();
        self.guarded.start(self.home.path(), &words);
    }

    fn is_serving(&self) -> bool {
        let database = match self.kind {
            DatabaseKind::PostgreSql => "postgres",
            DatabaseKind::Sqlite | DatabaseKind::MySql => "mysql",
        };
        let output = self.client(database, "SELECT 1").stderr(Stdio::null()).output();
        output.is_ok_and(|output| output.status.success())
    }

    /// Kills it. What it has confirmed is there again when it is up.
    pub fn down(&self) {
        self.guarded.kill();
    }

    /// Makes a database. Returns its name.
    #[track_caller]
    pub fn create(&self) -> String {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("commits_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        match self.kind {
            DatabaseKind::PostgreSql => self.sql("postgres", &format!("CREATE DATABASE {name}")),
            DatabaseKind::Sqlite | DatabaseKind::MySql => {
                self.sql("mysql", &format!("CREATE DATABASE {name}"))
            }
        };
        name
    }

    fn scheme(&self) -> &'static str {
        match self.kind {
            DatabaseKind::Sqlite => "sqlite",
            DatabaseKind::PostgreSql => "postgres",
            DatabaseKind::MySql => "mysql",
        }
    }

    pub fn url(&self, database: &str) -> String {
        self.url_at(&format!("127.0.0.1:{}", self.port), database)
    }

    /// The URL of a database at another address of the server.
    pub fn url_at(&self, address: &str, database: &str) -> String {
        format!("{}://{USER}:{PASSWORD_IN_A_URL}@{address}/{database}", self.scheme())
    }

    pub fn url_without_password(&self, database: &str) -> String {
        self.url(database).replace(&format!(":{PASSWORD_IN_A_URL}@"), "@")
    }

    /// The URL of a database at the server's socket.
    pub fn socket_url(&self, database: &str) -> String {
        let home = self.home.path().display();
        match self.kind {
            DatabaseKind::PostgreSql => {
                format!("{}?host={home}", self.url_at(&format!(":{}", self.port), database))
            }
            DatabaseKind::Sqlite | DatabaseKind::MySql => {
                format!("{}?socket={home}/mysqld.sock", self.url_at("", database))
            }
        }
    }

    /// The path of a file with the certificate of the CA.
    pub fn ca(&self) -> PathBuf {
        let path = self.home.path().join("ca.pem");
        fs::write(&path, self.authority.pem()).expect("write the CA");
        path
    }

    /// Has statements done in a database, and returns what they print.
    #[track_caller]
    pub fn sql(&self, database: &str, statements: &str) -> String {
        let output = self.client(database, statements).output().expect("start a client");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{statements}: {error}");
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    fn client(&self, database: &str, statements: &str) -> Command {
        let port = self.port.to_string();
        match self.kind {
            DatabaseKind::PostgreSql => {
                let mut command = command(program("psql"));
                command.env("PGPASSWORD", PASSWORD).args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"]);
                command.args(["-h", "127.0.0.1", "-p", &port, "-U", USER, "-d", database, "-c", statements]);
                command
            }
            DatabaseKind::Sqlite | DatabaseKind::MySql => {
                let mut command = command(program("mariadb"));
                command.args(["--no-defaults", "-h", "127.0.0.1", "-P", &port, "-u", USER, "-N", "-B"]);
                command.arg(format!("-p{PASSWORD}")).args(["-D", database, "-e", statements]);
                command
            }
        }
    }
}

/// Neither server runs as root.
fn as_nobody(words: Vec<String>) -> Vec<String> {
    let mut all = Vec::new();
    if geteuid().is_root() {
        let setpriv = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"];
        all.extend(setpriv.map(str::to_owned));
    }
    all.extend(words);
    all
}

fn give(path: &Path) {
    if geteuid().is_root() {
        let nobody = User::from_name("nobody").expect("read the users").expect("there is nobody");
        chown(path, Some(nobody.uid.as_raw()), Some(nobody.gid.as_raw())).expect("give a file away");
    }
}

/// A program of a server: Debian has those of PostgreSQL in a directory for each version.
#[track_caller]
fn program(name: &str) -> String {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut homes: Vec<PathBuf> = versions.map(|version| version.path().join("bin")).collect();
    homes.sort();
    homes.reverse();
    homes.extend(["/usr/sbin", "/usr/bin"].map(PathBuf::from));
    let found = homes.iter().map(|home| home.join(name)).find(|path| path.exists());
    let found = found.unwrap_or_else(|| panic!("this test needs {name}: run tests/run"));
    found.display().to_string()
}

/// Makes a test for each kind of database of a function that takes a database.
macro_rules! on_every_database {
    ($name:ident) => {
        mod $name {
            #[test]
            fn sqlite() {
                super::$name(&crate::harness::DatabaseKind::Sqlite.database());
            }

            #[test]
            fn postgresql() {
                super::$name(&crate::harness::DatabaseKind::PostgreSql.database());
            }

            #[test]
            fn mysql() {
                super::$name(&crate::harness::DatabaseKind::MySql.database());
            }
        }
    };
}
pub(crate) use on_every_database;

/// Makes a test for each kind of database that has a server of a function that takes a database.
macro_rules! on_every_database_server {
    ($name:ident) => {
        mod $name {
            #[test]
            fn postgresql() {
                super::$name(&crate::harness::DatabaseKind::PostgreSql.database());
            }

            #[test]
            fn mysql() {
                super::$name(&crate::harness::DatabaseKind::MySql.database());
            }
        }
    };
}
pub(crate) use on_every_database_server;
