//! Translates a whole file.

use std::collections::{HashMap, HashSet};

use super::changes;
use super::evaluate::{Binding, Evaluator, module_item};
use super::names::{placeholders, rhai_name};
use super::parse::{Action, Arguments, Expr, Statement, statements};
use super::tokens::{Comment, Kind, tokenize};
use super::value::{Typed, Value};
use super::watch::watch;
use crate::text::printable;

/// A translation.
#[derive(Debug, Default, PartialEq)]
pub struct Translation {
    pub rhai: String,
    /// The lines that are not translated, and why.
    pub marks: Vec<(usize, String)>,
}

/// Translates a config of the original. `None`: the text is none, because it never calls `RegisterWatch`.
pub fn translate(source: &str) -> Option<Translation> {
    let source = source.strip_prefix('\u{feff}').unwrap_or(source).replace("\r\n", "\n").replace('\r', "\n");
    let (lines, comments) = tokenize(&source);
    let mut used = HashSet::new();
    for token in lines.iter().flat_map(|line| &line.tokens) {
        if let Kind::Name(name) = &token.kind {
            used.insert(name.clone());
        }
    }
    // `#{` is a map of Rhai, and the start of a comment in Python.
    let is_rhai = comments.iter().any(|comment| comment.text.starts_with('{'));
    if is_rhai || !used.contains("RegisterWatch") {
        return None;
    }
    let mut translator = Translator {
        lines: source.lines().collect(),
        comments,
        used,
        placeholders: placeholders(&source),
        evaluator: Evaluator::default(),
        rhai_names: HashMap::new(),
        scopes: vec![HashSet::new()],
        descriptions: HashSet::new(),
        added: Vec::new(),
        marks: Vec::new(),
    };
    let statements = statements(&lines);
    let (mut rhai, end) = translator.file(&statements);
    rhai += &translator.lead(end, translator.lines.len() + 1, usize::MAX, 0);
    rhai.truncate(rhai.trim_end().len());
    rhai.push('\n');
    Some(Translation { rhai, marks: translator.marks })
}

struct Translator<'a> {
    lines: Vec<&'a str>,
    comments: Vec<Comment>,
    used: HashSet<String>,
    placeholders: HashSet<&'a str>,
    evaluator: Evaluator,
    /// The names of variables in Rhai.
    rhai_names: HashMap<String, String>,
    /// The variables that are declared, for each open block of Rhai.
    scopes: Vec<HashSet<String>>,
    descriptions: HashSet<Vec<u8>>,
    /// The descriptions in their order.
    added: Vec<Vec<u8>>,
    marks: Vec<(usize, String)>,
}

/// What cannot be translated, and its line.
type Failure = (usize, String);

impl Translator<'_> {
    /// Translates the statements outside of loops. Returns the last line as well.
    fn file(&mut self, statements: &[Statement]) -> (String, usize) {
        let (mut rhai, mut end) = (String::new(), 0);
        for statement in statements {
            let text = match self.statement(statement, 0) {
                Ok(text) => format!("{}{text}", self.lead(end, statement.first, statement.head, 0)),
                Err((line, why)) => {
                    let why = if line == statement.first { why } else { format!("line {line}: {why}") };
                    let lead = self.lead(end, statement.first, 0, 0);
                    let text = format!("{lead}{}", self.marked(statement, &why));
                    self.marks.push((statement.first, why));
                    changes::forget(&mut self.evaluator.names, statement);
                    text
                }
            };
            rhai += &text;
            end = statement.last;
        }
        (rhai, end)
    }

    /// Returns the comments after line `end` that belong to the statement in the lines from `first` to
    /// `last`, and an empty line if there is one before it.
    fn lead(&self, end: usize, first: usize, last: usize, depth: usize) -> String {
        let from = self.comments.partition_point(|comment| comment.line <= end);
        let is_here = |comment: &&Comment| comment.line < first || comment.line <= last;
        let comments: Vec<&Comment> = self.comments[from..].iter().take_while(is_here).collect();
        let start = comments.first().map_or(first, |comment| comment.line.min(first));
        let mut text = String::new();
        let before = start.checked_sub(2).and_then(|index| self.lines.get(index));
        if end > 0 && before.is_some_and(|line| line.trim().is_empty()) {
            text.push('\n');
        }
        for comment in comments {
            let is_of_python =
                comment.line <= 2 && (comment.text.starts_with('!') || comment.text.contains("coding"));
            if !is_of_python {
                text += &commented(&comment.text, depth);
            }
        }
        text
    }

    /// Returns the lines of a statement in comments.
    fn marked(&self, statement: &Statement, why: &str) -> String {
        let mut text = format!("// line {}: {}\n", statement.first, printable(why.as_bytes()));
        for number in statement.first..=statement.last {
            let line = self.lines.get(number.saturating_sub(1)).copied().unwrap_or_default();
            text += &format!("//     {}", printable(line.replace('\t', "    ").as_bytes()));
            text.truncate(text.trim_end().len());
            text.push('\n');
        }
        text
    }

    fn statement(&mut self, statement: &Statement, depth: usize) -> Result<String, Failure> {
        let here = |why| (statement.first, why);
        self.evaluator.step().map_err(here)?;
        let indent = "    ".repeat(depth);
        match &statement.action {
            Action::Nothing => Ok(String::new()),
            Action::Marked(why) => Err(here(why.clone())),
            Action::Import(names) => {
                for (name, path) in names {
                    let item = module_item(path).map_err(here)?;
                    self.evaluator.names.insert(name.clone(), Binding::Known(item));
                }
                Ok(String::new())
            }
            Action::Assign(name, value) => self.assign(name, value, &indent).map_err(here),
            Action::Evaluate(Expr::Text(bytes)) => {
                let text = String::from_utf8_lossy(bytes);
                Ok(text.trim().lines().map(|line| commented(line, depth)).collect())
            }
            Action::Evaluate(Expr::Call(callee, arguments)) if self.is_register_watch(callee) => {
                self.watch(arguments, &indent).map_err(here)
            }
            Action::Evaluate(value) => {
                self.evaluator.evaluate(value).map_err(here)?;
                Err(here("it has no effect that is translated".into()))
            }
            Action::For { targets, over, body } => {
                let added = self.added.len();
                let result = self.repeat(statement, targets, over, body, depth);
                if result.is_err() {
                    for description in self.added.drain(added..) {
                        self.descriptions.remove(&description);
                    }
                }
                result
            }
        }
    }

    fn is_register_watch(&self, callee: &Expr) -> bool {
        self.evaluator.is_own(callee, "RegisterWatch")
    }

    fn rhai_name(&mut self, name: &str) -> String {
        if let Some(known) = self.rhai_names.get(name) {
            return known.clone();
        }
        let free = rhai_name(name, &self.placeholders, &self.used);
        self.rhai_names.insert(name.to_owned(), free.clone());
        free
    }

    fn assign(&mut self, name: &str, value: &Expr, indent: &str) -> Result<String, String> {
        if changes::OWN.contains(&name) {
            return Err(format!("`{name}` gets another meaning"));
        }
        let value = self.evaluator.evaluate(value)?;
        if let Value::Module(_) = value.value {
            return Err("this value is not translated".into());
        }
        let code = value.rhai()?;
        let rhai_name = self.rhai_name(name);
        let is_declared = self.scopes.iter().any(|scope| scope.contains(&rhai_name));
        let declaration = if is_declared { "" } else { "let " };
        if !is_declared && let Some(scope) = self.scopes.last_mut() {
            scope.insert(rhai_name.clone());
        }
        let known = Typed::new(value.value, rhai_name.clone());
        self.evaluator.names.insert(name.to_owned(), Binding::Known(known));
        Ok(format!("{indent}{declaration}{rhai_name} = {code};\n"))
    }

    fn watch(&mut self, arguments: &Arguments, indent: &str) -> Result<String, String> {
        let watch = watch(arguments, &mut self.evaluator, &self.descriptions)?;
        let mut text = String::new();
        for note in &watch.notes {
            text += &format!("{indent}// {note}\n");
        }
        text += &format!("{indent}RegisterWatch(#{{\n");
        for (name, code, comment) in &watch.keys {
            let comment = if comment.is_empty() { String::new() } else { format!(" // {comment}") };
            text += &format!("{indent}    {name}: {code},{comment}\n");
        }
        text += &format!("{indent}}});\n");
        if let Some(description) = watch.description {
            self.descriptions.insert(description.clone());
            self.added.push(description);
        }
        Ok(text)
    }

    fn repeat(
        &mut self,
        statement: &Statement,
        targets: &[String],
        over: &Expr,
        body: &[Statement],
        depth: usize,
    ) -> Result<String, Failure> {
        let here = |why: String| (statement.first, why);
        if targets.iter().any(|target| changes::OWN.contains(&target.as_str())) {
            return Err(here("the loop's variable has a name of Twitcher".into()));
        }
        let (values, code) = self.items(over).map_err(here)?;
        if values.is_empty() {
            return Err(here("the loop has nothing to do".into()));
        }
        let names: Vec<String> = targets.iter().map(|target| self.rhai_name(target)).collect();
        let indent = "    ".repeat(depth);
        let (variable, bindings) = match &*names {
            [name] => (name.clone(), String::new()),
            names => {
                let mut row = "row".to_owned();
                while self.used.contains(&row) || self.placeholders.contains(&*row) {
                    row.push('_');
                }
                let binding =
                    |(at, name): (usize, &String)| format!("{indent}    let {name} = {row}[{at}];\n");
                let bindings = names.iter().enumerate().map(binding).collect();
                (row, bindings)
            }
        };
        let head = format!("{indent}for {variable} in {code} {{\n{bindings}");
        let mut first: Option<String> = None;
        for value in &values {
            self.scopes.push(HashSet::new());
            let result = self.round(targets, value, statement, body, depth);
            self.scopes.pop();
            let text = result?;
            match &first {
                None => first = Some(text),
                Some(before) if *before == text => {}
                Some(_) => return Err(here("the rounds of the loop differ too much".into())),
            }
        }
        // In Rhai, these variables end with the loop.
        let assigned = changes::assigned(body);
        for name in targets.iter().chain(&assigned) {
            let rhai_name = self.rhai_name(name);
            let is_declared = self.scopes.iter().any(|scope| scope.contains(&rhai_name));
            if !is_declared || targets.contains(name) {
                let lost = Binding::Lost(format!("is set in the loop of line {}", statement.first));
                self.evaluator.names.insert(name.clone(), lost);
            }
        }
        Ok(format!("{head}{}{indent}}}\n", first.unwrap_or_default()))
    }

    fn round(
        &mut self,
        targets: &[String],
        value: &Value,
        statement: &Statement,
        body: &[Statement],
        depth: usize,
    ) -> Result<String, Failure> {
        let values = match (targets, value) {
            ([_], value) => vec![value.clone()],
            (_, Value::List(items) | Value::Tuple(items)) if items.values.len() == targets.len() => {
                items.values.to_vec()
            }
            _ => return Err((statement.first, "the loop's values do not fit its variables".into())),
        };
        for (target, value) in targets.iter().zip(values) {
            let rhai_name = self.rhai_name(target);
            let known = Typed::new(value, rhai_name);
            self.evaluator.names.insert(target.clone(), Binding::Known(known));
        }
        let (mut text, mut end) = (String::new(), statement.head);
        for inner in body {
            let is_target = |name: &String| targets.contains(name);
            let sets_target = match &inner.action {
                Action::Assign(name, _) => is_target(name),
                Action::For { targets, .. } => targets.iter().any(is_target),
                Action::Evaluate(_) | Action::Import(_) | Action::Nothing | Action::Marked(_) => false,
            };
            if sets_target {
                return Err((inner.first, "it sets the variable of the loop".into()));
            }
            let inner_text = self.statement(inner, depth + 1)?;
            text += &self.lead(end, inner.first, inner.head, depth + 1);
            text += &inner_text;
            end = inner.last;
        }
        Ok(text)
    }

    /// Returns the values of a loop, and the code that makes them.
    fn items(&mut self, over: &Expr) -> Result<(Vec<Value>, String), String> {
        if let Expr::Call(callee, arguments) = over
            && ["range", "xrange"].iter().any(|name| self.evaluator.is_own(callee, name))
        {
            let mut numbers = Vec::new();
            let mut code = Vec::new();
            for argument in &arguments.positional {
                let number = self.evaluator.evaluate(argument)?;
                code.push(number.rhai()?);
                match number.value {
                    Value::Int(number) => numbers.push(number),
                    other => return Err(format!("a range of {} is not translated", other.kind())),
                }
            }
            let (from, to) = match (&*numbers, arguments.named.is_empty()) {
                ([to], true) => (0, *to),
                ([from, to], true) => (*from, *to),
                _ => return Err("this range is not translated".into()),
            };
            if code.len() == 1 {
                code.insert(0, "0".into());
            }
            if to.saturating_sub(from) > MAX_RANGE {
                return Err("the range is too long".into());
            }
            return Ok(((from..to).map(Value::Int).collect(), format!("range({})", code.join(", "))));
        }
        let over = self.evaluator.evaluate(over)?;
        match &over.value {
            Value::List(items) | Value::Tuple(items) => Ok((items.values.to_vec(), over.rhai()?)),
            other => Err(format!("a loop over {} is not translated", other.kind())),
        }
    }
}

/// The daemon takes this many watches of a file.
const MAX_RANGE: i64 = 100_000;

/// Returns a line of a comment.
fn commented(text: &str, depth: usize) -> String {
    let text = printable(text.trim_start_matches('#').replace('\t', "    ").as_bytes());
    let line = format!("{}// {}", "    ".repeat(depth), text.trim());
    line.trim_end().to_owned() + "\n"
}
