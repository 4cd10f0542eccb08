//! Finds the syntax errors behind the first one.
//!
//! The parser stops at its first error. So the statements before it are parsed without it, and those behind
//! the one that is wrong are parsed for themselves. The statements without an error are the code that is
//! checked further.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rhai::{AST, Engine, ParseError, ParseErrorType};

use super::outline::{Outline, Statement, UNCLOSED, word};

/// The time after which nothing more is looked for. The evaluation has a deadline.
const MAX_TIME: Duration = Duration::from_millis(600);

/// More errors are not looked for.
const MAX_ERRORS: usize = 20;

/// What is known of a script with a syntax error.
pub struct Recovered {
    /// The code of the statements without an error.
    pub ast: AST,
    /// The errors in the order of the script.
    pub errors: Vec<ParseError>,
    /// The names that the other statements define.
    pub lost: BTreeSet<String>,
    /// Whether nothing was looked for behind the last error.
    pub is_partial: bool,
}

/// Returns the errors of the script `source`, which has one. `None`: the statements do not show them.
pub fn recover(engine: &Engine, source: &str) -> Option<Recovered> {
    let began = Instant::now();
    let script = Script(Outline::of(source));
    let count = script.0.statements.len();
    let (mut ast, mut errors, mut lost) = (AST::empty(), Vec::new(), BTreeSet::new());
    let (mut at, mut in_block) = (0, false);
    let mut is_partial = false;
    while at < count {
        if errors.len() >= MAX_ERRORS || began.elapsed() > MAX_TIME {
            lost.extend(script.defined(at, count));
            is_partial = true;
            break;
        }
        let end = script.end_of_part(at);
        let error = match engine.compile(script.text(at, end)) {
            Ok(code) => {
                ast.combine(code);
                at = end;
                continue;
            }
            Err(error) => error,
        };
        let wrong = script.statement_of(&error, at, end);
        match engine.compile(script.text(at, wrong)) {
            Ok(code) => _ = ast.combine(code),
            Err(_) => lost.extend(script.defined(at, wrong)),
        }
        if wrong > at && script.lacks_semicolon(wrong, &error) {
            errors.push(error);
            at = wrong;
        } else {
            lost.extend(script.defined(wrong, wrong + 1));
            let unclosed = script.unclosed(wrong, end, &error);
            // A loop that stays open may be around it.
            let is_consequence = in_block && *error.0 == ParseErrorType::LoopBreak;
            in_block |= unclosed.is_some();
            errors.extend(unclosed.or(Some(error).filter(|_| !is_consequence)));
            at = wrong + 1;
        }
    }
    (!errors.is_empty()).then_some(Recovered { ast, errors, lost, is_partial })
}

struct Script<'a>(Outline<'a>);

impl Script<'_> {
    /// Returns the end of what is parsed at once: behind the next statement in which a bracket or a text
    /// stays open.
    fn end_of_part(&self, at: usize) -> usize {
        let statements = &self.0.statements;
        let stays_open = |statement: &Statement| statement.unclosed.is_some() || statement.is_cut;
        let open = statements[at..].iter().position(stays_open);
        open.map_or(statements.len(), |open| at + open + 1)
    }

    /// Returns the text of these statements at its place, without what stands above.
    fn text(&self, from: usize, to: usize) -> String {
        let (start, end) = (self.0.start(from), self.0.start(to));
        "\n".repeat(start) + &*self.0.lines[start..end].join("\n")
    }

    /// Returns the statement with the error, of those that were parsed.
    fn statement_of(&self, error: &ParseError, from: usize, to: usize) -> usize {
        let Some(line) = error.1.line() else { return to - 1 };
        let behind = self.0.statements[from..to].partition_point(|statement| statement.start < line);
        from + behind.saturating_sub(1)
    }

    /// Whether the parser wants a semicolon where the statement `at` begins.
    fn lacks_semicolon(&self, at: usize, error: &ParseError) -> bool {
        let is_missing = matches!(&*error.0, ParseErrorType::MissingToken(token, _) if token == ";");
        is_missing && error.1.line() == Some(self.0.start(at) + 1) && error.1.position() == Some(1)
    }

    /// Returns the error of the bracket of the statement `wrong` that stays open, if the parser has come to
    /// the end of what it parsed.
    fn unclosed(&self, wrong: usize, end: usize, error: &ParseError) -> Option<ParseError> {
        let count = self.0.end_of_code(end);
        let last = self.0.lines[..count].last().map_or(0, |last| last.chars().count());
        let is_at_end = error.1.line().is_none_or(|line| {
            line > count || line == count && error.1.position().is_none_or(|column| column > last)
        });
        let unclosed = self.0.statements[wrong].unclosed.as_ref().filter(|_| is_at_end)?;
        let kind = ParseErrorType::MissingToken(unclosed.missing.clone(), UNCLOSED.to_owned());
        Some(ParseError(kind.into(), unclosed.at))
    }

    /// Returns the names that these statements may define.
    fn defined(&self, from: usize, to: usize) -> BTreeSet<String> {
        let lines = &self.0.lines[self.0.start(from)..self.0.start(to)];
        lines.iter().flat_map(|line| defined(line)).map(str::to_owned).collect()
    }
}

/// Returns the names that a line may define.
fn defined(line: &str) -> Vec<&str> {
    let is_break = |c: char| !c.is_alphanumeric() && c != '_';
    let words: Vec<&str> = line.split(is_break).filter(|word| !word.is_empty()).collect();
    let assigned = Some(word(line)).filter(|name| line[name.len()..].trim_start().starts_with('='));
    let named = words.windows(2).filter_map(|pair| match pair {
        ["let" | "const" | "as", name] => Some(*name),
        _ => None,
    });
    // `for (value, index) in`
    let of_loops = words
        .split(|word| *word == "for")
        .skip(1)
        .flat_map(|rest| rest.iter().copied().take_while(|word| *word != "in"));
    // `fn name(parameter)`
    let of_functions = words.iter().copied().skip_while(|word| *word != "fn").skip(1);
    named.chain(of_loops).chain(of_functions).chain(assigned).collect()
}
