//! What a store says, passed on to the watches and the log.

use super::stores::Stores;
use super::untold::MAX_TOLD_AT_ONCE;
use super::watches::Watches;
use crate::model::{State, StoreName};
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
    let store_name = stores.display_name(name).cloned();
    let store_name = store_name.as_ref();
    let store = &mut stores[name];
    match event {
        StoreEvent::Observed { subject, state } => {
            let node = NodeRef { store: name, subject: &subject };
            if matches!(state, State::Present { .. }) && store.root_is_evident() {
                root_found(log, name);
            }
            let subscribers = store.subjects.get_mut(&subject)?;
            if subscribers.unreadable.take().is_some() {
                log.report(&Report::NodeReadable { node });
            }
            store.cache.observed(&subject, &state);
            log.report(&Report::NodeObserved { node });
            let awaits = |id| watches.get(id).is_some_and(|entry| entry.watch().awaits_observation());
            let told = subscribers.take_report(&state, awaits);
            if told.len() > MAX_TOLD_AT_ONCE || stores.untold.concerns(name, &subject) {
                stores.untold.add(name.clone(), subject, state, told);
            } else {
                told.into_iter().for_each(|watch| watches.step(watch, Input::Observed(state.clone())));
            }
        }
        StoreEvent::Unreadable { subject, reason } => {
            let subscribers = store.subjects.get_mut(&subject)?;
            // A watch that asks now asks the store again.
            subscribers.is_asked = false;
            store.cache.unreadable(&subject);
            if subscribers.unreadable.replace(reason.as_str().into()).as_deref() == Some(&*reason) {
                return None;
            }
            let entries = subscribers.watches().filter_map(|watch| watches.get(watch));
            let keys: Vec<_> = entries.map(|entry| entry.key()).collect();
            let node = NodeRef { store: name, subject: &subject };
            log.report(&Report::NodeUnreadable { node, watches: &keys, reason: &reason });
        }
        StoreEvent::Connected { what, identity } => {
            let downtime = store.connected(&what);
            // It may be another store now. No run of the former one starts any more: a watch gets its place
            // at the end of the turn, and has forgotten by then what it wanted one for. A start that waits
            // for the lookup of its user is put off then.
            let outdated = store.identified(&identity);
            if !outdated.is_empty() {
                stores.untold.forget(name);
            }
            outdated.into_iter().for_each(|watch| watches.forget_versions(watch));
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
        StoreEvent::RootMissing { reason } => {
            store.root_is_missing(true);
            log.degraded(format!("store {name}"), reason);
        }
        StoreEvent::RootFound => {
            store.root_is_missing(false);
            root_found(log, name);
        }
        StoreEvent::Exposed(what) => {
            log.report(&Report::StoreExposed { store: store_name, what: &what });
        }
        // A store on this machine has lost the kernel's hints, and looks for changes itself from now on. It
        // does so until another process serves it, and says this once.
        StoreEvent::Degraded { reason } if !store.capabilities().is_remote => {
            log.degraded(hints_of(name), format!("{reason}; then restart the daemon"));
        }
        StoreEvent::Degraded { reason } => {
            log.report(&Report::StoreDegraded { store: store_name, reason: &reason });
        }
        StoreEvent::HalfStarted(half) => {
            let (pid, confinement) = (half.pid, half.confinement.clone());
            let restarts = store.half_started(half);
            if let Some(confinement) = &confinement {
                log.report(&Report::StoreHalfStarted { store: store_name, pid, confinement, restarts });
            }
        }
        StoreEvent::HalfEnded => {
            store.half_ended();
            log.recovered_as(&hints_of(name), "ended with the process that said so");
        }
        // The ledger has taken it.
        StoreEvent::Remember { .. } => {}
        StoreEvent::MissedChange { subject } => {
            let total = stores.count_missed_change();
            let node = NodeRef { store: name, subject: &subject };
            log.report(&Report::NodeChangeMissed { node, total });
        }
    }
    None
}

/// Returns the name of the part that is degraded while the changes of a store are found late.
fn hints_of(store: &StoreName) -> String {
    format!("changes in store {store}")
}

fn root_found(log: &Reporter, store: &StoreName) {
    log.recovered_as(&format!("store {store}"), "its root exists");
}

/// Tells some of the watches that are still to be told a report. Returns how many were told.
pub fn tell_some(watches: &mut Watches, stores: &mut Stores) -> usize {
    let mut told = 0;
    while told < MAX_TOLD_AT_ONCE
        && let Some((watch, store, subject, state)) = stores.untold.next()
    {
        told += 1;
        // Meanwhile the watch may have got another node.
        let spec = watches.get(watch).and_then(|entry| entry.loaded());
        if spec.is_some_and(|spec| spec.subject == *subject && spec.store == *store) {
            watches.step(watch, Input::Observed(state.clone()));
        }
    }
    told
}

#[cfg(test)]
mod tests;
