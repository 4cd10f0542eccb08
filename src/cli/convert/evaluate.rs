//! Evaluates expressions of Python, and translates them on the way: the types decide what the code is in
//! Rhai.

use std::collections::HashMap;

use super::parse::{Arguments, Expr};
use super::value::{Code, Items, Piece, Typed, Value, quoted};
use crate::config::facts::is_variable_name;
use crate::config::vocabulary::signals;

/// What a name of the file stands for.
#[derive(Clone, Debug)]
pub enum Binding {
    Known(Typed),
    /// Why nobody knows.
    Lost(String),
}

/// How much one file may make of itself: evaluated expressions, and bytes of strings. A config that needs
/// more has more than the daemon takes.
#[derive(Debug)]
pub struct Budget {
    steps: usize,
    bytes: usize,
}

const BUDGET: Budget = Budget { steps: 2_000_000, bytes: 64 << 20 };

/// Deeper lists are not translated.
const MAX_LIST_DEPTH: usize = 20;

#[derive(Debug)]
pub struct Evaluator {
    pub names: HashMap<String, Binding>,
    budget: Budget,
}

impl Default for Evaluator {
    fn default() -> Self {
        Self { names: HashMap::new(), budget: BUDGET }
    }
}

type Evaluated = Result<Typed, String>;

/// What a string is made of: its bytes, if they are known, and the pieces of its code.
type Part = (Option<Vec<u8>>, Vec<Piece>);

impl Evaluator {
    pub fn evaluate(&mut self, expr: &Expr) -> Evaluated {
        self.step()?;
        match expr {
            Expr::Text(bytes) => Ok(Typed::literal(bytes)),
            Expr::Int(number) => Ok(Typed::new(Value::Int(*number), number.to_string())),
            Expr::Float(number) => float(*number),
            Expr::Name(name) => self.name(name),
            Expr::List(items) => self.items(items, Value::List),
            Expr::Tuple(items) => self.items(items, Value::Tuple),
            Expr::Negative(inner) => {
                let inner = self.evaluate(inner)?;
                let value = match inner.value {
                    Value::Int(number) => Value::Int(number.checked_neg().ok_or(TOO_LARGE)?),
                    Value::Float(number) => Value::Float(-number),
                    other => return Err(format!("`-` of {} is not translated", other.kind())),
                };
                Ok(Typed::new(value, format!("-{}", operand(&inner.code)?)))
            }
            Expr::Sum(terms) => {
                let terms = terms.iter().map(|term| self.evaluate(term)).collect::<Result<Vec<_>, _>>()?;
                self.sum(terms)
            }
            Expr::Binary("%", left, right) => {
                let left = self.evaluate(left)?;
                let Value::Text(Some(format)) = &left.value else {
                    return Err(format!("`%` of {} is not translated", left.value.kind()));
                };
                let format = format.clone();
                let arguments = self.arguments_of_percent(right)?;
                let parts = percent(&format, &arguments)?;
                self.joined(parts)
            }
            Expr::Binary(operator, left, right) => {
                let (left, right) = (self.evaluate(left)?, self.evaluate(right)?);
                arithmetic(operator, &left, &right)
            }
            Expr::Attribute(base, name) => self.attribute(base, name),
            Expr::Call(callee, arguments) => self.call(callee, arguments),
        }
    }

    pub fn step(&mut self) -> Result<(), String> {
        self.budget.steps = self.budget.steps.checked_sub(1).ok_or("the file makes too many steps")?;
        Ok(())
    }

    fn name(&self, name: &str) -> Evaluated {
        match (self.names.get(name), name) {
            (Some(Binding::Known(known)), _) => Ok(known.clone()),
            (Some(Binding::Lost(why)), _) => Err(format!("`{name}` {why}")),
            (None, "True") => Ok(Typed::new(Value::Bool(true), "true")),
            (None, "False") => Ok(Typed::new(Value::Bool(false), "false")),
            (None, "None") => Ok(Typed::new(Value::None, "()")),
            (None, _) => match CONSTANTS.iter().find(|constant| **constant == name) {
                Some(constant) => Ok(Typed::new(Value::Constant(constant), *constant)),
                None => Err(format!("`{name}` is not translated")),
            },
        }
    }

    /// Whether the original's own function has its name still.
    pub fn is_own(&self, expr: &Expr, function: &str) -> bool {
        matches!(expr, Expr::Name(name) if name == function) && !self.names.contains_key(function)
    }

    fn items(&mut self, items: &[Expr], make: fn(Items) -> Value) -> Evaluated {
        let (mut values, mut code) = (Vec::new(), Vec::new());
        for item in items {
            let item = self.evaluate(item)?;
            code.push(item.rhai()?);
            values.push(item.value);
        }
        list(values, format!("[{}]", code.join(", ")), make)
    }

    fn sum(&mut self, terms: Vec<Typed>) -> Evaluated {
        let is_all = |is: fn(&Value) -> bool| terms.iter().all(|term| is(&term.value));
        if is_all(|value| matches!(value, Value::Text(_))) {
            let parts = terms.iter().map(Typed::as_part).collect::<Result<_, _>>()?;
            return self.joined(parts);
        }
        if is_all(|value| matches!(value, Value::List(_))) {
            let code = terms.iter().map(Typed::rhai).collect::<Result<Vec<_>, _>>()?;
            let mut values = Vec::new();
            for term in &terms {
                if let Value::List(items) = &term.value {
                    self.take_bytes(items.values.len())?;
                    values.extend(items.values.iter().cloned());
                }
            }
            return list(values, code.join(" + "), Value::List);
        }
        let mut terms = terms.into_iter();
        let first = terms.next().ok_or("an empty sum")?;
        terms.try_fold(first, |left, right| arithmetic("+", &left, &right))
    }

    fn joined(&mut self, parts: Vec<Part>) -> Evaluated {
        let bytes = parts.iter().map(|(bytes, _)| bytes.as_ref().map_or(0, Vec::len)).sum::<usize>();
        self.take_bytes(bytes)?;
        Ok(Typed::joined(parts))
    }

    fn take_bytes(&mut self, bytes: usize) -> Result<(), String> {
        self.budget.bytes =
            self.budget.bytes.checked_sub(bytes).ok_or("the strings of the file get too long")?;
        Ok(())
    }

    /// Returns the items of a list or tuple, each with code of its own.
    pub fn each(&mut self, expr: &Expr) -> Result<Vec<Typed>, String> {
        if let Expr::List(items) | Expr::Tuple(items) = expr {
            return items.iter().map(|item| self.evaluate(item)).collect();
        }
        let whole = self.evaluate(expr)?;
        let (Value::List(items) | Value::Tuple(items)) = &whole.value else {
            return Err(format!("{} is no list", whole.value.kind()));
        };
        self.take_bytes(items.values.len())?;
        let code = whole.rhai()?;
        let item = |(at, value): (usize, &Value)| Typed::new(value.clone(), format!("{code}[{at}]"));
        Ok(items.values.iter().enumerate().map(item).collect())
    }

    fn arguments_of_percent(&mut self, right: &Expr) -> Result<Vec<Typed>, String> {
        if let Expr::Tuple(items) = right {
            return items.iter().map(|item| self.evaluate(item)).collect();
        }
        let whole = self.evaluate(right)?;
        if matches!(whole.value, Value::Tuple(_)) { self.each(right) } else { Ok(vec![whole]) }
    }

    fn attribute(&mut self, base: &Expr, name: &str) -> Evaluated {
        let base = self.evaluate(base)?;
        match &base.value {
            Value::Module(module) => module_item(&format!("{module}.{name}")),
            other => Err(format!("`.{name}` of {} is not translated", other.kind())),
        }
    }

    fn call(&mut self, callee: &Expr, arguments: &Arguments) -> Evaluated {
        if self.is_own(callee, "Exec") {
            return self.exec(arguments);
        }
        if self.is_own(callee, "str")
            && let ([value], []) = (&*arguments.positional, &*arguments.named)
        {
            let part = self.evaluate(value)?.as_part()?;
            return self.joined(vec![part]);
        }
        if let Expr::Attribute(base, method) = callee {
            let is_module = matches!(self.evaluate(base)?.value, Value::Module(_));
            if !is_module {
                return self.method(base, method, arguments);
            }
        }
        let Value::Module(function) = self.evaluate(callee)?.value else {
            return Err("this call is not translated".into());
        };
        match (function.as_str(), &*arguments.positional, &*arguments.named) {
            ("socket.gethostname", [], []) => Ok(Typed::new(Value::Text(None), "hostname()")),
            ("os.environ.get" | "os.getenv", [name, default], []) => {
                let (name, default) = (self.evaluate(name)?, self.evaluate(default)?);
                match (&name.value, &default.value) {
                    (Value::Text(Some(bytes)), Value::Text(_))
                        if std::str::from_utf8(bytes).is_ok_and(is_variable_name) =>
                    {
                        let code = format!("env({}, {})", name.rhai()?, default.rhai()?);
                        Ok(Typed::new(Value::Text(None), code))
                    }
                    _ => Err("this variable of the environment is not translated".into()),
                }
            }
            ("os.environ.get" | "os.getenv", [_], []) => {
                Err("a variable of the environment without a default is not translated".into())
            }
            (function, ..) => Err(format!("`{function}` is not translated")),
        }
    }

    fn exec(&mut self, arguments: &Arguments) -> Evaluated {
        let command = match (&*arguments.positional, &*arguments.named) {
            ([command], []) => command,
            ([], [(name, command)]) if name == "command" => command,
            _ => return Err("Exec takes one argument".into()),
        };
        let command = self.evaluate(command)?;
        let is_known = |value: &Value| match value {
            Value::Text(Some(bytes)) if bytes.contains(&0) => Err("a command has a NUL".to_owned()),
            Value::Text(_) => Ok(()),
            other => Err(format!("Exec of {} is not translated", other.kind())),
        };
        match &command.value {
            Value::List(items) | Value::Tuple(items) => {
                items.values.iter().try_for_each(is_known)?;
                let program = items.values.first();
                if program.is_none() || program == Some(&Value::Text(Some([].into()))) {
                    return Err("Exec has no program".into());
                }
            }
            value => {
                is_known(value)?;
                if let Value::Text(Some(bytes)) = value
                    && String::from_utf8_lossy(bytes).trim().is_empty()
                {
                    return Err("Exec has an empty command".into());
                }
            }
        }
        Ok(Typed::new(Value::Action, format!("Exec({})", command.rhai()?)))
    }

    fn method(&mut self, base: &Expr, method: &str, arguments: &Arguments) -> Evaluated {
        let base = self.evaluate(base)?;
        let Value::Text(known) = base.value.clone() else {
            return Err(format!("`.{method}` of {} is not translated", base.value.kind()));
        };
        match (method, known, &*arguments.positional) {
            ("join", _, [items]) if arguments.named.is_empty() => {
                let separator = base.as_part()?;
                let mut parts = Vec::new();
                // The items of a named list become part of the text.
                let is_literal = matches!(items, Expr::List(_) | Expr::Tuple(_));
                for item in self.each(items)? {
                    if !parts.is_empty() {
                        parts.push(separator.clone());
                    }
                    match item.value {
                        Value::Text(Some(bytes)) if !is_literal => {
                            parts.push(Typed::literal(&bytes).as_part()?);
                        }
                        Value::Text(_) => parts.push(item.as_part()?),
                        other => return Err(format!("`join` of {} is not translated", other.kind())),
                    }
                    // The parts are in memory before they are joined.
                    self.take_bytes(separator.0.as_ref().map_or(0, Vec::len))?;
                }
                self.joined(parts)
            }
            ("format", Some(format), positional) => {
                let positional =
                    positional.iter().map(|it| self.evaluate(it)).collect::<Result<Vec<_>, _>>()?;
                let mut named = Vec::new();
                for (name, value) in &arguments.named {
                    named.push((name.as_str(), self.evaluate(value)?));
                }
                let parts = braces(&format, &positional, &named)?;
                self.joined(parts)
            }
            _ => Err(format!("`.{method}` is not translated")),
        }
    }
}

/// The constants of the original.
const CONSTANTS: [&str; 5] = ["QUEUE", "PARALLEL", "DISCARD", "WATCH_DATA", "WATCH_CHILDREN"];

const TOO_LARGE: &str = "a number is too large";

fn list(values: Vec<Value>, code: String, make: fn(Items) -> Value) -> Evaluated {
    if let Some(module) = values.iter().find(|value| matches!(value, Value::Module(_))) {
        return Err(format!("{} in a list is not translated", module.kind()));
    }
    let items = Items::new(values);
    if items.depth > MAX_LIST_DEPTH {
        return Err("lists are nested too deep".into());
    }
    Ok(Typed::new(make(items), code))
}

/// Returns what a module has under a name.
pub fn module_item(path: &str) -> Evaluated {
    let signal = path.strip_prefix("signal.").map(|name| signals().find(|(signal, _)| *signal == name));
    match signal {
        Some(Some((name, number))) => Ok(Typed::new(Value::Int(number.into()), name)),
        Some(None) => Err(format!("`{path}` is not translated")),
        None => Ok(Typed::new(Value::Module(path.to_owned()), "")),
    }
}

/// Rhai writes floats like Python, if they are neither huge nor tiny.
fn float(number: f64) -> Evaluated {
    match number == 0.0 || (1e-4..1e15).contains(&number.abs()) {
        true => Ok(Typed::new(Value::Float(number), format!("{number:?}"))),
        false => Err("a number that is not translated".into()),
    }
}

fn operand(code: &Code) -> Result<String, String> {
    match code {
        Code::Other(code) if code.contains(' ') || code.starts_with('-') => Ok(format!("({code})")),
        Code::Other(code) => Ok(code.clone()),
        Code::Pieces(_) => Err("not translated".into()),
    }
}

fn arithmetic(operator: &str, left: &Typed, right: &Typed) -> Evaluated {
    let as_float = |value: &Value| match value {
        Value::Int(number) => Some(*number as f64),
        Value::Float(number) => Some(*number),
        _ => None,
    };
    let value = match (&left.value, &right.value) {
        (Value::Int(left), Value::Int(right)) => {
            let result = match operator {
                "+" => left.checked_add(*right),
                "-" => left.checked_sub(*right),
                _ => left.checked_mul(*right),
            };
            Value::Int(result.ok_or(TOO_LARGE)?)
        }
        (one, other) => match (as_float(one), as_float(other)) {
            (Some(left), Some(right)) => Value::Float(match operator {
                "+" => left + right,
                "-" => left - right,
                _ => left * right,
            }),
            _ => return Err(format!("{} {operator} {} is not translated", one.kind(), other.kind())),
        },
    };
    Ok(Typed::new(value, format!("{} {operator} {}", operand(&left.code)?, operand(&right.code)?)))
}

fn text(bytes: &[u8]) -> Part {
    (Some(bytes.to_vec()), vec![Piece::Literal(bytes.to_vec())])
}

/// Returns the parts of `format % arguments`.
fn percent(format: &[u8], arguments: &[Typed]) -> Result<Vec<Part>, String> {
    let mut arguments = arguments.iter();
    let mut parts = Vec::new();
    let mut rest = format;
    while let Some(at) = rest.iter().position(|byte| *byte == b'%') {
        parts.push(text(&rest[..at]));
        let conversion = rest.get(at + 1).copied();
        match conversion {
            Some(b'%') => parts.push(text(b"%")),
            Some(b's' | b'd' | b'i') => {
                let argument = arguments.next().ok_or("`%` has too few values")?;
                if conversion != Some(b's') && !matches!(argument.value, Value::Int(_)) {
                    return Err(format!("%d of {} is not translated", argument.value.kind()));
                }
                parts.push(argument.as_part()?);
            }
            _ => return Err("of the conversions of `%`, only %s and %d are translated".into()),
        }
        rest = &rest[at + 2..];
    }
    parts.push(text(rest));
    match arguments.next() {
        None => Ok(parts),
        Some(_) => Err("`%` has too many values".into()),
    }
}

/// Returns the parts of `format.format(...)`.
fn braces(format: &[u8], positional: &[Typed], named: &[(&str, Typed)]) -> Result<Vec<Part>, String> {
    let mut next = 0;
    let mut parts = Vec::new();
    let mut rest = format;
    while let Some(at) = rest.iter().position(|byte| matches!(byte, b'{' | b'}')) {
        parts.push(text(&rest[..at]));
        let brace = rest[at];
        rest = &rest[at + 1..];
        if rest.first() == Some(&brace) {
            parts.push(text(&[brace]));
            rest = &rest[1..];
            continue;
        }
        let end = rest.iter().position(|byte| *byte == b'}').filter(|_| brace == b'{');
        let field = &rest[..end.ok_or("a brace that is not translated")?];
        rest = &rest[field.len() + 1..];
        let field = std::str::from_utf8(field).unwrap_or("?");
        let value = match field.parse::<usize>() {
            Ok(number) => positional.get(number),
            Err(_) if field.is_empty() => {
                next += 1;
                positional.get(next - 1)
            }
            Err(_) => named.iter().find(|(name, _)| *name == field).map(|(_, value)| value),
        };
        let value = value.ok_or_else(|| format!("the field {} is not translated", quoted(field)))?;
        parts.push(value.as_part()?);
    }
    parts.push(text(rest));
    Ok(parts)
}
