//! One run of a function action: what travels to `twitcher act`, and what happens there.

use std::sync::Arc;

use rhai::packages::Package;
use rhai::{Dynamic, Engine, EvalAltResult, Map, NativeCallContext, Position};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::script::{Captured, Interpreter, Request};
use super::spec::Program;
use super::{facts, library};
use crate::store::Content;

/// What a function action is told of the update it runs for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActEvent {
    pub znode: String,
    /// `load`, `created`, `changed` or `children`.
    pub event: String,
    /// As `TWITCHER_VERSION`.
    pub version: i64,
    /// The watch's description.
    pub watch: String,
    pub content: Content,
}

/// The whole order to `twitcher act`.
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
}

/// All but the node's bytes, which follow as they are: as JSON they would be four times as long.
#[derive(Serialize, Deserialize)]
struct Header {
    program: Arc<Program>,
    index: usize,
    znode: String,
    event: String,
    version: i64,
    watch: String,
    /// `None`: a data watch.
    children: Option<Arc<[String]>>,
}

impl ActRequest {
    /// A line of JSON and, after its newline, the node's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let (children, data): (_, &[u8]) = match &self.event.content {
            Content::Data(data) => (None, data),
            Content::Children(children) => (Some(children.clone()), &[]),
        };
        let header = Header {
            program: self.program.clone(),
            index: self.index,
            znode: self.event.znode.clone(),
            event: self.event.event.clone(),
            version: self.event.version,
            watch: self.event.watch.clone(),
            children,
        };
        let mut encoded = serde_json::to_vec(&header).expect("strings and numbers always serialize");
        encoded.push(b'\n');
        encoded.extend_from_slice(data);
        encoded
    }

    pub fn decode(encoded: &[u8]) -> Result<Self, DecodeError> {
        let end = encoded.iter().position(|byte| *byte == b'\n').ok_or(DecodeError::Headless)?;
        let header: Header = serde_json::from_slice(&encoded[..end])?;
        let content = match header.children {
            Some(children) => Content::Children(children),
            None => Content::Data(encoded[end + 1..].into()),
        };
        let event = ActEvent {
            znode: header.znode,
            event: header.event,
            version: header.version,
            watch: header.watch,
            content,
        };
        Ok(Self { program: header.program, index: header.index, event })
    }
}

impl ActEvent {
    fn into_map(self) -> Map {
        let (data, children) = match self.content {
            Content::Data(data) => (data, Arc::from([])),
            Content::Children(children) => (Arc::from([]), children),
        };
        let children: rhai::Array = children.iter().map(|name| name.clone().into()).collect();
        Map::from_iter([
            ("znode".into(), self.znode.into()),
            ("event".into(), self.event.into()),
            ("text".into(), String::from_utf8_lossy(&data).into_owned().into()),
            ("data".into(), Dynamic::from_blob(data.to_vec())),
            ("children".into(), children.into()),
            ("version".into(), self.version.into()),
            ("watch".into(), self.watch.into()),
        ])
    }
}

/// Runs the function and gives its exit code, 0 to 255. An `Err` is the message for stderr; the code then is 1.
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
    let Captured { function, global, source } = interpreter.function(&script, request.index)?;

    let mut engine = Engine::new();
    engine.set_max_call_levels(super::script::CALL_LEVELS);
    engine.set_module_resolver(interpreter.resolver().clone());
    rhai_fs::FilesystemPackage::new().register_into_engine(&mut engine);
    rhai_process::ProcessPackage::new(rhai_process::Config::default()).register_into_engine(&mut engine);
    super::script::register_types(&mut engine);
    // Last, so that ours win over a package's function of the same name.
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
#[path = "function_tests.rs"]
mod tests;
