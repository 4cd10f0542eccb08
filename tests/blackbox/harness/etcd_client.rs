//! A small etcd client, which shares no code with the program under test: it speaks to the JSON gateway that
//! every etcd server has, with one connection for each request.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use data_encoding::BASE64;
use serde_json::{Value, json};

use super::wait::wait_for;

/// The most operations that a transaction of etcd can have.
const OPERATIONS: usize = 128;

pub struct EtcdClient {
    addresses: Vec<String>,
    root: String,
    /// Name and password, with which each request logs in, so that no token can expire.
    user: Option<(String, String)>,
}

impl EtcdClient {
    /// A client of the servers `HOST:PORT,HOST:PORT`, which asks the first that replies. `root` stands before
    /// all keys.
    pub fn new(addresses: &str, root: &str) -> Self {
        let addresses = addresses.split(',').map(str::to_owned).collect();
        Self { addresses, root: root.to_owned(), user: None }
    }

    /// The same client as this user.
    pub fn with_user(mut self, username: &str, password: &str) -> Self {
        self.user = Some((username.to_owned(), password.to_owned()));
        self
    }

    /// Sends a request, and waits until one of the servers has done it.
    #[track_caller]
    pub fn ask(&self, method: &str, request: &Value) -> Value {
        self.ask_text(method, &request.to_string())
    }

    /// Sends a request that is JSON already.
    #[track_caller]
    fn ask_text(&self, method: &str, request: &str) -> Value {
        wait_for(&format!("etcd to do {method} {request:.200}"), || {
            self.addresses.iter().find_map(|address| self.try_at(address, method, request))
        })
    }

    /// Puts the pair of this key and these bytes, which may be a megabyte: an unoptimized writer of JSON
    /// would look at each of them, and base64 has nothing to escape.
    #[track_caller]
    fn put(&self, key: &str, data: &[u8]) {
        self.ask_text("kv/put", &format!(r#"{{"key":"{key}","value":"{}"}}"#, BASE64.encode(data)));
    }

    fn try_at(&self, address: &str, method: &str, request: &str) -> Option<Value> {
        let Some((name, password)) = &self.user else { return post(address, method, request, "") };
        let login = json!({ "name": name, "password": password });
        let login = post(address, "auth/authenticate", &login.to_string(), "")?;
        post(address, method, request, &format!("Authorization: {}\r\n", login["token"].as_str()?))
    }

    fn key(&self, node: &str) -> String {
        BASE64.encode(format!("{}{node}", self.root).as_bytes())
    }

    /// Returns the content and the version of a node.
    #[track_caller]
    pub fn get(&self, node: &str) -> Option<(Vec<u8>, u64)> {
        let answer = self.ask("kv/range", &json!({ "key": self.key(node) }));
        let found = answer["kvs"].get(0)?;
        // The gateway leaves out what is empty.
        Some((decoded(&found["value"]), number(&found["version"])))
    }

    /// Creates the node or replaces its content.
    #[track_caller]
    pub fn set(&self, node: &str, data: &[u8]) {
        self.put(&self.key(node), data);
    }

    /// Sets the key of these bytes after the root.
    #[track_caller]
    pub fn set_key(&self, key: &[u8], data: &[u8]) {
        let key = BASE64.encode(&[self.root.as_bytes(), key].concat());
        self.put(&key, data);
    }

    /// Creates the node, or replaces its content, until the lease ends.
    #[track_caller]
    pub fn set_leased(&self, node: &str, data: &[u8], lease: &str) {
        let request = json!({ "key": self.key(node), "value": BASE64.encode(data), "lease": lease });
        self.ask("kv/put", &request);
    }

    /// Replaces the content of a node that has this version (0 if there is none), so that it has the next
    /// one. Does nothing if it has that already, as after a request whose reply was lost.
    #[track_caller]
    pub fn set_version(&self, node: &str, version: u64, data: &[u8]) {
        let key = self.key(node);
        let compare = json!({ "key": key, "target": "VERSION", "version": version.to_string() });
        let put = json!({ "request_put": { "key": key, "value": BASE64.encode(data) } });
        self.ask("kv/txn", &json!({ "compare": [compare], "success": [put] }));
    }

    /// Sets these nodes in as few transactions as possible.
    #[track_caller]
    pub fn set_all(&self, nodes: &[String], data: &[u8]) {
        let value = BASE64.encode(data);
        for some in nodes.chunks(OPERATIONS) {
            let puts =
                some.iter().map(|node| json!({ "request_put": { "key": self.key(node), "value": value } }));
            self.ask("kv/txn", &json!({ "success": puts.collect::<Vec<_>>() }));
        }
    }

    /// Removes a node, and returns whether it was there.
    #[track_caller]
    pub fn delete(&self, node: &str) -> bool {
        number(&self.ask("kv/deleterange", &json!({ "key": self.key(node) }))["deleted"]) > 0
    }

    /// The present revision of the store.
    #[track_caller]
    pub fn revision(&self) -> u64 {
        number(&self.ask("kv/range", &json!({ "key": self.key("/") }))["header"]["revision"])
    }

    #[track_caller]
    pub fn compact(&self, revision: u64) {
        self.ask("kv/compaction", &json!({ "revision": revision.to_string(), "physical": true }));
    }

    /// Grants a lease of this many seconds and returns its number.
    #[track_caller]
    pub fn grant(&self, seconds: u32) -> String {
        let answer = self.ask("lease/grant", &json!({ "TTL": seconds.to_string() }));
        answer["ID"].as_str().expect("a number").to_owned()
    }
}

/// Sends a request with these further headers. Returns `None` if it was not done.
fn post(address: &str, method: &str, request: &str, headers: &str) -> Option<Value> {
    let length = request.len();
    // In HTTP/1.0 a reply of unknown length is not chunked: it ends with the connection.
    let head = format!("POST /v3/{method} HTTP/1.0\r\nContent-Length: {length}\r\n{headers}\r\n");
    let mut socket = TcpStream::connect(address).ok()?;
    socket.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    socket.write_all([head.as_bytes(), request.as_bytes()].concat().as_slice()).ok()?;
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).ok()?;
    let answer = String::from_utf8(answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let is_done = head.split(' ').nth(1) == Some("200");
    is_done.then(|| serde_json::from_str(body).ok())?
}

fn decoded(value: &Value) -> Vec<u8> {
    BASE64.decode(value.as_str().unwrap_or_default().as_bytes()).expect("base64")
}

/// The gateway writes numbers of 64 bits as strings, and leaves out zeros.
fn number(value: &Value) -> u64 {
    value.as_str().unwrap_or("0").parse().expect("a number")
}
