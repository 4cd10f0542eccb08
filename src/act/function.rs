//! One run of a function action: the request to `twitcher act`, and the call of the function there.

use std::sync::Arc;

use rhai::packages::Package;
use rhai::{Dynamic, Engine, EvalAltResult, Map, NativeCallContext, Position};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::act::library;
use crate::action::payload::Payload;
use crate::config::facts;
use crate::config::registrar::CapturedFunction;
use crate::config::request::Request;
use crate::config::script::{Interpreter, MAX_CALL_LEVELS, register_constants};
use crate::model::{Change, NodeEvent, NodePath, NodeState, Program};

/// The event that a function action gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActEvent {
    pub znode: String,
    /// The word of an [`Event`](crate::watch::Event).
    pub event: String,
    /// The number in `TWITCHER_VERSION`.
    pub version: i64,
    /// The watch's description.
    pub watch: String,
    pub payload: Payload,
}

/// The request to `twitcher act`.
#[derive(Clone, Debug)]
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
    #[error("the request is cut")]
    Cut,
}

/// The request without the data of nodes, which follow the header as they are. As JSON, they would be four
/// times as long.
#[derive(Serialize, Deserialize)]
struct Header {
    program: Arc<Program>,
    index: usize,
    znode: String,
    event: String,
    version: i64,
    watch: String,
    payload: PayloadHeader,
}

#[derive(Serialize, Deserialize)]
enum PayloadHeader {
    Data,
    Children(Arc<[String]>),
    Changes(Vec<ChangeHeader>),
}

/// A [`Change`] without the node's bytes.
#[derive(Serialize, Deserialize)]
struct ChangeHeader {
    path: NodePath,
    event: NodeEvent,
    /// The node's version, and the size of its data.
    now: Option<(i64, usize)>,
}

impl ActRequest {
    /// Returns a line of JSON, followed by the data of the node, or of the changed nodes in their order.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes: Vec<&[u8]> = Vec::new();
        let payload = match &self.event.payload {
            Payload::Data(data) => {
                bytes.push(data);
                PayloadHeader::Data
            }
            Payload::Children(children) => PayloadHeader::Children(children.clone()),
            Payload::Changes(changes) => {
                bytes.extend(changes.iter().filter_map(|change| change.now.as_ref()).map(|now| &*now.data));
                PayloadHeader::Changes(changes.iter().map(ChangeHeader::of).collect())
            }
        };
        let header = Header {
            program: self.program.clone(),
            index: self.index,
            znode: self.event.znode.clone(),
            event: self.event.event.clone(),
            version: self.event.version,
            watch: self.event.watch.clone(),
            payload,
        };
        let mut encoded = serde_json::to_vec(&header).expect("strings and numbers always serialize");
        encoded.push(b'\n');
        bytes.into_iter().for_each(|bytes| encoded.extend_from_slice(bytes));
        encoded
    }

    pub fn decode(encoded: &[u8]) -> Result<Self, DecodeError> {
        let end = encoded.iter().position(|byte| *byte == b'\n').ok_or(DecodeError::Headless)?;
        let header: Header = serde_json::from_slice(&encoded[..end])?;
        let mut bytes = &encoded[end + 1..];
        let payload = match header.payload {
            PayloadHeader::Data => Payload::Data(bytes.into()),
            PayloadHeader::Children(children) => Payload::Children(children),
            PayloadHeader::Changes(changes) => {
                let complete = changes.into_iter().map(|change| change.complete(&mut bytes));
                Payload::Changes(complete.collect::<Result<_, _>>()?)
            }
        };
        let event = ActEvent {
            znode: header.znode,
            event: header.event,
            version: header.version,
            watch: header.watch,
            payload,
        };
        Ok(Self { program: header.program, index: header.index, event })
    }
}

impl ChangeHeader {
    fn of(Change { path, event, now }: &Change) -> Self {
        let now = now.as_ref().map(|NodeState { version, data }| (*version, data.len()));
        Self { path: path.clone(), event: *event, now }
    }

    /// Returns the change with its data, which this takes from the front of `bytes`.
    fn complete(self, bytes: &mut &[u8]) -> Result<Change, DecodeError> {
        let now = match self.now {
            Some((version, size)) => {
                let data = bytes.split_off(..size).ok_or(DecodeError::Cut)?;
                Some(NodeState { version, data: data.into() })
            }
            None => None,
        };
        Ok(Change { path: self.path, event: self.event, now })
    }
}

impl ActEvent {
    fn into_map(self) -> Map {
        let (mut data, mut children, mut changes) = (Arc::from([]), rhai::Array::new(), rhai::Array::new());
        match self.payload {
            Payload::Data(payload) => data = payload,
            Payload::Children(names) => children.extend(names.iter().map(|name| name.clone().into())),
            Payload::Changes(payload) => {
                changes.extend(payload.into_iter().map(|change| change_map(change).into()))
            }
        }
        let mut map = Map::from_iter([
            ("znode".into(), self.znode.into()),
            ("event".into(), self.event.into()),
            ("children".into(), children.into()),
            ("changes".into(), changes.into()),
            ("version".into(), self.version.into()),
            ("watch".into(), self.watch.into()),
        ]);
        put_data(&mut map, &data);
        map
    }
}

fn change_map(Change { path, event, now }: Change) -> Map {
    let mut map =
        Map::from_iter([("znode".into(), path.to_string().into()), ("event".into(), event.as_str().into())]);
    if let Some(NodeState { version, data }) = now {
        map.insert("version".into(), version.into());
        map.insert("size".into(), Dynamic::from_int(data.len() as rhai::INT));
        put_data(&mut map, &data);
    }
    map
}

fn put_data(map: &mut Map, data: &[u8]) {
    map.insert("text".into(), String::from_utf8_lossy(data).into_owned().into());
    map.insert("data".into(), Dynamic::from_blob(data.to_vec()));
}

/// Runs the function and returns its exit code. An error is the message for stderr; then the exit code is 1.
pub fn act(request: ActRequest) -> Result<u8, String> {
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
    let result = function.call_raw(&context, None, [request.event.into_map().into()]);
    let code = match result {
        Ok(value) => exit_code(value),
        Err(error) => match *error {
            EvalAltResult::Exit(value, _) => exit_code(value),
            error => return Err(interpreter.render(&error, &script)),
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
        return Err(format!("returned a value of type {}, not an exit code", value.type_name()));
    };
    u8::try_from(number).map_err(|_| format!("returned {number}, which is no exit code (0 to 255)"))
}

#[cfg(test)]
mod tests;
