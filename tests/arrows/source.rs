//! Reads the files of a crate, and finds from the paths in their code which file uses which.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The longest chain of re-exports that is followed.
const MAX_REEXPORTS: usize = 8;

type Module = Vec<String>;

pub struct Source {
    /// The key is the module: `["daemon", "runs"]`.
    files: BTreeMap<Module, File>,
}

struct File {
    path: String,
    /// The code without comments, strings and tests.
    code: String,
    /// Every leaf of the `use` statements: its path, and its name in this file (`*` for all names).
    imports: Vec<(Module, String)>,
}

impl Source {
    /// Reads the crate below `root`. Except in tests, each module must be a file.
    pub fn read(root: &str) -> Self {
        let mut source = Self { files: BTreeMap::new() };
        source.add(Path::new(root), &[]);
        source
    }

    fn add(&mut self, directory: &Path, module: &[String]) {
        for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
            let path = entry.path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let mut own = module.to_vec();
            if path.is_dir() {
                own.push(name);
                self.add(&path, &own);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                if name != "mod" && !(module.is_empty() && name == "lib") {
                    own.push(name);
                }
                let code = without_tests(&bare(&fs::read_to_string(&path).unwrap()));
                let imports = imports(&code);
                self.files.insert(own, File { path: path.to_str().unwrap().to_owned(), code, imports });
            }
        }
    }

    /// Returns the paths of the files that are not tests.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.files.iter().filter(|(module, _)| !self.is_test(module)).map(|(_, file)| file.path.as_str())
    }

    /// Returns the paths of the files that are not tests and have `text` in their code.
    pub fn files_with(&self, text: &str) -> Vec<&str> {
        let files =
            self.files.iter().filter(|(module, file)| !self.is_test(module) && file.code.contains(text));
        files.map(|(_, file)| file.path.as_str()).collect()
    }

    /// Returns pairs (user, definer): the first file uses something that the second defines.
    pub fn arrows(&self) -> BTreeSet<(&str, &str)> {
        let mut arrows = BTreeSet::new();
        for (module, file) in self.files.iter().filter(|(module, _)| !self.is_test(module)) {
            let imported = file.imports.iter().map(|(path, _)| path.clone());
            for path in imported.chain(inline_paths(&file.code)) {
                let Some(target) = self.absolute(module, &path).and_then(|path| self.defining(&path, 0))
                else {
                    continue;
                };
                if target.path != file.path {
                    arrows.insert((file.path.as_str(), target.path.as_str()));
                }
            }
        }
        arrows
    }

    /// Returns the paths, from the root of the crate, of all that the files below `user` name of `used`.
    pub fn names(&self, user: &str, used: &str) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for (module, file) in self.files.iter().filter(|(module, _)| !self.is_test(module)) {
            if module.first().is_none_or(|room| room != user) {
                continue;
            }
            let imported = file.imports.iter().map(|(path, _)| path.clone());
            let paths = imported.chain(inline_paths(&file.code));
            let paths = paths.filter_map(|path| self.absolute(module, &path));
            names.extend(
                paths
                    .filter(|path| path.first().is_some_and(|room| room == used))
                    .map(|path| path.join("::")),
            );
        }
        names
    }

    /// Whether the parent of the module, or of a module above it, declares it under `#[cfg(test)]`.
    fn is_test(&self, module: &[String]) -> bool {
        (1..=module.len()).any(|length| {
            let declaration = format!("mod {};", module[length - 1]);
            let parent = self.files.get(&module[..length - 1]);
            parent.is_some_and(|parent| !parent.code.contains(&declaration)) && module != ["main".to_owned()]
        })
    }

    /// Returns `path`, as written in `module`, from the root of the crate, or `None` if the path leads to
    /// another crate.
    fn absolute(&self, module: &[String], path: &[String]) -> Option<Module> {
        let (first, rest) = path.split_first()?;
        let mut own = module.to_vec();
        match first.as_str() {
            "crate" => Some(rest.to_vec()),
            "twitcher" if module == ["main".to_owned()] => Some(rest.to_vec()),
            "self" => Some([own, rest.to_vec()].concat()),
            "super" => {
                own.pop();
                match rest.first().is_some_and(|next| next == "super") {
                    true => self.absolute(&own, rest),
                    false => Some([own, rest.to_vec()].concat()),
                }
            }
            child => {
                own.push(child.to_owned());
                self.files.contains_key(&own).then(|| [module.to_vec(), path.to_vec()].concat())
            }
        }
    }

    /// Returns the file that defines what `path` names, after following re-exports.
    fn defining(&self, path: &[String], depth: usize) -> Option<&File> {
        let length = (0..=path.len()).rev().find(|length| self.files.contains_key(&path[..*length]))?;
        let (module, rest) = path.split_at(length);
        let file = &self.files[module];
        let Some(name) = rest.first().filter(|_| depth < MAX_REEXPORTS) else { return Some(file) };
        if defines(&file.code, name) {
            return Some(file);
        }
        for (imported, alias) in &file.imports {
            let Some(imported) = self.absolute(module, imported) else { continue };
            if alias == name {
                return self.defining(&imported, depth + 1);
            }
            let child = self.files.get(&imported).filter(|child| defines(&child.code, name));
            if alias == "*" && child.is_some() {
                return child;
            }
        }
        Some(file)
    }
}

fn defines(code: &str, name: &str) -> bool {
    ["struct", "enum", "fn", "const", "static", "type", "trait", "union", "macro_rules!"].iter().any(|kind| {
        code.match_indices(&format!("{kind} {name}")).any(|(at, found)| {
            !code[at + found.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '_')
        })
    })
}

/// Returns the code without comments and literals.
fn bare(code: &str) -> String {
    let mut out = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(first) = rest.chars().next() {
        let in_word = out.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            comment_length(rest)
        } else if let Some(length) = string_length(rest).filter(|_| !in_word) {
            length
        } else if let Some(length) = char_length(rest) {
            length
        } else {
            out.push(first);
            first.len_utf8()
        };
        rest = &rest[length..];
    }
    out
}

/// Returns the length of the block comment that `code` starts with. Block comments can be nested.
fn comment_length(code: &str) -> usize {
    let (mut length, mut depth) = (0, 0);
    while let Some(next) = code[length..].chars().next() {
        match &code[length..] {
            rest if rest.starts_with("/*") => (depth, length) = (depth + 1, length + 2),
            rest if rest.starts_with("*/") => (depth, length) = (depth - 1, length + 2),
            _ => length += next.len_utf8(),
        }
        if depth == 0 {
            break;
        }
    }
    length
}

/// Returns the length of the string literal that `code` starts with, if it starts with one.
fn string_length(code: &str) -> Option<usize> {
    let prefixed = code.trim_start_matches(['b', 'c']);
    if let Some(raw) = prefixed.strip_prefix('r') {
        let text = raw.trim_start_matches('#');
        let end = format!("\"{}", &raw[..raw.len() - text.len()]);
        let text = text.strip_prefix('"')?;
        let opening = code.len() - text.len();
        return Some(text.find(&end).map_or(code.len(), |at| opening + at + end.len()));
    }
    let text = prefixed.strip_prefix('"')?;
    let opening = code.len() - text.len();
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'"' if !escaped => return Some(opening + at + 1),
            _ => escaped = byte == b'\\' && !escaped,
        }
    }
    Some(code.len())
}

/// Returns the length of the character literal that `code` starts with, or `None` if it starts with anything
/// else, such as a lifetime.
fn char_length(code: &str) -> Option<usize> {
    let inner = code.strip_prefix('\'')?;
    if inner.starts_with('\\') {
        return Some(3 + inner[2..].find('\'')?);
    }
    let character = inner.chars().next()?;
    inner[character.len_utf8()..].starts_with('\'').then(|| 2 + character.len_utf8())
}

/// Returns the code without the items that are compiled for tests only.
fn without_tests(code: &str) -> String {
    let mut out = String::new();
    let mut rest = code;
    while let Some(at) = rest.find("#[cfg(test)]") {
        out.push_str(&rest[..at]);
        let item = &rest[at..];
        let opening = item.find(['{', ';']).unwrap_or(item.len());
        let mut depth = 0;
        let end = item[opening..].find(|c: char| {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            depth == 0
        });
        rest = end.map_or("", |end| &item[opening + end + 1..]);
    }
    out + rest
}

/// Returns the leaves of all `use` statements; see [`File::imports`].
fn imports(code: &str) -> Vec<(Module, String)> {
    let mut leaves = Vec::new();
    for (at, _) in code.match_indices("use ") {
        let statement = &code[at + 4..];
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let Some(end) = statement.find(';') else { continue };
        expand(&[], &statement[..end], &mut leaves);
    }
    leaves
}

/// Adds the leaves of a tree such as `a::{b, c::d as e}` below `prefix`.
fn expand(prefix: &[String], tree: &str, leaves: &mut Vec<(Module, String)>) {
    let tree = tree.trim();
    if let Some((path, group)) = tree.split_once('{') {
        let prefix = [prefix.to_vec(), segments(path)].concat();
        let group = group.trim_end().strip_suffix('}').unwrap_or(group);
        let mut depth = 0;
        let parts = group.split(|c: char| {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            c == ',' && depth == 0
        });
        parts.filter(|part| !part.trim().is_empty()).for_each(|part| expand(&prefix, part, leaves));
        return;
    }
    let (path, alias) =
        tree.split_once(" as ").map_or((tree, None), |(path, alias)| (path, Some(alias.trim())));
    let mut path = [prefix.to_vec(), segments(path)].concat();
    if path.last().is_some_and(|last| last == "self") && path.len() > 1 {
        path.pop();
    }
    let is_glob = path.last().is_some_and(|last| last == "*");
    let name = alias.map_or_else(|| path.last().cloned().unwrap_or_default(), str::to_owned);
    if is_glob {
        path.pop();
    }
    leaves.push((path, name));
}

fn segments(path: &str) -> Module {
    path.split("::").map(str::trim).filter(|segment| !segment.is_empty()).map(str::to_owned).collect()
}

/// Returns the paths that occur in the code, such as `crate::text::count`, `super::node` and `child::name`.
fn inline_paths(code: &str) -> Vec<Module> {
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    // In `pub(in crate::store)`, the path says who may use what follows.
    let mut parts = code.split("pub(in ");
    let first = parts.next().unwrap_or_default();
    let after_scopes = parts.map(|part| part.split_once(')').map_or(part, |(_, rest)| rest));
    std::iter::once(first)
        .chain(after_scopes)
        .flat_map(|part| part.split(|c: char| !is_part(c)))
        .filter(|word| word.contains("::") && !word.starts_with(':') && !word.ends_with(':'))
        .map(segments)
        .collect()
}
