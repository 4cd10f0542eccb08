//! A watch as a script registers it. The evaluator sends it to the daemon.

use rhai::Position;
use serde::{Deserialize, Serialize};

use crate::model::{Account, ExecContext, Facet, Policy};

/// The argument of a `RegisterWatch` call, with every check that does not ask the system.
/// [`super::resolve`] asks the system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    pub description: String,
    /// `None`: the default store.
    pub store: Option<String>,
    pub znode: String,
    pub facet: Facet,
    pub action: RegisteredAction,
    pub pipe_stdin: bool,
    /// The path of the schema below the config directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    pub uid: Option<Account>,
    pub gid: Option<Account>,
    pub policy: Policy,
    /// The reply leaves out the default, which is nearly always the value.
    #[serde(default, skip_serializing_if = "is_default")]
    pub exec_context: ExecContext,
    pub position: CallPosition,
    /// The places of the keys whose values only the system can judge, if they are known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<(String, CallPosition)>,
}

/// A place in a file or module, such as that of a `RegisterWatch` call, which errors show. It is not part of
/// the definition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CallPosition {
    /// The path of the file or module below the config directory.
    pub source: String,
    /// From 1.
    pub line: u32,
    /// From 1.
    pub column: u32,
}

impl CallPosition {
    pub fn new(source: &str, position: Position) -> Self {
        let number = |at: Option<usize>| at.and_then(|at| u32::try_from(at).ok()).unwrap_or(1);
        let (line, column) = (number(position.line()), number(position.position()));
        Self { source: source.to_owned(), line, column }
    }

    /// Returns the position in the interpreter's form, which has 16 bits for each number.
    pub fn position(&self) -> Position {
        let number = |n: u32| u16::try_from(n).unwrap_or(u16::MAX);
        Position::new(number(self.line).max(1), number(self.column))
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RegisteredAction {
    /// A program and its arguments.
    Command(Vec<String>),
    /// The function of the file's `index`th registration, from 0. `fingerprint` changes when its code or
    /// captured values do.
    Function { index: usize, fingerprint: String },
}

impl Registration {
    /// Makes a registration with the default of every key that has one.
    pub fn new(description: String, position: CallPosition) -> Self {
        Self {
            description,
            store: None,
            znode: String::new(),
            facet: Facet::Data,
            action: RegisteredAction::Command(Vec::new()),
            pipe_stdin: true,
            schema: None,
            uid: None,
            gid: None,
            policy: Policy::DEFAULT,
            exec_context: ExecContext::default(),
            position,
            keys: Vec::new(),
        }
    }

    /// Returns the place of `key`, or that of the call if it is not known.
    pub fn place_of(&self, key: &str) -> &CallPosition {
        self.keys.iter().find(|(name, _)| name == key).map_or(&self.position, |(_, place)| place)
    }
}

fn is_default(exec_context: &ExecContext) -> bool {
    *exec_context == ExecContext::default()
}
