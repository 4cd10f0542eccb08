//! One run of a function action: the request to `twitcher act`, and the call of the function there.

use std::sync::Arc;

use rhai::packages::Package;
use rhai::{Dynamic, Engine, EvalAltResult, Map, NativeCallContext, Position};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::act::{library, value};
use crate::config::facts;
use crate::config::registrar::CapturedFunction;
use crate::config::request::Request;
use crate::config::script::{Interpreter, MAX_CALL_LEVELS, register_constants};
use crate::config::vocabulary::{Scope, type_of};
use crate::content::names;
use crate::content::node_line::{NodeLine, NodeLineError};
use crate::model::{Commit, Facet, Format, Program};
use crate::value::{Fault, content, object};

/// The event that a function action gets, without the content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActEvent {
    pub znode: String,
    /// The word of an [`Event`](crate::watch::Event).
    pub event: String,
    /// The number in `TWITCHER_VERSION`.
    pub version: i64,
    /// The watch's description.
    pub watch: String,
    /// What the content is of.
    pub facet: Facet,
    /// What the content was decoded from.
    #[serde(default)]
    pub format: Option<Format>,
    #[serde(default)]
    pub commit: Option<Arc<Commit>>,
}

/// The request to `twitcher act`. The content follows it, as a command would read it from its stdin.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ActRequest {
    pub program: Arc<Program>,
    /// The registration whose function runs, from 0.
    pub index: usize,
    pub event: ActEvent,
}

#[derive(Debug, Error)]
pub enum DecodeError {
    #[error("the request has no header")]
    Headless,
    #[error("the request's header is damaged: {0}")]
    Header(#[from] serde_json::Error),
}

impl ActRequest {
    /// Returns the request as a line of JSON.
    pub fn encode(&self) -> Vec<u8> {
        let mut encoded = serde_json::to_vec(self).expect("strings and numbers always serialize");
        encoded.push(b'\n');
        encoded
    }

    /// Returns the request, and the content after it.
    pub fn decode(mut encoded: Vec<u8>) -> Result<(Self, Vec<u8>), DecodeError> {
        let end = encoded.iter().position(|byte| *byte == b'\n').ok_or(DecodeError::Headless)?;
        let content = encoded.split_off(end + 1);
        Ok((serde_json::from_slice(&encoded)?, content))
    }
}

/// Why the content is not what the daemon says it is.
#[derive(Debug, Error)]
enum EventError {
    #[error(transparent)]
    Node(#[from] NodeLineError),
    #[error("the content is not what it was when it was decoded: {0}")]
    Value(#[from] Fault),
    #[error("the members are damaged: {0}")]
    Members(Fault),
}

impl ActEvent {
    fn into_map(self, content: Vec<u8>) -> Result<Map, EventError> {
        let (mut data, mut children, mut changes) = (Vec::new(), rhai::Array::new(), rhai::Array::new());
        let mut members = Map::new();
        match self.facet {
            Facet::Data => data = content,
            Facet::Children => children.extend(names(&content).map(|name| name.into_owned().into())),
            // After a deletion there is none.
            Facet::Members if content.is_empty() => {}
            Facet::Members => {
                let read = object::members(&content).map_err(EventError::Members)?;
                members.extend(read.into_iter().map(|(name, said)| (name.into(), value::dynamic(said))));
            }
            Facet::Tree => {
                for line in NodeLine::parse_all(&content)? {
                    changes.push(change_map(line)?.into());
                }
            }
        }
        let value = match self.format {
            Some(format) => value::dynamic(content::value(format, &data)?),
            None => Dynamic::UNIT,
        };
        let commit = self.commit.as_deref().map_or(Dynamic::UNIT, commit_map);
        Ok(Map::from_iter([
            ("value".into(), value),
            ("commit".into(), commit),
            ("znode".into(), self.znode.into()),
            ("event".into(), self.event.into()),
            ("children".into(), children.into()),
            ("changes".into(), changes.into()),
            ("members".into(), members.into()),
            ("version".into(), self.version.into()),
            ("watch".into(), self.watch.into()),
            ("text".into(), String::from_utf8_lossy(&data).into_owned().into()),
            ("data".into(), Dynamic::from_blob(data)),
        ]))
    }
}

fn commit_map(Commit { key, version, author, comment, mtime, empty }: &Commit) -> Dynamic {
    let map = Map::from_iter([
        ("key".into(), key.into()),
        ("version".into(), (*version).into()),
        ("author".into(), author.into()),
        ("comment".into(), comment.into()),
        ("mtime".into(), mtime.into()),
        ("empty".into(), (*empty).into()),
    ]);
    map.into()
}

fn change_map(line: NodeLine) -> Result<Map, NodeLineError> {
    let data = line.data()?.map(Dynamic::from_blob);
    let optional = [
        ("version", line.version.map(Dynamic::from_int)),
        ("size", line.size.map(Dynamic::from_int)),
        ("text", line.text.map(Dynamic::from)),
        ("data", data),
    ];
    let present = optional.into_iter().filter_map(|(key, value)| Some((key.into(), value?)));
    let node = [("znode".into(), line.znode.into()), ("event".into(), line.event.into())];
    Ok(node.into_iter().chain(present).collect())
}

/// Runs the function and returns its exit code. An error is the message for stderr; then the exit code is 1.
pub fn act(request: ActRequest, content: Vec<u8>) -> Result<u8, String> {
    let event = request.event.into_map(content).map_err(|error| error.to_string())?;
    let program = &request.program;
    let script = Request {
        path: program.path.to_string_lossy().into_owned(),
        name: program.name.clone(),
        source: program.source.clone(),
        modules: program.modules.iter().map(|(path, source)| (path.clone(), Ok(source.clone()))).collect(),
        facts: program.facts.clone(),
    };
    let interpreter = Interpreter::new();
    let CapturedFunction { function, global, source } = interpreter.function(&script, request.index)?;

    let mut engine = Engine::new();
    engine.set_max_call_levels(MAX_CALL_LEVELS);
    engine.set_module_resolver(interpreter.resolver().clone());
    rhai_fs::FilesystemPackage::new().register_into_engine(&mut engine);
    rhai_process::ProcessPackage::new(rhai_process::Config::default()).register_into_engine(&mut engine);
    register_constants(&mut engine);
    // Twitcher's functions come last, so that they replace those of a package with the same name.
    library::register(&mut engine);
    facts::register(&mut engine, facts::hostname, |name| Ok(facts::variable(name)));
    let context = NativeCallContext::new_with_all_fields(
        &engine,
        function.fn_name(),
        Some(&source),
        &global,
        Position::NONE,
    );
    let result = function.call_raw(&context, None, [event.into()]);
    let code = match result {
        Ok(value) => exit_code(value),
        Err(error) => match *error {
            EvalAltResult::Exit(value, _) => exit_code(value),
            error => return Err(interpreter.render(&error, &script, Scope::Action)),
        },
    };
    code.map_err(|reason| {
        format!("{}: the function of registration {} {reason}", script.path, request.index + 1)
    })
}

fn exit_code(value: Dynamic) -> Result<u8, String> {
    if value.is_unit() {
        return Ok(0);
    }
    let Ok(number) = value.as_int() else {
        return Err(format!("returned {}, not an exit code (0 to 255)", type_of(&value)));
    };
    u8::try_from(number).map_err(|_| format!("returned {number}, which is no exit code (0 to 255)"))
}

#[cfg(test)]
mod tests;
