//! A judge that does not ask the daemon. Tests set each node to rising numbers, each number once, and the
//! actions of all nodes record in one journal with which number they ran.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use crate::harness::wait::{DEADLINE, poll};
use crate::harness::{Journal, Sandbox, exec};

pub struct Oracle {
    journal: Journal,
    /// A directory that contains a directory for each node whose action is running.
    running: PathBuf,
}

/// Returns a script that runs `script`, and first `overlap` if another run of it is going on. `mkdir` checks
/// and creates in one step.
pub fn alone(directory: &str, overlap: &str, script: &str) -> String {
    format!("mkdir {directory} || {overlap}; {script}; rmdir {directory}")
}

/// One number for each node.
pub type Numbers = BTreeMap<String, u32>;

impl Oracle {
    pub fn new(sandbox: &Sandbox) -> Self {
        let running = sandbox.path("running");
        fs::create_dir(&running).expect("create a directory");
        Self { journal: sandbox.journal(), running }
    }

    /// The text of the action. A run takes long enough that a second one at once would meet it.
    pub fn action(&self) -> String {
        let mine = format!("{}$TWITCHER_ZNODE", self.running.display());
        let overlap = self.journal.note("$TWITCHER_ZNODE OVERLAP");
        let run = self.journal.note("$TWITCHER_ZNODE $(cat)");
        exec(&alone(&mine, &overlap, &format!("sleep 0.02; {run}")))
    }

    /// Waits until the last run of each node was with this number.
    #[track_caller]
    pub fn expect_last(&self, numbers: &Numbers) {
        poll(DEADLINE, || (self.last() == *numbers).then_some(()));
        assert_eq!(self.last(), *numbers, "what the actions ran with last, and what the nodes contain");
    }

    /// Panics if two runs of one node overlapped, or if a content ran twice or after a later one.
    #[track_caller]
    pub fn expect_each_once_in_order(&self) {
        for (node, numbers) in self.runs() {
            assert!(numbers.is_sorted_by(|a, b| a < b), "{node} ran with {numbers:?}");
        }
    }

    fn last(&self) -> Numbers {
        let runs = self.runs().into_iter();
        runs.filter_map(|(node, numbers)| Some((node, *numbers.last()?))).collect()
    }

    /// The numbers that the action of each node ran with.
    fn runs(&self) -> BTreeMap<String, Vec<u32>> {
        let mut runs = BTreeMap::<_, Vec<_>>::new();
        for line in self.journal.lines() {
            let run = line.split_once(' ').and_then(|(node, number)| Some((node, number.parse().ok()?)));
            let (node, number) =
                run.unwrap_or_else(|| panic!("not a run without overlap and with a whole content: {line}"));
            runs.entry(node.to_owned()).or_default().push(number);
        }
        runs
    }
}
