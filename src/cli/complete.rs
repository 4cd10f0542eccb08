//! `twitcher complete LINE`: what the completions of shells ask for the names of watches, services, runs,
//! nodes, stores and commits' keys.
//!
//! It is silent about every error. It waits for the daemon and for a server of commits for [`ANSWER_WAIT`],
//! and ends within a second whatever the store does: a shell waits for it. It exits 1 where no name belongs,
//! so that the shell completes something else there.

use std::error::Error;
use std::ffi::OsString;
use std::path::Path;
use std::process::{self, ExitCode};
use std::ptr;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Parser;
use hyper::Method;
use serde::Deserialize;

use super::commits::keys::{FLAGS, keys};
use super::shared::configs::ConfigArgs;
use super::shared::control::ControlArgs;
use super::shared::definition::kept;
use super::shared::exit::Exit;
use super::shared::stdout::print_bytes;
use super::shared::store::StoreConnection;
use crate::control::client;
use crate::model::NodePath;
use crate::settings::{config_path, read, store_names};
use crate::store::Client;
use crate::trust::Trust;

/// Print the names that can stand at the end of a command line
#[derive(Debug, clap::Args)]
pub struct Complete {
    /// The command line up to the cursor, as it was typed
    #[arg(allow_hyphen_values = true)]
    line: String,
}

/// How long this takes at most. People do not notice much less, and a shell must not hang for a second.
const LONGEST: Duration = Duration::from_millis(700);

/// How long all answers of the daemon, or of a server of commits, may take together. People notice a longer
/// wait after they press a key.
const ANSWER_WAIT: Duration = Duration::from_millis(100);

/// How long the store may take for a reply, in seconds: less than everything.
const SESSION_TIMEOUT: &str = "0.5";

/// How many runs are offered, as many as one can look through.
const RUNS: &str = "20";

/// The flags that say where the store, the daemon and the server of commits are. They are read as the other
/// commands read them.
const PLACES: [&str; 5] = ["--store", "--zkservers", "--config-path", "--control-socket", "--url"];

/// What stands at the end of a command line.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    Node(String),
    Watch(String),
    /// A watch or a service.
    WatchOrService(String),
    /// A run, or a watch.
    Run(String),
    /// A store of `twitcher.toml`.
    Store(String),
    /// A key of commits.
    Key {
        prefix: String,
        /// Whether the command is about the history of a key: removed ones have one, too.
        removed: bool,
    },
}

#[derive(Parser)]
struct ConfigPlace {
    #[command(flatten)]
    configs: ConfigArgs,
}

#[derive(Parser)]
struct StorePlace {
    #[command(flatten)]
    connection: StoreConnection,
}

#[derive(Parser)]
struct ControlPlace {
    #[command(flatten)]
    control: ControlArgs,
}

/// The part of a watch's status that is of use here.
#[derive(Deserialize)]
struct Watch {
    watch: String,
    description: String,
}

/// The part of the daemon's status that is of use here.
#[derive(Deserialize)]
struct Daemon {
    #[serde(default)]
    services: Vec<Service>,
}

#[derive(Deserialize)]
struct Service {
    service: String,
    description: String,
}

/// The part of a run's record that is of use here.
#[derive(Deserialize)]
struct Run {
    run: String,
}

impl Complete {
    pub fn run(self) -> Exit {
        // Whatever blocks, a resolver or a file system, this ends.
        thread::spawn(|| {
            thread::sleep(LONGEST);
            process::exit(0);
        });
        let wanted = kept().and_then(|command| wanted(&self.line, command));
        let Some((wanted, flags)) = wanted else { return Ok(ExitCode::FAILURE) };
        let is_store = matches!(wanted, Wanted::Store(_));
        let deadline = Instant::now() + ANSWER_WAIT;
        let names = match wanted {
            Wanted::Node(prefix) => nodes(&prefix, flags),
            Wanted::Watch(prefix) => watches(&prefix, &flags, deadline),
            Wanted::WatchOrService(prefix) => watches_and_services(&prefix, &flags, deadline),
            Wanted::Run(prefix) => runs(&prefix, &flags, deadline),
            Wanted::Store(prefix) => stores(&prefix, &flags),
            Wanted::Key { prefix, removed } => commit_keys(&prefix, removed, &flags, deadline),
        };
        let lines: String =
            names.unwrap_or_default().into_iter().flat_map(|name| [name, "\n".into()]).collect();
        let _ = print_bytes(lines.as_bytes());
        // Where a store's name can stand, the directory of a store can, too.
        Ok(if is_store && lines.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

/// Returns the nodes whose paths begin with `prefix`, one level below the last slash. If there is one, it
/// ends with a slash if it has children.
fn nodes(prefix: &str, mut flags: Vec<OsString>) -> Option<Vec<String>> {
    flags.extend(["--session-timeout", SESSION_TIMEOUT].map(OsString::from));
    let StorePlace { connection } = StorePlace::try_parse_from(only(&flags, &PLACES[..3])).ok()?;
    let parent = match prefix.rsplit_once('/')?.0 {
        "" => "/",
        parent => parent,
    };
    let parent = NodePath::parse(parent).ok()?;
    let found = connection.with_client(async |client| Ok(below(client, &parent, prefix).await));
    found.ok().flatten()
}

async fn below(client: &Client, parent: &NodePath, prefix: &str) -> Option<Vec<String>> {
    let mut paths: Vec<NodePath> =
        client.ls(parent).await.ok()?.iter().map(|name| parent.child(name)).collect();
    paths.retain(|path| path.as_str().starts_with(prefix));
    if let [only] = &paths[..]
        && client.tree(only, Some(0)).await.is_ok_and(|tree| tree.iter().any(|node| node.children > 0))
    {
        return Some(vec![format!("{only}/")]);
    }
    Some(paths.iter().map(NodePath::to_string).collect())
}

fn control(flags: &[OsString]) -> Option<ControlArgs> {
    Some(ControlPlace::try_parse_from(only(flags, &PLACES[2..4])).ok()?.control)
}

fn watches(prefix: &str, flags: &[OsString], deadline: Instant) -> Option<Vec<String>> {
    names(prefix, flags, async |socket| {
        let reply = ask(socket, "watches", &[], deadline).await?;
        let watches: Vec<Watch> = client::lines(socket, &reply)?;
        Ok(watches.into_iter().map(|Watch { watch, description }| (watch, description)).collect())
    })
}

fn services(prefix: &str, flags: &[OsString], deadline: Instant) -> Option<Vec<String>> {
    names(prefix, flags, async |socket| {
        let reply = ask(socket, "status", &[], deadline).await?;
        let Daemon { services } = client::object(socket, &reply)?;
        Ok(services.into_iter().map(|Service { service, description }| (service, description)).collect())
    })
}

fn watches_and_services(prefix: &str, flags: &[OsString], deadline: Instant) -> Option<Vec<String>> {
    let mut found = watches(prefix, flags, deadline)?;
    found.extend(services(prefix, flags, deadline)?);
    found.sort();
    found.dedup();
    Some(found)
}

/// Asks the daemon, and waits until the deadline.
async fn ask(
    socket: &Path,
    resource: &str,
    query: &[(&str, &str)],
    deadline: Instant,
) -> Result<Bytes, Box<dyn Error>> {
    let reply = client::ask(socket, Method::GET, resource, query);
    Ok(tokio::time::timeout_at(deadline.into(), reply).await??)
}

/// Returns the full names that begin with `prefix` of those that the daemon tells, or the descriptions that
/// do, sorted.
fn names(
    prefix: &str,
    flags: &[OsString],
    ask: impl AsyncFnOnce(&Path) -> Result<Vec<(String, String)>, Box<dyn Error>>,
) -> Option<Vec<String>> {
    let mut names = Vec::new();
    let asked = control(flags)?.with_daemon(async |socket: &Path| {
        let (own, descriptions): (Vec<_>, Vec<_>) = ask(socket).await?.into_iter().unzip();
        names = own.into_iter().filter(|name: &String| name.starts_with(prefix)).collect();
        if names.is_empty() {
            names = descriptions.into_iter().filter(|name: &String| name.starts_with(prefix)).collect();
        }
        Ok(ExitCode::SUCCESS)
    });
    asked.ok()?;
    names.sort();
    names.dedup();
    Some(names)
}

/// Returns the newest runs, and the watches, whose runs `logs -f` follows.
fn runs(prefix: &str, flags: &[OsString], deadline: Instant) -> Option<Vec<String>> {
    let mut names = watches(prefix, flags, deadline)?;
    control(flags)?
        .with_daemon(async |socket: &Path| {
            let reply = ask(socket, "history", &[("limit", RUNS)], deadline).await?;
            let runs: Vec<Run> = client::lines(socket, &reply)?;
            names.extend(runs.into_iter().map(|Run { run }| run).filter(|run| run.starts_with(prefix)));
            Ok(ExitCode::SUCCESS)
        })
        .ok()?;
    Some(names)
}

fn stores(prefix: &str, flags: &[OsString]) -> Option<Vec<String>> {
    let ConfigPlace { configs } = ConfigPlace::try_parse_from(only(flags, &PLACES[2..3])).ok()?;
    let file = read(&config_path(configs.path()), Trust::of_this_process(false)).ok()?;
    let names = store_names(&file);
    Some(names.iter().map(ToString::to_string).filter(|name| name.starts_with(prefix)).collect())
}

fn commit_keys(prefix: &str, removed: bool, flags: &[OsString], deadline: Instant) -> Option<Vec<String>> {
    let keys = keys(only(flags, &FLAGS), removed, deadline).ok()?;
    Some(keys.into_iter().filter(|key| key.starts_with(prefix)).collect())
}

/// Returns the flags among these, with the program's name before them. Flags and values alternate.
fn only(flags: &[OsString], known: &[&str]) -> Vec<OsString> {
    let known =
        |pair: &&[OsString]| known.iter().any(|flag| pair[0] == **flag) || pair[0] == "--session-timeout";
    let flags = flags.chunks_exact(2).filter(known).flatten().cloned();
    ["twitcher".into()].into_iter().chain(flags).collect()
}

/// Finds out what stands at the end of a line, and which of [`PLACES`] are given, as flags and values in
/// turn.
fn wanted(line: &str, command: &clap::Command) -> Option<(Wanted, Vec<OsString>)> {
    let words = split(line);
    let is_program = |word: &String| Path::new(word).file_name().is_some_and(|name| name == "twitcher");
    // The line may have other commands before, or a sudo.
    let start = words.iter().rposition(is_program).unwrap_or(0) + 1;
    let (last, before) = words.get(start..)?.split_last()?;
    let mut flags = Vec::new();
    let (mut subcommand, mut positionals) = (None, 0);
    let mut words = before.iter();
    while let Some(word) = words.next() {
        let owner = subcommand.unwrap_or(command);
        if word.starts_with('-') && word.len() > 1 {
            let (name, value) = match word.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None if takes_value(word, owner) || takes_value(word, command) => match words.next() {
                    Some(value) => (word.as_str(), Some(value.clone())),
                    // The value is being typed.
                    None => return (word == "--store").then(|| (Wanted::Store(last.clone()), flags)),
                },
                None => (word.as_str(), None),
            };
            let name = name.replace('_', "-");
            if let Some(value) = value.filter(|_| PLACES.contains(&&*name)) {
                flags.extend([OsString::from(name), value.into()]);
            }
        } else if let Some(found) = owner.find_subcommand(word) {
            subcommand = Some(found);
        } else {
            positionals += 1;
        }
    }
    if let Some(value) = last.strip_prefix("--store=") {
        return Some((Wanted::Store(value.to_owned()), flags));
    }
    let subcommand = subcommand?;
    if last.starts_with('-') {
        return None;
    }
    let all: Vec<_> = subcommand.get_positionals().collect();
    let argument = all.get(positionals).or_else(|| {
        all.last().filter(|last| last.get_num_args().is_some_and(|count| count.max_values() > 1))
    })?;
    let wanted = match argument.get_id().as_str() {
        "node" => Wanted::Node(last.clone()),
        "service" => Wanted::Node(last.clone()),
        "names" => Wanted::WatchOrService(last.clone()),
        "watch" if subcommand.get_name() == "history" => Wanted::WatchOrService(last.clone()),
        "watch" | "watches" => Wanted::Watch(last.clone()),
        "run" => Wanted::Run(last.clone()),
        "key" if is_of_commits(command, subcommand) => {
            let removed = ["diff", "log", "revert"].contains(&subcommand.get_name());
            Wanted::Key { prefix: last.clone(), removed }
        }
        _ => return None,
    };
    Some((wanted, flags))
}

/// Whether this is a subcommand of `twitcher commits`.
fn is_of_commits(command: &clap::Command, subcommand: &clap::Command) -> bool {
    let commits = command.find_subcommand("commits");
    commits.is_some_and(|commits| commits.get_subcommands().any(|inner| ptr::eq(inner, subcommand)))
}

/// Whether the flag has a value in the next word.
fn takes_value(word: &str, command: &clap::Command) -> bool {
    let is_it = |arg: &&clap::Arg| match word.strip_prefix("--") {
        Some(long) => {
            arg.get_long() == Some(long) || arg.get_all_aliases().is_some_and(|names| names.contains(&long))
        }
        None => arg.get_short().is_some_and(|short| word.strip_prefix('-') == Some(&*short.to_string())),
    };
    command.get_arguments().find(is_it).is_some_and(|arg| arg.get_action().takes_values())
}

/// Splits a line into words, as a shell does. The last one is what is being typed, and may be empty.
fn split(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    let mut is_word = false;
    let mut characters = line.chars();
    while let Some(c) = characters.next() {
        match (c, quote) {
            (c, Some(open)) if c == open => quote = None,
            ('\\', None | Some('"')) => {
                word.extend(characters.next());
                is_word = true;
            }
            ('"' | '\'', None) => (quote, is_word) = (Some(c), true),
            (c, None) if c.is_whitespace() || c == ';' || c == '|' || c == '&' => {
                if is_word {
                    words.push(std::mem::take(&mut word));
                }
                is_word = false;
            }
            (c, _) => {
                word.push(c);
                is_word = true;
            }
        }
    }
    words.push(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_split_as_a_shell_splits_it() {
        for (line, words) in [
            ("twitcher get ", &["twitcher", "get", ""][..]),
            ("twitcher get /gi", &["twitcher", "get", "/gi"]),
            (r#"a; twitcher get 'a b'\ c "d\"e"#, &["a", "twitcher", "get", "a b c", "d\"e"]),
            ("", &[""]),
        ] {
            assert_eq!(split(line), words, "{line}");
        }
    }

    #[test]
    fn what_stands_at_the_end_is_known_from_the_command_line() {
        let node = |prefix: &str| Some(Wanted::Node(prefix.to_owned()));
        let store = |prefix: &str| Some(Wanted::Store(prefix.to_owned()));
        let watch = |prefix: &str| Some(Wanted::Watch(prefix.to_owned()));
        let either = |prefix: &str| Some(Wanted::WatchOrService(prefix.to_owned()));
        let key = |prefix: &str, removed| Some(Wanted::Key { prefix: prefix.to_owned(), removed });
        for (line, expected) in [
            ("twitcher get /gi", node("/gi")),
            ("sudo /usr/sbin/twitcher ls ", node("")),
            ("twitcher --store dir:/x get /gi", node("/gi")),
            ("twitcher rm --recursive /gi", node("/gi")),
            ("twitcher set /n ", None),
            ("twitcher set --retry 7 /gi", node("/gi")),
            ("twitcher get --store e", store("e")),
            ("twitcher --store=e", store("e")),
            ("twitcher --session-timeout ", None),
            ("twitcher logs -f 1a", Some(Wanted::Run("1a".into()))),
            ("twitcher get --st", None),
            ("twitcher ge", None),
            ("twitcher status a ", either("")),
            ("twitcher pause git.twc:de", either("git.twc:de")),
            ("twitcher resume a b", either("b")),
            ("twitcher trigger a", watch("a")),
            ("twitcher history ", either("")),
            ("twitcher services /s", node("/s")),
            ("twitcher register /s", node("/s")),
            ("twitcher register /s ", None),
            ("twitcher check ", None),
            ("twitcher commits sh", None),
            ("twitcher commits list ", None),
            ("twitcher commits show po", key("po", false)),
            ("twitcher commits log --url x a", key("a", true)),
            ("twitcher commits save -m why ", key("", false)),
            ("twitcher commits save foo ", None),
            ("twitcher commits revert foo 1", None),
            ("twitcher get commits ", None),
            ("twitcher properties /n fo", None),
        ] {
            let found = wanted(line, &super::super::command()).map(|(wanted, _)| wanted);
            assert_eq!(found, expected, "{line}");
        }
        let (_, flags) =
            wanted("twitcher --store=dir:/x get --config_path '/a b' /", &super::super::command()).unwrap();
        assert_eq!(flags, ["--store", "dir:/x", "--config-path", "/a b"]);
    }
}
