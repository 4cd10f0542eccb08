//! Parses logical lines into the statements that can be translated; each other one says why it cannot.

use super::tokens::{Kind, Line, Token};

/// Deeper expressions and blocks are not translated, so that none overflows the stack.
const MAX_DEPTH: usize = 40;

#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    Text(Vec<u8>),
    Int(i64),
    Float(f64),
    Name(String),
    List(Vec<Expr>),
    Tuple(Vec<Expr>),
    Negative(Box<Expr>),
    /// A chain of `+`.
    Sum(Vec<Expr>),
    /// `-`, `*` or `%`.
    Binary(&'static str, Box<Expr>, Box<Expr>),
    Attribute(Box<Expr>, String),
    Call(Box<Expr>, Arguments),
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Arguments {
    pub positional: Vec<Expr>,
    pub named: Vec<(String, Expr)>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    Assign(String, Expr),
    Evaluate(Expr),
    For {
        targets: Vec<String>,
        over: Expr,
        body: Vec<Statement>,
    },
    /// The names that an `import` brings, with the module and the name in it.
    Import(Vec<(String, String)>),
    Nothing,
    /// Why the statement is not translated.
    Marked(String),
}

/// A statement, and its lines in the file.
#[derive(Clone, Debug, PartialEq)]
pub struct Statement {
    pub action: Action,
    pub first: usize,
    /// The last line of the statement without its body.
    pub head: usize,
    pub last: usize,
    /// All tokens, for what the statement may change.
    pub tokens: Vec<Token>,
}

/// Parses the lines of a block.
pub fn statements(lines: &[Line]) -> Vec<Statement> {
    block(lines, 0)
}

fn block(lines: &[Line], depth: usize) -> Vec<Statement> {
    let indent = if depth == 0 { 0 } else { lines.first().map_or(0, |line| line.indent) };
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(line) = lines.get(at) {
        let body_end = end_of_body(lines, at);
        let mut end = body_end;
        while lines.get(end).is_some_and(|next| next.indent == line.indent && continues(next)) {
            end = end_of_body(lines, end);
        }
        let body = &lines[at + 1..body_end];
        if line.indent != indent {
            found.push(marked(&lines[at..end], "its indentation fits no block"));
        } else if end == at + 1 && !is_compound(line) {
            simple(line, &mut found);
        } else if end > body_end {
            found.push(marked(&lines[at..end], &what(line)));
        } else {
            match loop_of(line, body, depth) {
                Ok(action) => {
                    let tokens = lines[at..end].iter().flat_map(|line| line.tokens.clone()).collect();
                    let last = lines[end - 1].last;
                    found.push(Statement { action, first: line.first, head: line.last, last, tokens });
                }
                Err(why) => found.push(marked(&lines[at..end], &why)),
            }
        }
        at = end;
    }
    found
}

fn end_of_body(lines: &[Line], at: usize) -> usize {
    let indent = lines[at].indent;
    let body = lines[at + 1..].iter().take_while(|line| line.indent > indent).count();
    at + 1 + body
}

fn first_word(line: &Line) -> &str {
    match line.tokens.first().map(|token| &token.kind) {
        Some(Kind::Name(name)) => name,
        _ => "",
    }
}

fn continues(line: &Line) -> bool {
    matches!(first_word(line), "else" | "elif" | "except" | "finally")
}

fn is_compound(line: &Line) -> bool {
    let words = ["for", "if", "while", "def", "class", "try", "with", "else", "elif", "except", "finally"];
    words.contains(&first_word(line))
}

/// Says what kind of statement is not translated.
fn what(line: &Line) -> String {
    match first_word(line) {
        "def" => "a function is not translated; write fn NAME(event) { ... } and Fn(\"NAME\")".into(),
        "print" | "exec" | "del" | "global" | "raise" | "assert" | "return" | "if" | "while" | "class"
        | "try" | "with" | "else" | "elif" | "except" | "finally" => {
            format!("`{}` is not translated", first_word(line))
        }
        "for" => "this `for` is not translated".into(),
        "import" | "from" => "this import is not translated".into(),
        "@" => "a decorator is not translated".into(),
        _ => "not translated".into(),
    }
}

fn marked(lines: &[Line], why: &str) -> Statement {
    let tokens = lines.iter().flat_map(|line| line.tokens.clone()).collect();
    let (first, head) = lines.first().map_or((0, 0), |line| (line.first, line.last));
    let last = lines.last().map_or(0, |line| line.last);
    Statement { action: Action::Marked(why.to_owned()), first, head, last, tokens }
}

/// Adds the statements of a line, which `;` separates.
fn simple(line: &Line, found: &mut Vec<Statement>) {
    let parts = line.tokens.split(|token| token.kind == Kind::Operator(";"));
    for part in parts.filter(|part| !part.is_empty()) {
        let first = part.first().map_or(line.first, |token| token.line);
        let part = Line { indent: line.indent, first, last: line.last, tokens: part.to_vec() };
        let action = simple_action(&part).unwrap_or_else(Action::Marked);
        let Line { first, last, tokens, .. } = part;
        found.push(Statement { action, first, head: last, last, tokens });
    }
}

fn simple_action(line: &Line) -> Result<Action, String> {
    let mut parser = Parser { tokens: &line.tokens, at: 0, depth: 0 };
    match first_word(line) {
        "pass" if line.tokens.len() == 1 => return Ok(Action::Nothing),
        "import" => return import(&mut parser).ok_or_else(|| what(line)),
        "from" => return import_from(&mut parser).ok_or_else(|| what(line)),
        _ => {}
    }
    if let [Token { kind: Kind::Name(name), .. }, Token { kind: Kind::Operator("="), .. }, ..] =
        line.tokens.as_slice()
    {
        parser.at = 2;
        let value = parser.expression_list()?;
        return parser.end().map(|()| Action::Assign(name.clone(), value));
    }
    if what(line) != "not translated" {
        return Err(what(line));
    }
    let value = parser.expression()?;
    parser.end().map(|()| Action::Evaluate(value))
}

/// The modules of which something is translated. To import one has no effect.
const MODULES: [&str; 4] = ["os", "signal", "socket", "sys"];

fn import(parser: &mut Parser) -> Option<Action> {
    parser.at = 1;
    let mut names = Vec::new();
    loop {
        let module = parser.name()?;
        names.push((MODULES.contains(&module.as_str()).then(|| module.clone())?, module));
        if !parser.takes(",") {
            return parser.end().ok().map(|()| Action::Import(names));
        }
    }
}

fn import_from(parser: &mut Parser) -> Option<Action> {
    parser.at = 1;
    let module = parser.name().filter(|module| module == "signal" || module == "socket")?;
    (parser.name()? == "import").then_some(())?;
    let has_bracket = parser.takes("(");
    let mut names = Vec::new();
    loop {
        let name = parser.name()?;
        names.push((name.clone(), format!("{module}.{name}")));
        if !parser.takes(",") {
            break;
        }
    }
    if has_bracket && !parser.takes(")") {
        return None;
    }
    parser.end().ok().map(|()| Action::Import(names))
}

fn loop_of(line: &Line, body: &[Line], depth: usize) -> Result<Action, String> {
    if first_word(line) != "for" {
        return Err(what(line));
    }
    if depth >= MAX_DEPTH {
        return Err("it is nested too deep".into());
    }
    let mut parser = Parser { tokens: &line.tokens, at: 1, depth: 0 };
    let has_bracket = parser.takes("(");
    let mut targets = Vec::new();
    loop {
        targets.push(parser.name().ok_or_else(|| what(line))?);
        if !parser.takes(",") {
            break;
        }
    }
    if has_bracket && !parser.takes(")") || parser.name().as_deref() != Some("in") {
        return Err(what(line));
    }
    let over = parser.expression_list()?;
    if !parser.takes(":") {
        return Err(parser.unexpected());
    }
    let rest = &line.tokens[parser.at..];
    let body = match (rest.first(), body.is_empty()) {
        (None, _) => block(body, depth + 1),
        (Some(first), true) => {
            let (first, tokens) = (first.line, rest.to_vec());
            let mut found = Vec::new();
            simple(&Line { indent: 0, first, last: line.last, tokens }, &mut found);
            found
        }
        (Some(_), false) => return Err(what(line)),
    };
    if body.is_empty() {
        return Err("the loop has no body".into());
    }
    Ok(Action::For { targets, over, body })
}

struct Parser<'a> {
    tokens: &'a [Token],
    at: usize,
    depth: usize,
}

type Parsed = Result<Expr, String>;

impl Parser<'_> {
    fn peek(&self) -> Option<&Kind> {
        self.tokens.get(self.at).map(|token| &token.kind)
    }

    fn is_at(&self, operator: &str) -> bool {
        matches!(self.peek(), Some(Kind::Operator(found)) if *found == operator)
    }

    fn takes(&mut self, operator: &str) -> bool {
        let is_there = self.is_at(operator);
        self.at += usize::from(is_there);
        is_there
    }

    fn name(&mut self) -> Option<String> {
        let Some(Kind::Name(name)) = self.peek() else { return None };
        let name = name.clone();
        self.at += 1;
        Some(name)
    }

    fn end(&self) -> Result<(), String> {
        if self.at == self.tokens.len() { Ok(()) } else { Err(self.unexpected()) }
    }

    fn unexpected(&self) -> String {
        match self.peek() {
            None => "the statement is not complete".into(),
            Some(Kind::Bad(why)) => (*why).into(),
            Some(Kind::Name(name)) if name == "for" => "a comprehension is not translated".into(),
            Some(Kind::Name(name)) => format!("`{name}` is not translated here"),
            Some(Kind::Operator(operator)) => format!("`{operator}` is not translated here"),
            Some(Kind::Text(_) | Kind::Int(_) | Kind::Float(_)) => "not translated".into(),
        }
    }

    /// An expression, or several with commas between, which are a tuple.
    fn expression_list(&mut self) -> Parsed {
        let first = self.expression()?;
        if !self.is_at(",") {
            return Ok(first);
        }
        let mut items = vec![first];
        while self.takes(",") {
            if self.peek().is_none() || self.is_at(":") {
                break;
            }
            items.push(self.expression()?);
        }
        Ok(Expr::Tuple(items))
    }

    fn expression(&mut self) -> Parsed {
        let depth = self.depth;
        self.deeper()?;
        let result = self.sum();
        self.depth = depth;
        result
    }

    fn deeper(&mut self) -> Result<(), String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH { Err("it is nested too deep".into()) } else { Ok(()) }
    }

    fn sum(&mut self) -> Parsed {
        let mut terms = vec![self.product()?];
        loop {
            if self.takes("+") {
                terms.push(self.product()?);
            } else if self.takes("-") {
                let left = if terms.len() == 1 { terms.remove(0) } else { Expr::Sum(terms) };
                self.deeper()?;
                terms = vec![Expr::Binary("-", left.into(), self.product()?.into())];
            } else {
                return Ok(if terms.len() == 1 { terms.remove(0) } else { Expr::Sum(terms) });
            }
        }
    }

    fn product(&mut self) -> Parsed {
        let mut left = self.unary()?;
        loop {
            let operator = match self.peek() {
                Some(Kind::Operator(operator @ ("*" | "%"))) => *operator,
                _ => return Ok(left),
            };
            self.at += 1;
            self.deeper()?;
            left = Expr::Binary(operator, left.into(), self.unary()?.into());
        }
    }

    fn unary(&mut self) -> Parsed {
        if !self.takes("-") {
            return self.postfix();
        }
        self.postfix().map(|value| Expr::Negative(value.into()))
    }

    fn postfix(&mut self) -> Parsed {
        let mut value = self.primary()?;
        loop {
            if self.is_at(".") || self.is_at("(") {
                self.deeper()?;
            }
            if self.takes(".") {
                let name = self.name().ok_or_else(|| self.unexpected())?;
                value = Expr::Attribute(value.into(), name);
            } else if self.takes("(") {
                value = Expr::Call(value.into(), self.arguments()?);
            } else {
                return Ok(value);
            }
        }
    }

    fn arguments(&mut self) -> Result<Arguments, String> {
        let mut arguments = Arguments::default();
        while !self.takes(")") {
            let is_named =
                matches!(self.tokens.get(self.at + 1).map(|token| &token.kind), Some(Kind::Operator("=")));
            if let Some(name) = if is_named { self.name() } else { None } {
                self.at += 1;
                if arguments.named.iter().any(|(other, _)| *other == name) {
                    return Err(format!("`{name}` is given twice"));
                }
                arguments.named.push((name, self.expression()?));
            } else if arguments.named.is_empty() {
                arguments.positional.push(self.expression()?);
            } else {
                return Err(self.unexpected());
            }
            if !self.is_at(")") && !self.takes(",") {
                return Err(self.unexpected());
            }
        }
        Ok(arguments)
    }

    fn primary(&mut self) -> Parsed {
        let Some(kind) = self.peek().cloned() else { return Err(self.unexpected()) };
        match kind {
            Kind::Text(mut bytes) => {
                self.at += 1;
                while let Some(Kind::Text(more)) = self.peek() {
                    bytes.extend(more);
                    self.at += 1;
                }
                Ok(Expr::Text(bytes))
            }
            Kind::Int(number) => {
                self.at += 1;
                Ok(Expr::Int(number))
            }
            Kind::Float(number) => {
                self.at += 1;
                Ok(Expr::Float(number))
            }
            Kind::Name(name) if name == "lambda" => {
                Err("a function is not translated; write |event| ... for `lambda`".into())
            }
            Kind::Name(name) if KEYWORDS.contains(&name.as_str()) => Err(self.unexpected()),
            Kind::Name(name) => {
                self.at += 1;
                Ok(Expr::Name(name))
            }
            Kind::Operator("(") => {
                self.at += 1;
                self.items(")").map(|(mut items, has_comma)| match items.len() {
                    1 if !has_comma => items.remove(0),
                    _ => Expr::Tuple(items),
                })
            }
            Kind::Operator("[") => {
                self.at += 1;
                self.items("]").map(|(items, _)| Expr::List(items))
            }
            Kind::Operator("{") => Err("a dictionary is not translated".into()),
            Kind::Operator(_) | Kind::Bad(_) => Err(self.unexpected()),
        }
    }

    /// The items up to the closing bracket, and whether there was a comma.
    fn items(&mut self, close: &str) -> Result<(Vec<Expr>, bool), String> {
        let (mut items, mut has_comma) = (Vec::new(), false);
        while !self.takes(close) {
            items.push(self.expression()?);
            let comma = self.takes(",");
            has_comma |= comma;
            if !comma && !self.is_at(close) {
                return Err(self.unexpected());
            }
        }
        Ok((items, has_comma))
    }
}

/// The words of Python 2 that are no names.
const KEYWORDS: [&str; 31] = [
    "and", "as", "assert", "break", "class", "continue", "def", "del", "elif", "else", "except", "exec",
    "finally", "for", "from", "global", "if", "import", "in", "is", "lambda", "not", "or", "pass", "print",
    "raise", "return", "try", "while", "with", "yield",
];
