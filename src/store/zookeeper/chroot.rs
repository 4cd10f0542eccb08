//! Looking whether the chroot exists. A missing one is like any missing parent, but an error in it would have
//! every watch wait for ever, so people are told.

use std::convert::Infallible;
use std::future::pending;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::sleep;

use super::session::{ReadError, Session, SessionOver};
use crate::store::StoreEvent;

/// How often to look, if the chroot is there and if it is missing. This is no load for a server, even where a
/// hundred hosts do it.
const CHECK_INTERVAL: Duration = Duration::from_secs(10);
const MISSING_INTERVAL: Duration = Duration::from_secs(2);

/// Reports whether the chroot exists, for as long as the session lasts.
pub(super) async fn run(session: Rc<Session>) {
    let Err(SessionOver) = follow(&session).await;
}

async fn follow(session: &Session) -> Result<Infallible, SessionOver> {
    let path = session.chroot.as_str();
    if path == "/" {
        return pending().await;
    }
    let mut reported = None;
    loop {
        let client = session.client.upgrade().ok_or(SessionOver)?;
        let stat = session.with_timeout(client.check_stat(path)).await;
        drop(client);
        match stat {
            Ok(stat) => {
                if reported.replace(stat.is_some()) != Some(stat.is_some()) {
                    let event = match stat {
                        Some(_) => StoreEvent::RootFound,
                        None => StoreEvent::RootMissing {
                            reason: format!(
                                "the chroot {path} does not exist, so that none of the watched nodes does; \
                                 correct the URL, or create the first node with `twitcher set`"
                            ),
                        },
                    };
                    session.events.send(event).await.map_err(|_| SessionOver)?;
                }
            }
            Err(ReadError::SessionOver) => return Err(SessionOver),
            // It is asked again.
            Err(ReadError::NoNode | ReadError::Transient(_) | ReadError::Refused(_)) => {}
        }
        sleep(if reported == Some(false) { MISSING_INTERVAL } else { CHECK_INTERVAL }).await;
    }
}
