//! A watch as a script registers it. The evaluator sends it to the daemon.

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
    pub uid: Option<Account>,
    pub gid: Option<Account>,
    pub policy: Policy,
    /// The reply leaves out the default, which is nearly always the value.
    #[serde(default, skip_serializing_if = "is_default")]
    pub exec_context: ExecContext,
    pub position: CallPosition,
}

/// The place of a `RegisterWatch` call, which errors show. It is not part of the definition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallPosition {
    /// The path of the file or module below the config directory.
    pub source: String,
    /// From 1.
    pub line: u32,
    /// From 1.
    pub column: u32,
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
            uid: None,
            gid: None,
            policy: Policy::DEFAULT,
            exec_context: ExecContext::default(),
            position,
        }
    }
}

fn is_default(exec_context: &ExecContext) -> bool {
    *exec_context == ExecContext::default()
}
