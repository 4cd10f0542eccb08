//! Reads all that is to be imported before anything is written.
//!
//! What does not come from a file of lines is copied to one without a name, so that it can be read again.

use std::collections::HashMap;
use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufRead, BufReader, BufWriter, Seek, Write};

use super::records::{self, Record};
use crate::model::NodePath;
use crate::store::StoreSettings;
use crate::text::count;

/// How many nodes are named that may be too large.
const MAX_NAMED: usize = 10;

/// What is known of each path, in place of the path itself, which takes more memory.
pub struct Paths {
    hashers: [RandomState; 2],
    known: HashMap<u128, u8>,
}

/// The node is in the file.
const LISTED: u8 = 1;
/// It is above one that is.
const ABOVE: u8 = 2;
/// It has data.
const WITH_DATA: u8 = 4;
/// It is in the file only as the root of what follows, and no node of its own.
const BARE: u8 = 8;

/// A node with less data than this is not asked about: each store takes it.
const SMALL: usize = 4 << 10;

impl Paths {
    fn new() -> Self {
        Self { hashers: [RandomState::new(), RandomState::new()], known: HashMap::new() }
    }

    fn key(&self, path: &str) -> u128 {
        let [one, two] = &self.hashers;
        u128::from(one.hash_one(path)) << 64 | u128::from(two.hash_one(path))
    }

    /// Whether the node is in the file, with data, be it empty.
    pub fn lists(&self, node: &NodePath) -> bool {
        self.known.get(&self.key(node.as_str())).is_some_and(|known| known & (LISTED | BARE) == LISTED)
    }

    /// Whether the node is above one in the file.
    pub fn are_below(&self, node: &NodePath) -> bool {
        self.known.get(&self.key(node.as_str())).is_some_and(|known| known & ABOVE != 0)
    }
}

/// Where the nodes of the file go.
#[derive(Clone)]
pub struct Mapping {
    /// The node of the first line, or the root where all nodes keep their paths.
    pub root: NodePath,
    /// What takes its place.
    pub target: NodePath,
}

impl Mapping {
    pub fn map(&self, node: &NodePath) -> Option<NodePath> {
        node.above(&self.root).map(|inner| inner.below(&self.target))
    }
}

/// What has been checked.
pub struct Checked {
    /// The lines, to be read from the beginning.
    pub lines: File,
    pub mapping: Mapping,
    pub nodes: u64,
    pub paths: Paths,
    /// The node with the most data, if that is not little.
    pub largest: Option<Largest>,
}

pub struct Largest {
    pub node: NodePath,
    pub size: usize,
    /// What to say if the store does not take so much.
    pub said: String,
}

struct Checker<'a> {
    settings: &'a StoreSettings,
    at: Option<&'a NodePath>,
    is_mirror: bool,
    mapping: Option<Mapping>,
    nodes: u64,
    paths: Paths,
    /// Nodes with more data than the store usually takes, each with its line.
    large: Vec<String>,
    number_of_large: u64,
    /// The node with the most data, with its line.
    largest: Option<Largest>,
    name: &'a str,
}

/// Reads everything. Returns `None` if there is nothing.
pub fn check(
    mut input: File,
    name: &str,
    settings: &StoreSettings,
    at: Option<&NodePath>,
    is_mirror: bool,
) -> Result<Option<Checked>, String> {
    let mut checker = Checker {
        settings,
        at,
        is_mirror,
        mapping: None,
        nodes: 0,
        paths: Paths::new(),
        large: Vec::new(),
        number_of_large: 0,
        largest: None,
        name,
    };
    let cannot = |what: &'static str| move |error: io::Error| format!("cannot {what}: {error}");
    let mut copy = match is_file_of_lines(&mut input).map_err(cannot("read the file"))? {
        true => None,
        false => Some(BufWriter::new(tempfile::tempfile().map_err(cannot("make a temporary file"))?)),
    };
    let mut copied = Ok(());
    records::each(BufReader::new(&input), name, &mut |line, text, record| {
        if let Some(copy) = &mut copy {
            copied = copy.write_all(text.trim().as_bytes()).and_then(|()| copy.write_all(b"\n"));
            if copied.is_err() {
                return Err("it cannot be kept".to_owned());
            }
        }
        checker.take(line, &record)
    })
    .map_err(|error| match std::mem::replace(&mut copied, Ok(())) {
        Ok(()) => error,
        Err(full) => format!("cannot write a temporary file ({full}); give a FILE or another TMPDIR"),
    })?;
    let mut lines = match copy {
        None => input,
        Some(copy) => copy.into_inner().map_err(|error| {
            format!("cannot write a temporary file ({}); give a FILE or another TMPDIR", error.error())
        })?,
    };
    lines.rewind().map_err(cannot("read the file again"))?;
    let largest = checker.explain_largest();
    let Checker { mapping, nodes, paths, .. } = checker;
    Ok(mapping.map(|mapping| Checked { lines, mapping, nodes, paths, largest }))
}

/// Whether the file can be read again as it is.
fn is_file_of_lines(input: &mut File) -> io::Result<bool> {
    if !input.metadata()?.is_file() {
        return Ok(false);
    }
    let start = input.stream_position()?;
    let mut reader = BufReader::new(&*input);
    let first = reader.fill_buf()?.iter().find(|byte| !byte.is_ascii_whitespace()).copied();
    drop(reader);
    input.seek(io::SeekFrom::Start(start))?;
    Ok(start == 0 && first != Some(b'['))
}

impl Checker<'_> {
    fn take(&mut self, line: u64, record: &Record) -> Result<(), String> {
        let Record { node, data } = record;
        if self.mapping.is_none() {
            // What stays at its place and removes nothing needs no common root.
            let root = match self.at {
                None if !self.is_mirror => NodePath::unchecked("/"),
                Some(_) | None => node.clone(),
            };
            self.mapping = Some(Mapping { target: self.at.unwrap_or(&root).clone(), root });
        } else if data.is_none() {
            return Err(format!("node {node} has no data; give data or base64 (\"\" for an empty node)"));
        }
        let Some(mapping) = &self.mapping else { return Ok(()) };
        let Some(target) = mapping.map(node) else {
            return Err(format!(
                "node {node} is not below {}, the node of the first line, as --at and --mirror need it; \
                 nothing was written",
                mapping.root
            ));
        };
        let has_data = data.as_ref().is_some_and(|data| !data.is_empty());
        if let Some(objection) = self.settings.objection(&target, has_data) {
            return Err(format!("node {target} cannot be in {}: {objection}", self.settings));
        }
        self.remember(node, &target, has_data)?;
        self.nodes += u64::from(data.is_some());
        if data.is_none() {
            *self.paths.known.entry(self.paths.key(target.as_str())).or_default() |= BARE;
        }
        let size = data.as_ref().map_or(0, Vec::len);
        if size < SMALL {
            return Ok(());
        }
        let said = || {
            let place = if line == 0 { String::new() } else { format!(":{line}") };
            format!("{}{place}: node {node} has {size} bytes", self.name)
        };
        if size > self.settings.usual_limit(&target) {
            self.number_of_large += 1;
            if self.large.len() < MAX_NAMED {
                let said = said();
                self.large.push(said);
            }
        }
        // A store takes the path and the data in one request.
        let length = |node: &NodePath, size: usize| node.as_str().len() + size;
        let is_larger = |largest: &Largest| length(&target, size) > length(&largest.node, largest.size);
        if self.largest.as_ref().is_none_or(is_larger) {
            self.largest = Some(Largest { said: said(), node: target, size });
        }
        Ok(())
    }

    /// Notes the path, which must be a new one, and those above it.
    fn remember(&mut self, node: &NodePath, target: &NodePath, has_data: bool) -> Result<(), String> {
        let key = self.paths.key(target.as_str());
        let known = self.paths.known.entry(key).or_default();
        if *known & LISTED != 0 {
            return Err(format!("node {node} is there twice; nothing was written"));
        }
        let has_children = *known & ABOVE != 0;
        *known |= LISTED | if has_data { WITH_DATA } else { 0 };
        let no_room_for_both = |parent: &str| {
            Err(format!(
                "node {parent} has data and children, and a directory holds no data; nothing was written"
            ))
        };
        if has_data && has_children && !self.settings.parents_have_data() {
            return no_room_for_both(target.as_str());
        }
        let above: Vec<_> = target.self_and_ancestors().filter(|path| *path != target.as_str()).collect();
        for path in above.into_iter().rev() {
            let key = self.paths.key(path);
            let known = self.paths.known.entry(key).or_default();
            if *known & WITH_DATA != 0 && !self.settings.parents_have_data() {
                return no_room_for_both(path);
            }
            // Those above it are known, too.
            if *known & ABOVE != 0 {
                break;
            }
            *known |= ABOVE;
        }
        Ok(())
    }

    fn explain_largest(&mut self) -> Option<Largest> {
        let Largest { node, size, said } = self.largest.take()?;
        let mut said = if self.large.is_empty() { said } else { self.large.join("\n") };
        let more = self.number_of_large - self.large.len() as u64;
        if more > 0 {
            said += &format!("\nand {} more", count(more, "node"));
        }
        said += &format!(
            "\nThat is more than {} takes for a node; nothing was written. Keep large content elsewhere, and \
             its place in the node",
            self.settings
        );
        Some(Largest { node, size, said })
    }
}
