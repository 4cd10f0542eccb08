//! `twitcher services SERVICE`

use std::process::ExitCode;

use serde_json::{Map, Value, json};

use super::shared::exit::Exit;
use super::shared::stdout::{print_foreign, print_json};
use super::shared::store::NodeArgs;
use crate::model::NodePath;
use crate::store::Service;
use crate::value::{object, plain};

/// Print the members of a service, with what each says of itself
///
/// A service is a node, and its members are the children. Each line has the name of a member and its data as
/// compact JSON: data that is no object as its `string_value`, and no data as null.
#[derive(Debug, clap::Args)]
pub struct Services {
    #[command(flatten)]
    node: NodeArgs,
    /// Print a JSON object: path, data, children (the members' data by their names) and stat (what the store
    /// knows of the service's node)
    #[arg(long)]
    json: bool,
}

impl Services {
    pub fn run(self) -> Exit {
        let service = self.node.with_client(async |client, node| Ok(client.service(node).await?))?;
        if self.json {
            print_json(&format!("{}\n", json(&self.node.node, &service)?))?;
        } else {
            print_foreign(lines(&service).as_bytes())?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Returns what a node says of itself, as compact JSON.
fn said(data: &[u8]) -> String {
    plain::write(&object::member(data))
}

fn lines(service: &Service) -> String {
    service.members.iter().map(|(name, data)| format!("{name} {}\n", said(data))).collect()
}

/// Returns the object as ndServiceRegistry has it.
fn json(path: &NodePath, service: &Service) -> serde_json::Result<Value> {
    let parsed = |data: &[u8]| serde_json::from_str::<Value>(&said(data));
    let mut children = Map::new();
    for (name, data) in &service.members {
        children.insert(name.clone(), parsed(data)?);
    }
    let (data, stat) = match &service.node {
        Some(node) => (parsed(&node.data)?, node.stat()),
        None => (Value::Null, Map::new()),
    };
    Ok(json!({ "path": path.as_str(), "data": data, "children": children, "stat": stat }))
}
