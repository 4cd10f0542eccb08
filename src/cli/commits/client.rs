//! HTTP with a server of commits: one connection for each request.
//!
//! Nothing that a server does can hold a command up or fill its memory: each answer has a deadline and a
//! limit, and no redirect is followed.

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Body;
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, HOST, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

use super::stream::{Stream, connect};
use crate::settings::{CommitsServer, CommitsSettings, CommitsUrl, TokenOrigin};
use crate::store::WebTls;

/// The largest head of an answer: a comment of 4 KiB, and what proxies add.
const MAX_HEAD_BYTES: usize = 64 << 10;

/// The largest text of an error.
const MAX_ERROR_BYTES: usize = 64 << 10;

/// A server, and what it takes to talk to it.
pub struct Client {
    pub url: CommitsUrl,
    pub token_origin: TokenOrigin,
    token: Option<HeaderValue>,
    tls: Option<WebTls>,
    timeout: Duration,
}

/// What the server is asked.
pub struct Question {
    pub method: Method,
    /// The path, and the query if there is one.
    pub address: String,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub body: Bytes,
    /// The longest body of an answer that is no error.
    pub limit: usize,
}

impl Question {
    pub fn get(address: String, limit: usize) -> Self {
        Self { method: Method::GET, address, headers: Vec::new(), body: Bytes::new(), limit }
    }
}

/// The answer of the server.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// Why there is no answer. The texts name the URL.
#[derive(Debug)]
pub enum NoAnswer {
    /// The server has not got the question.
    Unsent(String),
    /// Nobody knows what the server did.
    Lost(String),
}

impl NoAnswer {
    pub fn text(self) -> String {
        match self {
            Self::Unsent(text) | Self::Lost(text) => text,
        }
    }
}

impl Client {
    pub fn new(
        settings: CommitsSettings,
        token: Option<String>,
        tls: Option<WebTls>,
        timeout: Duration,
    ) -> Result<Self, String> {
        let CommitsSettings { url, token_origin, .. } = settings;
        let bearer = |token: String| {
            let mut value = HeaderValue::try_from(format!("Bearer {}", token.trim()))
                .map_err(|_| "the token has a character that no token has".to_owned())?;
            value.set_sensitive(true);
            Ok::<_, String>(value)
        };
        Ok(Self { url, token_origin, token: token.map(bearer).transpose()?, tls, timeout })
    }

    /// Asks the server, and returns its whole answer, whatever its status.
    pub async fn ask(&self, question: Question) -> Result<Answer, NoAnswer> {
        let url = &self.url;
        let connection = timeout(self.timeout, connect(&url.server, self.tls.as_ref())).await;
        let stream = match connection {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(NoAnswer::Unsent(format!("{url}: {error}"))),
            Err(_) => {
                let text = format!("{url}: no connection within {:?}; {REACHABLE}", self.timeout);
                return Err(NoAnswer::Unsent(text));
            }
        };
        match timeout(self.timeout, self.converse(stream, question)).await {
            Ok(answer) => answer.map_err(|why| NoAnswer::Lost(format!("{url}: {why}"))),
            Err(_) => {
                let text = format!("{url}: no answer within {:?}; try again, or see --timeout", self.timeout);
                Err(NoAnswer::Lost(text))
            }
        }
    }

    async fn converse(&self, stream: Pin<Box<dyn Stream>>, question: Question) -> Result<Answer, String> {
        let mut builder = http1::Builder::new();
        builder.max_buf_size(MAX_HEAD_BYTES);
        let shaken = builder.handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = shaken.map_err(|error| described(&error))?;
        let limit = question.limit;
        let request = self.request(question)?;
        let work = async {
            let answer = sender.send_request(request).await.map_err(|error| described(&error))?;
            read(answer, limit).await
        };
        // Both in one: dropping it ends the connection.
        tokio::pin!(work, connection);
        tokio::select! {
            biased;
            done = &mut work => done,
            // The answer can be complete when the connection ends.
            _ = &mut connection => work.await,
        }
    }

    fn request(&self, question: Question) -> Result<Request<Full<Bytes>>, String> {
        let host = match &self.url.server {
            CommitsServer::Web(web) => web.authority(),
            CommitsServer::Unix(_) => "localhost".to_owned(),
        };
        let Question { method, address, headers, body, limit: _ } = question;
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = address.parse().map_err(|error| format!("{address:?}: {error}"))?;
        let fields = request.headers_mut();
        fields.insert(HOST, HeaderValue::try_from(host).map_err(|error| error.to_string())?);
        if let Some(token) = &self.token {
            fields.insert(AUTHORIZATION, token.clone());
        }
        fields.extend(headers);
        Ok(request)
    }
}

const REACHABLE: &str = "does the server run there, and does a firewall let it be reached?";

async fn read(answer: Response<hyper::body::Incoming>, limit: usize) -> Result<Answer, String> {
    let (head, body) = answer.into_parts();
    let limit = if head.status.is_success() { limit } else { MAX_ERROR_BYTES };
    // If the end of the connection is the end of the answer, a cut answer looks like a whole one.
    let has_length = body.size_hint().exact().is_some() || head.headers.contains_key(TRANSFER_ENCODING);
    if !has_length {
        return Err(
            "the answer does not say how long it is, so it may be cut; is this a server of commits, or \
                    a proxy before it that speaks HTTP/1.0?"
                .to_owned(),
        );
    }
    match Limited::new(body, limit).collect().await {
        Ok(body) => Ok(Answer { status: head.status, headers: head.headers, body: body.to_bytes() }),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(format!("the answer has more than {limit} bytes, so it was not read"))
        }
        Err(error) => {
            let why = error.downcast_ref::<hyper::Error>().map_or_else(|| error.to_string(), described);
            Err(why)
        }
    }
}

/// Returns what is wrong with a conversation, in words for people.
fn described(error: &hyper::Error) -> String {
    let mut causes = String::new();
    let mut cause = std::error::Error::source(error);
    let mut is_cut = error.is_incomplete_message() || error.is_body_write_aborted();
    while let Some(found) = cause {
        let kind = found.downcast_ref().map(io::Error::kind);
        is_cut |= matches!(kind, Some(ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset));
        causes = format!("{causes}: {found}");
        cause = found.source();
    }
    let what = match error {
        _ if error.is_parse_too_large() => "the head of the answer is too large",
        _ if error.is_parse() => "what answers there does not speak HTTP",
        _ if is_cut => "the server ended the connection before its answer was complete",
        _ => return format!("{error}{causes}; try again"),
    };
    format!("{what} ({error}{causes}); is this a server of commits?")
}
