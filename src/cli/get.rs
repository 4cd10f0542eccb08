//! `twitcher get NODE`

use std::process::ExitCode;

use data_encoding::BASE64;
use serde_json::Value;

use super::shared::exit::Exit;
use super::shared::format::{parse_format, read};
use super::shared::stdout::{print_foreign, print_json};
use super::shared::store::NodeArgs;
use crate::model::{Format, NodePath};
use crate::store::ReadNode;

/// Write a node's bytes to stdout; a terminal gets control characters escaped
#[derive(Debug, clap::Args)]
pub struct Get {
    #[command(flatten)]
    node: NodeArgs,
    /// Print a JSON object with znode, version, data (or base64, if the data is not UTF-8), and what else the
    /// store knows of the node: on ZooKeeper its stat, by the names there (czxid, mzxid, pzxid, ctime, mtime,
    /// cversion, aversion, ephemeralOwner, dataLength, numChildren); on etcd create_revision, mod_revision
    /// and lease (hexadecimal, 0 for none); of a file mtime (in milliseconds, too), mode, uid and gid
    #[arg(long)]
    json: bool,
    /// Decode the data: JSON, CBOR and PROPERTIES come out as one line of JSON, of a COMMIT the payload
    #[arg(long, value_name = "FORMAT", value_parser = parse_format, conflicts_with = "json")]
    decode: Option<Format>,
}

impl Get {
    pub fn run(self) -> Exit {
        if self.json {
            let read = self.node.with_client(async |client, node| Ok(client.read_node(node).await?))?;
            print_json(&(object(&self.node.node, read) + "\n"))?;
            return Ok(ExitCode::SUCCESS);
        }
        let data = self.node.with_client(async |client, node| Ok(client.get(node).await?))?;
        match self.decode {
            None => print_foreign(&data)?,
            Some(format) => {
                let decoded = read(format, &data, &self.node.node);
                print_foreign(&decoded.map_err(|why| format!("node {} {why}", self.node.node))?)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn object(node: &NodePath, read: ReadNode) -> String {
    let mut object = read.stat();
    object.insert("znode".to_owned(), node.as_str().into());
    let (name, text) = data_text(read.data);
    object.insert(name.to_owned(), text.into());
    Value::Object(object).to_string()
}

/// Returns the field of an object that has a node's data, and its value.
pub fn data_text(data: Vec<u8>) -> (&'static str, String) {
    match String::from_utf8(data) {
        Ok(text) => ("data", text),
        Err(error) => ("base64", BASE64.encode(error.as_bytes())),
    }
}
