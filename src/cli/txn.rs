//! `twitcher txn [FILE]`

use std::error::Error;
use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use data_encoding::BASE64;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::get::data_text;
use super::set::read_stdin;
use super::shared::exit::{CONDITION_FAILED, Exit, UsageError};
use super::shared::stdout::print_json;
use super::shared::store::StoreConnection;
use crate::model::NodePath;
use crate::store::{Operation, OperationResult, Outcome, Test, Transaction, Wanted};

/// Do several changes at once, or none of them, if conditions hold
///
/// The transaction is a JSON object with `if`, an array of conditions {"znode", and "version",
/// "absent", "value" or "base64"}, and with `then` and `else`, arrays of {"set", and "data" or
/// "base64"}, {"rm"} and {"get"}, each with the path of a node. If all conditions hold, `then` is done,
/// otherwise `else`, and the command exits with 3. Prints a JSON object with `succeeded` and `results`,
/// one for each operation that was done. Not on directory stores.
#[derive(Debug, clap::Args)]
pub struct Txn {
    /// The file with the transaction; without it, or with -, stdin
    file: Option<PathBuf>,
    #[command(flatten)]
    store: StoreConnection,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default, rename = "if")]
    conditions: Vec<ConditionEntry>,
    #[serde(default)]
    then: Vec<OperationEntry>,
    #[serde(default, rename = "else")]
    otherwise: Vec<OperationEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConditionEntry {
    znode: NodePath,
    version: Option<i64>,
    absent: Option<bool>,
    value: Option<String>,
    base64: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OperationEntry {
    set: Option<Target>,
    rm: Option<Target>,
    get: Option<Target>,
    data: Option<String>,
    base64: Option<String>,
}

/// The node of an operation: its path alone, or in an object, also with the data.
enum Target {
    Path(NodePath),
    Object(TargetObject),
}

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TargetVisitor;

        impl<'de> Visitor<'de> for TargetVisitor {
            type Value = Target;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the path of a node, or an object with it")
            }

            fn visit_str<E: de::Error>(self, path: &str) -> Result<Target, E> {
                NodePath::parse(path).map(Target::Path).map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Target, A::Error> {
                TargetObject::deserialize(MapAccessDeserializer::new(fields)).map(Target::Object)
            }
        }

        deserializer.deserialize_any(TargetVisitor)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TargetObject {
    znode: NodePath,
    data: Option<String>,
    base64: Option<String>,
}

impl Txn {
    pub fn run(self) -> Exit {
        let (name, text) = self.read()?;
        let wrong = |error: String| UsageError(format!("{name}: {error}; see `twitcher txn --help`"));
        only_objects(&text).map_err(wrong)?;
        let document: Document = serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
        let transaction = document.transaction().map_err(wrong)?;
        if let Some(node) = transaction.written_twice() {
            return Err(wrong(format!("node {node} is written twice in one branch")).into());
        }
        let outcome = self.store.with_client(async |client| Ok(client.transact(&transaction).await?))?;
        let succeeded = outcome.succeeded;
        print_json(&(shown(outcome).to_string() + "\n"))?;
        Ok(if succeeded { ExitCode::SUCCESS } else { CONDITION_FAILED.into() })
    }

    /// Returns the transaction and the name of where it comes from.
    fn read(&self) -> Result<(String, Vec<u8>), Box<dyn Error>> {
        match &self.file {
            Some(file) if file.as_os_str() != "-" => {
                let name = file.display().to_string();
                let text = fs::read(file).map_err(|error| format!("cannot read {name}: {error}"))?;
                Ok((name, text))
            }
            Some(_) | None => {
                let text = read_stdin();
                let text =
                    text.map_err(|error| format!("cannot read the transaction from stdin: {error}"))?;
                Ok(("stdin".to_owned(), text))
            }
        }
    }
}

/// Refuses arrays where the format has objects, which the parser would take for their fields in order.
fn only_objects(text: &[u8]) -> Result<(), String> {
    let whole: Value = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    let Value::Object(whole) = whole else { return Err("the transaction is no object".to_owned()) };
    for (branch, entries) in whole {
        for (index, entry) in entries.as_array().into_iter().flatten().enumerate() {
            let fields = entry.as_object().ok_or_else(|| format!("{branch}[{index}]: it is no object"))?;
            if let Some((name, _)) = fields.iter().find(|(_, value)| value.is_array()) {
                return Err(format!("{branch}[{index}]: {name} is an array"));
            }
        }
    }
    Ok(())
}

impl Document {
    fn transaction(self) -> Result<Transaction, String> {
        let operations = |entries: Vec<OperationEntry>, branch: &str| {
            let parsed = entries.into_iter().enumerate().map(|(index, entry)| {
                entry.operation().map_err(|error| format!("{branch}[{index}]: {error}"))
            });
            parsed.collect::<Result<Vec<_>, _>>()
        };
        let tests = self.conditions.into_iter().enumerate();
        Ok(Transaction {
            conditions: tests
                .map(|(index, entry)| entry.test().map_err(|error| format!("if[{index}]: {error}")))
                .collect::<Result<_, _>>()?,
            then: operations(self.then, "then")?,
            otherwise: operations(self.otherwise, "else")?,
        })
    }
}

impl ConditionEntry {
    fn test(self) -> Result<Test, String> {
        let wanted = match (self.version, self.absent, self.value, self.base64) {
            (Some(version), None, None, None) => Wanted::Version(version),
            (None, Some(absent), None, None) => Wanted::Absent(absent),
            (None, None, Some(value), None) => Wanted::Value(value.into_bytes()),
            (None, None, None, Some(base64)) => Wanted::Value(decoded(&base64)?),
            _ => return Err("a condition has one of version, absent, value and base64".to_owned()),
        };
        Ok(Test { node: self.znode, wanted })
    }
}

impl OperationEntry {
    fn operation(self) -> Result<Operation, String> {
        let target = match (self.set, self.rm, self.get) {
            (Some(target), None, None) => target,
            (None, Some(target), None) => {
                return Ok(Operation::Remove { node: target.without_data(self.data, self.base64)? });
            }
            (None, None, Some(target)) => {
                return Ok(Operation::Get { node: target.without_data(self.data, self.base64)? });
            }
            _ => return Err("an operation has one of set, rm and get".to_owned()),
        };
        let (node, data, base64) = match target {
            Target::Path(node) => (node, self.data, self.base64),
            Target::Object(TargetObject { znode, data, base64 }) => {
                let has_own = data.is_some() || base64.is_some();
                if has_own && (self.data.is_some() || self.base64.is_some()) {
                    return Err("set has data within its object and beside it; give one of them".to_owned());
                }
                (znode, data.or(self.data), base64.or(self.base64))
            }
        };
        let data = match (data, base64) {
            (Some(data), None) => data.into_bytes(),
            (None, Some(base64)) => decoded(&base64)?,
            _ => return Err("set has one of data and base64; empty data is \"\"".to_owned()),
        };
        Ok(Operation::Set { node, data })
    }
}

impl Target {
    fn without_data(self, data: Option<String>, base64: Option<String>) -> Result<NodePath, String> {
        match (self, data, base64) {
            (
                Self::Path(node) | Self::Object(TargetObject { znode: node, data: None, base64: None }),
                None,
                None,
            ) => Ok(node),
            _ => Err("only set has data".to_owned()),
        }
    }
}

fn decoded(base64: &str) -> Result<Vec<u8>, String> {
    BASE64.decode(base64.as_bytes()).map_err(|error| format!("base64: {error}"))
}

fn shown(outcome: Outcome) -> Value {
    let result = |result| {
        let mut object = Map::new();
        match result {
            OperationResult::Set { node, version } => {
                object.insert("set".to_owned(), node.as_str().into());
                object.insert("version".to_owned(), version.into());
            }
            OperationResult::Removed { node } => {
                object.insert("rm".to_owned(), node.as_str().into());
            }
            OperationResult::Got { node, found } => {
                object.insert("get".to_owned(), node.as_str().into());
                match found {
                    Some((data, version)) => {
                        object.insert("version".to_owned(), version.into());
                        let (name, text) = data_text(data);
                        object.insert(name.to_owned(), text.into());
                    }
                    None => {
                        object.insert("absent".to_owned(), true.into());
                    }
                }
            }
        }
        Value::Object(object)
    };
    let results: Vec<_> = outcome.results.into_iter().map(result).collect();
    let mut object = Map::new();
    object.insert("succeeded".to_owned(), outcome.succeeded.into());
    object.insert("results".to_owned(), results.into());
    Value::Object(object)
}
