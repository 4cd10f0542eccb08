//! The fields that some values have, and the chains that read them: `event.changes[0].text`.

use rhai::{ASTFlags, Expr};

/// A value whose fields are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Event,
    /// The array in the event's field `changes`.
    Changes,
    Change,
    Commit,
    /// The result of `run`.
    Outcome,
}

impl Shape {
    /// Returns the fields. An array has none of ours.
    pub fn fields(self) -> &'static [&'static str] {
        match self {
            Self::Event => &[
                "znode", "event", "data", "text", "children", "changes", "members", "value", "commit",
                "version", "watch",
            ],
            Self::Changes => &[],
            Self::Change => &["znode", "event", "version", "size", "text", "data"],
            Self::Commit => &["key", "version", "author", "comment", "mtime", "empty"],
            Self::Outcome => &["code", "stdout", "stderr"],
        }
    }

    /// Names the value in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Event => "the event",
            Self::Commit => "the commit",
            Self::Changes | Self::Change | Self::Outcome => "this value",
        }
    }

    /// Returns what an element of the array is.
    pub fn element(self) -> Option<Self> {
        (self == Self::Changes).then_some(Self::Change)
    }

    /// Returns what the value is that this step leads to.
    pub fn after(self, step: &Step<'_>) -> Option<Self> {
        match (self, step.name(), step) {
            (Self::Event, Some("changes"), _) => Some(Self::Changes),
            (Self::Event, Some("commit"), _) => Some(Self::Commit),
            // With a range, it is a part of the array.
            (Self::Changes, None, Step::Item(Expr::IntegerConstant(..))) => self.element(),
            _ => None,
        }
    }
}

/// What follows a value.
#[derive(Clone, Copy)]
pub enum Step<'e> {
    /// A field or a method, after a dot.
    Dot(&'e Expr),
    /// In brackets.
    Item(&'e Expr),
}

impl Step<'_> {
    /// Returns the name of the field, if this is one.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Dot(Expr::Property(property, _)) => Some(&property.2),
            Self::Item(Expr::StringConstant(name, _)) => Some(name),
            Self::Dot(_) | Self::Item(_) => None,
        }
    }
}

/// Returns the value at the beginning of a chain, and the steps after it.
pub fn chain(expr: &Expr) -> (&Expr, Vec<Step<'_>>) {
    let (access, flags, step): (_, _, fn(_) -> _) = match expr {
        Expr::Dot(access, flags, _) => (access, ASTFlags::BREAK.complement() & *flags, Step::Dot),
        Expr::Index(access, flags, _) => (access, *flags, Step::Item),
        _ => return (expr, Vec::new()),
    };
    let (base, mut steps) = chain(&access.lhs);
    follow(&access.rhs, flags, step, &mut steps);
    (base, steps)
}

/// Adds the steps of `rest`, the right side of a chain. A chain grows to the right there, unless `flags` end
/// it.
fn follow<'e>(rest: &'e Expr, flags: ASTFlags, step: fn(&'e Expr) -> Step<'e>, steps: &mut Vec<Step<'e>>) {
    match rest {
        Expr::Dot(access, ..) if !flags.contains(ASTFlags::BREAK) => {
            steps.push(step(&access.lhs));
            follow(&access.rhs, ASTFlags::empty(), Step::Dot, steps);
        }
        Expr::Index(access, flags_after, _) if !flags.contains(ASTFlags::BREAK) => {
            steps.push(step(&access.lhs));
            follow(&access.rhs, *flags_after, Step::Item, steps);
        }
        _ => steps.push(step(rest)),
    }
}
