//! Where the keys of `RegisterWatch` and `RegisterService` stand in the source. The maps of the interpreter
//! do not know it.

use std::collections::HashMap;

use rhai::{AST, ASTNode, BinaryExpr, Expr, FnCallExpr, Position, Stmt};

use super::registration::CallPosition;

/// The places of the keys in the map literals of a script and its modules.
#[derive(Default)]
pub struct Places {
    /// The keys in the argument of each call of these functions.
    calls: HashMap<CallPosition, Vec<(Vec<String>, Position)>>,
    /// The only place of each key of a map elsewhere in the sources. `None`: there are several.
    anywhere: HashMap<Vec<String>, Option<CallPosition>>,
}

impl Places {
    /// Adds the places in `ast`, which must not be optimized: the optimizer makes values of maps.
    pub fn add(&mut self, source: &str, ast: &AST) {
        ast.walk(&mut |path: &[ASTNode]| {
            match path.last() {
                Some(ASTNode::Stmt(Stmt::FnCall(call, at)) | ASTNode::Expr(Expr::FnCall(call, at))) => {
                    self.call(source, call, *at);
                }
                // Only the outermost map, because the keys of the maps in it have longer paths.
                Some(ASTNode::Expr(map @ Expr::Map(..))) if !is_within(path) => {
                    let mut keys = Vec::new();
                    collect(map, &mut Vec::new(), &mut keys);
                    keys.into_iter().for_each(|(key, at)| self.found(source, key, at));
                }
                // `watch.timeout = 60`
                Some(ASTNode::Stmt(Stmt::Assignment(assignment))) => {
                    if let Expr::Dot(access, ..) = &assignment.1.lhs
                        && let BinaryExpr { rhs: Expr::Property(property, at), .. } = &**access
                    {
                        self.found(source, vec![property.2.to_string()], *at);
                    }
                }
                _ => {}
            }
            true
        });
    }

    /// Returns the place of the key at `path` in the argument of the call, or the only place where
    /// the sources have such a key.
    pub fn find(&self, call: &CallPosition, path: &[String]) -> Option<CallPosition> {
        if path.is_empty() {
            return None;
        }
        // The last one wins, as in `usual() + #{ ... }`.
        let in_call = self.calls.get(call).and_then(|keys| keys.iter().rev().find(|(key, _)| key == path));
        let in_call = in_call.map(|(_, at)| CallPosition::new(&call.source, *at));
        let anywhere = || self.anywhere.get(path).cloned().flatten();
        // Without the place of a key within a value, that of the value.
        in_call.or_else(anywhere).or_else(|| self.find(call, &path[..path.len() - 1]))
    }

    fn call(&mut self, source: &str, call: &FnCallExpr, at: Position) {
        if is_registration(call) {
            let mut keys = Vec::new();
            call.args.iter().for_each(|argument| collect(argument, &mut Vec::new(), &mut keys));
            self.calls.insert(CallPosition::new(source, at), keys);
        }
    }

    fn found(&mut self, source: &str, key: Vec<String>, at: Position) {
        let place = CallPosition::new(source, at);
        self.anywhere
            .entry(key)
            .and_modify(|known| {
                if known.as_ref() != Some(&place) {
                    *known = None;
                }
            })
            .or_insert_with(|| Some(place.clone()));
    }
}

/// Whether a map or a registering call is around the last node of `path`.
fn is_within(path: &[ASTNode]) -> bool {
    path[..path.len() - 1].iter().any(|node| match node {
        ASTNode::Expr(Expr::Map(..)) => true,
        ASTNode::Stmt(Stmt::FnCall(call, _)) | ASTNode::Expr(Expr::FnCall(call, _)) => is_registration(call),
        _ => false,
    })
}

fn is_registration(call: &FnCallExpr) -> bool {
    matches!(call.name.as_str(), "RegisterWatch" | "RegisterService")
}

/// Adds the keys of the map literals in `expr`, but not those in other functions or blocks.
fn collect(expr: &Expr, path: &mut Vec<String>, keys: &mut Vec<(Vec<String>, Position)>) {
    match expr {
        Expr::Map(map, _) => {
            for (key, value) in &map.0 {
                path.push(key.name.to_string());
                keys.push((path.clone(), key.pos));
                collect(value, path, keys);
                path.pop();
            }
        }
        // `usual() + #{ ... }` is a call of `+`.
        Expr::FnCall(call, _) => call.args.iter().for_each(|argument| collect(argument, path, keys)),
        _ => {}
    }
}
