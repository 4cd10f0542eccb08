//! Fuzzes what clients send to the server of commits, through the real server on a connection in memory.
//!
//! Whatever the client sends, it gets a valid reply or the connection ends, and nothing that authors or
//! clients wrote becomes markup. Nothing is saved but by a `POST` of somebody who may do so, and by none that
//! another site has made a browser send. What is saved is within its limits.

use std::net::IpAddr;
use std::sync::Arc;

use twitcher::commits::{FullCommit, Key};

use super::commit_server::{HOST, Memory, ROBOT, WRITER, ask, commit, server};

/// What an author may have written.
const HOSTILE: &str = "</pre><script>alert(1)</script>\"' onload=x";

/// Stands in the input for the cookie of the writer's session.
const COOKIE: &[u8] = b"$COOKIE";

/// Sends `data` to a server without users, and to one with users.
pub fn run(data: &[u8]) {
    for has_users in [false, true] {
        let mut removed = commit("removed", 2, "");
        removed.header.empty = true;
        let mut binary = commit("binary", 1, "x");
        binary.payload = b"\0\xff\n".into();
        let diary = [
            commit("foo", 1, "one\ntwo\n"),
            commit("foo", 2, HOSTILE),
            commit(HOSTILE, 1, HOSTILE),
            commit("removed", 1, "x"),
            removed,
            binary,
        ];
        let diary = Arc::new(Memory::with(diary));
        let secrets = Arc::new(Memory::with([commit("key", 1, "secret")]));
        let server = server(&diary, &secrets, has_users);
        let cookie = server.log_in(WRITER).unwrap_or_default();
        let request = replaced(data, COOKIE, cookie.as_bytes());
        let reply = ask(&server, &request);
        let (diary, secrets) = (diary.saved(), secrets.saved());
        let request = Request::read(&request);
        if let Some(reply) = &reply {
            let is_told = reply.status == 200 && reply.header("x-rainer-version").is_some();
            let is_post = request.as_ref().is_some_and(|request| request.method == "POST");
            assert!(
                !(is_told && is_post) || diary.len() + secrets.len() == 1,
                "a save that is told and not kept"
            );
        }
        let Some(saved) = diary.first().or(secrets.first()) else { continue };
        assert_eq!(diary.len() + secrets.len(), 1, "a connection has one request");
        check_commit(saved);
        let request = request.expect("a request that can be read");
        request.check(has_users, &cookie);
        if has_users {
            assert!(secrets.is_empty(), "nobody may write these");
            let user = request.user(&cookie);
            assert!(user == ROBOT || saved.header.author == user, "{user} is {}", saved.header.author);
        }
    }
}

fn replaced(data: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    match data.windows(old.len()).position(|window| window == old) {
        Some(at) => [&data[..at], new, &data[at + old.len()..]].concat(),
        None => data.to_vec(),
    }
}

fn check_commit(FullCommit { header, payload }: &FullCommit) {
    assert!(Key::parse(&header.key).is_ok() && header.version >= 1);
    assert!(payload.len() <= 1 << 20 && (payload.is_empty() || !header.empty));
    assert!(!header.author.is_empty() && header.author.len() <= 255 && header.comment.len() <= 4096);
    for text in [&header.author, &header.comment] {
        assert!(!text.contains(char::is_control), "{text:?}");
    }
}

/// The head of a request, read in the simplest way.
struct Request {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
}

impl Request {
    fn read(bytes: &[u8]) -> Option<Self> {
        // A server skips empty lines before a request.
        let start = bytes.iter().position(|byte| !b"\r\n".contains(byte))?;
        let text = String::from_utf8_lossy(&bytes[start..]);
        let mut lines = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
        let (method, rest) = lines.next()?.split_once(' ')?;
        let headers = lines.take_while(|line| !line.is_empty()).filter_map(|line| line.split_once(':'));
        let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()));
        Some(Self { method: method.to_owned(), path: rest.to_owned(), headers: headers.collect() })
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| &**value)
    }

    /// The token that is sent, if one is.
    fn bearer(&self) -> Option<&str> {
        // What is no text is not sent.
        let (scheme, token) =
            self.header("authorization").filter(|value| value.is_ascii())?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    }

    /// Who has sent it, who must be somebody that may write.
    fn user(&self, cookie: &str) -> &str {
        match self.bearer() {
            Some(token) if [WRITER, ROBOT].contains(&token) => token,
            Some(token) => panic!("{token} may not write"),
            None => {
                let cookies = self.headers.iter().filter(|(name, _)| name == "cookie");
                let mut cookies = cookies.flat_map(|(_, value)| value.split(';'));
                assert!(cookies.any(|pair| pair.trim() == cookie), "nobody may write");
                WRITER
            }
        }
    }

    /// Checks that no other site has sent it, as far as the browser says so, and that a browser which does
    /// not say so is not believed.
    fn check(&self, has_users: bool, cookie: &str) {
        assert_eq!(self.method, "POST");
        let site = self.header("sec-fetch-site");
        assert!(site.is_none_or(|site| ["same-origin", "none"].contains(&site)), "{site:?}");
        let host = self.header("host");
        if let Some(origin) = self.header("origin") {
            let authority = origin.split_once("://").map_or(origin, |(_, rest)| rest);
            let authority = authority.split(['/', '?', '#']).next().unwrap_or_default();
            let own = host.expect("a host");
            assert!(authority.eq_ignore_ascii_case(own), "{origin} is not {own}");
        }
        let is_form = self.path.starts_with("/-/");
        let comes_with_cookie = has_users && self.bearer().is_none() && !cookie.is_empty();
        if is_form || comes_with_cookie {
            assert!(site.is_some() || self.header("origin").is_some(), "a form of an unknown page");
        }
        if let Some(host) = host.filter(|_| !has_users) {
            let name = host.rsplit_once(':').map_or(host, |(name, port)| {
                if port.bytes().all(|byte| byte.is_ascii_digit()) { name } else { host }
            });
            let is_address = name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
            let is_own = is_address || ["localhost", HOST].iter().any(|own| own.eq_ignore_ascii_case(name));
            assert!(is_own, "{host} is the name of another site");
        }
    }
}
