//! Which changes of a tree its action still has to be given.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::{Change, NodePath, Tree};
use crate::store::MAX_TREE_NODES;
use crate::watch::RunId;

/// How many nodes may be unconfirmed: all of the largest tree, and as many that are gone by now.
const MAX_UNCONFIRMED: usize = 2 * MAX_TREE_NODES;

/// What the action of a watch was given of its tree, in one definition of the watch.
#[derive(Default)]
pub struct Applied {
    /// The tree that the action succeeded with last, and the run that succeeded.
    last: Option<(RunId, Arc<Tree>)>,
    /// The trees that the runs which have not ended were given.
    running: BTreeMap<RunId, Arc<Tree>>,
    /// The nodes that runs were given since then, each with the latest such run. These may have done
    /// something about them.
    unconfirmed: BTreeMap<NodePath, RunId>,
}

impl Applied {
    /// The changes that `run` is to be given of `tree`, sorted by path: the differences from the tree that
    /// the action succeeded with last, and the nodes of runs that did not succeed. [`Self::ended`] must
    /// follow. Runs must come in the order of their ids.
    pub fn changes_for(&mut self, run: RunId, tree: &Arc<Tree>) -> Vec<Change> {
        if self.unconfirmed.len() > MAX_UNCONFIRMED {
            (self.last, self.unconfirmed) = (None, BTreeMap::new());
        }
        let mut changes = match &self.last {
            Some((_, last)) => tree.changes_since(last),
            None => tree.load(),
        };
        let listed = changes.len();
        for path in self.unconfirmed.keys() {
            if changes[..listed].binary_search_by(|change| change.path.cmp(path)).is_err() {
                changes.push(tree.change_of(path));
            }
        }
        changes.sort_by(|a, b| a.path.cmp(&b.path));
        self.unconfirmed.extend(changes.iter().map(|change| (change.path.clone(), run)));
        self.running.insert(run, Arc::clone(tree));
        changes
    }

    /// Notes that `run` is given the deletion of the whole tree, and no single changes. [`Self::ended`] must
    /// follow.
    pub fn delete_all(&mut self, run: RunId) {
        self.running.insert(run, Arc::new(Tree::default()));
    }

    /// Notes that a run is over. A run of another definition changes nothing.
    pub fn ended(&mut self, run: RunId, succeeded: bool) {
        let Some(tree) = self.running.remove(&run) else { return };
        // In PARALLEL a newer run may have succeeded before.
        if succeeded && self.last.as_ref().is_none_or(|(last, _)| *last < run) {
            self.last = Some((run, tree));
            // The run was given all nodes that were unconfirmed then.
            self.unconfirmed.retain(|_, latest| *latest > run);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes_for(applied: &mut Applied, run: u64, tree: &[(&str, i64)]) -> String {
        let changes = applied.changes_for(RunId(run), &Tree::sample(tree));
        let text = changes.iter().map(|change| {
            let now = change.now.as_ref().map_or(String::new(), |now| now.version.to_string());
            format!("{} {}{now}", change.event.as_str(), change.path.as_str())
        });
        text.collect::<Vec<_>>().join(", ")
    }

    /// A first run has succeeded with `/t` and `/t/a`.
    fn applied() -> Applied {
        let mut applied = Applied::default();
        assert_eq!(changes_for(&mut applied, 1, &[("/t", 1), ("/t/a", 1)]), "load /t1, load /t/a1");
        applied.ended(RunId(1), true);
        applied
    }

    #[test]
    fn a_run_is_given_what_differs_from_what_the_last_success_was_given() {
        let mut applied = applied();
        assert_eq!(changes_for(&mut applied, 2, &[("/t", 1), ("/t/b", 2)]), "deleted /t/a, created /t/b2");
        applied.ended(RunId(2), true);
        assert_eq!(changes_for(&mut applied, 3, &[("/t", 3), ("/t/b", 2)]), "changed /t3");
        applied.ended(RunId(3), true);
        assert_eq!(changes_for(&mut applied, 4, &[("/t", 3), ("/t/b", 2)]), "");
    }

    #[test]
    fn what_a_failed_run_was_given_is_given_again_in_its_latest_state() {
        let mut applied = applied();
        changes_for(&mut applied, 2, &[("/t", 1), ("/t/a", 2), ("/t/b", 2)]);
        applied.ended(RunId(2), false);
        assert_eq!(
            changes_for(&mut applied, 3, &[("/t", 3), ("/t/a", 3), ("/t/b", 2)]),
            "changed /t3, changed /t/a3, created /t/b2"
        );
        applied.ended(RunId(3), true);
        assert_eq!(changes_for(&mut applied, 4, &[("/t", 3), ("/t/a", 3), ("/t/b", 2)]), "");
    }

    #[test]
    fn what_a_failed_run_was_given_is_given_again_also_where_it_is_as_before() {
        let mut applied = applied();
        changes_for(&mut applied, 2, &[("/t", 1), ("/t/a", 2), ("/t/b", 2)]);
        applied.ended(RunId(2), false);
        assert_eq!(changes_for(&mut applied, 3, &[("/t", 1), ("/t/a", 1)]), "changed /t/a1, deleted /t/b");
        applied.ended(RunId(3), true);
        assert_eq!(changes_for(&mut applied, 4, &[("/t", 1), ("/t/a", 1)]), "");
    }

    #[test]
    fn what_is_gone_since_the_first_run_failed_is_told_to_be_deleted() {
        let mut applied = Applied::default();
        changes_for(&mut applied, 1, &[("/t", 1), ("/t/a", 1)]);
        applied.ended(RunId(1), false);
        assert_eq!(changes_for(&mut applied, 2, &[("/t", 1)]), "load /t1, deleted /t/a");
    }

    #[test]
    fn an_older_run_that_succeeds_after_a_newer_one_changes_nothing() {
        let mut applied = applied();
        assert_eq!(changes_for(&mut applied, 2, &[("/t", 1), ("/t/a", 2)]), "changed /t/a2");
        assert_eq!(changes_for(&mut applied, 3, &[("/t", 3), ("/t/a", 2)]), "changed /t3, changed /t/a2");
        assert_eq!(
            changes_for(&mut applied, 4, &[("/t", 4), ("/t/a", 2)]),
            "changed /t4, changed /t/a2",
            "at least once"
        );
        applied.ended(RunId(3), true);
        applied.ended(RunId(2), true);
        assert_eq!(changes_for(&mut applied, 5, &[("/t", 4), ("/t/a", 2)]), "changed /t4, changed /t/a2");
        applied.ended(RunId(4), true);
        applied.ended(RunId(5), false);
        assert_eq!(changes_for(&mut applied, 6, &[("/t", 4), ("/t/a", 2)]), "changed /t4, changed /t/a2");
    }

    #[test]
    fn a_run_of_another_definition_changes_nothing() {
        let mut applied = applied();
        applied.ended(RunId(9), true);
        assert_eq!(changes_for(&mut applied, 10, &[("/t", 2), ("/t/a", 1)]), "changed /t2");
    }

    #[test]
    fn what_failing_runs_were_given_does_not_add_up_for_ever() {
        let mut applied = applied();
        let mut run = 1;
        while applied.last.is_some() {
            run += 1;
            let names: Vec<String> = (0..5000).map(|n| format!("/t/{run}-{n:04}")).collect();
            let nodes: Vec<_> = names.iter().map(|name| (name.as_str(), 1)).collect();
            changes_for(&mut applied, run, &nodes);
            applied.ended(RunId(run), false);
            assert!(applied.unconfirmed.len() <= MAX_UNCONFIRMED + nodes.len() + 2);
        }
        assert!(changes_for(&mut applied, run + 1, &[("/t", 2)]).starts_with("load /t2, deleted /t/"));
    }
}
