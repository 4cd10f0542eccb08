//! What code that is not translated may change: nobody knows any more what these names stand for.

use std::collections::HashMap;

use super::evaluate::Binding;
use super::parse::{Action, Statement};
use super::tokens::{Kind, Token};

/// The names that the original and Python give a meaning.
pub const OWN: [&str; 12] = [
    "RegisterWatch",
    "Exec",
    "QUEUE",
    "PARALLEL",
    "DISCARD",
    "WATCH_DATA",
    "WATCH_CHILDREN",
    "True",
    "False",
    "None",
    "str",
    "range",
];

/// The functions and words that can change any name.
const UNSEEN: [&str; 7] = ["exec", "execfile", "globals", "locals", "vars", "setattr", "__builtins__"];

/// Returns the names that a block assigns to, also in its loops.
pub fn assigned(body: &[Statement]) -> Vec<String> {
    let mut names = Vec::new();
    for statement in body {
        match &statement.action {
            Action::Assign(name, _) => names.push(name.clone()),
            Action::For { targets, body, .. } => {
                names.extend(targets.iter().cloned());
                names.extend(assigned(body));
            }
            Action::Import(imported) => names.extend(imported.iter().map(|(name, _)| name.clone())),
            Action::Evaluate(_) | Action::Nothing | Action::Marked(_) => {}
        }
    }
    names
}

/// Forgets the names that the statement may change.
pub fn forget(names: &mut HashMap<String, Binding>, statement: &Statement) {
    let why = format!("depends on line {}, which is not translated", statement.first);
    let tokens = &statement.tokens;
    let word = |at: usize| match tokens.get(at).map(|token| &token.kind) {
        Some(Kind::Name(name)) => name.as_str(),
        Some(Kind::Operator(operator)) => *operator,
        _ => "",
    };
    let is_unseen =
        |token: &Token| matches!(&token.kind, Kind::Name(name) if UNSEEN.contains(&name.as_str()));
    let is_star = (0..tokens.len()).any(|at| word(at) == "import" && word(at + 1) == "*");
    if is_star || tokens.iter().any(is_unseen) {
        for name in OWN {
            names.insert(name.to_owned(), Binding::Lost(why.clone()));
        }
        names.values_mut().for_each(|binding| *binding = Binding::Lost(why.clone()));
        return;
    }
    let bound = bound(tokens);
    let mut changes_a_list = false;
    for (at, token) in tokens.iter().enumerate() {
        let Kind::Name(name) = &token.kind else { continue };
        let is_read = matches!(at.checked_sub(1).map_or("", word), "in" | "+" | "%" | "==" | "!=")
            && !matches!(word(at + 1), "." | "[");
        match names.get(name) {
            _ if bound.get(at) == Some(&true) => {
                names.insert(name.clone(), Binding::Lost(why.clone()));
            }
            Some(Binding::Known(known)) => changes_a_list |= known.value.is_mutable() && !is_read,
            Some(Binding::Lost(_)) | None => {}
        }
    }
    if changes_a_list {
        // Another name may stand for the same list.
        for binding in names.values_mut() {
            if matches!(binding, Binding::Known(known) if known.value.is_mutable()) {
                *binding = Binding::Lost(why.clone());
            }
        }
    }
}

/// Whether each token is a name that may get another meaning: before `=` outside of calls, or after a word
/// such as `for` or `def`.
fn bound(tokens: &[Token]) -> Vec<bool> {
    let mut bound = vec![false; tokens.len()];
    let mut depth = 0_usize;
    // The tokens since the start of the statement, and of a list of targets.
    let (mut start, mut targets) = (0, None);
    for (at, token) in tokens.iter().enumerate() {
        match &token.kind {
            Kind::Operator("(" | "[" | "{") => depth += 1,
            Kind::Operator(")" | "]" | "}") => depth = depth.saturating_sub(1),
            Kind::Operator(operator) if depth == 0 => match *operator {
                ":" | ";" => (start, targets) = (at + 1, None),
                "==" | "!=" | "<=" | ">=" => {}
                operator if operator.ends_with('=') => {
                    bound[start..at].fill(true);
                    targets = None;
                }
                _ => {}
            },
            Kind::Name(name) => match name.as_str() {
                "for" | "def" | "class" | "as" | "import" | "global" | "del" | "except" => targets = Some(at),
                "in" => targets = None,
                _ => {}
            },
            _ => {}
        }
        if targets.is_some_and(|from| from < at) {
            bound[at] = true;
        }
        let next = tokens.get(at + 1);
        if depth == 0 && next.is_some_and(|next| next.line > token.line) {
            (start, targets) = (at + 1, None);
        }
    }
    bound
}
