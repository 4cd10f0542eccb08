//! What tests judge by without asking the daemon: every node is set to rising numbers, each of them once, and
//! the actions of all nodes note in one journal which number they ran with.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use crate::harness::wait::{DEADLINE, poll};
use crate::harness::{Journal, Sandbox, exec};

pub struct Oracle {
    journal: Journal,
    /// Holds a directory for each node whose action runs.
    running: PathBuf,
}

/// The text of a `script` that runs `overlap` first if another run of it goes on. To make a directory is to
/// find out that there was none, in one step.
pub fn alone(directory: &str, overlap: &str, script: &str) -> String {
    format!("mkdir {directory} || {overlap}; {script}; rmdir {directory}")
}

/// A number for each node.
pub type Numbers = BTreeMap<String, u32>;

impl Oracle {
    pub fn new(sandbox: &Sandbox) -> Self {
        let running = sandbox.path("running");
        fs::create_dir(&running).expect("create a directory");
        Self { journal: sandbox.journal(), running }
    }

    /// The text of the action. It lasts long enough for a second one to meet it, if there ever are two.
    pub fn action(&self) -> String {
        let mine = format!("{}$TWITCHER_ZNODE", self.running.display());
        let overlap = self.journal.note("$TWITCHER_ZNODE OVERLAP");
        let run = self.journal.note("$TWITCHER_ZNODE $(cat)");
        exec(&alone(&mine, &overlap, &format!("sleep 0.02; {run}")))
    }

    /// Waits until each node's last run was with its number here.
    #[track_caller]
    pub fn expect_last(&self, numbers: &Numbers) {
        poll(DEADLINE, || (self.last() == *numbers).then_some(()));
        assert_eq!(self.last(), *numbers, "what the actions ran with last, and what the nodes hold");
    }

    /// Panics if two runs of one node overlapped, or one content ran twice or after a later one.
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
            let (node, number) = run.unwrap_or_else(|| panic!("no run of one whole content, alone: {line}"));
            runs.entry(node.to_owned()).or_default().push(number);
        }
        runs
    }
}
