//! What is said to one half and heard from it, on the daemon's end of the socket.

use std::collections::VecDeque;
use std::io::Write;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;

use super::conduct::{Conduct, Violation};
use super::disposal::{Disposal, Line};
use super::followed::Followed;
use super::frame;
use super::message::{FromHalf, ToHalf, bounded};
use super::socket::{Packet, ReceiveError, Received, Socket, packets};
use crate::model::Blob;
use crate::store::question::LoginReply;
use crate::store::settings::StoreSettings;
use crate::sys::{BlobWriter, receive_blob, seal};

/// The most bytes of a body that comes in parts: twice the data of the largest tree.
pub(super) const MAX_PARTS: usize = 128 << 20;

/// Why a packet was not taken.
#[derive(Debug)]
pub(super) enum Unheard {
    Violation(Violation),
    /// This process has no place for its body.
    System(io::Error),
}

impl From<Violation> for Unheard {
    fn from(violation: Violation) -> Self {
        Self::Violation(violation)
    }
}

/// What is said to a half and heard from it.
pub(super) struct Conversation {
    pub(super) socket: Line,
    disposal: Disposal,
    pub(super) conduct: Conduct,
    pub(super) unsent: VecDeque<Packet>,
    /// Whether the answer to a question for the login is among them.
    has_unsent_login: bool,
    /// The body of the next message, as far as it came.
    parts: BlobWriter,
    /// Whether the half can be told nothing any more.
    pub(super) is_deaf: bool,
}

impl Conversation {
    /// Tells a half what its store is.
    pub(super) fn begin(
        socket: OwnedFd,
        settings: &StoreSettings,
        memory: Option<String>,
        disposal: Disposal,
    ) -> io::Result<Self> {
        let mut conversation = Self {
            socket: Line::new(Socket::new(socket)?, disposal.clone()),
            disposal,
            conduct: Conduct::new(settings.identity(), settings.capabilities()),
            unsent: VecDeque::new(),
            has_unsent_login: false,
            parts: BlobWriter::default(),
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

    /// Asks whether the half is alive, unless it was asked already. Other words may need no answer.
    pub(super) fn ping(&mut self) -> io::Result<()> {
        if self.is_deaf || self.conduct.awaits_pong() {
            return Ok(());
        }
        self.conduct.pinged();
        self.say(&ToHalf::Ping, &Blob::default())
    }

    /// Waits until the half has closed its session and its end of the socket. The caller does not wait for
    /// long.
    pub(super) async fn close(&self) {
        self.socket.close_sending();
        loop {
            match self.socket.receive().await {
                Ok(Received { file, .. }) => self.disposal.close(file.into_iter().collect()),
                Err(ReceiveError::Malformed(files)) => return self.disposal.close(files),
                Err(ReceiveError::Ended | ReceiveError::NoDescriptors | ReceiveError::System(_)) => return,
            }
            // One that never stops talking must not keep the clock of the caller from running.
            tokio::task::yield_now().await;
        }
    }

    pub(super) fn tell_login(&mut self, reply: LoginReply) -> io::Result<()> {
        self.has_unsent_login = true;
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
                Ok(true) => {
                    self.unsent.pop_front();
                    if self.unsent.is_empty() && std::mem::take(&mut self.has_unsent_login) {
                        // One that asks and does not listen must not make answers pile up.
                        self.conduct.answered_login();
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

    /// Takes a packet. Returns the message that is complete with it, and was judged.
    pub(super) fn hear(
        &mut self,
        Received { frame, file }: Received,
        followed: &Followed,
    ) -> Result<Option<(FromHalf, Blob)>, Unheard> {
        // Anything but a sealed file may take long to close, so this comes first.
        let file = file.map(receive_blob).transpose().map_err(|(error, descriptor)| {
            self.disposal.close(vec![descriptor]);
            Unheard::from(Violation::File(error.to_string()))
        })?;
        let (message, inline) = frame::decode::<FromHalf>(&frame).map_err(Violation::Frame)?;
        if self.parts.position() + inline.len() as u64 > MAX_PARTS as u64 {
            return Err(Violation::TooMuch.into());
        }
        self.parts.write_all(inline).map_err(Unheard::System)?;
        if message == FromHalf::More && file.is_none() {
            return Ok(None);
        }
        let inline = std::mem::take(&mut self.parts);
        let body = match file {
            Some(_) if inline.position() > 0 => return Err(Violation::TwoBodies.into()),
            Some(file) => file,
            None => inline.finish().map_err(Unheard::System)?,
        };
        self.conduct.judge(&message, &body, |id| followed.is_known(id))?;
        Ok(Some((message, body)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::runtime::Builder;

    use super::*;
    use crate::store::half::socket::pair;
    use crate::store::{Login, ZooKeeperSettings, ZooKeeperUrl};

    /// A conversation with a half that is ready, and the end of that half.
    fn conversation() -> (Conversation, OwnedFd) {
        let settings = StoreSettings::ZooKeeper(ZooKeeperSettings {
            url: ZooKeeperUrl::from_servers("127.0.0.1:2181").unwrap(),
            login: Login::default(),
            session_timeout: Duration::from_secs(10),
            readonly: false,
        });
        let (ours, theirs) = pair().unwrap();
        let mut conversation = Conversation::begin(ours, &settings, None, Disposal::default()).unwrap();
        hears(&mut conversation, &FromHalf::Ready { confinement: String::new() }).unwrap();
        (conversation, theirs)
    }

    fn hears(conversation: &mut Conversation, message: &FromHalf) -> Result<(), Violation> {
        conversation.conduct.judge(message, &Blob::default(), |_| true)
    }

    // It asks when it needs them, and they are read anew each time.
    #[test]
    fn a_half_is_told_no_secret_when_it_starts() {
        use crate::store::secret::{Secret, SecretFile};
        use crate::store::{Auth, EtcdLogin, EtcdSettings, EtcdUrl, EtcdUser, Sasl};

        let inline = || Secret::Inline("hunter2".to_owned());
        let file = || Secret::File(SecretFile("/etc/hunter2".into()));
        let session_timeout = Duration::from_secs(10);
        let zookeeper = |secret: &dyn Fn() -> Secret| {
            let auth = vec![Auth { scheme: "digest".to_owned(), credentials: secret() }];
            let sasl = Some(Sasl { username: "user".to_owned(), password: secret() });
            let url = ZooKeeperUrl::from_servers("127.0.0.1:2181").unwrap();
            let login = Login { auth, tls: None, sasl };
            StoreSettings::ZooKeeper(ZooKeeperSettings { url, login, session_timeout, readonly: false })
        };
        let etcd = |secret: &dyn Fn() -> Secret| {
            let user = Some(EtcdUser { username: "user".to_owned(), password: secret() });
            let url = EtcdUrl::parse("etcd://127.0.0.1:2379").unwrap().unwrap();
            let login = EtcdLogin { tls: None, user };
            StoreSettings::Etcd(EtcdSettings { url, login, session_timeout, readonly: false })
        };
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            for settings in [zookeeper(&inline), zookeeper(&file), etcd(&inline), etcd(&file)] {
                let (ours, _theirs) = pair().unwrap();
                let begun = Conversation::begin(ours, &settings, None, Disposal::default()).unwrap();
                let told: Vec<u8> = begun.unsent.iter().flat_map(|packet| packet.frame.clone()).collect();
                let told = String::from_utf8_lossy(&told);
                assert!(told.contains("user") && !told.contains("hunter2"), "{told}");
                let login = String::from_utf8(settings.read_login().unwrap_or_default()).unwrap();
                assert!(login.is_empty() || login.contains("hunter2"), "{login}");
            }
        });
    }

    // Questions to one that does not listen would pile up.
    #[test]
    fn a_half_is_asked_again_when_it_has_answered() {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (mut conversation, _theirs) = conversation();
            let begun = conversation.unsent.len();
            for asked in 1..3 {
                (0..3).for_each(|_| conversation.ping().unwrap());
                assert_eq!(conversation.unsent.len(), begun + asked);
                hears(&mut conversation, &FromHalf::Pong).unwrap();
            }
        });
    }

    #[test]
    fn one_that_asks_for_the_login_and_does_not_listen_may_ask_no_more() {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (mut conversation, _theirs) = conversation();
            let mut followed = Followed::new(true);
            let mut answers = 0;
            while hears(&mut conversation, &FromHalf::NeedsLogin).is_ok() {
                answers += 1;
                assert!(conversation.unsent.len() <= 1, "{answers} answers");
                conversation.tell_login(Ok(vec![0; 1000])).unwrap();
                // There is none when the socket is full.
                let _ = tokio::time::timeout(Duration::from_secs(1), conversation.socket.room()).await;
                conversation.send(&mut followed).unwrap();
            }
            assert!(answers > 1);
            assert_eq!(conversation.unsent.len(), 1);
        });
    }
}
