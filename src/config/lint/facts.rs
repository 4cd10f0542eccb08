//! What a source defines.

use std::collections::{BTreeMap, BTreeSet};

use rhai::{AST, ASTFlags, ASTNode, Expr, FnAccess, FnPtr, Stmt};

use super::shape::{Step, chain};
use crate::config::modules;

/// What a file or module defines, and which of its names no rule can judge.
#[derive(Default)]
pub struct Facts {
    /// The numbers of parameters of each function.
    pub functions: BTreeMap<String, BTreeSet<usize>>,
    /// The functions that other files cannot call.
    pub private: BTreeSet<String>,
    /// The variables of the script itself, and whether each is a constant.
    pub variables: BTreeMap<String, bool>,
    pub exported: BTreeSet<String>,
    /// The names of imports, with the module of each, if its path is written out and valid.
    pub imports: BTreeMap<String, Option<String>>,
    /// The functions that are called with an event.
    pub event_functions: BTreeSet<String>,
    /// The keys of maps and the properties that are set. A function can be called through each.
    pub fields: BTreeSet<String>,
    /// The properties that are set.
    pub set_fields: BTreeSet<String>,
    /// The variables that get another value.
    pub assigned: BTreeSet<String>,
    /// The script asks whether names exist, so an unknown one is no mistake.
    pub asks_for_names: bool,
}

impl Facts {
    pub fn of(source: &str, ast: &AST) -> Self {
        let mut facts = Self::default();
        for (_, access, name, parameters, _) in ast.shared_lib().iter_script_fn_info() {
            facts.functions.entry(name.to_owned()).or_default().insert(parameters);
            if access == FnAccess::Private {
                facts.private.insert(name.to_owned());
            }
        }
        for statement in ast.statements() {
            match statement {
                Stmt::Var(variable, flags, _) => {
                    let name = variable.0.name.to_string();
                    if flags.contains(ASTFlags::EXPORTED) {
                        facts.exported.insert(name.clone());
                    }
                    facts.variables.insert(name, flags.contains(ASTFlags::CONSTANT));
                }
                Stmt::Export(names, _) => {
                    let alias = if names.1.name.is_empty() { &names.0 } else { &names.1 };
                    facts.exported.insert(alias.name.to_string());
                }
                _ => {}
            }
        }
        ast.walk(&mut |path: &[ASTNode]| {
            match path.last() {
                Some(ASTNode::Stmt(statement)) => facts.statement(source, statement),
                Some(ASTNode::Expr(expr)) => facts.expression(expr),
                _ => {}
            }
            true
        });
        facts
    }

    fn statement(&mut self, source: &str, statement: &Stmt) {
        match statement {
            Stmt::Import(import, _) => {
                let module = match &import.0 {
                    Expr::StringConstant(path, _) => modules::locate(source, path).ok(),
                    _ => None,
                };
                self.imports.insert(import.1.name.to_string(), module);
            }
            Stmt::Assignment(assignment) => match &assignment.1.lhs {
                Expr::Variable(name, ..) => _ = self.assigned.insert(name.1.to_string()),
                lhs => self.set(lhs),
            },
            Stmt::FnCall(call, _) => self.asks_for_names |= asks_for_names(&call.name),
            _ => {}
        }
    }

    /// The last name of `a.b.c` is set, and so are the others if they were not.
    fn set(&mut self, to: &Expr) {
        let (_, steps) = chain(to);
        for name in steps.iter().filter_map(Step::name) {
            self.fields.insert(name.to_owned());
            self.set_fields.insert(name.to_owned());
        }
    }

    fn expression(&mut self, expr: &Expr) {
        match expr {
            Expr::Map(map, _) => {
                for (key, value) in &map.0 {
                    self.fields.insert(key.name.to_string());
                    if matches!(key.name.as_str(), "action" | "check") {
                        self.event_functions.extend(function_of(value));
                    }
                }
            }
            Expr::FnCall(call, _) => self.asks_for_names |= asks_for_names(&call.name),
            _ => {}
        }
    }
}

fn asks_for_names(function: &str) -> bool {
    matches!(function, "is_def_var" | "is_def_fn")
}

/// Returns the name of the function that `expr` makes a value of: a closure or `Fn("name")`.
fn function_of(expr: &Expr) -> Option<String> {
    match expr {
        Expr::DynamicConstant(value, _) => {
            value.read_lock::<FnPtr>().map(|function| function.fn_name().to_owned())
        }
        Expr::FnCall(call, _) if call.name == "Fn" => match call.args.first() {
            Some(Expr::StringConstant(name, _)) => Some(name.to_string()),
            _ => None,
        },
        // The event is the argument after those that are curried.
        Expr::FnCall(call, _) if call.name == "curry" => call.args.first().and_then(function_of),
        // A closure that captures variables.
        Expr::Stmt(block) => match block.as_ref().as_ref().last() {
            Some(Stmt::Expr(expr)) => function_of(expr),
            _ => None,
        },
        _ => None,
    }
}
