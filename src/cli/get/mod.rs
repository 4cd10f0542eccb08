//! `twitcher get NODE`

use std::process::ExitCode;

use data_encoding::BASE64;
use serde_json::{Map, Value};

use super::shared::exit::Exit;
use super::shared::format::{parse_format, read};
use super::shared::stdout::{print_foreign, print_json};
use super::shared::store::NodeArgs;
use crate::model::{Format, NodePath};

mod cached;

use cached::{CacheArgs, Found};

/// Write a node's bytes to stdout; a terminal gets control characters escaped
#[derive(Debug, clap::Args)]
pub struct Get {
    #[command(flatten)]
    node: NodeArgs,
    /// Print a JSON object with znode, version, data (or base64, if the data is not UTF-8), and what else the
    /// store knows of the node: on ZooKeeper its stat, by the names there (czxid, mzxid, pzxid, ctime, mtime,
    /// cversion, aversion, ephemeralOwner, dataLength, numChildren); on etcd create_revision, mod_revision
    /// and lease (hexadecimal, 0 for none); of a file mtime (in milliseconds, too), mode, uid and gid. With
    /// --cached: current_until, the time until which this is known to have been current, or null
    #[arg(long)]
    json: bool,
    /// Decode the data: JSON, CBOR and PROPERTIES come out as one line of JSON, of a COMMIT the payload
    #[arg(long, value_name = "FORMAT", value_parser = parse_format, conflicts_with = "json")]
    decode: Option<Format>,
    #[command(flatten)]
    cache: CacheArgs,
}

impl Get {
    pub fn run(self) -> Exit {
        let node = &self.node.node;
        let settings = match self.cache.find(&self.node)? {
            Found::InCache { version, data, current_until } if self.json => {
                let mut object = Map::new();
                object.insert("version".to_owned(), version.into());
                object.insert("current_until".to_owned(), current_until.into());
                return print_object(node, object, data);
            }
            Found::InCache { data, .. } => return self.print(&data),
            Found::InStore(settings) => settings,
        };
        let client = |error| self.cache.explain(error);
        if self.json {
            let read =
                self.node.with_client_of(&settings, async |client, node| Ok(client.read_node(node).await?));
            let read = read.map_err(client)?;
            return print_object(node, read.stat(), read.data);
        }
        let data = self.node.with_client_of(&settings, async |client, node| Ok(client.get(node).await?));
        self.print(&data.map_err(client)?)
    }

    fn print(&self, data: &[u8]) -> Exit {
        match self.decode {
            None => print_foreign(data)?,
            Some(format) => {
                let decoded = read(format, data, &self.node.node);
                print_foreign(&decoded.map_err(|why| format!("node {} {why}", self.node.node))?)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn print_object(node: &NodePath, mut object: Map<String, Value>, data: Vec<u8>) -> Exit {
    object.insert("znode".to_owned(), node.as_str().into());
    let (name, text) = data_text(data);
    object.insert(name.to_owned(), text.into());
    print_json(&(Value::Object(object).to_string() + "\n"))?;
    Ok(ExitCode::SUCCESS)
}

/// Returns the field of an object that has a node's data, and its value.
pub fn data_text(data: Vec<u8>) -> (&'static str, String) {
    match String::from_utf8(data) {
        Ok(text) => ("data", text),
        Err(error) => ("base64", BASE64.encode(error.as_bytes())),
    }
}
