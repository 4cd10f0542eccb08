//! How far an import is.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use crate::store::Fate;
use crate::text::count;

/// How often a terminal is told.
const INTERVAL: Duration = Duration::from_millis(200);

pub struct Progress {
    total: u64,
    created: u64,
    changed: u64,
    same: u64,
    removed: u64,
    has_begun: bool,
    is_rehearsal: bool,
    is_terminal: bool,
    started: Instant,
    shown: Option<Instant>,
}

impl Progress {
    pub fn new(total: u64, is_rehearsal: bool) -> Self {
        Self {
            total,
            created: 0,
            changed: 0,
            same: 0,
            removed: 0,
            has_begun: false,
            is_rehearsal,
            is_terminal: io::stderr().is_terminal(),
            started: Instant::now(),
            shown: None,
        }
    }

    pub fn count(&mut self, fate: Fate) {
        match fate {
            Fate::Same => self.same += 1,
            Fate::Created => self.created += 1,
            Fate::Changed => self.changed += 1,
        }
    }

    pub fn removed(&mut self, nodes: u64) {
        self.removed += nodes;
    }

    /// From now on, nodes change that are not counted yet.
    pub fn begin(&mut self) {
        self.has_begun = true;
    }

    pub fn has_begun(&self) -> bool {
        self.has_begun
    }

    pub fn done(&self) -> u64 {
        self.created + self.changed + self.same
    }

    /// Shows it on a terminal, not too often.
    pub fn show(&mut self) {
        if !self.is_terminal || self.shown.is_some_and(|shown| shown.elapsed() < INTERVAL) {
            return;
        }
        self.shown = Some(Instant::now());
        let (done, total) = (self.done(), self.total);
        let rate = (done + self.removed) as f64 / self.started.elapsed().as_secs_f64().max(0.001);
        let removed = if self.removed == 0 { String::new() } else { format!("{} removed, ", self.removed) };
        let total = count(total, "node");
        let _ = write!(io::stderr(), "\r\x1b[K{removed}{done} of {total}, {rate:.0} a second");
    }

    /// Takes away what was shown.
    pub fn clear(&mut self) {
        if self.shown.take().is_some() {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { created, changed, removed, same, .. } = self;
        let would = if self.is_rehearsal { "would be " } else { "" };
        write!(
            f,
            "{} {would}created, {changed} changed, {removed} removed; {same} the same already",
            count(*created, "node")
        )
    }
}
