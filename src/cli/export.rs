//! `twitcher export NODE`

use std::cell::OnceCell;
use std::error::Error;
use std::process::ExitCode;
use std::rc::Rc;

use clap::ValueEnum;
use serde_json::Value;
use tokio::task::spawn_blocking;

use super::get::data_text;
use super::shared::exit::{Exit, print_error};
use super::shared::format::{parse_format, read};
use super::shared::stdout::{PrintError, print_foreign, print_json};
use super::shared::store::NodeArgs;
use crate::model::{Format, NodePath};
use crate::store::{Visited, Walked};
use crate::text::count;

/// Write a node and all below it to stdout, one JSON object a line
///
/// Each object has znode, version, and data (or base64, if the data is not UTF-8). A node comes before those
/// below it. Nodes that live as long as a session (ephemeral ones) or a lease are left out, and counted on
/// stderr; so are ACLs. On etcd, all is of one revision. `twitcher import` reads it.
#[derive(Debug, clap::Args)]
pub struct Export {
    #[command(flatten)]
    node: NodeArgs,
    /// jsonl: a JSON object a line; json: an array of them; csv: the columns znode, version, data and base64
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "jsonl")]
    format: Shape,
    /// Decode the data of each node, and write it as value in place of data. Empty data is left as it is
    #[arg(long, value_name = "FORMAT", value_parser = parse_format)]
    decode: Option<Format>,
}

/// The form of the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Shape {
    Jsonl,
    Json,
    Csv,
}

/// How much is written at once.
const BUFFER: usize = 64 << 10;

/// How many nodes are named that cannot be read or decoded.
const MAX_NAMED: usize = 20;

impl Export {
    pub fn run(self) -> Exit {
        let settings = self.node.store_settings()?;
        if let Some(note) = settings.note_on_export() {
            print_error(format_args!("note: {note}"));
        }
        let mut output = Output::new(self.format, self.decode);
        self.node.with_client_of(&settings, async |client, node| {
            let broken = Rc::new(OnceCell::new());
            let walked = client
                .walk(node, true, &mut |walked| {
                    output.take(walked);
                    match output.full_buffer() {
                        Some(text) => {
                            Visited::Wait(Box::pin(print_aside(output.shape, text, Rc::clone(&broken))))
                        }
                        None => Visited::GoOn,
                    }
                })
                .await;
            match Rc::into_inner(broken).and_then(OnceCell::into_inner) {
                Some(error) => Err(error),
                None => walked.map_err(|error| output.incomplete(&error)),
            }
        })?;
        output.end()
    }
}

type Broken = Rc<OnceCell<Box<dyn Error>>>;

/// Prints on another thread, because whoever reads stdout may take longer than a session lives in silence.
/// Returns false, and says why, if it cannot be printed.
async fn print_aside(shape: Shape, text: String, broken: Broken) -> bool {
    let printed: Result<(), Box<dyn Error>> = match spawn_blocking(move || print_as(shape, &text)).await {
        Ok(printed) => printed.map_err(Into::into),
        Err(error) => Err(error.into()),
    };
    match printed {
        Ok(()) => true,
        Err(error) => {
            let _ = broken.set(error);
            false
        }
    }
}

fn print_as(shape: Shape, text: &str) -> Result<(), PrintError> {
    match shape {
        Shape::Jsonl | Shape::Json => print_json(text),
        Shape::Csv => print_foreign(text.as_bytes()),
    }
}

/// Writes nodes as they are found.
struct Output {
    shape: Shape,
    decode: Option<Format>,
    buffer: String,
    /// The end of the last line. It is held back until there is more, or all is done: an export that is cut
    /// off, however that happens, ends in the middle of a line, and no import takes it for a whole one.
    held_back: &'static str,
    nodes: u64,
    fleeting: u64,
    /// Keys that are no nodes.
    no_nodes: u64,
    /// What is wrong with some nodes, and how many these are.
    faults: Vec<String>,
    faulty: u64,
}

/// The content of a node, with the name of its field.
enum Field {
    Text(&'static str, String),
    /// JSON as it is.
    Json(&'static str, String),
    None,
}

impl Output {
    fn new(shape: Shape, decode: Option<Format>) -> Self {
        let buffer = match (shape, decode) {
            (Shape::Jsonl, _) => "",
            (Shape::Json, _) => "[",
            (Shape::Csv, None) => "znode,version,data,base64\n",
            (Shape::Csv, Some(_)) => "znode,version,value,data,base64\n",
        };
        Self {
            shape,
            decode,
            buffer: buffer.to_owned(),
            held_back: "",
            nodes: 0,
            fleeting: 0,
            no_nodes: 0,
            faults: Vec::new(),
            faulty: 0,
        }
    }

    fn take(&mut self, walked: Walked) {
        match walked {
            Walked::Node { path, data, version } => {
                let field = self.field(&path, data);
                self.line(&path, version, field);
                self.nodes += 1;
            }
            Walked::Fleeting(_) => self.fleeting += 1,
            Walked::NoNode => self.no_nodes += 1,
            Walked::Unreadable { path, reason } => {
                self.fault(format!("node {path} is not exported, nor is what is below it: {reason}"));
            }
        }
    }

    /// Returns what is to be printed, if that is much.
    fn full_buffer(&mut self) -> Option<String> {
        (self.buffer.len() >= BUFFER).then(|| std::mem::take(&mut self.buffer))
    }

    fn fault(&mut self, fault: String) {
        self.faulty += 1;
        if self.faults.len() < MAX_NAMED {
            self.faults.push(fault);
        }
    }

    fn field(&mut self, path: &NodePath, data: Option<Vec<u8>>) -> Field {
        let Some(data) = data else { return Field::None };
        if let Some(format) = self.decode
            && !data.is_empty()
        {
            match read(format, &data, path).and_then(|value| decoded(format, value)) {
                Ok(value) => return Field::Json("value", value),
                Err(why) => self.fault(format!("node {path} is exported as it is: it {why}")),
            }
        }
        let (name, text) = data_text(data);
        Field::Text(name, text)
    }

    fn line(&mut self, path: &NodePath, version: i64, field: Field) {
        self.buffer += self.held_back;
        let json = |text: String| Value::String(text).to_string();
        if self.shape == Shape::Csv {
            let mut columns =
                vec![("value", String::new()), ("data", String::new()), ("base64", String::new())];
            if self.decode.is_none() {
                columns.remove(0);
            }
            if let Field::Text(name, text) | Field::Json(name, text) = field {
                columns
                    .iter_mut()
                    .filter(|(column, _)| *column == name)
                    .for_each(|(_, cell)| *cell = text.clone());
            }
            let cells = columns.into_iter().map(|(_, cell)| quoted_cell(cell));
            let cells: Vec<_> =
                [quoted_cell(path.to_string()), version.to_string()].into_iter().chain(cells).collect();
            self.buffer += &cells.join(",");
            self.held_back = "\n";
            return;
        }
        if self.shape == Shape::Json {
            self.buffer += "\n";
        }
        let znode = json(path.to_string());
        self.buffer += &match field {
            Field::None => format!(r#"{{"znode":{znode}"#),
            Field::Text(name, text) => {
                format!(r#"{{"znode":{znode},"version":{version},"{name}":{}"#, json(text))
            }
            Field::Json(name, text) => {
                format!(r#"{{"znode":{znode},"version":{version},"{name}":{text}"#)
            }
        };
        self.held_back = match self.shape {
            Shape::Json => "},",
            Shape::Jsonl | Shape::Csv => "}\n",
        };
    }

    /// Says how far an export came that did not end.
    fn incomplete(&self, reason: &dyn Error) -> Box<dyn Error> {
        match self.nodes {
            0 => reason.to_string().into(),
            nodes => format!(
                "{reason}; {} had been read, and what was written ends in the middle of a line",
                count(nodes, "node")
            )
            .into(),
        }
    }

    fn end(mut self) -> Exit {
        self.buffer += match (self.shape, self.held_back) {
            (Shape::Json, "") => "]\n",
            (Shape::Json, _) => "}\n]\n",
            (Shape::Jsonl | Shape::Csv, held_back) => held_back,
        };
        print_as(self.shape, &self.buffer)?;
        if self.fleeting > 0 {
            print_error(format_args!(
                "note: {} left out, because {} as long as a session or a lease",
                count(self.fleeting, "node"),
                if self.fleeting == 1 { "it lives" } else { "they live" }
            ));
        }
        if self.no_nodes > 0 {
            print_error(format_args!(
                "note: {} left out, because {}",
                count(self.no_nodes, "key"),
                if self.no_nodes == 1 { "it is no node path" } else { "they are no node paths" }
            ));
        }
        for fault in &self.faults {
            print_error(format_args!("twitcher: {fault}"));
        }
        if self.faulty > self.faults.len() as u64 {
            print_error(format_args!(
                "twitcher: and {} more such nodes",
                self.faulty - self.faults.len() as u64
            ));
        }
        Ok(if self.faulty == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// Returns what was decoded as JSON.
fn decoded(format: Format, value: Vec<u8>) -> Result<String, String> {
    match (format, String::from_utf8(value)) {
        (Format::Commit, Ok(payload)) => Ok(Value::String(payload).to_string()),
        (Format::Commit, Err(_)) => Err("has a payload that is not UTF-8".to_owned()),
        (Format::Json | Format::Cbor | Format::Properties, Ok(json)) => Ok(json.trim_end().to_owned()),
        (Format::Json | Format::Cbor | Format::Properties, Err(_)) => Err("is not UTF-8".to_owned()),
    }
}

/// Quotes a cell as RFC 4180 says, where it has to be.
fn quoted_cell(cell: String) -> String {
    let is_plain = |c: char| !matches!(c, ',' | '"' | '\n' | '\r');
    if cell.chars().all(is_plain) && cell.trim() == cell {
        return cell;
    }
    format!("\"{}\"", cell.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_quoted_if_it_has_to_be() {
        for (cell, quoted) in [
            ("plain text", "plain text"),
            ("", ""),
            ("a,b", "\"a,b\""),
            ("a \"b\"", "\"a \"\"b\"\"\""),
            ("two\nlines", "\"two\nlines\""),
            (" x", "\" x\""),
        ] {
            assert_eq!(quoted_cell(cell.to_owned()), quoted);
        }
    }
}
