//! Looking at the ACLs of watched nodes, once for each node and without haste.

use std::convert::Infallible;
use std::future::pending;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::sleep;
use zookeeper_client::{Acl, Permission};

use super::session::{ReadError, Session, SessionOver};
use crate::model::NodeFacet;
use crate::store::StoreEvent;

/// The pause after each look. This is no load for a server, even where a hundred hosts begin to watch
/// thousands of nodes at once.
const CHECK_INTERVAL: Duration = Duration::from_millis(100);

/// Looks at all nodes that are noted in the session's audit, for as long as the session lasts.
pub(super) async fn run(session: Rc<Session>) {
    let Err(SessionOver) = look_at_all(&session).await;
}

async fn look_at_all(session: &Session) -> Result<Infallible, SessionOver> {
    let audit = &session.audit;
    while !audit.is_over() {
        let subject = audit.next().await;
        let client = session.client.upgrade().ok_or(SessionOver)?;
        let path = session.path(&subject);
        let is_open = match session.with_timeout(client.get_acl(path.as_str())).await {
            Ok((acls, _)) => is_open(&acls, subject.facet),
            // The next session looks at it.
            Err(ReadError::SessionOver) => return Err(SessionOver),
            // Nobody knows, and it does not matter to the watch.
            Err(ReadError::NoNode | ReadError::Transient(_) | ReadError::Refused(_)) => false,
        };
        drop(client);
        if let Some(exposure) = audit.done(subject, is_open) {
            session.events.send(StoreEvent::Exposed(exposure)).await.map_err(|_| SessionOver)?;
        }
        sleep(CHECK_INTERVAL).await;
    }
    pending().await
}

/// Returns true if and only if everybody can change the watched part of the node.
fn is_open(acls: &[Acl], facet: NodeFacet) -> bool {
    let enough: &[Permission] = match facet {
        NodeFacet::Data => &[Permission::WRITE],
        NodeFacet::Children => &[Permission::CREATE, Permission::DELETE],
    };
    acls.iter().any(|acl| {
        let is_anyone = (acl.scheme(), acl.id()) == ("world", "anyone");
        is_anyone && enough.iter().any(|permission| acl.permission().has(*permission))
    })
}

#[cfg(test)]
mod tests {
    use zookeeper_client::AuthId;

    use super::*;

    #[test]
    fn what_counts_is_what_can_be_done_to_what_is_watched() {
        let anyone = |permission| vec![Acl::new(permission, AuthId::anyone())];
        let us = Acl::new(Permission::ALL, AuthId::new("sasl", "twitcher"));
        for (acls, data, children) in [
            (anyone(Permission::ALL), true, true),
            (anyone(Permission::READ), false, false),
            (anyone(Permission::READ | Permission::WRITE), true, false),
            (anyone(Permission::CREATE), false, true),
            (anyone(Permission::DELETE), false, true),
            (vec![us.clone()], false, false),
            ([vec![us], anyone(Permission::WRITE)].concat(), true, false),
        ] {
            assert_eq!(
                (is_open(&acls, NodeFacet::Data), is_open(&acls, NodeFacet::Children)),
                (data, children),
                "{acls:?}"
            );
        }
    }
}
