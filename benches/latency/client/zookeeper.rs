//! The least of a ZooKeeper client.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::Result;

const CREATE: i32 = 1;
const EXISTS: i32 = 3;
const GET_DATA: i32 = 4;
const SET_DATA: i32 = 5;
const PING: i32 = 11;

/// The number of a ping, and of an event.
const PING_XID: i32 = -2;
const EVENT_XID: i32 = -1;

/// The errors that a node does not exist, and that it exists already.
const NO_NODE: i32 = -101;
const NODE_EXISTS: i32 = -110;

/// A third of the session's timeout.
const PING_INTERVAL: Duration = Duration::from_secs(3);

pub struct Client {
    requests: mpsc::UnboundedSender<Request>,
    watches: Arc<Mutex<HashMap<String, oneshot::Sender<()>>>>,
}

/// An operation with its body, and who waits for the error code of the reply.
type Request = (i32, Vec<u8>, oneshot::Sender<i32>);

type Waiting = Arc<Mutex<VecDeque<oneshot::Sender<i32>>>>;

impl Client {
    pub async fn connect(address: &str) -> Result<Self> {
        let mut stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let timeout = 10_000_i32.to_be_bytes();
        let hello = [&[0; 12][..], &timeout, &[0; 8], &bytes(&[0; 16]), &[0]].concat();
        stream.write_all(&bytes(&hello)).await?;
        let (input, output) = stream.into_split();
        let mut input = BufReader::new(input);
        read_message(&mut input).await?;
        let (requests, asked) = mpsc::unbounded_channel();
        let (waiting, watches) = (Waiting::default(), Arc::default());
        tokio::spawn(write(output, asked, Arc::clone(&waiting)));
        tokio::spawn(read(input, waiting, Arc::clone(&watches)));
        Ok(Self { requests, watches })
    }

    async fn ask(&self, operation: i32, body: Vec<u8>) -> Result<i32> {
        let (reply, replied) = oneshot::channel();
        self.requests.send((operation, body, reply))?;
        Ok(replied.await?)
    }

    async fn expect(&self, operation: i32, body: Vec<u8>) -> Result<()> {
        match self.ask(operation, body).await? {
            0 => Ok(()),
            error => Err(format!("ZooKeeper's error {error}").into()),
        }
    }

    pub async fn set_data(&self, path: &str, data: &[u8]) -> Result<()> {
        let any_version = (-1_i32).to_be_bytes();
        self.expect(SET_DATA, [&bytes(path.as_bytes()), &bytes(data), &any_version[..]].concat()).await
    }

    pub async fn create(&self, path: &str, data: &[u8]) -> Result<()> {
        match self.ask(CREATE, creation(path, data)).await? {
            0 | NODE_EXISTS => Ok(()),
            error => Err(format!("ZooKeeper's error {error}").into()),
        }
    }

    /// Reads the data. The receiver resolves when it changes.
    pub async fn get_and_watch_data(&self, path: &str) -> Result<oneshot::Receiver<()>> {
        let (changed, change) = oneshot::channel();
        self.watches.lock().expect("no panic").insert(path.to_owned(), changed);
        self.expect(GET_DATA, [bytes(path.as_bytes()), vec![1]].concat()).await?;
        Ok(change)
    }

    /// Looks whether there is such a node. The receiver resolves when it comes, goes or changes.
    pub async fn watch_presence(&self, path: &str) -> Result<oneshot::Receiver<()>> {
        let (changed, change) = oneshot::channel();
        self.watches.lock().expect("no panic").insert(path.to_owned(), changed);
        match self.ask(EXISTS, [bytes(path.as_bytes()), vec![1]].concat()).await? {
            0 | NO_NODE => Ok(change),
            error => Err(format!("ZooKeeper's error {error}").into()),
        }
    }
}

async fn write(mut output: OwnedWriteHalf, mut asked: mpsc::UnboundedReceiver<Request>, waiting: Waiting) {
    let (mut last_xid, mut message) = (0_i32, Vec::new());
    loop {
        let mut request = match timeout(PING_INTERVAL, asked.recv()).await {
            Ok(Some(request)) => Some(request),
            Ok(None) => return,
            Err(_) => {
                let ping = [PING_XID.to_be_bytes(), PING.to_be_bytes()].concat();
                message.extend(bytes(&ping));
                None
            }
        };
        // Requests that are made together are sent together.
        while let Some((operation, body, reply)) = request {
            last_xid += 1;
            let header = [last_xid.to_be_bytes(), operation.to_be_bytes()].concat();
            message.extend(bytes(&[header, body].concat()));
            waiting.lock().expect("no panic").push_back(reply);
            request = asked.try_recv().ok();
        }
        if output.write_all(&message).await.is_err() {
            return;
        }
        message.clear();
    }
}

async fn read(
    mut input: BufReader<OwnedReadHalf>,
    waiting: Waiting,
    watches: Arc<Mutex<HashMap<String, oneshot::Sender<()>>>>,
) {
    while let Ok(message) = read_message(&mut input).await {
        let number =
            |at: usize| message.get(at..at + 4).map(|four| i32::from_be_bytes(four.try_into().unwrap()));
        match number(0) {
            Some(PING_XID) => {}
            Some(EVENT_XID) => {
                let path = String::from_utf8_lossy(message.get(28..).unwrap_or_default());
                if let Some(changed) = watches.lock().expect("no panic").remove(&*path) {
                    let _ = changed.send(());
                }
            }
            Some(_) => {
                let reply = waiting.lock().expect("no panic").pop_front();
                if let (Some(reply), Some(error)) = (reply, number(12)) {
                    let _ = reply.send(error);
                }
            }
            None => return,
        }
    }
}

async fn read_message(input: &mut BufReader<OwnedReadHalf>) -> std::io::Result<Vec<u8>> {
    let length = input.read_u32().await?;
    let mut message = vec![0; length as usize];
    input.read_exact(&mut message).await?;
    Ok(message)
}

/// The body of a request for a node with which everybody may do everything.
fn creation(path: &str, data: &[u8]) -> Vec<u8> {
    let (one, every_permission, persistent) = (1_i32, 31_i32, 0_i32);
    [
        bytes(path.as_bytes()),
        bytes(data),
        one.to_be_bytes().to_vec(),
        every_permission.to_be_bytes().to_vec(),
        bytes(b"world"),
        bytes(b"anyone"),
        persistent.to_be_bytes().to_vec(),
    ]
    .concat()
}

/// These bytes with their length before them.
fn bytes(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).expect("small").to_be_bytes()[..], bytes].concat()
}
