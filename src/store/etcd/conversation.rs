//! A connection without a network, for fuzzers.

use std::collections::VecDeque;
use std::time::Duration;

use hyper::HeaderMap;
use hyper::body::Bytes;
use hyper::header::HeaderValue;
use tokio::time::Instant;

use super::ended::Ended;
use super::follow::{hear, read_failure};
use super::keys::Keys;
use super::link::CallError;
use super::reads::ReadFailure;
use super::table::Table;
use super::wire::elements::{self, ReadError};
use super::wire::frame::{Frame, Frames};
use super::wire::status::Status;
use crate::model::{NodePath, Subject};
use crate::store::memory;
use crate::store::message::{StoreCommand, StoreEvent};

const TIMEOUT: Duration = Duration::from_secs(10);

/// The longest message on the stream of watches here. That of a real one is longer.
const MAX_MESSAGE: u64 = 64 << 10;

/// A connection on which some subjects are followed, and which hears what a fuzzer makes up.
pub struct EtcdConversation {
    table: Table,
    stream: Frames,
    /// The reads that have no reply, each with the longest one.
    reads: VecDeque<(u64, u64)>,
    now: Instant,
    /// How many requests the client has made.
    pub requests: usize,
    /// What it has reported.
    pub events: Vec<StoreEvent>,
}

impl EtcdConversation {
    pub fn new(prefix: &NodePath, subjects: &[Subject]) -> Self {
        let now = Instant::now();
        let mut table = Table::new(Keys::new(prefix.clone()), TIMEOUT, now);
        table.restart(0, now);
        subjects.iter().for_each(|subject| table.take(StoreCommand::Follow(subject.clone()), now));
        let (stream, reads) = (Frames::new(MAX_MESSAGE), VecDeque::new());
        let mut conversation = Self { table, stream, reads, now, requests: 0, events: Vec::new() };
        conversation.send();
        conversation
    }

    /// Lets time pass, and then takes what arrives on the stream of watches. Fails, with the reason, if the
    /// connection is over. So do the other functions.
    pub fn hear(&mut self, after: Duration, bytes: &[u8]) -> Result<(), String> {
        self.now += after;
        self.stream.add(Bytes::copy_from_slice(bytes));
        let fits = |length| memory::room_for(length).is_ok();
        while let Some(frame) = self.stream.next(fits).map_err(|error| error.to_string())? {
            hear(&mut self.table, frame, self.now).map_err(|ended| ended.to_string())?;
        }
        self.go_on()
    }

    /// Lets time pass, and then takes these bytes as the whole reply to the oldest read.
    pub fn reply(&mut self, after: Duration, bytes: &[u8]) -> Result<(), String> {
        self.now += after;
        let Some((number, limit)) = self.reads.pop_front() else { return self.go_on() };
        let mut frames = Frames::new(limit);
        frames.add(Bytes::copy_from_slice(bytes));
        let answer = match frames.next(|_| true).map_err(|error| error.to_string())? {
            Some(Frame::Whole(message)) => match elements::read(message) {
                Ok(response) => Ok(response),
                Err(ReadError::NoRoom(bytes)) => Err(ReadFailure::TooLong(bytes)),
                Err(error @ ReadError::Malformed) => return Err(error.to_string()),
            },
            Some(Frame::TooLong { length, .. }) => Err(ReadFailure::TooLong(length)),
            None => match frames.too_long() {
                Some(length) => Err(ReadFailure::TooLong(length)),
                None => return Err("the reply is cut off".to_owned()),
            },
        };
        self.table.answered(number, answer, self.now).map_err(|ended| ended.to_string())?;
        self.go_on()
    }

    /// Lets time pass, and then takes a status with these headers as the reply to the oldest read.
    pub fn refuse(&mut self, after: Duration, code: &[u8], text: &[u8]) -> Result<(), String> {
        self.now += after;
        let mut headers = HeaderMap::new();
        for (name, value) in [("grpc-status", code), ("grpc-message", text)] {
            if let Ok(value) = HeaderValue::from_bytes(value) {
                headers.insert(name, value);
            }
        }
        let Some(Err(status)) = Status::of(&headers) else { return Err("the reply is empty".to_owned()) };
        let Some((number, _)) = self.reads.pop_front() else { return self.go_on() };
        let refused = read_failure(CallError::Status(status))
            .and_then(|failure| self.table.answered(number, Err(failure), self.now));
        refused.map_err(|ended: Ended| ended.to_string())?;
        self.go_on()
    }

    fn go_on(&mut self) -> Result<(), String> {
        self.table.tick(self.now).map_err(|ended| ended.to_string())?;
        while let Some(event) = self.table.next_report(self.now) {
            self.events.push(event);
        }
        self.send();
        Ok(())
    }

    fn send(&mut self) {
        while let Some((number, _, limit)) = self.table.next_read(self.now) {
            self.reads.push_back((number, limit));
            self.requests += 1;
        }
        while self.table.next_watch_request().is_some() {
            self.requests += 1;
        }
    }
}
