//! The two addresses at which the daemon listens, and how each is opened again after it was lost.

use std::future::pending;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{io, mem};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::Notify;

use super::presence::Presence;
use super::routes::Scope;
use crate::listen::{SocketError, SocketFile, SocketOptions, bind};

/// An address at which the daemon listens.
pub trait Endpoint {
    type Listener;
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The name of what is missing while nobody can connect.
    const PART: &str;
    const SCOPE: Scope;

    /// Listens. An error has the address and the remedy. Must be called within the runtime.
    fn open(&mut self) -> Result<Self::Listener, String>;

    /// Why clients no longer reach the listener that was opened last, if they do not.
    fn lost(&self) -> Option<String>;

    /// Returns how often [`Self::lost`] is to be asked, if it ever has another answer.
    fn check_interval(&self) -> Option<Duration>;

    /// Waits until [`Self::lost`] may have another answer. Can be dropped at any time.
    fn changed(&self) -> impl Future<Output = ()>;

    fn accept(listener: &Self::Listener) -> impl Future<Output = io::Result<Self::Stream>>;

    /// Returns the number of the user at the other end, where the kernel knows it.
    fn peer(stream: &Self::Stream) -> Option<u32>;
}

/// The control socket.
pub struct ControlEndpoint {
    options: SharedOptions,
    /// The options of the socket that was opened last.
    bound: Option<SocketOptions>,
    file: ServedFile,
    presence: Presence,
}

/// The options of the control socket. If they change, the socket is made again.
#[derive(Clone)]
pub struct SharedOptions {
    options: Arc<Mutex<SocketOptions>>,
    changed: Arc<Notify>,
}

impl SharedOptions {
    pub fn new(options: SocketOptions) -> Self {
        Self { options: Arc::new(Mutex::new(options)), changed: Arc::default() }
    }

    pub fn set_group(&self, group: u32, mode: u32) {
        let mut options = self.lock();
        if (options.group, options.mode) != (Some(group), Some(mode)) {
            (options.group, options.mode) = (Some(group), Some(mode));
            self.changed.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, SocketOptions> {
        // No caller panics while it holds the lock.
        self.options.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The file of the control socket, shared with the thread that serves it. It is removed when this is closed.
#[derive(Clone, Default)]
pub struct ServedFile(Arc<Mutex<FileState>>);

#[derive(Default)]
enum FileState {
    #[default]
    Missing,
    Bound(SocketFile),
    /// The daemon has ended, and no file may appear any more.
    Closed,
}

impl ServedFile {
    /// Removes the file.
    pub fn close(&self) {
        *self.lock() = FileState::Closed;
    }

    fn lock(&self) -> MutexGuard<'_, FileState> {
        // No caller panics while it holds the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ControlEndpoint {
    pub fn new(options: SharedOptions) -> Self {
        let presence = Presence::new(options.changed.clone());
        Self { options, bound: None, file: ServedFile::default(), presence }
    }

    pub fn file(&self) -> ServedFile {
        self.file.clone()
    }
}

/// Says why there is no control socket, and what helps.
fn refused(path: &Path, error: &SocketError) -> String {
    let reason = match error {
        SocketError::TooLong => format!("{error}; give it a shorter one with --control-socket"),
        SocketError::Taken => {
            "another daemon answers there; give this one its own with --control-socket".into()
        }
        SocketError::NoSocket => format!("{error}, or name another path with --control-socket"),
        SocketError::Io(_) => format!("{error}; name another path with --control-socket"),
    };
    format!("control socket {}: {reason}", path.display())
}

impl Endpoint for ControlEndpoint {
    type Listener = UnixListener;
    type Stream = UnixStream;

    const PART: &str = "control socket";
    const SCOPE: Scope = Scope::Everything;

    fn open(&mut self) -> Result<UnixListener, String> {
        let mut file = self.file.lock();
        if matches!(*file, FileState::Closed) {
            return Err("the daemon has ended".to_owned());
        }
        // Before the new socket is there, which may get the same inode: it would be taken for the old one.
        drop(mem::take(&mut *file));
        let options = self.options.lock().clone();
        let bound = bind(&options).map_err(|error| refused(&options.path, &error))?;
        let (listener, bound) = bound.split();
        self.presence.follow(&options.path);
        self.bound = Some(options);
        *file = FileState::Bound(bound);
        UnixListener::from_std(listener).map_err(|error| error.to_string())
    }

    fn lost(&self) -> Option<String> {
        match &*self.file.lock() {
            FileState::Bound(file) if !file.is_there() => {
                Some(format!("{} was removed or replaced", file.path().display()))
            }
            FileState::Bound(file) if self.bound.as_ref() != Some(&*self.options.lock()) => {
                Some(format!("{} has another group now", file.path().display()))
            }
            FileState::Bound(_) | FileState::Missing | FileState::Closed => None,
        }
    }

    fn check_interval(&self) -> Option<Duration> {
        Some(self.presence.check_interval())
    }

    async fn changed(&self) {
        self.presence.changed().await;
    }

    async fn accept(listener: &UnixListener) -> io::Result<UnixStream> {
        listener.accept().await.map(|(stream, _)| stream)
    }

    fn peer(stream: &UnixStream) -> Option<u32> {
        stream.peer_cred().ok().map(|credentials| credentials.uid())
    }
}

/// The TCP address of the metrics.
pub struct MetricsEndpoint {
    address: SocketAddr,
    bound: Option<SocketAddr>,
}

impl MetricsEndpoint {
    pub fn new(address: SocketAddr) -> Self {
        Self { address, bound: None }
    }

    /// The address with the port that the system chose for port 0.
    pub fn bound(&self) -> Option<SocketAddr> {
        self.bound
    }
}

impl Endpoint for MetricsEndpoint {
    type Listener = TcpListener;
    type Stream = TcpStream;

    const PART: &str = "metrics";
    const SCOPE: Scope = Scope::Metrics;

    fn open(&mut self) -> Result<TcpListener, String> {
        let address = self.address;
        let listener = std::net::TcpListener::bind(address).and_then(|listener| {
            listener.set_nonblocking(true)?;
            self.bound = Some(listener.local_addr()?);
            TcpListener::from_std(listener)
        });
        listener.map_err(|error| {
            format!("metrics.listen {address}: {error}; free the address, or name another in twitcher.toml")
        })
    }

    fn lost(&self) -> Option<String> {
        None
    }

    fn check_interval(&self) -> Option<Duration> {
        None
    }

    async fn changed(&self) {
        pending().await
    }

    async fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
        listener.accept().await.map(|(stream, _)| stream)
    }

    fn peer(_: &TcpStream) -> Option<u32> {
        None
    }
}
