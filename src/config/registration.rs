//! A watch or a service as a script registers it. The evaluator sends it to the daemon.

use std::time::Duration;

use rhai::Position;
use serde::{Deserialize, Serialize};

use crate::model::{Account, ExecContext, Facet, MemberAcl, MemberData, MemberFormat, Pace, Policy};

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

impl RegisteredAction {
    /// Whether a config can register it. The evaluator's replies are not trusted.
    pub(in crate::config) fn is_possible(&self) -> bool {
        match self {
            RegisteredAction::Command(words) => {
                words.first().is_some_and(|program| !program.is_empty())
                    && words.iter().all(|word| !word.contains('\0'))
            }
            RegisteredAction::Function { .. } => true,
        }
    }
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
}

/// The argument of a `RegisterService` call, with every check that does not ask the system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceRegistration {
    pub description: String,
    /// `None`: the default store.
    pub store: Option<String>,
    /// The path of the node whose children are the members.
    pub service: String,
    /// The name of the member's node.
    pub address: String,
    pub port: Option<u16>,
    pub format: MemberFormat,
    /// The value of `data`. The evaluator writes [`Self::data`] from it.
    #[serde(skip)]
    pub given: Given,
    pub data: MemberData,
    pub acl: MemberAcl,
    pub check: Option<RegisteredAction>,
    pub pace: Pace,
    #[serde(default)]
    pub drain: Duration,
    pub uid: Option<Account>,
    pub gid: Option<Account>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub exec_context: ExecContext,
    pub position: CallPosition,
    /// As in [`Registration`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<(String, CallPosition)>,
}

/// What a script gives as the data of a member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Given {
    #[default]
    Nothing,
    /// A map, as JSON.
    Object(String),
    Text(String),
    Bytes(Vec<u8>),
}

impl ServiceRegistration {
    /// Makes a registration with the default of every key that has one.
    pub fn new(description: String, position: CallPosition) -> Self {
        Self {
            description,
            store: None,
            service: String::new(),
            address: String::new(),
            port: None,
            format: MemberFormat::default(),
            given: Given::Nothing,
            data: MemberData([].into()),
            acl: MemberAcl::default(),
            check: None,
            pace: Pace::DEFAULT,
            drain: Duration::ZERO,
            uid: None,
            gid: None,
            exec_context: ExecContext::default(),
            position,
            keys: Vec::new(),
        }
    }

    /// Returns the path of the member's node.
    pub fn path(&self) -> String {
        format!("{}/{}", self.service.trim_end_matches('/'), self.address)
    }
}

/// What all registrations have.
pub trait Registered {
    /// What messages call it.
    const KIND: &str;

    fn description(&self) -> &str;
    fn description_mut(&mut self) -> &mut String;
    fn store(&self) -> Option<&str>;
    fn store_mut(&mut self) -> &mut Option<String>;
    fn uid(&self) -> Option<&Account>;
    fn uid_mut(&mut self) -> &mut Option<Account>;
    fn gid(&self) -> Option<&Account>;
    fn gid_mut(&mut self) -> &mut Option<Account>;
    fn exec_context(&self) -> &ExecContext;
    fn exec_context_mut(&mut self) -> &mut ExecContext;
    fn position(&self) -> &CallPosition;
    fn keys(&self) -> &[(String, CallPosition)];
    fn keys_mut(&mut self) -> &mut Vec<(String, CallPosition)>;

    /// Returns the place of `key`, or that of the call if it is not known.
    fn place_of(&self, key: &str) -> &CallPosition {
        self.keys().iter().find(|(name, _)| name == key).map_or(self.position(), |(_, place)| place)
    }
}

macro_rules! registered {
    ($registration:ty, $kind:literal) => {
        impl Registered for $registration {
            const KIND: &str = $kind;

            fn description(&self) -> &str {
                &self.description
            }

            fn description_mut(&mut self) -> &mut String {
                &mut self.description
            }

            fn store(&self) -> Option<&str> {
                self.store.as_deref()
            }

            fn store_mut(&mut self) -> &mut Option<String> {
                &mut self.store
            }

            fn uid(&self) -> Option<&Account> {
                self.uid.as_ref()
            }

            fn uid_mut(&mut self) -> &mut Option<Account> {
                &mut self.uid
            }

            fn gid(&self) -> Option<&Account> {
                self.gid.as_ref()
            }

            fn gid_mut(&mut self) -> &mut Option<Account> {
                &mut self.gid
            }

            fn exec_context(&self) -> &ExecContext {
                &self.exec_context
            }

            fn exec_context_mut(&mut self) -> &mut ExecContext {
                &mut self.exec_context
            }

            fn position(&self) -> &CallPosition {
                &self.position
            }

            fn keys(&self) -> &[(String, CallPosition)] {
                &self.keys
            }

            fn keys_mut(&mut self) -> &mut Vec<(String, CallPosition)> {
                &mut self.keys
            }
        }
    };
}

registered!(Registration, "watch");
registered!(ServiceRegistration, "service");

fn is_default(exec_context: &ExecContext) -> bool {
    *exec_context == ExecContext::default()
}
