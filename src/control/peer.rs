//! Who a client of the control socket is.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use nix::unistd::{Uid, User};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

/// A directory service that takes longer leaves the name out, and the operator is known by a number.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(1);

/// How many lookups may run at once. Only a directory service that hangs makes one take long.
const MAX_LOOKUPS: usize = 4;

/// Finds the names of users.
pub(super) struct Names(Arc<Semaphore>);

impl Default for Names {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_LOOKUPS)))
    }
}

impl Names {
    /// Returns the name of this user, or `uid 1000` if the name cannot be found in time.
    pub(super) async fn of(&self, uid: u32) -> String {
        self.look_up(uid).await.unwrap_or_else(|| format!("uid {uid}"))
    }

    async fn look_up(&self, uid: u32) -> Option<String> {
        // The thread keeps its permit for as long as the directory service takes.
        let permit = Arc::clone(&self.0).try_acquire_owned().ok()?;
        let (sender, name) = oneshot::channel();
        let work = move || {
            let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
            // The client may have left.
            let _ = sender.send(user.map(|user| user.name));
            drop(permit);
        };
        thread::Builder::new().name("user".into()).spawn(work).ok()?;
        timeout(LOOKUP_TIMEOUT, name).await.ok()?.ok()?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_user_has_a_name_or_a_number() {
        let names = Names::default();
        assert_eq!(names.of(0).await, "root");
        assert_eq!(names.of(0x7fff_fff0).await, "uid 2147483632");
        let all = names.0.acquire_many(MAX_LOOKUPS as u32).await.unwrap();
        assert_eq!(names.of(0).await, "uid 0", "every lookup hangs");
        drop(all);
        assert_eq!(names.of(0).await, "root");
    }
}
