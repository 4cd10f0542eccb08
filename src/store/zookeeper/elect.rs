//! Standing for a leadership with the nodes of Curator's `LeaderSelector`.
//!
//! Each candidate has an ephemeral node with a number. The lowest number leads, and each of the others waits
//! for the end of the one before it. A connection that is lost is made again with the same session, and the
//! leadership rests meanwhile; when the session has expired, its node is gone.

use std::cmp::Ordering;
use std::convert::Infallible;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::connect::{ATTEMPT_TIMEOUT, Connection, Ensemble};
use super::link::Link;
use super::protocol::{Ended, Incoming, Protocol};
use super::settings::ZooKeeperSettings;
use super::wire::{ErrorCode, Reply, Request};
use crate::model::NodePath;
use crate::store::acl::Acl;
use crate::store::leadership::Candidacy;
use crate::store::login_source::LoginSource;
use crate::store::pace::Pace;

/// What stands before the number in the name of a node.
const LOCK: &str = "lock-";

/// How often all is looked at without a reason. There should be nothing to find.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// How long to wait after the server has refused something.
const AFTER_REFUSAL: Duration = Duration::from_secs(5);

/// Starts the task of a candidate. Must be called within a `LocalSet` on a current-thread runtime.
pub(crate) fn elect(
    settings: ZooKeeperSettings,
    candidacy: Candidacy,
    mut withdrawn: oneshot::Receiver<()>,
) -> JoinHandle<()> {
    tokio::task::spawn_local(async move {
        let chroot = settings.url.chroot.clone();
        let mut ensemble = Ensemble::new(settings, LoginSource::Here);
        let attempt_timeout = ensemble.session_timeout().min(ATTEMPT_TIMEOUT);
        let (mut pace, mut session) = (Pace::new(), (0, String::new()));
        loop {
            let attempt = async {
                sleep_until(pace.next()).await;
                (Instant::now(), ensemble.connect_next(attempt_timeout).await)
            };
            let (began, connected) = tokio::select! {
                _ = &mut withdrawn => return,
                connected = attempt => connected,
            };
            let Connection { link, protocol, greeting, timeout, server, .. } = match connected {
                Ok(connection) => connection,
                Err(failure) => {
                    candidacy.seat.trouble(format!("cannot connect to ZooKeeper: {}", failure.reason));
                    // A new session is asked for at once.
                    if !failure.is_expired {
                        pace.failed(began);
                    }
                    continue;
                }
            };
            ensemble.resume(&greeting);
            if session.0 != greeting.session {
                session = (greeting.session, format!("_c_{}-", uuid()));
            }
            let connected_at = Instant::now();
            let election = candidacy.path.below(&chroot);
            let mut candidate =
                Candidate { link, protocol, timeout, election, prefix: &session.1, changed: false };
            let ended = tokio::select! {
                _ = &mut withdrawn => {
                    candidate.link.close(candidate.protocol).await;
                    return;
                }
                Err(ended) = candidate.run(&candidacy) => ended,
            };
            candidacy.seat.trouble(format!("the connection to ZooKeeper {server} was lost ({ended})"));
            pace.ended(connected_at, !ended.is_violation());
        }
    })
}

/// A candidate on one connection.
struct Candidate<'a> {
    link: Link,
    protocol: Protocol,
    /// How long the server keeps the session at least.
    timeout: Duration,
    election: NodePath,
    /// What the name of our node begins with. It tells our node after an answer to its creation was lost.
    prefix: &'a str,
    /// Whether a watch has gone off.
    changed: bool,
}

/// What a request came to, and when it was sent.
type Answer = (Result<Reply, ErrorCode>, Instant);

impl Candidate<'_> {
    /// Stands for the leadership until the session or its connection ends.
    async fn run(&mut self, candidacy: &Candidacy) -> Result<Infallible, Ended> {
        loop {
            if let Err(code) = self.take_part(candidacy).await? {
                candidacy.seat.trouble(match code {
                    ErrorCode::NoAuth => format!(
                        "no permission to take part in the election at {}; its ACL must give `r`, `c` and \
                         `d` to the credentials of `auth` or `sasl` in twitcher.toml",
                        self.election
                    ),
                    code => format!("the election at {} is not possible: {code}", self.election),
                });
                self.wait_until(Instant::now() + AFTER_REFUSAL).await?;
            }
        }
    }

    /// Looks where our node stands, and waits there until something changes.
    async fn take_part(&mut self, candidacy: &Candidacy) -> Result<Result<(), ErrorCode>, Ended> {
        self.changed = false;
        let path = self.election.clone();
        let names = match self.ask(Request::Children { path: path.as_str(), watch: false }).await?.0 {
            Ok(Reply::Children(names, _)) => in_order(names),
            Ok(_) => return Ok(Err(ErrorCode::MarshallingError)),
            Err(ErrorCode::NoNode) => {
                candidacy.seat.leave();
                return self.make_election().await;
            }
            Err(code) => return Ok(Err(code)),
        };
        let Some(place) = names.iter().position(|name| name.starts_with(self.prefix)) else {
            candidacy.seat.leave();
            let path = format!("{path}/{}{LOCK}", self.prefix);
            let (acl, data) = (Acl::open(), candidacy.name.as_bytes());
            let (created, _) = self.ask(Request::CreateNext { path: &path, data, acl: &acl }).await?;
            return Ok(match created {
                // Curator's parent is a container, which goes when it is empty.
                Ok(_) | Err(ErrorCode::NoNode) => Ok(()),
                Err(code) => Err(code),
            });
        };
        match place.checked_sub(1) {
            None => self.lead(candidacy, &path.child(&names[place])).await,
            Some(before) => {
                candidacy.seat.follow();
                let before = path.child(&names[before]);
                match self.ask(Request::Exists { path: before.as_str(), watch: true }).await?.0 {
                    Ok(_) => self.wait_until(Instant::now() + LOOK_AGAIN).await.map(Ok),
                    Err(ErrorCode::NoNode) => Ok(Ok(())),
                    Err(code) => Ok(Err(code)),
                }
            }
        }
    }

    /// Leads as long as our node is there, and asks for it again and again.
    async fn lead(&mut self, candidacy: &Candidacy, own: &NodePath) -> Result<Result<(), ErrorCode>, Ended> {
        let mut watch = true;
        let look_again = Instant::now() + LOOK_AGAIN;
        loop {
            let (found, sent) = self.ask(Request::Exists { path: own.as_str(), watch }).await?;
            watch = false;
            match found {
                Ok(_) => candidacy.seat.lead(sent, self.timeout),
                Err(ErrorCode::NoNode) => {
                    candidacy.seat.leave();
                    return Ok(Ok(()));
                }
                Err(code) => return Ok(Err(code)),
            }
            self.wait_until(sent + self.timeout / 4).await?;
            if self.changed || look_again <= Instant::now() {
                return Ok(Ok(()));
            }
        }
    }

    /// Creates the node of the election, and those above it.
    async fn make_election(&mut self) -> Result<Result<(), ErrorCode>, Ended> {
        let (election, acl) = (self.election.clone(), Acl::open());
        let mut missing: Vec<&str> = Vec::new();
        // A server refuses to create a node that exists if we may create nothing beside it, so nothing is
        // tried above a node that exists.
        let mut above: Vec<&str> = election.self_and_ancestors().filter(|path| *path != "/").collect();
        while let Some(path) = above.pop().or_else(|| missing.pop()) {
            let request = Request::Create { path, data: b"", acl: &acl, is_ephemeral: false };
            match self.ask(request).await?.0 {
                Ok(_) | Err(ErrorCode::NodeExists) => above.clear(),
                Err(ErrorCode::NoNode) if !above.is_empty() => missing.push(path),
                Err(code) => return Ok(Err(code)),
            }
        }
        Ok(Ok(()))
    }

    async fn ask(&mut self, request: Request<'_>) -> Result<Answer, Ended> {
        self.protocol.request(request, Instant::now());
        loop {
            match self.next(None).await? {
                Some((Err(code @ (ErrorCode::SessionExpired | ErrorCode::SessionMoved)), _)) => {
                    return Err(Ended::Server(code));
                }
                Some(answer) => return Ok(answer),
                None => {}
            }
        }
    }

    /// Waits until then, or until a watch has gone off.
    async fn wait_until(&mut self, at: Instant) -> Result<(), Ended> {
        while !self.changed && Instant::now() < at {
            self.next(Some(at)).await?;
        }
        Ok(())
    }

    /// Waits for the next reply or event, or until then. Keeps the session alive.
    async fn next(&mut self, until: Option<Instant>) -> Result<Option<Answer>, Ended> {
        let due = self.protocol.due(Instant::now()).into_iter().chain(until).min();
        let incoming = match due {
            Some(due) => tokio::select! {
                incoming = self.link.next(&mut self.protocol) => incoming?,
                () = sleep_until(due) => {
                    self.protocol.tick(Instant::now())?;
                    return Ok(None);
                }
            },
            None => self.link.next(&mut self.protocol).await?,
        };
        match incoming {
            Incoming::Reply { result, sent } => Ok(Some((result, sent))),
            Incoming::Auth(result) => result.map(|()| None).map_err(Ended::Server),
            Incoming::Event(_) => {
                self.changed = true;
                Ok(None)
            }
        }
    }
}

/// Sorts the names as Curator does: by what follows `lock-`, and by the whole name where there is no such.
fn in_order(mut names: Vec<String>) -> Vec<String> {
    names.sort_by(|a, b| by_number(a, b));
    names
}

fn by_number(a: &str, b: &str) -> Ordering {
    let number = |name| match str::rfind(name, LOCK) {
        Some(at) => &name[at + LOCK.len()..],
        None => name,
    };
    number(a).cmp(number(b))
}

/// Returns a random UUID (version 4), as text.
fn uuid() -> String {
    let random = fastrand::u128(..);
    let bits = random & !(0xf << 76) & !(0x3 << 62) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{bits:032x}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_that_of_curator() {
        let names = [
            "_c_ffffffff-0000-4000-8000-000000000000-lock-0000000002",
            "_c_00000000-0000-4000-8000-000000000000-lock-0000000010",
            "_c_88888888-0000-4000-8000-000000000000-lock-0000000009",
            "lock-0000000001",
            "a-lock-lock-0000000003",
            "0000000000-other",
            "zz",
        ];
        let sorted = in_order(names.iter().map(|name| (*name).to_owned()).collect());
        let expected = [5, 3, 0, 4, 2, 1, 6].map(|index: usize| names[index]);
        assert_eq!(sorted, expected);
    }

    #[test]
    fn a_uuid_is_a_random_one() {
        let (one, other) = (uuid(), uuid());
        assert_ne!(one, other);
        for uuid in [one, other] {
            assert_eq!(uuid.split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12], "{uuid}");
            assert_eq!(&uuid[14..15], "4", "{uuid}");
            assert!("89ab".contains(&uuid[19..20]), "{uuid}");
        }
    }
}
