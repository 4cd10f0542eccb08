//! Either end of the socket with somebody else at the other, without processes: for fuzzers.

use std::error::Error;
use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;

use tokio::sync::mpsc::{channel, unbounded_channel};
use tokio::task::spawn_local;

use super::line::Conversation;
use super::serve::{Process, Root, first_message};
use super::supervisor::{Closed, EVENT_QUEUE, Supervisor};
use crate::store::half::ending::Ending;
use crate::store::half::socket::{Socket, pair};
use crate::store::half::starter::HalfOptions;
use crate::store::half::supervisor::Peer;
use crate::store::half::task::AtEnd;
use crate::store::keeper::Keeper;
use crate::store::member::{KeeperEnd, KeeperEvent, KeeperOrder};
use crate::store::settings::StoreSettings;

/// Has `play` play the process of a keeper, which is given these `orders`: it gets its end of the socket, and
/// the conversation lasts until that end is closed, or says something that no keeper may say. Returns what is
/// told, and how the conversation ended if it was not closed. Must be called within a `LocalSet`.
pub async fn with_played_keeper<F: Future<Output = ()>>(
    settings: StoreSettings,
    orders: Vec<KeeperOrder>,
    play: impl FnOnce(OwnedFd) -> F,
) -> io::Result<(Vec<KeeperEvent>, Result<(), String>)> {
    let (ours, theirs) = pair()?;
    let (ordering, ordered) = unbounded_channel();
    let (told, mut events) = channel(EVENT_QUEUE);
    let options = HalfOptions { program: "/nonexistent".into(), memory: None };
    let mut supervisor = Supervisor::new(settings, options, AtEnd::Leave, None, ordered, told);
    for order in orders {
        // The supervisor takes them below.
        let _ = ordering.send(order);
    }
    let disposal = supervisor.disposal.clone();
    let mut conversation = Conversation::begin(ours, &supervisor.settings, AtEnd::Leave, None, disposal)?;
    let talk = async move {
        let peer = Peer { pid: nix::unistd::getpid(), user: "nobody", end: None };
        let ended = supervisor.talk(&mut conversation, &peer).await;
        conversation.socket.shut_down();
        match supervisor.tell_all().await.and(ended) {
            Ok(Ending::Gone) => Ok(()),
            Ok(ending) => Err(format!("{ending:?}")),
            Err(Closed) => Err("the channel is closed".to_owned()),
        }
    };
    let listen = async {
        let mut heard = Vec::new();
        while let Some(event) = events.recv().await {
            heard.push(event);
        }
        heard
    };
    let (ended, heard, ()) = tokio::join!(talk, listen, play(theirs));
    drop(ordering);
    Ok((heard, ended))
}

/// Has `play` play the one who gives orders to the process of a keeper that has no store: it says what it
/// likes on the end of the socket that it gets, and then ends the conversation. Returns the orders that the
/// keeper gets. Fails, with the reason, if the process ends for what it heard. Must be called within a
/// `LocalSet`.
pub async fn with_played_orders(
    play: impl FnOnce(&OwnedFd),
) -> io::Result<(Vec<KeeperOrder>, Result<(), Box<dyn Error>>)> {
    let (ours, theirs) = pair()?;
    play(&theirs);
    let (keeper, KeeperEnd { mut orders, events }) = Keeper::with_end();
    let taken = spawn_local(async move {
        let mut taken = Vec::new();
        while let Some(order) = orders.recv().await {
            taken.push(order);
        }
        // It has withdrawn everything.
        drop(events);
        taken
    });
    let heard = hear(ours, keeper).await;
    Ok((taken.await?, heard))
}

async fn hear(ours: OwnedFd, keeper: Keeper) -> Result<(), Box<dyn Error>> {
    let (_, at_end, _) = first_message(&ours)?;
    let (_questions, asked) = unbounded_channel();
    Process::new(Socket::new(ours)?).run(keeper, asked, Root::none(), at_end).await
}
