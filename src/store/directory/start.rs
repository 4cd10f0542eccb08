//! Starts to follow nodes in a directory, as soon as the system lets us.

use std::pin::pin;
use std::time::Duration;

use tokio::time::sleep;

use super::follow::Directory;
use super::settings::DirectorySettings;
use crate::store::StoreEvent;
use crate::store::backend::Backend;
use crate::store::backoff::Backoff;
use crate::store::channel::StoreEnd;
use crate::store::question::Apart;
use crate::store::tree::router::{self, EventSender, NodeCommands, ReceiverDropped};
use crate::sys::inotify_remedy;

/// The pauses before file notification is tried again: at most what the contract promises for a store that is
/// away.
const MIN_RETRY_DELAY: Duration = Duration::from_millis(100);
const MAX_RETRY_DELAY: Duration = Duration::from_secs(5);

/// Starts the tasks that serve `end`. Must be called within a `LocalSet` on a current-thread runtime.
pub(crate) fn start(settings: DirectorySettings, apart: Option<Apart>, end: StoreEnd) {
    let capabilities = settings.capabilities();
    router::start(capabilities, end, |commands, events| run(settings, apart, commands, events));
}

/// Follows nodes until there are no more commands, or nobody receives the events.
async fn run(
    settings: DirectorySettings,
    apart: Option<Apart>,
    mut commands: NodeCommands,
    events: EventSender,
) {
    let mut backoff = Backoff::new(MIN_RETRY_DELAY, MAX_RETRY_DELAY);
    let (mut outage, mut early) = (false, Vec::new());
    loop {
        let error = match Directory::open(&settings, apart.as_ref()) {
            Ok(directory) => {
                // Either way there is nothing left to do.
                let (Ok(()) | Err(ReceiverDropped)) = directory.run(early, outage, commands, events).await;
                return;
            }
            Err(error) => error,
        };
        if !std::mem::replace(&mut outage, true) {
            let reason = format!(
                "cannot watch directory {}: {error}; {}",
                settings.url.root.display(),
                inotify_remedy(error.raw_os_error())
            );
            // If nobody receives it, this ends below.
            let _ = events.send(StoreEvent::Disconnected { reason }).await;
        }
        let mut retry = pin!(sleep(backoff.next()));
        loop {
            tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => early.push(command),
                    None => return,
                },
                () = &mut retry => break,
            }
        }
    }
}
