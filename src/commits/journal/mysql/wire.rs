//! The protocol of MySQL and MariaDB, as far as a journal needs it: a login, and statements as texts.

use std::fmt;
use std::io;

use futures_util::FutureExt;
use thiserror::Error;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UnixStream};

use super::login::Method;
use super::packet::{Reader, malformed};
use crate::commits::journal::address::{Encryption, Place, ServerAddress};
use crate::store::WebTls;

/// The largest packet that is taken: the longest part of heads has some MiB.
const MAX_PACKET: usize = 64 << 20;

/// A packet of this size goes on in another one.
const FULL_PACKET: usize = 0xff_ff_ff;

/// UTF-8. No statement has anything but ASCII.
const CHARACTERS: u8 = 45;

/// What we can: long passwords, long flags, the database at the login, the protocol since 4.1, transactions'
/// states, and that the server chooses how we log in, by a name.
const ABILITIES: u32 = 0x1 | 0x4 | 0x8 | 0x200 | 0x2000 | 0x8000 | 0x8_0000;
const TLS_ABILITY: u32 = 0x800;

const QUIT: u8 = 1;
const QUERY: u8 = 3;

trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

/// A connection that is logged in.
pub(super) struct Wire {
    stream: BufReader<Box<dyn Stream>>,
    /// The number of the next packet, which both sides count.
    sequence: u8,
}

#[derive(Debug, Error)]
pub(super) enum WireError {
    /// The server refuses a statement or a login, and the connection can be used on.
    #[error("{0}")]
    Refused(Refusal),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("{0}")]
    Other(String),
}

/// What the server says.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) code: u16,
    text: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A value of each column; `None` is NULL.
pub(super) type Row = Vec<Option<Vec<u8>>>;

/// What a statement gives.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// How many rows it has written.
    pub(super) written: usize,
    pub(super) rows: Vec<Row>,
}

impl Wire {
    pub(super) async fn connect(address: &ServerAddress) -> Result<Self, WireError> {
        match &address.place {
            Place::Socket(path) => Self::log_in(UnixStream::connect(path).await?, None, address).await,
            Place::Tcp { host, port, tls } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await?;
                stream.set_nodelay(true)?;
                match tls {
                    Encryption::None => Self::log_in(stream, None, address).await,
                    Encryption::Verified { ca } => {
                        let tls = WebTls::of_a_database(ca.clone()).map_err(WireError::Other)?;
                        Self::log_in_securely(stream, &tls, host, address).await
                    }
                }
            }
        }
    }

    /// Whether the server has said nothing since the last answer, not even goodbye.
    pub(super) fn is_quiet(&mut self) -> bool {
        self.stream.fill_buf().now_or_never().is_none()
    }

    /// Says goodbye. The server logs a connection that ends without it as aborted.
    pub(super) async fn quit(mut self) {
        self.sequence = 0;
        // It gives no answer, and who cannot be told sees the connection end.
        let _ = self.send(&[QUIT]).await;
    }

    /// Has a statement done.
    pub(super) async fn run(&mut self, statement: &str) -> Result<Outcome, WireError> {
        self.sequence = 0;
        self.send(&[&[QUERY], statement.as_bytes()].concat()).await?;
        let first = self.receive().await?;
        match first.first() {
            Some(0x00) => {
                let mut reader = Reader(&first[1..]);
                return Ok(Outcome { written: reader.length()?, rows: Vec::new() });
            }
            Some(0xff) => return Err(refusal(&first)),
            // The server asks for a file of ours.
            Some(0xfb) | None => return Err(malformed().into()),
            Some(_) => {}
        }
        let columns = Reader(&first).length()?;
        if columns == 0 {
            return Err(malformed().into());
        }
        for _ in 0..columns {
            self.receive().await?;
        }
        if !is_end(&self.receive().await?) {
            return Err(malformed().into());
        }
        let mut rows = Vec::new();
        loop {
            let packet = self.receive().await?;
            match packet.first() {
                Some(0xff) => return Err(refusal(&packet)),
                _ if is_end(&packet) => return Ok(Outcome { written: 0, rows }),
                _ => {}
            }
            let mut reader = Reader(&packet);
            let row: io::Result<Row> =
                (0..columns).map(|_| Ok(reader.value()?.map(<[u8]>::to_vec))).collect();
            rows.push(row?);
        }
    }

    async fn send(&mut self, payload: &[u8]) -> Result<(), WireError> {
        // A packet that is full is followed by another one, which may be empty.
        let mut rest = payload;
        loop {
            let (part, next) = rest.split_at(rest.len().min(FULL_PACKET));
            let head = header(part.len(), self.sequence);
            self.sequence = self.sequence.wrapping_add(1);
            self.stream.write_all(&head).await?;
            self.stream.write_all(part).await?;
            rest = next;
            if part.len() < FULL_PACKET {
                break;
            }
        }
        Ok(self.stream.flush().await?)
    }

    async fn receive(&mut self) -> Result<Vec<u8>, WireError> {
        let mut payload = Vec::new();
        loop {
            let (part, number) = read_packet(&mut self.stream).await?;
            self.sequence = number.wrapping_add(1);
            payload.extend_from_slice(&part);
            if payload.len() > MAX_PACKET {
                return Err(malformed().into());
            }
            if part.len() < FULL_PACKET {
                return Ok(payload);
            }
        }
    }
}

impl Wire {
    async fn log_in_securely(
        mut stream: TcpStream,
        tls: &WebTls,
        host: &str,
        address: &ServerAddress,
    ) -> Result<Self, WireError> {
        let greeting = Greeting::read(&mut stream).await?;
        if greeting.abilities & TLS_ABILITY == 0 {
            let text = "the server has no TLS; write ?ssl-mode=DISABLED if nobody can stand in between";
            return Err(WireError::Other(text.to_owned()));
        }
        let request = head_of_login(ABILITIES | TLS_ABILITY);
        stream.write_all(&[&header(request.len(), greeting.sequence)[..], &request].concat()).await?;
        let stream = tls.connect(host, stream).await.map_err(WireError::Other)?;
        let greeting = Greeting { sequence: greeting.sequence.wrapping_add(1), ..greeting };
        Self::log_in(stream, Some(greeting), address).await
    }

    /// Logs in. A connection that others can read has no greeting yet.
    async fn log_in(
        mut stream: impl Stream + 'static,
        greeting: Option<Greeting>,
        address: &ServerAddress,
    ) -> Result<Self, WireError> {
        let is_secure = greeting.is_some() || matches!(address.place, Place::Socket(_));
        let abilities = ABILITIES | if greeting.is_some() { TLS_ABILITY } else { 0 };
        let greeting = match greeting {
            Some(greeting) => greeting,
            None => Greeting::read(&mut stream).await?,
        };
        let mut wire = Self { stream: BufReader::new(Box::new(stream)), sequence: greeting.sequence };
        let password = match &address.password {
            Some(password) => password.reveal().map_err(|error| WireError::Other(error.to_string()))?,
            None => String::new(),
        };
        // The server corrects a guess.
        let usual = Method::named(&greeting.method).filter(|method| *method != Method::Clear);
        let (mut method, mut challenge) = (usual.unwrap_or(Method::Native), greeting.challenge);
        let mut login = head_of_login(abilities);
        let proof = method.proof(&password, &challenge);
        login.extend([address.user.as_bytes(), b"\0"].concat());
        login.push(u8::try_from(proof.len()).map_err(|_| malformed())?);
        login.extend(proof);
        login.extend([address.database.as_bytes(), b"\0", method.name().as_bytes(), b"\0"].concat());
        wire.send(&login).await?;
        loop {
            let answer = wire.receive().await?;
            let mut reader = Reader(&answer);
            match reader.byte()? {
                0x00 => return Ok(wire),
                0xff => return Err(refusal(&answer)),
                // Another method, with another challenge.
                0xfe => {
                    let name = reader.text();
                    method = Method::named(name).ok_or_else(|| unknown(name))?;
                    challenge = reader.text().to_vec();
                    if method == Method::Clear && !is_secure {
                        return Err(insecure());
                    }
                    wire.send(&method.proof(&password, &challenge)).await?;
                }
                // The server has seen the password before, or wants to see it.
                0x01 => match (method, reader.byte()?) {
                    (Method::CachingSha2, 3) => {}
                    (Method::CachingSha2, 4) if is_secure => {
                        wire.send(&Method::Clear.proof(&password, &challenge)).await?;
                    }
                    (Method::CachingSha2, 4) => return Err(insecure()),
                    _ => return Err(malformed().into()),
                },
                _ => return Err(malformed().into()),
            }
        }
    }
}

/// What a server says first.
struct Greeting {
    abilities: u32,
    challenge: Vec<u8>,
    /// The name of the method that it would like.
    method: Vec<u8>,
    /// The number of the next packet.
    sequence: u8,
}

impl Greeting {
    async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Self, WireError> {
        let (packet, number) = read_packet(stream).await?;
        let mut reader = Reader(&packet);
        match reader.byte()? {
            10 => {}
            0xff => return Err(refusal(&packet)),
            _ => return Err(malformed().into()),
        }
        let _version = reader.text();
        let _connection = reader.number(4)?;
        let mut challenge = reader.take(8)?.to_vec();
        let _filler = reader.byte()?;
        let low = reader.number(2)?;
        let _characters_and_status = reader.take(3)?;
        let abilities = u32::try_from(reader.number(2)? << 16 | low).map_err(|_| malformed())?;
        let length = usize::from(reader.byte()?);
        let _filler = reader.take(10)?;
        let rest = reader.take(length.saturating_sub(8).max(13))?;
        challenge.extend_from_slice(rest.strip_suffix(b"\0").unwrap_or(rest));
        let method = reader.text().to_vec();
        Ok(Self { abilities, challenge, method, sequence: number.wrapping_add(1) })
    }
}

async fn read_packet(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<(Vec<u8>, u8)> {
    let mut head = [0; 4];
    stream.read_exact(&mut head).await?;
    let [low, middle, high, number] = head;
    let mut payload = vec![0; u32::from_le_bytes([low, middle, high, 0]) as usize];
    stream.read_exact(&mut payload).await?;
    Ok((payload, number))
}

fn header(length: usize, number: u8) -> [u8; 4] {
    let [low, middle, high, ..] = length.to_le_bytes();
    [low, middle, high, number]
}

/// The part of a login that also asks for TLS.
fn head_of_login(abilities: u32) -> Vec<u8> {
    let largest = u32::try_from(MAX_PACKET).unwrap_or(u32::MAX);
    [&abilities.to_le_bytes()[..], &largest.to_le_bytes(), &[CHARACTERS], &[0; 23]].concat()
}

/// The end of columns and of rows.
fn is_end(packet: &[u8]) -> bool {
    packet.first() == Some(&0xfe) && packet.len() < 9
}

fn refusal(packet: &[u8]) -> WireError {
    let read = || {
        let mut reader = Reader(packet.get(1..)?);
        let code = u16::try_from(reader.number(2).ok()?).ok()?;
        // A state of SQL stands before the text, except before the login.
        let text = if reader.0.first() == Some(&b'#') { reader.0.get(6..)? } else { reader.0 };
        Some(Refusal { code, text: String::from_utf8_lossy(text).into_owned() })
    };
    read().map_or_else(|| malformed().into(), WireError::Refused)
}

fn unknown(name: &[u8]) -> WireError {
    let name = String::from_utf8_lossy(name);
    WireError::Other(format!(
        "the server wants a login by {name:?}, which Twitcher does not know; give the user \
         mysql_native_password or caching_sha2_password"
    ))
}

fn insecure() -> WireError {
    WireError::Other(
        "the server wants to see the password, which others could see, too; write \
         ?ssl-mode=VERIFY_IDENTITY, or connect by a socket"
            .to_owned(),
    )
}

#[cfg(test)]
#[path = "wire_tests.rs"]
mod tests;
