//! A small ZooKeeper client, which shares no code with the program under test: one request after the other.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::liar::{bytes, message, number};
use super::wait::wait_for;

/// Errors of the server, by their numbers in the protocol.
pub const NO_NODE: i32 = -101;
pub const NODE_EXISTS: i32 = -110;

pub const BAD_VERSION: i32 = -103;

const CREATE: i32 = 1;
const DELETE: i32 = 2;
const GET_DATA: i32 = 4;
const SET_DATA: i32 = 5;
const SET_ACL: i32 = 7;
const SYNC: i32 = 9;
const MULTI: i32 = 14;
const SASL: i32 = 102;
const CLOSE: i32 = -11;

/// Who may do what with a node: everybody everything, or somebody everything.
#[derive(Clone, Copy)]
pub enum Acl<'a> {
    Open,
    /// Everybody may read, and change the ACL.
    ReadOnly,
    Of(&'a str, &'a str),
}

/// A session. Dropping it closes it.
pub struct ZooKeeperClient {
    stream: TcpStream,
    last_xid: i32,
    /// The path before all paths; empty for none.
    root: String,
}

impl ZooKeeperClient {
    /// Opens a session with one of these servers, `HOST:PORT,HOST:PORT`, and waits until one serves.
    #[track_caller]
    pub fn connect(addresses: &str, root: &str) -> Self {
        wait_for("a session of the test's own", || {
            addresses.split(',').find_map(|address| Self::try_to_connect(address, root))
        })
    }

    fn try_to_connect(address: &str, root: &str) -> Option<Self> {
        let mut stream = TcpStream::connect(address).ok()?;
        stream.set_nodelay(true).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
        let timeout = number(30_000);
        let hello = [&number(0)[..], &[0; 8], &timeout, &[0; 8], &bytes(&[0; 16]), &[0]].concat();
        stream.write_all(&message(&hello)).ok()?;
        let greeting = read_message(&mut stream)?;
        // A session whose timeout is 0 was refused.
        (greeting.get(4..8)? != [0; 4]).then_some(Self { stream, last_xid: 0, root: root.to_owned() })
    }

    /// Sends a request, and returns the body of the reply, or the number of an error.
    #[track_caller]
    fn ask(&mut self, operation: i32, body: &[u8]) -> Result<Vec<u8>, i32> {
        self.try_to_ask(operation, body).expect("a reply from ZooKeeper")
    }

    /// As [`Self::ask`], but returns `None` if the session is lost.
    fn try_to_ask(&mut self, operation: i32, body: &[u8]) -> Option<Result<Vec<u8>, i32>> {
        self.last_xid += 1;
        let xid = number(self.last_xid);
        self.stream.write_all(&message(&[&xid, &number(operation), body].concat())).ok()?;
        let mut reply = read_message(&mut self.stream)?;
        assert_eq!(reply[..4], xid, "the number of the reply");
        let body = reply.split_off(16);
        Some(match int(&reply, 12) {
            0 => Ok(body),
            error => Err(error),
        })
    }

    fn path(&self, node: &str) -> Vec<u8> {
        let whole = format!("{}{}", self.root, if node == "/" && !self.root.is_empty() { "" } else { node });
        bytes(whole.as_bytes())
    }

    #[track_caller]
    pub fn get(&mut self, node: &str) -> Result<Vec<u8>, i32> {
        self.try_get(node).expect("a reply from ZooKeeper")
    }

    /// Reads a node, unless the session is lost.
    pub fn try_get(&mut self, node: &str) -> Option<Result<Vec<u8>, i32>> {
        let reply = self.try_to_ask(GET_DATA, &[self.path(node), vec![0]].concat())?;
        Some(reply.map(|reply| {
            let length = usize::try_from(int(&reply, 0)).unwrap_or(0);
            reply[4..4 + length].to_vec()
        }))
    }

    /// Replaces the data of a node of this version, unless the session is lost.
    pub fn try_set_version(&mut self, node: &str, data: &[u8], version: u32) -> Option<Result<(), i32>> {
        let version = number(version.try_into().expect("a small number"));
        let body = [self.path(node), bytes(data), version].concat();
        Some(self.try_to_ask(SET_DATA, &body)?.map(drop))
    }

    /// Waits until this server has what others have confirmed, unless the session is lost.
    pub fn try_sync(&mut self) -> Option<Result<(), i32>> {
        let root = self.path("/");
        Some(self.try_to_ask(SYNC, &root)?.map(drop))
    }

    /// Replaces the data of a node of any version.
    pub fn set(&mut self, node: &str, data: &[u8]) -> Result<(), i32> {
        self.ask(SET_DATA, &[self.path(node), bytes(data), number(-1)].concat()).map(drop)
    }

    pub fn create(&mut self, node: &str, data: &[u8], acl: Acl) -> Result<(), i32> {
        let body = self.creation(node, data, acl);
        self.ask(CREATE, &body).map(drop)
    }

    fn creation(&self, node: &str, data: &[u8], acl: Acl) -> Vec<u8> {
        let persistent = number(0);
        [self.path(node), bytes(data), acl.list(), persistent].concat()
    }

    /// Creates these nodes in one transaction.
    pub fn create_all(&mut self, nodes: &[String], data: &[u8]) -> Result<(), i32> {
        let creations: Vec<_> = nodes.iter().map(|node| self.creation(node, data, Acl::Open)).collect();
        self.do_all(CREATE, &creations)
    }

    /// Replaces the data of these nodes in one transaction.
    pub fn set_all(&mut self, nodes: &[String], data: &[u8]) -> Result<(), i32> {
        let body = |node: &String| [self.path(node), bytes(data), number(-1)].concat();
        let settings: Vec<_> = nodes.iter().map(body).collect();
        self.do_all(SET_DATA, &settings)
    }

    /// Does the same operation with each of these bodies in one transaction.
    fn do_all(&mut self, operation: i32, bodies: &[Vec<u8>]) -> Result<(), i32> {
        let header = |operation: i32, is_done: u8| [number(operation), vec![is_done], number(-1)].concat();
        let operations = bodies.iter().map(|body| [header(operation, 0), body.clone()].concat());
        let body = [operations.collect::<Vec<_>>().concat(), header(-1, 1)].concat();
        let reply = self.ask(MULTI, &body)?;
        // The first result is an error if and only if the transaction failed.
        match int(&reply, 0) {
            -1 => Err(int(&reply, 9)),
            _ => Ok(()),
        }
    }

    /// Creates the node with its parents, where they are missing.
    pub fn make(&mut self, node: &str) -> Result<(), i32> {
        let ends = node.match_indices('/').map(|(end, _)| end).skip(1).chain([node.len()]);
        for end in ends {
            match self.create(&node[..end], b"", Acl::Open) {
                Ok(()) | Err(NODE_EXISTS) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    pub fn delete(&mut self, node: &str) -> Result<(), i32> {
        self.ask(DELETE, &[self.path(node), number(-1)].concat()).map(drop)
    }

    pub fn set_acl(&mut self, node: &str, acl: Acl) -> Result<(), i32> {
        self.ask(SET_ACL, &[self.path(node), acl.list(), number(-1)].concat()).map(drop)
    }

    /// Logs in by SASL with DIGEST-MD5 (RFC 2831). The password has ASCII letters only.
    pub fn log_in(&mut self, username: &str, password: &str) -> Result<(), i32> {
        let challenge = self.ask(SASL, &bytes(b""))?;
        let challenge = String::from_utf8_lossy(&challenge[4..]).into_owned();
        let value = |key: &str| {
            let (_, rest) = challenge.split_once(&format!("{key}=\"")).expect("a key of the challenge");
            rest.split_once('"').expect("a quoted value").0
        };
        let (realm, nonce) = (value("realm"), value("nonce"));
        let hash = |text: String| format!("{:x}", md5::compute(text));
        let secret = md5::compute(format!("{username}:{realm}:{password}"));
        let a1 =
            format!("{:x}", md5::compute([&secret.0[..], format!(":{nonce}:cnonce").as_bytes()].concat()));
        let a2 = hash("AUTHENTICATE:zookeeper/zk-sasl-md5".to_owned());
        let response = hash(format!("{a1}:{nonce}:00000001:cnonce:auth:{a2}"));
        let answer = format!(
            "charset=utf-8,username=\"{username}\",realm=\"{realm}\",nonce=\"{nonce}\",nc=00000001,\
             cnonce=\"cnonce\",digest-uri=\"zookeeper/zk-sasl-md5\",response={response},qop=auth"
        );
        self.ask(SASL, &bytes(answer.as_bytes())).map(drop)
    }
}

impl Drop for ZooKeeperClient {
    fn drop(&mut self) {
        let close = message(&[number(self.last_xid + 1), number(CLOSE)].concat());
        // The server may be gone. If it is not, it closes the connection after the session.
        if self.stream.write_all(&close).is_ok() {
            let _ = self.stream.set_read_timeout(Some(Duration::from_secs(1)));
            let _ = read_message(&mut self.stream);
        }
    }
}

impl Acl<'_> {
    fn list(self) -> Vec<u8> {
        let (rights, scheme, id) = match self {
            Self::Open => (31, "world", "anyone"),
            Self::ReadOnly => (1 | 16, "world", "anyone"),
            Self::Of(scheme, id) => (31, scheme, id),
        };
        [number(1), number(rights), bytes(scheme.as_bytes()), bytes(id.as_bytes())].concat()
    }
}

fn read_message(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).ok()?;
    let mut message = vec![0; u32::from_be_bytes(length).try_into().ok()?];
    stream.read_exact(&mut message).ok()?;
    Some(message)
}

fn int(bytes: &[u8], at: usize) -> i32 {
    i32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}
