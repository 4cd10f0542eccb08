//! What is said to one half and heard from it, on the daemon's end of the socket.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::conduct::{Conduct, Violation};
use super::followed::Followed;
use super::frame;
use super::message::{FromHalf, ToHalf, bounded};
use super::socket::{Packet, Received, Socket, packets};
use crate::model::Blob;
use crate::store::question::LoginReply;
use crate::store::settings::StoreSettings;
use crate::sys::{receive_blob, seal};

/// The most bytes of a body that comes in parts, which the daemon collects in its own memory: twice the data
/// of the largest tree.
pub(super) const MAX_PARTS: usize = 128 << 20;

/// How many messages of a half about itself may come at once, and how often one more. A half that is steered
/// by somebody must not fill the log.
const MAX_NEWS: u32 = 64;
const NEWS_INTERVAL: Duration = Duration::from_millis(100);

/// What is said to a half and heard from it.
pub(super) struct Conversation {
    pub(super) socket: Socket,
    pub(super) conduct: Conduct,
    pub(super) unsent: VecDeque<Packet>,
    /// The body of the next message, as far as it came.
    parts: Vec<u8>,
    pub(super) login: Option<JoinHandle<LoginReply>>,
    pub(super) news: News,
    /// Whether the half can be told nothing any more.
    pub(super) is_deaf: bool,
}

impl Conversation {
    /// Tells a half what its store is.
    pub(super) fn begin(
        socket: OwnedFd,
        settings: &StoreSettings,
        memory: Option<String>,
    ) -> io::Result<Self> {
        let mut conversation = Self {
            socket: Socket::new(socket)?,
            conduct: Conduct::new(settings.identity()),
            unsent: VecDeque::new(),
            parts: Vec::new(),
            login: None,
            news: News::new(),
            is_deaf: false,
        };
        let settings = serde_json::to_vec(&settings.without_secrets())?;
        conversation.say(&ToHalf::Start { memory }, &seal(settings.into()))?;
        Ok(conversation)
    }

    pub(super) fn say(&mut self, message: &ToHalf, body: &Blob) -> io::Result<()> {
        let packets = packets(message, &ToHalf::More, body);
        self.unsent.extend(packets.map_err(|error| io::Error::other(format!("{error:?}")))?);
        Ok(())
    }

    pub(super) fn tell_login(&mut self, reply: LoginReply) -> io::Result<()> {
        self.conduct.answered_login();
        match reply {
            Ok(login) => self.say(&ToHalf::Login { error: None }, &seal(login.into())),
            Err(error) => self.say(&ToHalf::Login { error: Some(bounded(error)) }, &Blob::default()),
        }
    }

    /// Sends what there is room for.
    pub(super) fn send(&mut self, followed: &mut Followed) -> io::Result<()> {
        while !self.is_deaf {
            let Some(packet) = self.unsent.front() else {
                let Some(command) = followed.next() else { return Ok(()) };
                self.say(&command, &Blob::default())?;
                continue;
            };
            match self.socket.send(packet) {
                Ok(true) => drop(self.unsent.pop_front()),
                Ok(false) => return Ok(()),
                // It has ended, which shows when everything is read that it said before.
                Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {
                    self.is_deaf = true;
                    self.unsent.clear();
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Takes a packet. Returns the message that is complete with it, and was judged.
    pub(super) fn hear(
        &mut self,
        Received { frame, file }: Received,
        followed: &Followed,
    ) -> Result<Option<(FromHalf, Blob)>, Violation> {
        let (message, inline) = frame::decode::<FromHalf>(&frame).map_err(Violation::Frame)?;
        self.parts.extend_from_slice(inline);
        if self.parts.len() > MAX_PARTS {
            return Err(Violation::TooMuch);
        }
        if message == FromHalf::More && file.is_none() {
            return Ok(None);
        }
        let inline = std::mem::take(&mut self.parts);
        let body = match file {
            Some(_) if !inline.is_empty() => return Err(Violation::TwoBodies),
            Some(file) => receive_blob(file).map_err(|error| Violation::File(error.to_string()))?,
            None => seal(inline.into()),
        };
        self.conduct.judge(&message, &body, |id| followed.is_known(id))?;
        Ok(Some((message, body)))
    }
}

/// How many messages the half may say about itself now.
pub(super) struct News {
    left: u32,
    /// When there is the next one.
    next: Instant,
}

impl News {
    fn new() -> Self {
        Self { left: MAX_NEWS, next: Instant::now() }
    }

    /// Returns the time from which on the half is heard.
    pub(super) fn at(&self) -> Instant {
        self.next
    }

    pub(super) fn spend(&mut self, now: Instant) {
        self.left = self.left.saturating_sub(1);
        if self.left == 0 {
            (self.left, self.next) = (1, now + NEWS_INTERVAL);
        }
    }
}
