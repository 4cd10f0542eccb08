//! A server of commits on a connection in memory, whose journals note what is saved, and what must hold of
//! each of its replies.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::runtime::{Builder, Runtime};
use twitcher::commits::{Answer, Conflict, FullCommit, Heads, Journal, Key, Page, Size};
use twitcher::model::Commit;
use twitcher::serve::fuzzing::FuzzedServer;
use twitcher::settings::{Grant, Right, UserSettings, UserToken};
use twitcher::store::Secret;

/// The size of the connection's buffer, larger than any request and most replies.
const BUFFER_BYTES: usize = 1 << 20;

/// The users, who are named like their tokens. All but the last have their rights in `diary` alone.
pub const WRITER: &str = "writer";
pub const READER: &str = "reader";
pub const ROBOT: &str = "robot";

/// The server has this name besides its address.
pub const HOST: &str = "config.example";

/// A journal in memory.
#[derive(Default)]
pub struct Memory {
    keys: Mutex<BTreeMap<String, Vec<FullCommit>>>,
    saved: Mutex<Vec<FullCommit>>,
}

impl Memory {
    /// A journal with these commits, which need not be what any server would have saved.
    pub fn with(commits: impl IntoIterator<Item = FullCommit>) -> Self {
        let memory = Self::default();
        for commit in commits {
            memory.keys().entry(commit.header.key.clone()).or_default().push(commit);
        }
        memory
    }

    /// What was saved since.
    pub fn saved(&self) -> Vec<FullCommit> {
        self.saved.lock().expect("a lock").clone()
    }

    fn keys(&self) -> MutexGuard<'_, BTreeMap<String, Vec<FullCommit>>> {
        self.keys.lock().expect("a lock")
    }

    fn found(&self, page: &Page) -> Heads {
        let mut heads = Heads::default();
        let after = page.after.as_ref().map_or("", Key::as_str);
        for (_, commits) in self.keys().iter().filter(|(key, _)| key.as_str() > after) {
            let Some(head) = commits.last() else { continue };
            if head.header.empty && !page.with_removed {
                continue;
            }
            if heads.commits.len() >= page.limit {
                heads.has_more = true;
                break;
            }
            let payload = if page.with_payloads { head.payload.clone() } else { Vec::new() };
            heads.commits.push(FullCommit { header: head.header.clone(), payload });
        }
        heads
    }

    fn keep(&self, commit: FullCommit) -> Result<(), Conflict> {
        let mut keys = self.keys();
        let commits = keys.entry(commit.header.key.clone()).or_default();
        let expected = commits.last().map_or(1, |head| head.header.version.saturating_add(1));
        if commit.header.version != expected {
            return Err(Conflict { expected });
        }
        commits.push(commit.clone());
        self.saved.lock().expect("a lock").push(commit);
        Ok(())
    }
}

impl Journal for Memory {
    fn heads<'a>(&'a self, page: &'a Page) -> Answer<'a, Heads> {
        Box::pin(async { Ok(self.found(page)) })
    }

    fn commit<'a>(&'a self, key: &'a Key, version: Option<i64>) -> Answer<'a, Option<FullCommit>> {
        let keys = self.keys();
        let commits = keys.get(key.as_str()).map_or(&[][..], Vec::as_slice);
        let found = match version {
            Some(version) => commits.iter().find(|commit| commit.header.version == version),
            None => commits.last(),
        };
        let found = found.cloned();
        Box::pin(async { Ok(found) })
    }

    fn log<'a>(&'a self, key: &'a Key, before: Option<i64>, limit: usize) -> Answer<'a, Vec<Commit>> {
        let keys = self.keys();
        let headers = keys.get(key.as_str()).into_iter().flatten().rev().map(|commit| commit.header.clone());
        let before = before.unwrap_or(i64::MAX);
        let headers = headers.filter(|header| header.version < before).take(limit).collect();
        Box::pin(async { Ok(headers) })
    }

    fn save(&self, commit: FullCommit) -> Answer<'_, Result<(), Conflict>> {
        Box::pin(async { Ok(self.keep(commit)) })
    }

    fn size(&self) -> Answer<'_, Size> {
        let keys = self.keys();
        let (commits, keys) = (keys.values().map(Vec::len).sum::<usize>() as u64, keys.len() as u64);
        Box::pin(async move { Ok(Size { keys, commits, corrupt: 0 }) })
    }
}

/// A commit that says this everywhere.
pub fn commit(key: &str, version: i64, text: &str) -> FullCommit {
    let header = Commit {
        key: key.to_owned(),
        version,
        author: text.to_owned(),
        comment: text.to_owned(),
        mtime: "2014-02-11T14:01:28.839-08:00".to_owned(),
        empty: false,
    };
    FullCommit { header, payload: text.into() }
}

/// Makes a server of the namespaces `diary` and `secrets`, with or without users.
pub fn server(diary: &Arc<Memory>, secrets: &Arc<Memory>, has_users: bool) -> FuzzedServer {
    let user = |name: &str, right| UserSettings {
        name: name.to_owned(),
        token: UserToken::Secret(Secret::Inline(name.to_owned())),
        may: vec![Grant { namespace: Some("diary".to_owned()), right }],
    };
    let users = match has_users {
        true => vec![user(WRITER, Right::Write), user(READER, Right::Read), user(ROBOT, Right::Impersonate)],
        false => Vec::new(),
    };
    let journals: Vec<(&str, Arc<dyn Journal>)> =
        vec![("diary", Arc::clone(diary) as _), ("secrets", Arc::clone(secrets) as _)];
    FuzzedServer::new(journals, users, &[HOST]).expect("tokens that are there")
}

thread_local! {
    static RUNTIME: Runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
}

/// Sends bytes as a client, and then closes the sending half. Returns the reply, which is checked.
pub fn ask(server: &FuzzedServer, request: &[u8]) -> Option<Reply> {
    let reply = RUNTIME.with(|runtime| runtime.block_on(converse(server, request)));
    let start = request.iter().position(|byte| !b"\r\n".contains(byte)).unwrap_or(0);
    let is_head = request[start..].starts_with(b"HEAD ");
    (!reply.is_empty()).then(|| Reply::read(&reply, is_head))
}

async fn converse(server: &FuzzedServer, request: &[u8]) -> Vec<u8> {
    let (client, stream) = duplex(BUFFER_BYTES);
    let (mut reader, mut writer) = tokio::io::split(client);
    let send = async {
        // The server may not want to hear all of it.
        let _ = writer.write_all(request).await;
        let _ = writer.shutdown().await;
    };
    let receive = async {
        let mut reply = Vec::new();
        // A connection may end in an error.
        let _ = reader.read_to_end(&mut reply).await;
        reply
    };
    let (reply, (), ()) = tokio::join!(receive, send, server.serve(stream));
    reply
}

/// A reply that is well formed.
pub struct Reply {
    pub status: u16,
    headers: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
}

impl Reply {
    fn read(mut bytes: &[u8], is_head: bool) -> Self {
        bytes = bytes.strip_prefix(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap_or(bytes);
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("a whole head");
        let mut lines = bytes[..end].split(|byte| *byte == b'\n').map(|line| line.trim_ascii_end());
        let status = lines.next().and_then(|line| line.strip_prefix(b"HTTP/1.")?.get(2..5));
        let status = status.and_then(|status| std::str::from_utf8(status).ok()?.parse().ok());
        let header = |line: &[u8]| {
            assert!(!line.iter().any(|byte| *byte < b' ' || *byte == 0x7f), "a control character in a head");
            let colon = line.iter().position(|byte| *byte == b':').expect("a header");
            let name = std::str::from_utf8(&line[..colon]).expect("a name").to_ascii_lowercase();
            (name, line[colon + 1..].trim_ascii().to_vec())
        };
        let headers = lines.map(header).collect();
        let mut reply = Self { status: status.expect("a status"), headers, body: bytes[end + 4..].to_vec() };
        assert!((200..600).contains(&reply.status) && reply.status != 500, "{}", reply.status);
        if is_head {
            assert!(reply.body.is_empty(), "a reply to HEAD has no body");
        } else if reply.header("transfer-encoding") == Some(b"chunked") {
            reply.body = unchunked(&reply.body).expect("whole chunks");
        } else if let Some(length) = reply.header("content-length") {
            assert_eq!(reply.body.len().to_string().as_bytes(), length);
        }
        if let Some(content_type) = reply.header("content-type") {
            reply.check_content(&String::from_utf8_lossy(content_type), is_head);
        }
        reply
    }

    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| &**value)
    }

    /// Checks a reply of ours; hyper refuses nonsense by itself.
    fn check_content(&self, content_type: &str, is_head: bool) {
        assert_eq!(self.header("x-content-type-options"), Some(&b"nosniff"[..]));
        assert_eq!(self.header("cross-origin-resource-policy"), Some(&b"same-origin"[..]));
        assert!(self.header("cache-control").is_some());
        let policy = self.header("content-security-policy").expect("a policy");
        assert!(policy.starts_with(b"default-src 'none'"));
        if is_head {
            return;
        }
        if content_type.contains("json") {
            serde_json::from_slice::<serde_json::Value>(&self.body).expect("JSON");
        }
        if content_type.starts_with("text/html") {
            check_page(std::str::from_utf8(&self.body).expect("a page is UTF-8"));
        }
    }
}

fn unchunked(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut whole = Vec::new();
    loop {
        let end = bytes.windows(2).position(|window| window == b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(&bytes[..end]).ok()?, 16).ok()?;
        bytes = &bytes[end + 2..];
        whole.extend(bytes.get(..size)?);
        bytes = bytes.get(size..)?.strip_prefix(b"\r\n")?;
        if size == 0 {
            return bytes.is_empty().then_some(whole);
        }
    }
}

/// The elements of the pages.
const ELEMENTS: [&str; 43] = [
    "!DOCTYPE", "a", "b", "bdi", "body", "button", "code", "del", "div", "fieldset", "form", "h1", "h2",
    "head", "header", "html", "input", "ins", "label", "legend", "li", "link", "main", "mark", "meta", "nav",
    "ol", "p", "pre", "q", "script", "section", "span", "table", "tbody", "td", "textarea", "th", "thead",
    "time", "title", "tr", "ul",
];

/// Checks that whatever authors and clients wrote has become no markup: the page has only elements and
/// attributes of ours, no script but the one file, and no address that is not of this server.
fn check_page(page: &str) {
    for part in page.split('<').skip(1) {
        let (tag, _) = part.split_once('>').unwrap_or_else(|| panic!("{part:?} is not escaped"));
        let tag = tag.strip_prefix('/').unwrap_or(tag);
        let (name, mut rest) = tag.split_once(' ').unwrap_or((tag, ""));
        assert!(ELEMENTS.contains(&name), "{tag:?} is no element of ours");
        let mut attributes = Vec::new();
        while !rest.trim().is_empty() {
            let end = rest.find(['=', ' ']).unwrap_or(rest.len());
            let attribute = &rest[..end];
            let is_name = |c: char| c.is_ascii_lowercase() || c == '-' || name == "!DOCTYPE";
            assert!(attribute.chars().all(is_name) && !attribute.starts_with("on"), "{tag:?}");
            rest = &rest[end..];
            let mut value = "";
            if let Some(quoted) = rest.strip_prefix("=\"") {
                (value, rest) = quoted.split_once('"').unwrap_or_else(|| panic!("{tag:?} has no end"));
            }
            rest = rest.strip_prefix(' ').unwrap_or(rest);
            attributes.push(attribute);
            if ["href", "src", "action", "formaction"].contains(&attribute) {
                let is_own = value.starts_with('/') && !value.starts_with("//");
                assert!(is_own || value.is_empty() || value.starts_with(['#', '?']), "{tag:?}");
            }
        }
        assert!(name != "script" || attributes.is_empty() || attributes == ["src", "defer"], "{tag:?}");
    }
}
