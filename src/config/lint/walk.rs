//! Follows the names through the code, in the order of the interpreter.

use std::collections::{BTreeMap, BTreeSet};

use rhai::{ASTNode, Expr, FlowControl, FnCallExpr, Position, Stmt, StmtBlock};

use super::facts::Facts;
use super::finding::{Finding, Unknown};
use super::text;
use crate::config::library::Library;
use crate::config::message;
use crate::config::mistake::Mistake;
use crate::config::vocabulary::{CONSTANTS, FUNCTIONS, Scope, signals};
use crate::text::suggest;

/// The fields of the event, of an element of its `changes`, and of the result of `run`.
const EVENT: &[&str] = &[
    "znode", "event", "data", "text", "children", "changes", "members", "value", "commit", "version", "watch",
];
const CHANGE: &[&str] = &["znode", "event", "version", "size", "text", "data"];
const RESULT: &[&str] = &["code", "stdout", "stderr"];

/// The keys whose texts no shell reads.
const PLAIN: [&str; 9] =
    ["znode", "service", "address", "description", "cwd", "uid", "gid", "store", "output"];

/// The fields of a map, if they are known.
type Shape = Option<&'static [&'static str]>;

pub struct Walk<'a> {
    source: &'a str,
    sources: &'a BTreeMap<&'a str, Facts>,
    facts: &'a Facts,
    /// The fields that the sources set.
    fields: &'a BTreeSet<&'a str>,
    library: &'a Library,
    /// The variables that the present code sees.
    scope: Vec<(String, Shape)>,
    in_function: bool,
    pub findings: Vec<Finding>,
}

impl<'a> Walk<'a> {
    /// Starts with the code of the script or module itself.
    pub fn new(
        source: &'a str,
        sources: &'a BTreeMap<&'a str, Facts>,
        fields: &'a BTreeSet<&'a str>,
        library: &'a Library,
    ) -> Self {
        let facts = &sources[source];
        let (scope, findings) = (Vec::new(), Vec::new());
        Self { source, sources, facts, fields, library, scope, in_function: false, findings }
    }

    /// Goes on with the code of a function, which sees only its parameters.
    pub fn enter(&mut self, function: &str, parameters: &[String]) {
        self.in_function = true;
        self.scope = parameters.iter().map(|name| (name.clone(), None)).collect();
        if self.facts.event_functions.contains(function)
            && let Some((_, shape)) = self.scope.last_mut()
        {
            *shape = Some(EVENT);
        }
    }

    pub fn root(&mut self, node: &ASTNode) {
        match node {
            ASTNode::Stmt(statement) => self.statement(statement),
            ASTNode::Expr(expr) => self.expr(expr),
            _ => {}
        }
    }

    fn block(&mut self, block: &StmtBlock) {
        let depth = self.scope.len();
        block.as_ref().iter().for_each(|statement| self.statement(statement));
        self.scope.truncate(depth);
    }

    fn statement(&mut self, statement: &Stmt) {
        match statement {
            Stmt::If(flow, _) | Stmt::While(flow, _) | Stmt::Do(flow, ..) => {
                let FlowControl { expr, body, branch } = &**flow;
                self.expr(expr);
                self.block(body);
                self.block(branch);
            }
            Stmt::Switch(switch, _) => {
                self.expr(&switch.0);
                for case in &switch.1.expressions {
                    self.expr(&case.lhs);
                    self.expr(&case.rhs);
                }
            }
            Stmt::For(parts, _) => {
                let (item, counter, FlowControl { expr, body, .. }) = &**parts;
                self.expr(expr);
                let depth = self.scope.len();
                let shape = self.is_changes(expr).then_some(CHANGE);
                self.scope.push((item.name.to_string(), shape));
                self.scope.extend(counter.iter().map(|counter| (counter.name.to_string(), None)));
                self.block(body);
                self.scope.truncate(depth);
            }
            Stmt::Var(variable, ..) => {
                self.expr(&variable.1);
                let shape = self.shape(&variable.1);
                self.scope.push((variable.0.name.to_string(), shape));
            }
            Stmt::Assignment(assignment) => {
                self.expr(&assignment.1.rhs);
                self.expr(&assignment.1.lhs);
            }
            Stmt::FnCall(call, at) => self.call(call, *at),
            Stmt::Block(block) => self.block(block),
            Stmt::TryCatch(flow, _) => {
                self.block(&flow.body);
                let depth = self.scope.len();
                if let Expr::Variable(name, ..) = &flow.expr {
                    self.scope.push((name.1.to_string(), None));
                }
                self.block(&flow.branch);
                self.scope.truncate(depth);
            }
            Stmt::Expr(expr) => self.expr(expr),
            Stmt::BreakLoop(Some(expr), ..) | Stmt::Return(Some(expr), ..) => self.expr(expr),
            Stmt::Import(import, _) => self.expr(&import.0),
            Stmt::Export(names, _) => self.variable(&names.0.name, names.0.pos),
            _ => {}
        }
    }

    fn expr(&mut self, expr: &Expr) {
        match expr {
            Expr::StringConstant(text, at) => self.text(text, *at),
            Expr::InterpolatedString(parts, _) | Expr::Array(parts, _) => {
                parts.iter().for_each(|part| self.expr(part));
            }
            Expr::Map(map, _) => {
                for (key, value) in &map.0 {
                    match value {
                        Expr::StringConstant(text, at) if PLAIN.contains(&key.name.as_str()) => {
                            self.plain_text(text, *at);
                        }
                        _ => self.expr(value),
                    }
                }
            }
            Expr::Variable(name, _, at) => match name.2.path.as_slice() {
                [] => self.variable(&name.1, *at),
                [module] => self.module_variable(&module.name, &name.1, *at),
                _ => {}
            },
            Expr::MethodCall(call, at) => self.method(call, *at),
            Expr::Stmt(block) => self.block(block),
            Expr::FnCall(call, at) => self.call(call, *at),
            Expr::Dot(access, ..) | Expr::Index(access, ..) => {
                self.expr(&access.lhs);
                if let Some(fields) = self.shape(&access.lhs) {
                    self.field(fields, &access.rhs);
                }
                self.expr(&access.rhs);
            }
            Expr::And(parts, _) | Expr::Or(parts, _) | Expr::Coalesce(parts, _) => {
                parts.iter().for_each(|part| self.expr(part));
            }
            Expr::Custom(custom, _) => custom.inputs.iter().for_each(|input| self.expr(input)),
            _ => {}
        }
    }

    fn find(&mut self, at: Position, text: String, unknown: Option<Unknown>) {
        self.findings.push(Finding { mistake: Mistake::new(self.source, at, text), unknown });
    }

    fn is_variable(&self, name: &str) -> bool {
        self.scope.iter().any(|(known, _)| known == name)
    }

    fn variable(&mut self, name: &str, at: Position) {
        let is_word = CONSTANTS.iter().any(|it| it.name == name) || signals().any(|(it, _)| it == name);
        if is_word
            || self.is_variable(name)
            || self.facts.functions.contains_key(name)
            || self.facts.asks_for_names
        {
            return;
        }
        let text = match self.facts.variables.get(name).filter(|_| self.in_function) {
            Some(true) => format!("`{name}` is not visible in a function; write global::{name}"),
            Some(false) => format!(
                "`{name}` is not visible in a function; give it to the function as an argument, or use a \
                 closure, |event| ..., which sees it"
            ),
            None => {
                let names = self.names();
                message::unknown_variable(name, &names)
            }
        };
        self.find(at, text, Some(Unknown::Variable(name.to_owned())));
    }

    /// Returns the names that a mistyped name may have been.
    fn names(&self) -> Vec<String> {
        let variables = self.scope.iter().map(|(name, _)| name.clone());
        let functions = self.facts.functions.keys().filter(|name| !name.starts_with("anon$")).cloned();
        variables.chain(functions).collect()
    }

    fn module_variable(&mut self, module: &str, name: &str, at: Position) {
        if module == "global" {
            let is_constant = self.facts.variables.get(name) == Some(&true);
            if !is_constant && !self.facts.asks_for_names {
                let constants = self.facts.variables.iter().filter(|(_, constant)| **constant);
                let near = suggest(name, constants.map(|(name, _)| name.as_str()));
                self.find(at, format!("unknown constant `global::{name}`{near}"), None);
            }
            return;
        }
        let Some(exports) = self.module(module, at) else { return };
        if !exports.exported.contains(name) {
            let near = suggest(name, exports.exported.iter().map(String::as_str));
            let text = match exports.variables.contains_key(name) {
                true => {
                    format!("the module of `{module}` does not export `{name}`; write `export` before it")
                }
                false => format!("unknown variable `{module}::{name}`{near}"),
            };
            self.find(at, text, None);
        }
    }

    /// Returns what the module with this name defines, if that is known.
    fn module(&mut self, name: &str, at: Position) -> Option<&'a Facts> {
        let (facts, sources) = (self.facts, self.sources);
        match facts.imports.get(name) {
            Some(module) => sources.get(module.as_deref()?),
            None => {
                let near = suggest(name, facts.imports.keys().map(String::as_str));
                self.find(
                    at,
                    format!("unknown module `{name}`; nothing is imported as `{name}`{near}"),
                    None,
                );
                None
            }
        }
    }

    fn call(&mut self, call: &FnCallExpr, at: Position) {
        call.args.iter().for_each(|argument| self.expr(argument));
        let (name, count) = (call.name.as_str(), call.args.len());
        if call.op_token.is_some() || name.starts_with("anon$") {
            return;
        }
        match call.namespace.path.as_slice() {
            [] => self.function(name, count, at),
            [module] => {
                let Some(facts) = self.module(&module.name, at) else { return };
                let visible = |name: &&String| !facts.private.contains(*name) && !name.starts_with("anon$");
                match facts.functions.get(name).filter(|_| !facts.private.contains(name)) {
                    Some(counts) if counts.contains(&count) => {}
                    Some(counts) => self.find(at, wrong_count(name, counts, count), None),
                    None => {
                        let near = suggest(name, facts.functions.keys().filter(visible).map(String::as_str));
                        self.find(at, format!("unknown function `{}::{name}`{near}", module.name), None);
                    }
                }
            }
            _ => {}
        }
    }

    fn function(&mut self, name: &str, count: usize, at: Position) {
        if self.is_variable(name) || self.facts.asks_for_names {
            return;
        }
        let unknown = Some(Unknown::Function(name.to_owned(), count));
        match self.facts.functions.get(name) {
            Some(counts) if counts.contains(&count) || self.library.has(name) => {}
            Some(counts) => self.find(at, wrong_count(name, counts, count), unknown),
            None if self.library.has(name) => {}
            None => {
                let names = self.names();
                self.find(at, message::unknown_function(name, &names, self.in_function), unknown);
            }
        }
    }

    fn method(&mut self, call: &FnCallExpr, at: Position) {
        call.args.iter().for_each(|argument| self.expr(argument));
        let name = call.name.as_str();
        let is_known = self.facts.functions.contains_key(name)
            || self.fields.contains(name)
            || self.facts.asks_for_names
            || self.library.has(name);
        if !is_known {
            let names = self.names();
            self.find(at, message::unknown_function(name, &names, true), None);
        }
    }

    /// Returns the fields of the value, if it is the event or a result of `run`.
    fn shape(&self, expr: &Expr) -> Shape {
        match expr {
            Expr::Variable(name, ..) if name.2.path.is_empty() && !self.facts.assigned.contains(&*name.1) => {
                self.scope.iter().rev().find(|(known, _)| *known == *name.1).and_then(|(_, shape)| *shape)
            }
            Expr::FnCall(call, _) if call.name == "run" && call.namespace.path.is_empty() => {
                (!self.facts.functions.contains_key("run")).then_some(RESULT)
            }
            _ => None,
        }
    }

    fn is_changes(&self, expr: &Expr) -> bool {
        let Expr::Dot(access, ..) = expr else { return false };
        self.shape(&access.lhs) == Some(EVENT)
            && matches!(&access.rhs, Expr::Property(property, _) if property.2 == "changes")
    }

    /// Checks the field that `chain`, the rest after a dot or in brackets, names first.
    fn field(&mut self, fields: &[&str], chain: &Expr) {
        match chain {
            Expr::Property(property, at) => {
                let name = property.2.as_str();
                if !fields.contains(&name) && !self.facts.set_fields.contains(name) {
                    let near = suggest(name, fields.iter().copied());
                    let what = if fields == EVENT { "the event" } else { "this value" };
                    let all = fields.join(", ");
                    let text = match near.as_str() {
                        "" => format!("{what} has no field `{name}`; its fields are {all}"),
                        near => format!("{what} has no field `{name}`{near}"),
                    };
                    self.find(*at, text, None);
                }
            }
            Expr::Dot(chain, ..) | Expr::Index(chain, ..) => self.field(fields, &chain.lhs),
            _ => {}
        }
    }

    /// Checks a text in double quotes that a shell may read.
    fn text(&mut self, text: &str, at: Position) {
        let found = text::placeholders(text).find(|words| match text::leading_name(words) {
            Some((name, rest)) if rest.starts_with('(') => {
                self.facts.functions.contains_key(name)
                    || FUNCTIONS.iter().any(|it| it.name == name && it.scope != Scope::Action)
            }
            Some((name, _)) => match name.split_once("::") {
                Some((module, _)) => module == "global" || self.facts.imports.contains_key(module),
                None => self.is_variable(name),
            },
            None => false,
        });
        if let Some(words) = found {
            let text = format!(
                "a text in double quotes takes ${{{words}}} as it stands; put the text in backticks, \
                 `...${{{words}}}...`, for the value"
            );
            let shell = match text::leading_name(words) {
                Some((name, "")) => format!(", or write ${name} for a variable of the shell"),
                _ => String::new(),
            };
            self.find(at, format!("{text}{shell}"), None);
        }
    }

    /// Checks a text in double quotes that no shell reads.
    fn plain_text(&mut self, text: &str, at: Position) {
        if let Some(words) = text::placeholders(text).next() {
            let text = format!(
                "a text in double quotes takes ${{{words}}} as it stands; put the text in backticks, \
                 `...${{{words}}}...`, for the value"
            );
            self.find(at, text, None);
        }
    }
}

fn wrong_count(name: &str, counts: &BTreeSet<usize>, given: usize) -> String {
    let counts: Vec<String> = counts.iter().map(usize::to_string).collect();
    let plural = if counts == ["1"] { "" } else { "s" };
    format!("the function `{name}` takes {} argument{plural}, not {given}", counts.join(" or "))
}
