//! Transactions, as one multi of ZooKeeper.
//!
//! A multi has no branches, so the conditions are looked at first. The multi then contains a check of each
//! version that was seen. If one of them has changed meanwhile, nothing is done, and all begins anew.
//!
//! No check of ZooKeeper is for the absence of a node. Whether a node is still absent is asked by creating
//! it. If the branch itself does not create it, it is removed again in the same multi; a branch that writes
//! nothing has a multi that fails at its last operation on purpose, so that nothing at all happens.

use std::collections::{HashMap, HashSet};

use super::write::{MAX_DATA, Try};
use super::{ANY_VERSION, NO_VERSION, ZooKeeperClient};
use crate::content;
use crate::model::NodePath;
use crate::store::acl::Acl;
use crate::store::client_error::{ClientError, Doubt, Right};
use crate::store::transaction::{Operation, OperationResult, Outcome, Transaction, Wanted};
use crate::store::zookeeper::exchange::Failure;
use crate::store::zookeeper::wire::{ErrorCode, Part, PartResult, Reply, Request, Stat};

/// A node as it was seen: `None` if it is not there.
type Seen = Option<(Stat, Option<Vec<u8>>)>;

/// A multi that is put together.
#[derive(Default)]
struct Plan<'a> {
    parts: Vec<Part<'a>>,
    /// For each part the node that it is about, and the right that it needs.
    about: Vec<(NodePath, Right)>,
    /// Whether the last part fails on purpose.
    fails: bool,
}

impl<'a> Plan<'a> {
    fn push(&mut self, node: &NodePath, right: Right, part: Part<'a>) {
        self.parts.push(part);
        self.about.push((node.clone(), right));
    }
}

/// A result that is known before the multi is done, or the part of the multi that has it.
enum Pending {
    Known(OperationResult),
    /// The version after this part.
    Written(NodePath, usize),
}

impl ZooKeeperClient {
    pub(crate) fn without_tables(&self) -> ClientError {
        ClientError::Unsupported {
            store: self.store.clone(),
            reason: "ZooKeeper has no typed tables; only `etcd://` has them".to_owned(),
        }
    }

    pub(crate) async fn transact(&self, transaction: &Transaction) -> Result<Outcome, ClientError> {
        let operations = transaction.then.iter().chain(&transaction.otherwise).map(Operation::node);
        let Some(first) = transaction.conditions.iter().map(|test| &test.node).chain(operations).next()
        else {
            return Ok(Outcome { succeeded: true, results: Vec::new() });
        };
        let size: usize = transaction.then.iter().chain(&transaction.otherwise).map(length).sum();
        if size > MAX_DATA {
            return Err(self.too_large(first, size));
        }
        let mut outcome = None;
        self.until_done(first, async || {
            outcome = self.try_to_transact(transaction, first).await?;
            Ok(if outcome.is_some() { Try::Done } else { Try::Thwarted })
        })
        .await?;
        outcome.ok_or_else(|| self.refused(first, "the transaction has no outcome".to_owned()))
    }

    /// Returns `None` if somebody else was faster.
    async fn try_to_transact(
        &self,
        transaction: &Transaction,
        first: &NodePath,
    ) -> Result<Option<Outcome>, ClientError> {
        // What others have been told is done is seen, whichever server this is.
        if let Err(failure) = self.ask(Request::Sync { path: self.chroot.as_str() }).await {
            return Err(self.explain(first, Right::Read, failure).await);
        }
        if self.chroot.as_str() != "/" && self.look(&NodePath::unchecked("/"), false).await?.is_none() {
            return Err(self.explain(first, Right::Read, Failure::Server(ErrorCode::NoNode)).await);
        }
        let mut seen: HashMap<&NodePath, Seen> = HashMap::new();
        for test in &transaction.conditions {
            let with_data = transaction
                .conditions
                .iter()
                .any(|other| other.node == test.node && matches!(other.wanted, Wanted::Value(_)));
            if !seen.contains_key(&test.node) {
                seen.insert(&test.node, self.look(&test.node, with_data).await?);
            }
        }
        let holds = |test: &&crate::store::transaction::Test| {
            let found = seen[&test.node].as_ref();
            test.wanted
                .is(found.map(|(stat, data)| (data.as_deref().unwrap_or_default(), stat.version.into())))
        };
        let failed: Vec<_> = transaction.conditions.iter().filter(|test| !holds(test)).collect();
        let succeeded = failed.is_empty();
        let branch = transaction.branch(succeeded);
        // One condition that does not hold is enough: best one that can be checked as it is.
        let mut pinned: Vec<&NodePath> = match failed.iter().find(|test| seen[&test.node].is_some()) {
            _ if succeeded => transaction.conditions.iter().map(|test| &test.node).collect(),
            Some(test) => vec![&test.node],
            None => failed.iter().take(1).map(|test| &test.node).collect(),
        };
        for operation in branch {
            let node = operation.node();
            let with_data = matches!(operation, Operation::Get { .. });
            let before = seen.get(node);
            if before.is_some_and(|before| !with_data || !matches!(before, Some((_, None)))) {
                continue;
            }
            let now = self.look(node, with_data).await?;
            let same =
                |before: &Seen| before.as_ref().map(|(stat, _)| stat) == now.as_ref().map(|(stat, _)| stat);
            if before.is_some_and(|before| !same(before)) {
                return Ok(None);
            }
            seen.insert(node, now);
        }
        let mut written = HashSet::new();
        for operation in branch {
            match operation {
                Operation::Get { node } if !written.contains(node) => pinned.push(node),
                Operation::Get { .. } => {}
                Operation::Set { node, .. } | Operation::Remove { node } => {
                    written.insert(node);
                }
            }
        }
        pinned.sort();
        pinned.dedup();
        let acl = Acl::open();
        let Some((plan, pending)) = self.plan(&pinned, branch, seen, &acl).await? else { return Ok(None) };
        let done = self.perform(plan, pinned.len(), first).await?;
        Ok(done.map(|versions| Outcome {
            succeeded,
            results: pending
                .into_iter()
                .map(|pending| match pending {
                    Pending::Known(result) => result,
                    Pending::Written(node, part) => OperationResult::Set { node, version: versions[part] },
                })
                .collect(),
        }))
    }

    async fn look(&self, node: &NodePath, with_data: bool) -> Result<Seen, ClientError> {
        let path = node.below(&self.chroot);
        let path = path.as_str();
        let request = match with_data {
            true => Request::Data { path, watch: false },
            false => Request::Exists { path, watch: false },
        };
        match self.ask(request).await {
            Ok(Reply::Data(data, stat)) => match content::read(&data) {
                Ok(data) => Ok(Some((stat, Some(data.into_owned())))),
                Err(error) => Err(self.refused(node, error.to_string())),
            },
            Ok(Reply::Stat(stat)) => Ok(Some((stat, None))),
            Ok(reply) => Err(self.unexpected(node, reply)),
            Err(Failure::Server(ErrorCode::NoNode)) => Ok(None),
            Err(failure) => Err(self.explain(node, Right::Read, failure).await),
        }
    }

    /// Puts the multi together that does the operations, if the pinned nodes are as they were seen.
    async fn plan<'a>(
        &self,
        pinned: &[&NodePath],
        branch: &'a [Operation],
        mut now: HashMap<&'a NodePath, Seen>,
        acl: &'a Acl,
    ) -> Result<Option<(Plan<'a>, Vec<Pending>)>, ClientError> {
        let (mut plan, mut pending) = (Plan::default(), Vec::new());
        // Nodes that this transaction creates.
        let mut created = HashSet::new();
        let mut removed_again = Vec::new();
        let sets: HashSet<&NodePath> = branch
            .iter()
            .filter_map(|operation| match operation {
                Operation::Set { node, .. } => Some(node),
                Operation::Remove { .. } | Operation::Get { .. } => None,
            })
            .collect();
        for node in pinned {
            let path = node.below(&self.chroot);
            match now.get(node) {
                Some(Some((stat, _))) => {
                    plan.push(node, Right::Read, Part::Check { path, version: stat.version });
                }
                // It is created below.
                _ if sets.contains(node) => {}
                _ => {
                    let new = self.create(node, b"", acl, &now, &mut created, &mut plan).await?;
                    removed_again.extend(new);
                }
            }
        }
        let writes = branch.iter().any(Operation::is_write);
        match removed_again.last() {
            Some(node) if !writes => {
                let path = node.below(&self.chroot);
                plan.push(node, Right::Write, Part::SetData { path, data: b"", version: NO_VERSION });
                plan.fails = true;
            }
            _ => {
                for node in removed_again.iter().rev() {
                    created.remove(node);
                    let path = node.below(&self.chroot);
                    plan.push(node, Right::Remove, Part::Delete { path, version: ANY_VERSION });
                }
            }
        }
        for operation in branch {
            let node = operation.node();
            let is_there = now.get(node).is_some_and(Option::is_some);
            match operation {
                Operation::Set { node, data } if is_there => {
                    let path = node.below(&self.chroot);
                    pending.push(Pending::Written(node.clone(), plan.parts.len()));
                    plan.push(node, Right::Write, Part::SetData { path, data, version: ANY_VERSION });
                    let stat = now[node].as_ref().map_or(Stat::default(), |(stat, _)| *stat);
                    let stat = Stat { version: stat.version.wrapping_add(1), ..stat };
                    now.insert(node, Some((stat, Some(data.clone()))));
                }
                Operation::Set { node, data } => {
                    let new = self.create(node, data, acl, &now, &mut created, &mut plan).await?;
                    // What follows finds the parents, too.
                    for later in branch.iter().map(Operation::node).filter(|later| new.contains(later)) {
                        now.insert(later, Some((Stat::default(), Some(Vec::new()))));
                    }
                    pending.push(Pending::Known(OperationResult::Set { node: node.clone(), version: 0 }));
                    now.insert(node, Some((Stat::default(), Some(data.clone()))));
                }
                Operation::Remove { node } if is_there => {
                    created.remove(node);
                    let path = node.below(&self.chroot);
                    plan.push(node, Right::Remove, Part::Delete { path, version: ANY_VERSION });
                    pending.push(Pending::Known(OperationResult::Removed { node: node.clone() }));
                    now.insert(node, None);
                }
                Operation::Remove { node } => {
                    return Err(ClientError::NothingToRemove {
                        node: node.clone(),
                        store: self.store.clone(),
                    });
                }
                Operation::Get { node } => {
                    let found = now.get(node).cloned().flatten();
                    let found = found.map(|(stat, data)| (data.unwrap_or_default(), stat.version.into()));
                    pending.push(Pending::Known(OperationResult::Got { node: node.clone(), found }));
                }
            }
        }
        Ok(Some((plan, pending)))
    }

    /// Adds the creation of a node and of the parents that are missing `now`, or in the store. Returns the
    /// nodes that are created, from the root down.
    async fn create<'a>(
        &self,
        node: &NodePath,
        data: &'a [u8],
        acl: &'a Acl,
        now: &HashMap<&NodePath, Seen>,
        created: &mut HashSet<NodePath>,
        plan: &mut Plan<'a>,
    ) -> Result<Vec<NodePath>, ClientError> {
        let mut missing = vec![node.clone()];
        let whole = node.below(&self.chroot);
        let parents: Vec<_> = whole.self_and_ancestors().map(NodePath::unchecked).collect();
        for parent in parents.iter().rev().skip(1) {
            let Some(relative) = parent.above(&self.chroot) else { break };
            let is_there = match now.get(&relative) {
                // The transaction may have removed it, or created it to ask whether it is absent.
                Some(seen) => seen.is_some() || created.contains(&relative),
                None => created.contains(&relative) || self.look(&relative, false).await?.is_some(),
            };
            if is_there {
                break;
            }
            missing.push(relative);
        }
        missing.reverse();
        for (index, new) in missing.iter().enumerate() {
            let data = if index + 1 == missing.len() { data } else { b"" };
            plan.push(
                new,
                Right::Create,
                Part::Create { path: new.below(&self.chroot), data, acl, is_ephemeral: false },
            );
            created.insert(new.clone());
        }
        Ok(missing)
    }

    /// Does the multi. Returns the version after each part, or `None` if it was thwarted.
    async fn perform(
        &self,
        plan: Plan<'_>,
        pins: usize,
        first: &NodePath,
    ) -> Result<Option<Vec<i64>>, ClientError> {
        // What was read of one node was so at one moment.
        let only_checks = plan.fails || plan.parts.iter().all(|part| matches!(part, Part::Check { .. }));
        let is_one_read = pins <= 1 && only_checks;
        if is_one_read {
            return Ok(Some(Vec::new()));
        }
        let results = match self.ask(Request::Multi { parts: &plan.parts }).await {
            Ok(Reply::Multi(results)) if results.len() == plan.parts.len() => results,
            Ok(reply) => return Err(self.unexpected(first, reply)),
            Err(Failure::Lost(reason)) => {
                let data: Vec<u8> = plan.parts.iter().flat_map(|part| part.data().iter().copied()).collect();
                if self.is_too_large(first, &data).await {
                    return Err(self.too_large(first, data.len()));
                }
                let doubt = if plan.fails { Doubt::None } else { Doubt::Transaction };
                return Err(ClientError::Lost { store: self.store.clone(), reason, doubt });
            }
            Err(Failure::NoAnswer) => {
                let (store, timeout) = (self.store.clone(), self.settings.session_timeout);
                return Err(ClientError::NoAnswer { store, timeout, doubt: Doubt::Transaction });
            }
            Err(failure) => return Err(self.explain(first, Right::Write, failure).await),
        };
        let failure = results.iter().enumerate().find_map(|(index, result)| match result {
            PartResult::Failed(code) => Some((index, *code)),
            PartResult::Done | PartResult::Version(_) | PartResult::Undone => None,
        });
        match failure {
            None => Ok(Some(
                results
                    .iter()
                    .map(|result| match result {
                        PartResult::Version(version) => i64::from(*version),
                        PartResult::Done | PartResult::Undone | PartResult::Failed(_) => 0,
                    })
                    .collect(),
            )),
            Some((index, ErrorCode::BadVersion)) if plan.fails && index + 1 == plan.parts.len() => {
                Ok(Some(Vec::new()))
            }
            Some((_, ErrorCode::BadVersion | ErrorCode::NoNode | ErrorCode::NodeExists)) => Ok(None),
            Some((index, code)) => {
                let (node, right) = &plan.about[index];
                Err(self.explain(node, *right, Failure::Server(code)).await)
            }
        }
    }
}

fn length(operation: &Operation) -> usize {
    match operation {
        Operation::Set { data, .. } => data.len(),
        Operation::Remove { .. } | Operation::Get { .. } => 0,
    }
}
