//! The output of runs that have just ended, for those who followed it and come for the rest.

use std::collections::VecDeque;

use super::live_run::{LiveRun, Stage};
use crate::action::output::Piece;

/// How many runs are remembered. A follower comes every quarter of a second. With 64 KiB a run, these are at
/// most 4 MiB, and none while nobody follows.
const MAX_RUNS: usize = 64;

/// The end of the output of the newest runs that somebody followed, with their ids.
#[derive(Default)]
pub struct Followed(VecDeque<(String, Piece)>);

impl Followed {
    /// Keeps the end of a run's output, if somebody follows it.
    pub fn ended(&mut self, live: &LiveRun, output: &[u8]) {
        let total = match &live.stage {
            Stage::Starting { .. } => None,
            Stage::Running { handle, .. } => handle.followed_bytes(),
        };
        let Some(total) = total else { return };
        let from = total.saturating_sub(output.len() as u64);
        self.0.truncate(MAX_RUNS - 1);
        self.0.push_front((live.intent.run.clone(), Piece { from, bytes: output.to_vec() }));
    }

    /// Returns what comes after the first `from` bytes of a run's output.
    pub fn since(&self, run: &str, from: u64) -> Option<Piece> {
        let (_, kept) = self.0.iter().find(|(id, _)| id == run)?;
        Some(kept.since(from))
    }
}
