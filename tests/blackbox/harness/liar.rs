//! A ZooKeeper server that lies when it is told to. It shares no code with the program under test.
//!
//! It serves what a daemon asks for: data, children, stats, ACLs and watches. A test can put a [`Lie`] in the
//! place of any reply, and send any bytes on all connections.

use std::collections::{HashMap, HashSet};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// The operations, by their numbers in the protocol. [`GREETING`] stands for the first message, which has
/// none.
pub const GREETING: i32 = 0;
pub const EXISTS: i32 = 3;
pub const DATA: i32 = 4;
pub const ACL: i32 = 6;
const SYNC: i32 = 9;
const PING: i32 = 11;
pub const CHILDREN: i32 = 12;
pub const AUTH: i32 = 100;
pub const SASL: i32 = 102;
const CLOSE: i32 = -11;

/// The error that a node is missing.
pub const NO_NODE: i32 = -101;

/// Decides about a request. If it returns true, it has dealt with the request, and no honest reply follows.
pub type Lie = dyn Fn(&Connection, &Asked) -> bool + Send + Sync;

/// A request.
pub struct Asked {
    pub operation: i32,
    pub xid: i32,
    /// The node that it is about; empty if it is about none.
    pub path: String,
    watch: bool,
}

pub struct Liar {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    nodes: Mutex<HashMap<String, Node>>,
    connections: Mutex<Vec<Arc<Connection>>>,
    accepted: AtomicUsize,
    lie: Mutex<Option<Arc<Lie>>>,
    /// What is granted to each session, in milliseconds.
    timeout: i32,
}

#[derive(Clone, Default)]
struct Node {
    data: Vec<u8>,
    children: Vec<String>,
    /// The transactions that created it, changed its data, and changed its children.
    created: i64,
    changed: i64,
    children_changed: i64,
}

/// A connection to a client.
pub struct Connection {
    stream: Mutex<TcpStream>,
    /// The paths with a watch on their data, and with one on their children.
    watches: Mutex<HashSet<(String, bool)>>,
}

impl Liar {
    /// Starts a server that grants sessions this timeout in milliseconds, and has an empty root.
    pub fn start(timeout: i32) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind a port");
        let address = listener.local_addr().expect("the port");
        let shared = Arc::new(Shared {
            nodes: Mutex::new(HashMap::from([("/".to_owned(), Node::default())])),
            connections: Mutex::default(),
            accepted: AtomicUsize::new(0),
            lie: Mutex::default(),
            timeout,
        });
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                serving.accepted.fetch_add(1, Ordering::SeqCst);
                let shared = Arc::clone(&serving);
                thread::spawn(move || shared.serve(stream));
            }
        });
        Self { address, shared }
    }

    pub fn url(&self) -> String {
        format!("zk://{}", self.address)
    }

    /// How many connections were made so far.
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    pub fn lie(&self, lie: impl Fn(&Connection, &Asked) -> bool + Send + Sync + 'static) {
        *self.shared.lie.lock().unwrap() = Some(Arc::new(lie));
    }

    pub fn be_honest(&self) {
        *self.shared.lie.lock().unwrap() = None;
    }

    /// Sends these bytes on each connection.
    pub fn say(&self, bytes: &[u8]) {
        let connections = self.shared.connections.lock().unwrap().clone();
        connections.iter().for_each(|connection| connection.send(bytes));
    }

    /// Creates the node, or replaces its data, and announces that.
    pub fn set(&self, path: &str, data: impl AsRef<[u8]>) {
        let mut nodes = self.shared.nodes.lock().unwrap();
        let now = 1 + nodes.values().map(|node| node.changed.max(node.children_changed)).max().unwrap_or(0);
        let is_new = !nodes.contains_key(path);
        let node = nodes.entry(path.to_owned()).or_default();
        (node.data, node.changed) = (data.as_ref().to_vec(), now);
        if is_new {
            node.created = now;
            let (parent, name) = path.rsplit_once('/').expect("an absolute path");
            let parent = if parent.is_empty() { "/" } else { parent };
            let above = nodes.get_mut(parent).expect("the parent");
            above.children.push(name.to_owned());
            above.children_changed = now;
            self.shared.announce(parent, true, 4);
        }
        self.shared.announce(path, false, if is_new { 1 } else { 3 });
    }
}

impl Shared {
    fn serve(&self, stream: TcpStream) {
        stream.set_nodelay(true).expect("set an option");
        let mut input = stream.try_clone().expect("another handle");
        let connection = Arc::new(Connection { stream: Mutex::new(stream), watches: Mutex::default() });
        self.connections.lock().unwrap().push(Arc::clone(&connection));
        let mut is_greeted = false;
        while let Some(message) = read_message(&mut input) {
            let asked = if is_greeted { parse(&message) } else { GREETED };
            is_greeted = true;
            let lie = self.lie.lock().unwrap().clone();
            if !lie.is_some_and(|lie| lie(&connection, &asked)) {
                self.reply(&connection, &asked);
            }
            if asked.operation == CLOSE {
                break;
            }
        }
        connection.close();
        self.connections.lock().unwrap().retain(|other| !Arc::ptr_eq(other, &connection));
    }

    fn reply(&self, connection: &Connection, asked: &Asked) {
        let nodes = self.nodes.lock().unwrap();
        let node = nodes.get(&asked.path);
        let (error, body) = match (asked.operation, node) {
            (GREETING, _) => return connection.send(&greeting(self.timeout, 7)),
            (PING | CLOSE, _) | (AUTH, _) => (0, Vec::new()),
            (SYNC, _) => (0, text("/")),
            (EXISTS, Some(node)) => (0, node.stat()),
            (DATA, Some(node)) => (0, [bytes(&node.data), node.stat()].concat()),
            (CHILDREN, Some(node)) => {
                let names: Vec<&[u8]> = node.children.iter().map(|name| name.as_bytes()).collect();
                (0, [list(&names), node.stat()].concat())
            }
            (ACL, Some(node)) => {
                let acl = [number(1), number(1), text("world"), text("anyone"), node.stat()];
                (0, acl.concat())
            }
            (EXISTS | DATA | CHILDREN | ACL, None) => (NO_NODE, Vec::new()),
            // It knows no other.
            _ => (-6, Vec::new()),
        };
        if asked.watch && (error == 0 || asked.operation == EXISTS) {
            let is_on_children = asked.operation == CHILDREN;
            connection.watches.lock().unwrap().insert((asked.path.clone(), is_on_children));
        }
        connection.send(&reply(asked.xid, error, &body));
    }

    fn announce(&self, path: &str, is_on_children: bool, kind: i32) {
        for connection in self.connections.lock().unwrap().iter() {
            if connection.watches.lock().unwrap().remove(&(path.to_owned(), is_on_children)) {
                connection.send(&event(kind, path.as_bytes()));
            }
        }
    }
}

impl Connection {
    /// Sends bytes. Fails silently if the client has left.
    pub fn send(&self, bytes: &[u8]) {
        let _ = self.stream.lock().unwrap().write_all(bytes);
    }

    /// Sends these bytes again and again until the client has left.
    pub fn flood(&self, bytes: &[u8]) {
        while self.stream.lock().unwrap().write_all(bytes).is_ok() {}
    }

    pub fn close(&self) {
        let _ = self.stream.lock().unwrap().shutdown(Shutdown::Both);
    }
}

impl Node {
    fn stat(&self) -> Vec<u8> {
        stat(self.created, self.changed, self.children_changed)
    }
}

const GREETED: Asked = Asked { operation: GREETING, xid: 0, path: String::new(), watch: false };

/// Reads the next message without its length; `None` if there is no other.
pub fn read_message(input: &mut TcpStream) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    input.read_exact(&mut length).ok()?;
    let mut message = vec![0; u32::from_be_bytes(length).try_into().ok()?];
    input.read_exact(&mut message).ok()?;
    Some(message)
}

fn parse(message: &[u8]) -> Asked {
    let number =
        |at: usize| message.get(at..at + 4).map(|bytes| i32::from_be_bytes(bytes.try_into().unwrap()));
    let operation = number(4).expect("an operation");
    let is_about_a_node = [EXISTS, DATA, ACL, CHILDREN].contains(&operation);
    let length =
        number(8).filter(|_| is_about_a_node).map_or(0, |length| length.try_into().expect("a length"));
    let path = message.get(12..12 + length).unwrap_or_default();
    Asked {
        operation,
        xid: number(0).expect("a number"),
        path: String::from_utf8(path.to_vec()).expect("a path"),
        watch: message.get(12 + length) == Some(&1),
    }
}

/// A message with its length before it.
pub fn message(content: &[u8]) -> Vec<u8> {
    bytes(content)
}

pub fn reply(xid: i32, error: i32, body: &[u8]) -> Vec<u8> {
    message(&[&number(xid), &[0; 8][..], &number(error), body].concat())
}

pub fn event(kind: i32, path: &[u8]) -> Vec<u8> {
    reply(-1, 0, &[number(kind), number(3), bytes(path)].concat())
}

pub fn greeting(timeout: i32, session: i64) -> Vec<u8> {
    message(&[&number(0)[..], &number(timeout), &session.to_be_bytes(), &bytes(&[0; 16]), &[0]].concat())
}

/// The stat of a node that these transactions have created and changed.
pub fn stat(created: i64, changed: i64, children_changed: i64) -> Vec<u8> {
    let large = |number: i64| number.to_be_bytes();
    let times = [large(created), large(changed), large(0), large(0)].concat();
    [times, vec![0; 12 + 8 + 8], large(children_changed).to_vec()].concat()
}

pub fn number(number: i32) -> Vec<u8> {
    number.to_be_bytes().to_vec()
}

pub fn bytes(bytes: &[u8]) -> Vec<u8> {
    [&number(i32::try_from(bytes.len()).expect("a small length"))[..], bytes].concat()
}

fn text(text: &str) -> Vec<u8> {
    bytes(text.as_bytes())
}

pub fn list(names: &[&[u8]]) -> Vec<u8> {
    let count = number(i32::try_from(names.len()).expect("a small number"));
    [count, names.iter().flat_map(|name| bytes(name)).collect()].concat()
}
