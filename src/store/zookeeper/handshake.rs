//! Opening a session on a connection: the greeting, the credentials, the login, and a first look at how far
//! the server lags behind.

use std::io;
use std::time::Duration;

use data_encoding::HEXLOWER;
use rustls::crypto::aws_lc_rs;
use thiserror::Error;
use tokio::time::Instant;

use super::link::{Link, Stream};
use super::protocol::{Ended, Incoming, Protocol};
use super::sasl;
use super::secrets::Secrets;
use super::wire::{ErrorCode, Frame, Frames, Greeting, Malformed, Reply, Request, SessionKey, write_hello};

/// The shortest timeout of a session that we work with. No server grants less, because it looks at its
/// sessions once in a tick.
const MIN_TIMEOUT: Duration = Duration::from_millis(100);

/// A session that is open.
pub(super) struct Opened {
    pub(super) link: Link,
    pub(super) protocol: Protocol,
    pub(super) greeting: Greeting,
    /// The granted timeout, within limits.
    pub(super) timeout: Duration,
}

/// Why no session was opened.
#[derive(Debug, Error)]
pub(super) enum OpenError {
    /// The connection ended before the server said anything.
    #[error("{0}")]
    NoGreeting(io::Error),
    #[error("what answers there is no ZooKeeper: {0}")]
    NoZooKeeper(Malformed),
    #[error("the session has expired")]
    Expired,
    #[error("the server refused our credentials")]
    Refused,
    #[error("{0}")]
    Sasl(&'static str),
    #[error("the connection was lost: {0}")]
    Ended(Ended),
}

impl From<Ended> for OpenError {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Server(ErrorCode::AuthFailed | ErrorCode::SaslRequired) => Self::Refused,
            ended => Self::Ended(ended),
        }
    }
}

/// Opens a session on `stream`, or goes on with one, and asks for a timeout of `wanted`. The caller limits
/// the time that this takes.
pub(super) async fn open(
    stream: Box<dyn Stream>,
    secrets: &Secrets,
    resumed: Option<&SessionKey>,
    wanted: Duration,
    has_deadlines: bool,
) -> Result<Opened, OpenError> {
    let mut link = Link::new(stream);
    let mut hello = Vec::new();
    write_hello(i32::try_from(wanted.as_millis()).unwrap_or(i32::MAX), resumed, &mut hello);
    link.write(&hello).await.map_err(OpenError::NoGreeting)?;
    let mut frames = Frames::default();
    let greeting = loop {
        match frames.next().map_err(OpenError::NoZooKeeper)? {
            Some(Frame::Whole(message)) => {
                break match Greeting::read(message) {
                    Ok(greeting) => greeting,
                    // A server grants no session in the place of one that has expired.
                    Err(Malformed::Session(_)) if resumed.is_some() => return Err(OpenError::Expired),
                    Err(error) => return Err(OpenError::NoZooKeeper(error)),
                };
            }
            Some(Frame::TooLarge(_, reason)) => return Err(OpenError::NoZooKeeper(reason.announced())),
            None => frames.add(link.read().await.map_err(OpenError::NoGreeting)?),
        }
    };
    // A server that grants more must still answer within the time that we are willing to wait.
    let timeout = greeting.timeout.min(wanted).max(MIN_TIMEOUT);
    let mut protocol = Protocol::new(frames, has_deadlines.then_some(timeout), Instant::now());
    // An answer that came with the greeting came before its question.
    protocol.next(Instant::now())?;
    for (scheme, credentials) in &secrets.auth {
        protocol.auth(scheme, credentials.as_bytes(), Instant::now());
    }
    let mut auths = secrets.auth.len();
    if let Some((username, password)) = &secrets.sasl {
        let challenge = ask(&mut link, &mut protocol, &mut auths, Request::Sasl { token: &[] }).await?;
        let answer =
            sasl::respond(&token(challenge)?, username, password, &nonce()).map_err(OpenError::Sasl)?;
        let proof = ask(&mut link, &mut protocol, &mut auths, Request::Sasl { token: &answer.token }).await?;
        if !answer.is_proof(&token(proof)?) {
            return Err(OpenError::Sasl("the server does not prove that it knows the password of `sasl`"));
        }
    }
    // A new session may begin at a server that lags behind what the last one showed us. Nothing that is read
    // after this is older than now, so that no action runs with content that was replaced long ago.
    ask(&mut link, &mut protocol, &mut auths, Request::Sync { path: "/" }).await?;
    while auths > 0 {
        next(&mut link, &mut protocol, &mut auths).await?;
    }
    Ok(Opened { link, protocol, greeting, timeout })
}

/// Makes a request and waits for its reply.
async fn ask(
    link: &mut Link,
    protocol: &mut Protocol,
    auths: &mut usize,
    request: Request<'_>,
) -> Result<Reply, OpenError> {
    protocol.request(request, Instant::now());
    loop {
        if let Some(reply) = next(link, protocol, auths).await? {
            return Ok(reply);
        }
    }
}

/// Waits for what the server sends next. Returns it if it is the reply to a request.
async fn next(
    link: &mut Link,
    protocol: &mut Protocol,
    auths: &mut usize,
) -> Result<Option<Reply>, OpenError> {
    loop {
        let incoming = link.next(protocol).await?;
        match incoming {
            Incoming::Reply { result, .. } => return Ok(Some(result.map_err(Ended::Server)?)),
            Incoming::Auth(result) => {
                result.map_err(Ended::Server)?;
                *auths = auths.saturating_sub(1);
                return Ok(None);
            }
            // No watch is set yet.
            Incoming::Event(_) => {}
        }
    }
}

fn token(reply: Reply) -> Result<Vec<u8>, OpenError> {
    match reply {
        Reply::Token(token) => Ok(token),
        _ => Err(OpenError::Sasl("the server's challenge is too long")),
    }
}

/// Returns a random text that no other connection has.
fn nonce() -> String {
    let mut bytes = [0; 16];
    if aws_lc_rs::default_provider().secure_random.fill(&mut bytes).is_err() {
        // This makes a guess of the password from a recorded login a little easier, and nothing worse.
        fastrand::fill(&mut bytes);
    }
    HEXLOWER.encode(&bytes)
}
