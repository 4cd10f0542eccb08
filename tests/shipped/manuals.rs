//! The manuals agree with the program: each example runs, and each key, function and constant has an entry.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use tempfile::TempDir;
use twitcher::config::vocabulary::{
    CONSTANTS, Constant, FUNCTIONS, GUARD_KEYS, KEYS, Key, RETRY_KEYS, SERVICE_KEYS, Scope, signals,
};
use twitcher::model::Resource;
use twitcher::service;
use twitcher::watch::{Condition, Event};

use super::{command, here, twitcher};

const SETTINGS: &str = "docs/man/twitcher.toml.5.md";
const CONFIGS: &str = "docs/man/twitcher.twc.5.md";

/// Settings with the stores that the examples name.
const STORES: &str =
    "[stores.eu]\nurl = \"dir:/nonexistent/eu\"\n[stores.local]\nurl = \"dir:/nonexistent/local\"\n";

/// A fenced block of a document.
struct Block {
    language: String,
    text: String,
    /// `FILE:LINE`
    place: String,
}

/// All documents.
fn documents() -> Vec<String> {
    let mut found = ["README.md", "SECURITY.md", "CONTRIBUTING.md"].map(str::to_owned).to_vec();
    for directory in ["docs", "docs/man"] {
        let names = fs::read_dir(here(directory)).unwrap().map(|entry| entry.unwrap().file_name());
        let names = names.filter_map(|name| name.into_string().ok()).filter(|name| name.ends_with(".md"));
        found.extend(names.map(|name| format!("{directory}/{name}")));
    }
    found.sort();
    found
}

fn read(document: &str) -> String {
    fs::read_to_string(here(document)).unwrap_or_else(|error| panic!("{document}: {error}"))
}

fn blocks(document: &str) -> Vec<Block> {
    let text = read(document);
    let mut lines = text.lines().enumerate();
    let mut found = Vec::new();
    while let Some((number, line)) = lines.next() {
        let Some((indent, language)) = line.split_once("```") else { continue };
        assert!(indent.trim().is_empty(), "{document}:{}: a fence within a line", number + 1);
        let inside = lines.by_ref().map(|(_, line)| line).take_while(|line| line.trim() != "```");
        let text = inside.flat_map(|line| [line.strip_prefix(indent).unwrap_or(line), "\n"]).collect();
        found.push(Block {
            language: language.to_owned(),
            text,
            place: format!("{document}:{}", number + 1),
        });
    }
    found
}

/// The example with users and groups that exist here.
fn substituted(example: &str) -> String {
    example.replace("uid: \"deploy\"", "uid: \"nobody\"").replace("group = \"ops\"", "group = \"root\"")
}

/// A config directory with the examples' stores and the document's modules and schemas. A module's first line
/// is its name: `// lib/usual.rhai`. So is the first entry of a schema: `"$comment": "port.json"`.
fn config_directory(blocks: &[Block]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("twitcher.toml"), STORES).unwrap();
    for block in blocks {
        if let Some(name) = module(block).or_else(|| schema(block)) {
            let path = directory.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, &block.text).unwrap();
        }
    }
    directory
}

fn module(block: &Block) -> Option<&str> {
    let name = block.text.lines().next()?.strip_prefix("// ")?;
    (block.language == "rhai" && name.ends_with(".rhai")).then_some(name)
}

fn schema(block: &Block) -> Option<&str> {
    let name = block.text.lines().nth(1)?.trim().strip_prefix("\"$comment\": \"")?.strip_suffix("\",")?;
    (block.language == "json" && name.ends_with(".json")).then_some(name)
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn check(path: &Path) -> Output {
    twitcher(&["check", path.to_str().unwrap()])
}

// "every key, its default and an example each (examples are run by a test)"
#[test]
fn every_config_in_the_documents_passes_check() {
    let mut examples = 0;
    for document in documents() {
        let blocks = blocks(&document);
        let directory = config_directory(&blocks);
        // What registers a watch is a config, unless it is one of the Python original.
        let is_config = |block: &&Block| {
            block.language == "rhai" || block.language.is_empty() && block.text.contains("RegisterWatch(")
        };
        for block in blocks.iter().filter(is_config).filter(|block| module(block).is_none()) {
            let name = block.place.replace(['/', ':'], "-") + ".twc";
            fs::write(directory.path().join(name), substituted(&block.text)).unwrap();
            examples += 1;
        }
        let output = check(directory.path());
        assert!(output.status.success(), "{document}: {}", said(&output));
    }
    assert!(examples > 40, "{examples}");
}

/// The certificates that the examples name in /etc/twitcher, made with the documented commands, and the
/// password.
fn certificates() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let blocks = blocks("docs/security.md");
    let commands = blocks.iter().find(|block| block.text.starts_with("openssl req -x509"));
    let commands = &commands.expect("how certificates are made").text;
    let script = format!(
        "{commands}cp client.crt client.pem\ncp ca.pem eu-ca.pem\n\
         echo secret > password\nchmod 600 password\n"
    );
    let output = command("sh").args(["-euc", &script]).current_dir(directory.path()).output();
    let output = output.expect("run sh");
    assert!(output.status.success(), "this test needs openssl(1): {}", said(&output));
    directory
}

#[test]
fn every_settings_file_in_the_documents_is_read() {
    let certificates = certificates();
    let installed = format!("\"{}/", certificates.path().display());
    let mut examples = 0;
    for document in documents() {
        for block in blocks(&document).iter().filter(|block| block.language == "toml") {
            let directory = tempfile::tempdir().unwrap();
            let settings = substituted(&block.text).replace("\"/etc/twitcher/", &installed);
            fs::write(directory.path().join("twitcher.toml"), settings).unwrap();
            let output = check(directory.path());
            assert!(output.status.success(), "{}: {}", block.place, said(&output));
            examples += 1;
        }
    }
    assert!(examples > 15, "{examples}");
}

/// The commands in the first lines of an example: `//   twitcher set /node data`.
fn commands(block: &Block) -> Vec<&str> {
    let lines = block.text.lines().map_while(|line| line.strip_prefix("//   "));
    lines.filter(|line| line.starts_with("twitcher ")).collect()
}

/// Runs `twitcher run --once` after each of these commands, and returns all that it logs.
fn log_of(config: &str, modules: &[Block], commands: &[&str]) -> String {
    let configs = config_directory(modules);
    fs::write(configs.path().join("example.twc"), config).unwrap();
    let home = tempfile::tempdir().unwrap();
    let store = format!("dir:{}", home.path().join("nodes").display());
    fs::create_dir(home.path().join("nodes")).unwrap();
    let shell = |script: &str| {
        let output = command("sh")
            .args(["-c", script])
            .env("BINARY", env!("CARGO_BIN_EXE_twitcher"))
            .env("STORE", &store)
            .env("TWITCHER_CONFIG_PATH", configs.path())
            .env("TWITCHER_HOME", home.path())
            .output();
        output.expect("run sh")
    };
    let mut log = String::new();
    for command in commands {
        let defined =
            "twitcher() { command=$1; shift; \"$BINARY\" \"$command\" --store \"$STORE\" \"$@\"; }\n";
        let output = shell(&format!("{defined}{command}"));
        assert!(output.status.success(), "{command}: {}", said(&output));
        log += &said(&shell(
            "exec \"$BINARY\" run --once --store \"$STORE\" --state-dir \"$TWITCHER_HOME/state\" \
             --control-socket \"$TWITCHER_HOME/control.sock\"",
        ));
    }
    log
}

// "a block below an example is what the daemon's log then has of its action's output"
#[test]
fn the_examples_do_what_the_manual_says_they_do() {
    let blocks = blocks(CONFIGS);
    let (mut examples, mut wrong) = (0, Vec::new());
    for (example, expected) in blocks.iter().zip(&blocks[1..]) {
        let commands = commands(example);
        if commands.is_empty() {
            continue;
        }
        assert_eq!(expected.language, "text", "{}: a block with the expected log is missing", example.place);
        let log = log_of(&example.text, &blocks, &commands);
        let unsent = expected.text.lines().filter(|line| !log.contains(line.trim_end()));
        wrong.extend(unsent.map(|line| format!("{}: {line:?} is not in its log:\n{log}", expected.place)));
        examples += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(examples > 25, "{examples}");
}

/// The text of the section of a manual with this heading, which is in capitals.
fn section<'a>(manual: &'a str, heading: &str) -> &'a str {
    let (_, section) =
        manual.split_once(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("no section {heading}"));
    section.split("\n## ").next().unwrap_or_default()
}

/// The entries of a text by their headings: what follows each `### `.
fn entries(text: &str) -> BTreeMap<&str, &str> {
    let entries = text.split("\n### ").skip(1).map(|entry| entry.split("\n## ").next().unwrap_or_default());
    entries.map(|entry| entry.split_once('\n').expect("more than a heading")).collect()
}

/// The first cells of all rows of the tables in a text.
fn rows(text: &str) -> BTreeSet<&str> {
    text.lines().filter_map(|line| Some(line.strip_prefix("| `")?.split_once('`')?.0)).collect()
}

fn set<'a>(names: impl IntoIterator<Item = &'a str>) -> BTreeSet<&'a str> {
    names.into_iter().collect()
}

/// The string that starts with each occurrence of `before`, up to its closing quote.
fn named_after<'a>(source: &'a str, before: &str) -> BTreeSet<&'a str> {
    set(source.split(before).skip(1).filter_map(|rest| rest.split('"').next()))
}

/// Panics unless the entry has the type and the default of the key, and an example of it in this language.
fn assert_complete(key: &str, entry: &str, language: &str, shown: &str) {
    let (first, _) = entry.trim_start().split_once("\n\n").unwrap_or_else(|| panic!("{key}: no example"));
    let says_default = first.contains(", default") || first.contains(", required");
    assert!(first.starts_with('*') && says_default, "{key}: neither type nor default: {first}");
    let fence = format!("```{language}\n");
    let mut examples = entry.split(&fence).skip(1).filter_map(|rest| rest.split("```").next());
    let shows = examples.any(|example| example.contains(shown));
    assert!(shows, "{key}: no example has {shown:?}");
}

/// The rows of the tables in a text, without their heads.
fn table(text: &str) -> BTreeSet<String> {
    text.lines().filter(|line| line.starts_with("| `")).map(str::to_owned).collect()
}

/// The rows for the keys of a map.
fn rows_of<T, S>(keys: &[Key<T, S>]) -> BTreeSet<String> {
    let row =
        |key: &Key<T, S>| format!("| `{}` | {} | {} | {} |", key.name, key.kind, key.default, key.meaning);
    keys.iter().map(row).collect()
}

#[test]
fn every_key_of_a_watch_has_an_entry_with_default_and_example() {
    let manual = read(CONFIGS);
    let entries = entries(section(&manual, "KEYS"));
    assert!(KEYS.len() >= 25);
    assert_eq!(set(entries.keys().copied()), set(KEYS.iter().map(|key| key.name)));
    for Key { name, kind, default, .. } in KEYS {
        let entry = entries[name];
        assert_complete(name, entry, "rhai", &format!("{name}: "));
        let said = entry.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(said.starts_with(&format!("*{kind}*, {default}")), "{name}: not {kind}, {default}: {said}");
    }
    assert_eq!(table(entries["retry"]), rows_of(RETRY_KEYS));
    assert_eq!(table(entries["guard"]), rows_of(GUARD_KEYS));
    assert_eq!(rows(entries["rlimits"]), set(Resource::ALL.map(Resource::name)));
}

#[test]
fn every_key_of_a_service_and_each_of_its_states_has_a_row() {
    let manual = read(CONFIGS);
    let services = section(&manual, "SERVICES");
    assert!(SERVICE_KEYS.len() >= 20);
    let described = |row: &String| row.matches(" | ").count() == 3;
    let keys: BTreeSet<String> = table(services).into_iter().filter(described).collect();
    assert_eq!(keys, rows_of(SERVICE_KEYS));
    assert!(rows(services).is_superset(&set(service::Condition::ALL.map(service::Condition::as_str))));
}

#[test]
fn every_function_and_constant_has_an_entry() {
    let manual = read(CONFIGS);
    let sources = ["config/script", "config/facts", "act/library"];
    let sources = sources.map(|name| read(&format!("src/{name}.rs")));
    let mut registered: BTreeSet<_> =
        sources.iter().flat_map(|source| named_after(source, "register_fn(\"")).collect();
    registered.retain(|name| name.starts_with(char::is_alphabetic));
    assert!(registered.len() >= 8, "{registered:?}");
    // These are part of the language, and different in a config or a function action.
    registered.extend(["Fn", "import", "print", "debug"]);
    assert_eq!(set(FUNCTIONS.iter().map(|function| function.name)), registered);
    let scopes: [(_, &[Scope]); 2] =
        [("FUNCTIONS OF CONFIGS", &[Scope::Config, Scope::Both]), ("FUNCTION ACTIONS", &[Scope::Action])];
    for (part, scopes) in scopes {
        let mut documented = BTreeSet::new();
        for (heading, entry) in entries(section(&manual, part)) {
            if heading.starts_with(|c: char| c.is_uppercase()) && !heading.contains('(') {
                continue;
            }
            assert!(entry.contains("```rhai\n"), "{heading}: no example");
            documented.extend(heading.split("), ").filter_map(|call| call.split(['(', ' ']).next()));
        }
        let functions = FUNCTIONS.iter().filter(|function| scopes.contains(&function.scope));
        assert_eq!(documented, set(functions.map(|function| function.name)), "{part}");
    }

    let constants = section(&manual, "CONSTANTS");
    assert!(CONSTANTS.len() >= 9);
    let row = |it: &Constant| format!("| `{}` | `{}` | {} |", it.name, it.key, it.meaning);
    assert_eq!(table(constants), CONSTANTS.iter().map(row).collect());
    let documented = set(constants.split('`').filter(|word| word.starts_with("SIG")));
    assert!(documented.is_superset(&set(signals().map(|(name, _)| name))), "{documented:?}");
}

#[test]
fn the_tables_of_states_and_events_are_those_of_the_code() {
    let manual = read(CONFIGS);
    assert_eq!(rows(section(&manual, "STATES")), set(Condition::ALL.map(Condition::as_str)));
    assert_eq!(rows(section(&manual, "EVENTS")), set(Event::ALL.map(Event::as_str)));
}

/// Returns what `check` prints about settings with this text.
fn complaint(text: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("twitcher.toml"), text).unwrap();
    said(&check(directory.path()))
}

/// The keys of a block of `twitcher.toml`, taken from the error about an unknown key. `None` if there is no
/// such block.
fn keys_of_block(header: &str) -> Option<Vec<String>> {
    let said = complaint(&format!("{header}\nno_such_key = 1\n"));
    let (_, expected) = said.split_once("unknown field `no_such_key`, expected ")?;
    Some(expected.split('`').skip(1).step_by(2).map(str::to_owned).collect())
}

/// Adds the paths of all keys in the block `prefix`, which has this header.
fn collect_settings(prefix: &str, header: &str, found: &mut BTreeSet<String>) {
    for key in keys_of_block(header).unwrap_or_else(|| panic!("{header:?} is no block")) {
        let path = if prefix.is_empty() { key } else { format!("{prefix}.{key}") };
        let named = format!("{path}.NAME");
        // The key may be a block, a list of blocks, or a block for each name.
        let blocks =
            [(&path, format!("[{path}]")), (&path, format!("[[{path}]]")), (&named, format!("[{named}]"))];
        // A secret is a text, `{ file = PATH }` or `{ credential = NAME }`, which is a value and no block.
        let is_block =
            |header: &str| keys_of_block(header).is_some_and(|keys| keys != ["file", "credential"]);
        match blocks.iter().find(|(_, header)| is_block(header)) {
            Some((path, header)) => {
                if header.starts_with("[[") || path.ends_with("NAME") {
                    found.insert((*path).clone());
                }
                collect_settings(path, header, found);
            }
            None => {
                found.insert(path);
            }
        }
    }
}

#[test]
fn every_setting_has_an_entry_with_default_and_example() {
    let mut settings = BTreeSet::new();
    collect_settings("", "", &mut settings);
    // The blocks of a named store have the same keys as those of the default store.
    let inner = |path: &str| {
        path.strip_prefix("stores.NAME.").is_some_and(|rest| settings.contains(rest) && rest.contains('.'))
    };
    let expected = settings.iter().filter(|path| !inner(path)).map(String::as_str).collect::<BTreeSet<_>>();
    assert!(expected.len() >= 14, "{expected:?}");
    let manual = read(SETTINGS);
    let entries = entries(&manual);
    assert_eq!(set(entries.keys().copied()), expected);
    for (path, entry) in &entries {
        let (block, key) = path.rsplit_once('.').unwrap_or(("", path));
        let shown = match key {
            "auth" | "users" => format!("[[{}]]", path.replace("NAME", "eu")),
            "NAME" => format!("[{block}."),
            key => format!("{key} = "),
        };
        assert_complete(path, entry, "toml", &shown);
    }
}

// The manual pages are generated from these documents and name the release.
#[test]
fn the_manuals_are_of_this_version() {
    for manual in [SETTINGS, CONFIGS] {
        let text = read(manual);
        let title = text.lines().next().unwrap();
        assert!(title.contains(&format!("\"Twitcher {}\"", env!("CARGO_PKG_VERSION"))), "{manual}: {title}");
    }
}

// "GitHub must show them well, too"
#[test]
fn every_link_in_the_documents_leads_somewhere() {
    for document in documents() {
        let text = read(&document);
        let beside = PathBuf::from(&document);
        let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for link in links.filter(|link| !link.contains("://") && !link.contains(' ')) {
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match path {
                "" => here(&document),
                path => here(beside.parent().unwrap().to_str().unwrap()).join(path),
            };
            assert!(target.exists(), "{document}: {link} leads nowhere");
            if !anchor.is_empty() {
                let text = fs::read_to_string(&target).unwrap();
                let mut anchors = text.lines().filter(|line| line.starts_with('#')).map(anchor_of);
                assert!(anchors.any(|it| it == anchor), "{document}: {link} has no such heading");
            }
        }
    }
}

/// The anchor that GitHub makes of a heading.
fn anchor_of(heading: &str) -> String {
    let words = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = words.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}
