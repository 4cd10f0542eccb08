//! Either end of the socket with somebody else at the other, without processes: for fuzzers.

use std::error::Error;
use std::future::Future;
use std::os::fd::OwnedFd;

use tokio::sync::mpsc::unbounded_channel;

use super::ending::Ending;
use super::serve::{Half, first_message};
use super::socket::{self, Socket};
use super::starter::HalfOptions;
use super::supervisor::{Closed, EVENT_QUEUE, Peer, Supervisor};
use crate::model::Subject;
use crate::store::channel::StoreChannel;
use crate::store::message::{StoreCommand, StoreEvent};
use crate::store::settings::StoreSettings;

/// Has `play` play the half of a store, whose daemon follows `subjects`: it gets its end of the socket, and
/// the conversation lasts until that end is closed, or says something that no half may say. Returns what the
/// daemon is told, and how the conversation ended if it was not closed. Must be called within a `LocalSet`.
pub async fn with_played_half<F: Future<Output = ()>>(
    settings: StoreSettings,
    subjects: &[Subject],
    play: impl FnOnce(OwnedFd) -> F,
) -> std::io::Result<(Vec<StoreEvent>, Result<(), String>)> {
    let (ours, theirs) = socket::pair()?;
    let (mut channel, end) = StoreChannel::with_room(EVENT_QUEUE);
    subjects.iter().for_each(|subject| channel.follow(subject.clone()));
    let options = HalfOptions { program: "/nonexistent".into(), memory: None };
    let mut supervisor = Supervisor::new(settings, options, end);
    let talk = async {
        let peer = Peer { pid: nix::unistd::getpid(), user: "nobody", end: None };
        let ended = supervisor.talk(peer, ours).await;
        // No more events come.
        drop(supervisor);
        match ended {
            Ok(Ending::Gone) => Ok(()),
            Ok(ending) => Err(format!("{ending:?}")),
            Err(Closed) => Err("the channel is closed".to_owned()),
        }
    };
    let listen = async {
        let mut events = Vec::new();
        while let Some(event) = channel.next().await {
            events.push(event);
        }
        events
    };
    let (ended, events, ()) = tokio::join!(talk, listen, play(theirs));
    Ok((events, ended))
}

/// Has `play` play the daemon of a half that has no store: it says what it likes on the end of the socket
/// that it gets, and then closes it. Returns what the store is asked for. Fails, with the reason, if the half
/// ends for what it heard. Must be called within a `LocalSet`.
pub async fn with_played_daemon(
    play: impl FnOnce(OwnedFd),
) -> (Vec<StoreCommand>, Result<(), Box<dyn Error>>) {
    let (channel, mut end) = StoreChannel::new();
    let heard = hear(channel, play).await;
    (std::iter::from_fn(|| end.commands.try_recv().ok()).collect(), heard)
}

async fn hear(channel: StoreChannel, play: impl FnOnce(OwnedFd)) -> Result<(), Box<dyn Error>> {
    let (ours, theirs) = socket::pair()?;
    play(theirs);
    first_message(&ours)?;
    let (_questions, asked) = unbounded_channel();
    Half::new(Socket::new(ours)?, channel).run(asked).await
}
