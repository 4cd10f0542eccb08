//! `twitcher properties NODE [KEY]`

use std::error::Error;
use std::process::ExitCode;

use super::shared::exit::Exit;
use super::shared::stdout::{print_foreign, print_json};
use super::shared::store::NodeArgs;
use crate::model::NodePath;
use crate::store::{Client, ClientError, Condition, Contention, StoreSettings, WriteOptions};
use crate::text::quoted;
use crate::value::object::{self, Properties as Object};

/// Print the properties of a node, or change some of them
///
/// The properties are a JSON object in the node's data. Data that is no object is shown as its
/// `string_value`. What begins like an object and is not JSON, or has a key twice, is replaced only by
/// --replace. A change is made of what the node has at that moment: what others change at the same time
/// stays.
#[derive(Debug, clap::Args)]
pub struct Properties {
    #[command(flatten)]
    node: NodeArgs,
    /// Print the value of KEY alone: of a string its text, of all else JSON
    key: Option<String>,
    /// Set these properties, and keep all others. A value that is no JSON is a string
    #[arg(long, value_name = "KEY=VALUE", num_args = 1.., value_parser = parse_property)]
    #[arg(conflicts_with_all = ["key", "replace", "unset"])]
    update: Vec<Property>,
    /// Set these properties, and remove all others
    #[arg(long, value_name = "KEY=VALUE", num_args = 1.., value_parser = parse_property)]
    #[arg(conflicts_with_all = ["key", "unset"])]
    replace: Vec<Property>,
    /// Remove these properties
    #[arg(long, value_name = "KEY", num_args = 1.., conflicts_with = "key")]
    unset: Vec<String>,
}

/// A property of the command line.
#[derive(Clone, Debug)]
struct Property {
    key: String,
    value: String,
}

fn parse_property(text: &str) -> Result<Property, String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => {
            Ok(Property { key: key.to_owned(), value: value.to_owned() })
        }
        Some(_) | None => Err("a property is KEY=VALUE, such as weight=10".to_owned()),
    }
}

impl Properties {
    pub fn run(self) -> Exit {
        let settings = self.node.store_settings()?;
        if !self.update.is_empty() || !self.replace.is_empty() || !self.unset.is_empty() {
            let change = async |client: &Client, node: &NodePath| self.change(client, node, &settings).await;
            self.node.with_client_of(&settings, change)?;
            return Ok(ExitCode::SUCCESS);
        }
        let data = self.node.with_client_of(&settings, async |client, node| Ok(client.get(node).await?))?;
        let object = self.read(&data)?;
        let Some(key) = &self.key else {
            print_json(&(object.json() + "\n"))?;
            return Ok(ExitCode::SUCCESS);
        };
        let value = object.get(key);
        let value = value.ok_or_else(|| format!("node {} has no property {key}", self.node.node))?;
        match serde_json::from_str::<String>(value) {
            Ok(text) => print_foreign((text + "\n").as_bytes())?,
            Err(_) => print_json(&format!("{value}\n"))?,
        }
        Ok(ExitCode::SUCCESS)
    }

    fn read(&self, data: &[u8]) -> Result<Object, Box<dyn Error>> {
        let node = &self.node.node;
        Object::read(data)
            .map_err(|_| format!("the data of node {node} is not UTF-8: it has no properties").into())
    }

    /// Refuses to change a property of what would be an object but for a fault: the others would be lost.
    fn require_object(&self, data: &[u8]) -> Result<(), Box<dyn Error>> {
        let node = &self.node.node;
        match object::fault_of_object(data).filter(|_| self.replace.is_empty()) {
            None => Ok(()),
            Some(fault) => Err(format!(
                "the data of node {node} begins like a JSON object, but cannot be read as one: {fault}; put \
                 it right with `twitcher edit {}`, or replace it with --replace; nothing was written",
                quoted(node.as_str())
            )
            .into()),
        }
    }

    async fn change(
        &self,
        client: &Client,
        node: &NodePath,
        settings: &StoreSettings,
    ) -> Result<(), Box<dyn Error>> {
        let store = settings.to_string();
        let mut contention = Contention::new(node, &store, settings.session_timeout());
        loop {
            let (before, condition) = match client.read_node(node).await {
                Ok(read) => {
                    self.require_object(&read.data)?;
                    (self.read(&read.data)?, Condition::Same(read.version))
                }
                Err(ClientError::Missing { .. } | ClientError::NoRoot { .. }) if self.unset.is_empty() => {
                    (Object::default(), Condition::Absent)
                }
                Err(error) => return Err(error.into()),
            };
            let Some(after) = self.changed(before)? else { return Ok(()) };
            let options = WriteOptions { condition, ..WriteOptions::default() };
            match client.set(node, &after.write(), &options).await {
                Ok(()) => return Ok(()),
                Err(ClientError::ConditionFailed { .. }) => contention.thwarted()?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Returns what becomes of the properties, or `None` if nothing is to be written.
    fn changed(&self, mut object: Object) -> Result<Option<Object>, Box<dyn Error>> {
        let before = object.json();
        if !self.replace.is_empty() {
            object = Object::default();
        }
        for Property { key, value } in self.update.iter().chain(&self.replace) {
            object.set(key.clone(), object::value(value));
        }
        for key in &self.unset {
            object.unset(key);
        }
        Ok((object.json() != before).then_some(object))
    }
}
