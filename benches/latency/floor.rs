//! The floor: the least that it takes to notice a change and run a command, on one thread that uses vfork.

use std::cell::RefCell;
use std::collections::HashMap;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::LocalSet;

use crate::Result;
use crate::client::Client;
use crate::server::Store;

/// The argument with which the benchmark starts itself as the floor.
pub const MODE: &str = "floor";

struct Floor {
    client: Client,
    program: String,
    socket: String,
    /// The running actions by pid. Holding them keeps their pipes open.
    running: RefCell<HashMap<i32, Child>>,
}

/// Runs the floor. `args` are the kind of the server, its address, the program, its socket, the prefix of the
/// nodes and their number.
pub async fn run(args: &[String]) -> Result<()> {
    let [store, address, program, socket, prefix, count] = args else { return Err("wrong arguments".into()) };
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    let mut ends = signal(SignalKind::child())?;
    let store = Store::from_name(store).ok_or("no such store")?;
    let client = Client::connect(store, address).await?;
    let (program, socket) = (program.clone(), socket.clone());
    let floor = Rc::new(Floor { client, program, socket, running: RefCell::default() });
    let local = LocalSet::new();
    for index in 0..count.parse()? {
        let (floor, node) = (Rc::clone(&floor), format!("{prefix}{index}"));
        local.spawn_local(async move { floor.follow(&node).await.expect("the floor's session broke") });
    }
    local
        .run_until(async {
            while ends.recv().await.is_some() {
                floor.reap();
            }
        })
        .await;
    Ok(())
}

impl Floor {
    async fn follow(&self, node: &str) -> Result<()> {
        let mut watch = self.client.watch(node).await?;
        loop {
            self.client.changed(node, &mut watch).await?;
            self.spawn(node)?;
        }
    }

    fn spawn(&self, node: &str) -> Result<()> {
        let mut command = Command::new(&self.program);
        command.args([&self.socket, node]);
        // Nothing that keeps the standard library from posix_spawn, which is vfork.
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let child = command.spawn()?;
        self.running.borrow_mut().insert(child.id().cast_signed(), child);
        Ok(())
    }

    fn reap(&self) {
        while let Ok(WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, _, _)) =
            waitpid(None, Some(WaitPidFlag::WNOHANG))
        {
            self.running.borrow_mut().remove(&pid.as_raw());
        }
    }
}
