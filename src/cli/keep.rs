//! `twitcher keep`: the part of `register` that talks to the store. Internal.
//!
//! It is a process of its own, because root's process gives root up before it connects to a store, and the
//! command of `register` must still run as the user who asked for it. It reads orders from stdin and writes
//! what it has to say to stdout, each as a line of JSON. It ends, and withdraws all members, when nobody
//! gives orders any more.

use std::error::Error;
use std::io::{self, BufRead};
use std::process::ExitCode;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::shared::exit::Exit;
use super::shared::runtime::block_on;
use super::shared::stdout::print_bytes;
use super::shared::store::StoreConnection;
use crate::store::{Keeper, KeeperEvent, KeeperOrder, StoreSettings};
use crate::sys::kernel::{THREAD_CALLS, cannot};

/// Keep members for `register` (internal: reads orders from stdin)
#[derive(Debug, clap::Args)]
pub struct Keep {
    #[command(flatten)]
    connection: StoreConnection,
}

type Failure = Box<dyn Error + Send + Sync>;

/// What this process says.
#[derive(Debug, Serialize, Deserialize)]
pub enum Said {
    /// The settings are good, and orders are taken.
    Ready,
    Event(KeeperEvent),
}

impl Keep {
    pub fn run(self) -> Exit {
        let settings = self.connection.settings(None)?;
        block_on(keep(&settings))??;
        Ok(ExitCode::SUCCESS)
    }
}

async fn keep(settings: &StoreSettings) -> Result<(), Box<dyn Error>> {
    let mut keeper = Keeper::open(settings)?;
    let mut orders = orders()?;
    let kept = loop {
        let said = tokio::select! {
            order = orders.recv() => match order {
                Some(Ok(order)) => {
                    keeper.order(order);
                    continue;
                }
                Some(Err(error)) => break Err(error),
                None => break Ok(()),
            },
            event = keeper.next() => match event {
                Some(event) => Said::Event(event),
                None => break Err(Failure::from("the keeper has ended")),
            },
        };
        if say(&said).is_err() {
            // Nobody is there who would give orders.
            break Ok(());
        }
    };
    keeper.close().await;
    kept.map_err(|error| error.to_string().into())
}

fn say(said: &Said) -> Result<(), Box<dyn Error>> {
    let mut line = serde_json::to_vec(said)?;
    line.push(b'\n');
    Ok(print_bytes(&line)?)
}

/// Reads orders on a thread of its own, until there are no more.
fn orders() -> Result<UnboundedReceiver<Result<KeeperOrder, Failure>>, Box<dyn Error>> {
    let (sender, orders) = unbounded_channel();
    let read = move || {
        for line in io::stdin().lock().lines() {
            let order = line.map_err(Into::into).and_then(|line| Ok(serde_json::from_str(&line)?));
            let is_end = order.is_err();
            if sender.send(order).is_err() || is_end {
                return;
            }
        }
    };
    let started = std::thread::Builder::new().name("orders".into()).spawn(read);
    started.map_err(cannot("start the thread that reads orders", THREAD_CALLS))?;
    say(&Said::Ready)?;
    Ok(orders)
}
