//! What is said to the process of a keeper and heard from it, on the end of the socket that is not its own.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;

use super::message::{FromKeeper, ToKeeper};
use super::standing::Standing;
use crate::model::Blob;
use crate::store::half::conduct::Violation;
use crate::store::half::disposal::{Disposal, Line};
use crate::store::half::frame;
use crate::store::half::message::{MAX_TEXT, bounded};
use crate::store::half::socket::{Packet, Received, Socket, packets};
use crate::store::half::task::AtEnd;
use crate::store::question::LoginReply;
use crate::store::settings::StoreSettings;
use crate::sys::seal;

/// What is said to one process and heard from it.
pub(super) struct Conversation {
    pub(super) socket: Line,
    disposal: Disposal,
    unsent: VecDeque<Packet>,
    is_ready: bool,
    /// Whether it waits for the login, and whether the answer is among what is unsent.
    awaits_login: bool,
    has_unsent_login: bool,
    awaits_pong: bool,
    /// Whether the process can be told nothing any more.
    is_deaf: bool,
}

impl Conversation {
    /// Tells a process what its store is.
    pub(super) fn begin(
        socket: OwnedFd,
        settings: &StoreSettings,
        at_end: AtEnd,
        memory: Option<String>,
        disposal: Disposal,
    ) -> io::Result<Self> {
        let mut conversation = Self {
            socket: Line::new(Socket::new(socket)?, disposal.clone()),
            disposal,
            unsent: VecDeque::new(),
            is_ready: false,
            awaits_login: false,
            has_unsent_login: false,
            awaits_pong: false,
            is_deaf: false,
        };
        let settings = serde_json::to_vec(&settings.without_secrets())?;
        conversation.say(&ToKeeper::Start { at_end, memory }, settings)?;
        Ok(conversation)
    }

    pub(super) fn say(&mut self, message: &ToKeeper, body: Vec<u8>) -> io::Result<()> {
        let body = if body.is_empty() { Blob::default() } else { seal(body.into()) };
        let packets = packets(message, &ToKeeper::More, &body);
        self.unsent.extend(packets.map_err(|error| io::Error::other(format!("{error:?}")))?);
        Ok(())
    }

    /// Asks whether the process is alive, unless it was asked already.
    pub(super) fn ping(&mut self) -> io::Result<()> {
        if self.is_deaf || std::mem::replace(&mut self.awaits_pong, true) {
            return Ok(());
        }
        self.say(&ToKeeper::Ping, Vec::new())
    }

    pub(super) fn tell_login(&mut self, reply: LoginReply) -> io::Result<()> {
        self.has_unsent_login = true;
        match reply {
            Ok(login) => self.say(&ToKeeper::Login { error: None }, login),
            Err(error) => self.say(&ToKeeper::Login { error: Some(bounded(error)) }, Vec::new()),
        }
    }

    /// Whether [`Self::send`] has something to do when there is room.
    pub(super) fn has_words(&self, standing: &Standing) -> bool {
        !self.is_deaf && (!self.unsent.is_empty() || standing.has_next())
    }

    /// Sends what there is room for. What stands is put into words no earlier, so that nothing piles up.
    pub(super) fn send(&mut self, standing: &mut Standing) -> io::Result<()> {
        while !self.is_deaf {
            let Some(packet) = self.unsent.front() else {
                let Some((message, body)) = standing.next() else { return Ok(()) };
                self.say(&message, body)?;
                continue;
            };
            match self.socket.send(packet) {
                Ok(true) => {
                    self.unsent.pop_front();
                    if self.unsent.is_empty() && std::mem::take(&mut self.has_unsent_login) {
                        self.awaits_login = false;
                    }
                }
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

    /// Takes a packet. An event in it is still to be judged.
    pub(super) fn hear(&mut self, Received { frame, file }: Received) -> Result<FromKeeper, Violation> {
        if let Some(file) = file {
            self.disposal.close(vec![file]);
            return Err(Violation::UnexpectedBody);
        }
        let (message, body) = frame::decode::<FromKeeper>(&frame).map_err(Violation::Frame)?;
        if !body.is_empty() {
            return Err(Violation::UnexpectedBody);
        }
        match &message {
            FromKeeper::Ready { .. } if self.is_ready => Err(Violation::Order("that it is ready")),
            FromKeeper::Ready { confinement: text } | FromKeeper::Remember { memory: text }
                if text.len() > MAX_TEXT =>
            {
                Err(Violation::Text)
            }
            FromKeeper::Ready { .. } => {
                self.is_ready = true;
                Ok(message)
            }
            _ if !self.is_ready => Err(Violation::Order("a first word")),
            FromKeeper::Pong if !std::mem::take(&mut self.awaits_pong) => Err(Violation::Order("an answer")),
            FromKeeper::NeedsLogin if std::mem::replace(&mut self.awaits_login, true) => {
                Err(Violation::Order("that it needs the login"))
            }
            FromKeeper::Pong
            | FromKeeper::NeedsLogin
            | FromKeeper::Remember { .. }
            | FromKeeper::Event(_)
            | FromKeeper::Moved => Ok(message),
        }
    }
}
