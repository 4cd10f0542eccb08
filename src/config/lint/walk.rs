//! Follows the names through the code, in the order of the interpreter.

use std::any::TypeId;
use std::collections::{BTreeMap, BTreeSet};
use std::mem;

use rhai::{ASTNode, Expr, FlowControl, FnCallExpr, Map, Position, Stmt, StmtBlock};

use super::facts::Facts;
use super::finding::{Finding, Unknown};
use super::shape::{Shape, Step, chain};
use super::text;
use crate::config::library::Library;
use crate::config::message;
use crate::config::mistake::Mistake;
use crate::config::python;
use crate::config::vocabulary::{CONSTANTS, FUNCTIONS, Scope, signals};
use crate::text::suggest;

/// The keys whose texts no shell reads.
const PLAIN: [&str; 9] =
    ["znode", "service", "address", "description", "cwd", "uid", "gid", "store", "output"];

/// What the calls of each function, by its name and number of parameters, give it: a shape where all give
/// the same.
pub type Given = BTreeMap<(String, usize), Vec<Option<Shape>>>;

pub struct Walk<'a> {
    source: &'a str,
    sources: &'a BTreeMap<&'a str, Facts>,
    facts: &'a Facts,
    /// The fields that the sources set.
    fields: &'a BTreeSet<&'a str>,
    library: &'a Library,
    /// The variables that the present code sees.
    scope: Vec<(String, Option<Shape>)>,
    /// What the present code is part of. A function may run at both times.
    place: Scope,
    given: &'a Given,
    found_given: Given,
    /// The functions that can be called through a variable.
    pointed_at: BTreeSet<String>,
    pub findings: Vec<Finding>,
}

impl<'a> Walk<'a> {
    /// Starts with the code of the script or module itself.
    pub fn new(
        source: &'a str,
        sources: &'a BTreeMap<&'a str, Facts>,
        fields: &'a BTreeSet<&'a str>,
        library: &'a Library,
        given: &'a Given,
    ) -> Self {
        Self {
            source,
            sources,
            facts: &sources[source],
            fields,
            library,
            scope: Vec::new(),
            place: Scope::Config,
            given,
            found_given: Given::new(),
            pointed_at: BTreeSet::new(),
            findings: Vec::new(),
        }
    }

    /// Goes on with the code of a function, which sees only its parameters.
    pub fn enter(&mut self, function: &str, parameters: &[String]) {
        let given = self.given.get(&(function.to_owned(), parameters.len()));
        let shape = |at: usize| given.and_then(|shapes| shapes[at]);
        self.scope = parameters.iter().enumerate().map(|(at, name)| (name.clone(), shape(at))).collect();
        if self.facts.event_functions.contains(function)
            && let Some((_, shape)) = self.scope.last_mut()
        {
            *shape = Some(Shape::Event);
        }
        // Only the function of an action has an event.
        let has_event = self.scope.iter().any(|(_, shape)| *shape == Some(Shape::Event));
        self.place = if has_event { Scope::Action } else { Scope::Both };
    }

    /// Returns what the calls give to the functions, as far as it is known. Other files may call the
    /// functions of a module, unless they are private.
    pub fn found_given(&mut self, is_module: bool) -> Given {
        let mut given = mem::take(&mut self.found_given);
        given.retain(|(name, _), shapes| {
            let is_known =
                !self.pointed_at.contains(name) && (!is_module || self.facts.private.contains(name));
            is_known && shapes.iter().any(Option::is_some)
        });
        given
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
                let shape = self.shape(expr).and_then(Shape::element);
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
            Stmt::Import(import, _) => match &import.0 {
                Expr::Variable(name, _, at) if name.2.path.is_empty() && !self.is_variable(&name.1) => {
                    let unknown = Some(Unknown::Variable(name.1.to_string()));
                    self.find(*at, python::import(&name.1), unknown);
                }
                path => self.expr(path),
            },
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
            Expr::Stmt(block) => self.block(block),
            Expr::FnCall(call, at) => self.call(call, *at),
            Expr::Dot(..) | Expr::Index(..) => {
                let (base, steps) = chain(expr);
                self.expr(base);
                let mut shape = self.shape(base);
                for step in &steps {
                    self.step(shape, step);
                    shape = shape.and_then(|shape| shape.after(step));
                }
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
        if !self.is_variable(name) {
            self.pointed_at.insert(name.to_owned());
        }
        let is_word = CONSTANTS.iter().any(|it| it.name == name) || signals().any(|(it, _)| it == name);
        if is_word
            || self.is_variable(name)
            || self.facts.functions.contains_key(name)
            || self.facts.asks_for_names
        {
            return;
        }
        let text = match self.facts.variables.get(name).filter(|_| self.place != Scope::Config) {
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
            [] => {
                self.give(call);
                self.function(name, count, at);
            }
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

    /// Notes what a call gives to the function.
    fn give(&mut self, call: &FnCallExpr) {
        if call.name == "Fn"
            && let Some(Expr::StringConstant(name, _)) = call.args.first()
        {
            self.pointed_at.insert(name.to_string());
        }
        let shapes: Vec<_> = call.args.iter().map(|argument| self.shape(argument)).collect();
        let known = self.found_given.entry((call.name.to_string(), shapes.len()));
        let known = known.or_insert_with(|| shapes.clone());
        for (known, shape) in known.iter_mut().zip(shapes) {
            *known = known.filter(|known| Some(*known) == shape);
        }
    }

    fn function(&mut self, name: &str, count: usize, at: Position) {
        if self.is_variable(name) || self.facts.asks_for_names {
            return;
        }
        let unknown = Some(Unknown::Function(name.to_owned(), count));
        let own = self.facts.functions.get(name);
        if own.is_some_and(|counts| counts.contains(&count)) {
            return;
        }
        let ours = FUNCTIONS.iter().find(|it| it.name == name);
        if ours.is_some_and(|it| it.scope == Scope::Config && it.usage.is_some())
            && self.place == Scope::Action
        {
            return self.find(at, message::unknown_function(name, &[], self.place), None);
        }
        if self.library.takes(name, count, None) {
            return;
        }
        let usage = ours.and_then(|it| it.usage.as_ref().filter(|_| it.scope.meets(self.place)));
        let text = match (own, usage) {
            (Some(counts), _) => wrong_count(name, counts, count),
            (None, Some(usage)) => usage.text.to_owned(),
            (None, None) => message::unknown_function(name, &self.names(), self.place),
        };
        self.find(at, text, unknown);
    }

    /// Checks a step of a chain. `shape` is the value before it.
    fn step(&mut self, shape: Option<Shape>, step: &Step<'_>) {
        if let (Some(shape), Some(name)) = (shape, step.name()) {
            let (Step::Dot(expr) | Step::Item(expr)) = step;
            self.field(shape, name, expr.position());
        }
        match step {
            Step::Dot(Expr::MethodCall(call, at)) => self.method(call, *at, shape),
            Step::Dot(expr) | Step::Item(expr) => self.expr(expr),
        }
    }

    fn method(&mut self, call: &FnCallExpr, at: Position, shape: Option<Shape>) {
        call.args.iter().for_each(|argument| self.expr(argument));
        let name = call.name.as_str();
        if self.facts.functions.contains_key(name) || self.fields.contains(name) || self.facts.asks_for_names
        {
            return;
        }
        // The events and changes are maps.
        let first = shape.filter(|shape| *shape != Shape::Changes).map(|_| TypeId::of::<Map>());
        if self.library.takes(name, call.args.len() + 1, first) {
            return;
        }
        let usage = FUNCTIONS.iter().find(|it| it.name == name).and_then(|it| it.usage.as_ref());
        let text = match usage {
            Some(usage) => format!("{}; before a dot stands the first one", usage.text),
            None => message::unknown_function(name, &self.names(), Scope::Both),
        };
        self.find(at, text, None);
    }

    /// Returns what is known of the value.
    fn shape(&self, expr: &Expr) -> Option<Shape> {
        match expr {
            Expr::Variable(name, ..) if name.2.path.is_empty() && !self.facts.assigned.contains(&*name.1) => {
                self.scope.iter().rev().find(|(known, _)| *known == *name.1).and_then(|(_, shape)| *shape)
            }
            Expr::FnCall(call, _) if call.name == "run" && call.namespace.path.is_empty() => {
                (!self.facts.functions.contains_key("run")).then_some(Shape::Outcome)
            }
            Expr::Dot(..) | Expr::Index(..) => {
                let (base, steps) = chain(expr);
                steps.iter().try_fold(self.shape(base)?, |shape, step| shape.after(step))
            }
            _ => None,
        }
    }

    /// Checks a field of a value.
    fn field(&mut self, shape: Shape, name: &str, at: Position) {
        let fields = shape.fields();
        if fields.is_empty() || fields.contains(&name) || self.facts.set_fields.contains(name) {
            return;
        }
        let (what, near) = (shape.name(), suggest(name, fields.iter().copied()));
        let text = match near.as_str() {
            "" => format!("{what} has no field `{name}`; its fields are {}", fields.join(", ")),
            near => format!("{what} has no field `{name}`{near}"),
        };
        self.find(at, text, None);
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
