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
    done: u64,
    /// How many nodes may be changed that are not counted.
    open: u64,
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
            done: 0,
            open: 0,
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

    /// From now on, so many nodes change that are not counted yet.
    pub fn begin(&mut self, nodes: usize) {
        self.has_begun = true;
        self.open = nodes as u64;
    }

    /// They are counted.
    pub fn end(&mut self) {
        self.open = 0;
    }

    /// So many nodes of the file were looked at.
    pub fn looked_at(&mut self, nodes: usize) {
        self.done += nodes as u64;
    }

    pub fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// Says how far an import came that did not end.
    pub fn incomplete(&self) -> String {
        let were = if self.total == 1 { "was" } else { "were" };
        let open = match self.open {
            nodes if nodes > 0 && !self.is_rehearsal => {
                format!("; up to {} more may have been changed", count(nodes, "node"))
            }
            _ => String::new(),
        };
        let total = count(self.total, "node");
        format!(
            "{} of {total} {were} looked at: {self}{open}; the same command goes on from there",
            self.done
        )
    }

    /// Shows it on a terminal, not too often.
    pub fn show(&mut self) {
        if !self.is_terminal || self.shown.is_some_and(|shown| shown.elapsed() < INTERVAL) {
            return;
        }
        self.shown = Some(Instant::now());
        let (done, total) = (self.done, self.total);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_counted_may_have_been_changed() {
        let mut progress = Progress::new(1, false);
        progress.begin(1);
        let said = "0 of 1 node was looked at: 0 nodes created, 0 changed, 0 removed; 0 the same already; up \
                    to 1 node more may have been changed; the same command goes on from there";
        assert_eq!(progress.incomplete(), said);
        progress.count(Fate::Created);
        progress.looked_at(1);
        progress.end();
        assert!(!progress.incomplete().contains("up to"), "{}", progress.incomplete());
        let mut rehearsal = Progress::new(2000, true);
        rehearsal.begin(1000);
        assert!(!rehearsal.incomplete().contains("up to"), "{}", rehearsal.incomplete());
        assert!(rehearsal.incomplete().starts_with("0 of 2000 nodes were looked at: "));
    }
}
