//! A TCP proxy between the daemon and its server: a network that fails on demand.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Forward,
    /// Closes connections as soon as they are made.
    Refuse,
    /// Accepts connections and passes nothing in either direction.
    Stall,
}

struct Shared {
    mode: Mutex<Mode>,
    changed: Condvar,
    /// Both ends of every connection made so far.
    sockets: Mutex<Vec<TcpStream>>,
    attempts: Mutex<usize>,
    /// How long what arrives is held back.
    delay: Mutex<Duration>,
}

pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Proxy {
    /// Forwards connections to `upstream`, an address like `127.0.0.1:2181`.
    pub fn to(upstream: &str) -> Self {
        Self::by(upstream, |upstream| TcpStream::connect(upstream))
    }

    /// Forwards connections to `upstream`, to which it connects in this way.
    pub fn by(upstream: &str, connect: impl Fn(&str) -> io::Result<TcpStream> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind the proxy");
        let address = listener.local_addr().expect("the proxy's address");
        let shared = Arc::new(Shared {
            mode: Mutex::new(Mode::Forward),
            changed: Condvar::new(),
            sockets: Mutex::default(),
            attempts: Mutex::default(),
            delay: Mutex::default(),
        });
        let upstream = upstream.to_owned();
        thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                for client in listener.incoming().flatten() {
                    shared.accept(client, || connect(&upstream));
                }
            }
        });
        Self { address, shared }
    }

    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// The number of connections that clients have made so far.
    pub fn attempts(&self) -> usize {
        *self.shared.attempts.lock().unwrap()
    }

    /// Ends all connections and accepts new ones.
    pub fn cut(&self) {
        for socket in self.shared.sockets.lock().unwrap().drain(..) {
            // Its peer may have closed it already.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    /// Ends all connections and refuses new ones.
    pub fn refuse(&self) {
        self.shared.switch(Mode::Refuse);
        self.cut();
    }

    /// Becomes a half-open network: connections stay open, and nothing arrives.
    pub fn stall(&self) {
        self.shared.switch(Mode::Stall);
    }

    /// Becomes a slow network, in each direction.
    pub fn delay(&self, delay: Duration) {
        *self.shared.delay.lock().unwrap() = delay;
    }

    pub fn resume(&self) {
        self.shared.switch(Mode::Forward);
    }
}

impl Shared {
    fn switch(&self, mode: Mode) {
        *self.mode.lock().unwrap() = mode;
        self.changed.notify_all();
    }

    fn accept(self: &Arc<Self>, client: TcpStream, connect: impl Fn() -> io::Result<TcpStream>) {
        *self.attempts.lock().unwrap() += 1;
        if *self.mode.lock().unwrap() == Mode::Refuse {
            return;
        }
        // If the server is down, the client's connection ends here.
        let Ok(server) = connect() else { return };
        let clone = |socket: &TcpStream| socket.try_clone().expect("clone a socket");
        self.sockets.lock().unwrap().extend([clone(&client), clone(&server)]);
        for (from, to) in [(clone(&client), clone(&server)), (server, client)] {
            let shared = Arc::clone(self);
            thread::spawn(move || shared.pump(from, to));
        }
    }

    fn pump(&self, mut from: TcpStream, mut to: TcpStream) {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            let mode = self.mode.lock().unwrap();
            drop(self.changed.wait_while(mode, |mode| *mode == Mode::Stall).unwrap());
            thread::sleep(*self.delay.lock().unwrap());
            if to.write_all(&buffer[..length]).is_err() {
                break;
            }
        }
        for socket in [from, to] {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.refuse();
    }
}
