//! What a store says, passed on to the watches and the log.

use super::stores::Stores;
use super::watches::Watches;
use crate::model::StoreName;
use crate::report::{NodeRef, Report, Reporter};
use crate::store::StoreEvent;
use crate::watch::Input;

/// Takes an event of the store `name`. Returns whether the store is connected, if the event says so.
pub fn take(
    log: &Reporter,
    watches: &mut Watches,
    stores: &mut Stores,
    name: &StoreName,
    event: StoreEvent,
) -> Option<bool> {
    let store_name = stores.display_name(name);
    let store = &mut stores[name];
    match event {
        StoreEvent::Observed { subject, state } => {
            let node = NodeRef { store: name, subject: &subject };
            let subscribers = store.subjects.get_mut(&subject)?;
            if subscribers.unreadable.take().is_some() {
                log.report(&Report::NodeReadable { node });
            }
            log.report(&Report::NodeObserved { node });
            for watch in &subscribers.watches {
                watches.step(*watch, Input::Observed(state.clone()));
            }
        }
        StoreEvent::Unreadable { subject, reason } => {
            let subscribers = store.subjects.get_mut(&subject)?;
            subscribers.unreadable = Some(reason.clone());
            let entries = subscribers.watches.iter().filter_map(|watch| watches.get(*watch));
            let keys: Vec<_> = entries.map(|entry| entry.key()).collect();
            let node = NodeRef { store: name, subject: &subject };
            log.report(&Report::NodeUnreadable { node, watches: &keys, reason: &reason });
        }
        StoreEvent::Connected { what } => {
            let downtime = store.connected(&what);
            log.report(&Report::StoreConnected { store: store_name, what: &what, downtime });
            return Some(true);
        }
        StoreEvent::Disconnected { reason } => {
            store.disconnected(&reason);
            log.report(&Report::StoreDisconnected { store: store_name, reason: &reason });
            return Some(false);
        }
        StoreEvent::Refused { reason } => {
            store.refused(&reason);
            log.report(&Report::StoreRefused { store: store_name, reason: &reason });
        }
        StoreEvent::Exposed(what) => {
            log.report(&Report::StoreExposed { store: store_name, what: &what });
        }
        StoreEvent::Degraded { reason } => {
            log.report(&Report::StoreDegraded { store: store_name, reason: &reason });
        }
        StoreEvent::MissedChange { subject } => {
            let total = stores.count_missed_change();
            let node = NodeRef { store: name, subject: &subject };
            log.report(&Report::NodeChangeMissed { node, total });
        }
    }
    None
}
