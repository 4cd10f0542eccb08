//! A session without a network, for fuzzers.

use std::time::Duration;

use tokio::time::Instant;

use super::protocol::Protocol;
use super::session::{Output, Session};
use super::table::Table;
use super::window::Window;
use super::wire::Frames;
use crate::model::{NodeContent, NodeFacet, NodePath, NodeSubject};
use crate::store::backend::Observation;

const TIMEOUT: Duration = Duration::from_secs(10);

/// A session that follows the data and the children of each of some nodes, and hears what a fuzzer makes up.
pub struct Conversation {
    session: Session<()>,
    now: Instant,
    /// How much the client has sent.
    pub sent: usize,
    /// What it has reported: the number of reports, and the names of children in them.
    pub reports: usize,
    pub names: Vec<String>,
}

impl Conversation {
    #[allow(clippy::new_without_default, reason = "it reads the clock")]
    pub fn new(paths: &[&str]) -> Self {
        let now = Instant::now();
        let protocol = Protocol::new(Frames::default(), Some(TIMEOUT), now);
        let subjects = paths.iter().flat_map(|path| {
            let path = NodePath::unchecked(path);
            [NodeFacet::Data, NodeFacet::Children].map(|facet| NodeSubject { path: path.clone(), facet })
        });
        let root = NodePath::unchecked("/");
        let mut table = Table::new(now);
        subjects.for_each(|subject| table.follow(subject));
        let session = Session::new(protocol, TIMEOUT, Window::new(), root, table, now);
        let mut conversation = Self { session, now, sent: 0, reports: 0, names: Vec::new() };
        conversation.send();
        conversation
    }

    /// Lets time pass, and then takes what the server sends. Fails, with the reason, if the session is over.
    pub fn hear(&mut self, after: Duration, bytes: &[u8]) -> Result<(), String> {
        self.now += after;
        if !bytes.is_empty() {
            self.session.protocol.receive(bytes, self.now);
        }
        while let Some(incoming) = self.session.protocol.next(self.now).map_err(|ended| ended.to_string())? {
            for output in self.session.take(incoming, self.now).map_err(|ended| ended.to_string())? {
                if let Output::Report { observation, .. } = output {
                    self.reports += 1;
                    if let Observation::Present { content: NodeContent::Children(names), .. } = observation {
                        self.names.extend(names.iter().cloned());
                    }
                }
            }
            self.send();
        }
        if self.session.due(self.now).is_some_and(|due| due <= self.now) {
            self.session.tick(self.now).map_err(|ended| ended.to_string())?;
        }
        self.send();
        Ok(())
    }

    fn send(&mut self) {
        while self.session.wants_slot() {
            self.session.read((), self.now);
        }
        let sent = self.session.protocol.output().len();
        self.session.protocol.sent(sent);
        self.sent += sent;
    }
}
