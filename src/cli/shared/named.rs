//! The watches that a command is for, by names and patterns.

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use hyper::Method;

use super::control::ControlArgs;
use super::exit::{Exit, print_error};
use super::stdout::{line, print};
use crate::control::CommandResult;
use crate::control::client::{self, ControlError};
use crate::control::status::WatchStatus;
use crate::model::WatchCommand;
use crate::text::{is_glob, matches_glob};

#[derive(Debug, clap::Args)]
pub struct NamedWatches {
    /// Names of watches in the log, descriptions, or patterns of either with * and ?
    #[arg(value_name = "WATCH", required = true)]
    names: Vec<String>,
    #[command(flatten)]
    control: ControlArgs,
}

impl NamedWatches {
    /// Gives a command to each of the watches, and prints what each does. A name or a pattern without a watch
    /// is an error, and then no watch gets the command. If a watch refuses it, the others get it all the
    /// same, and the exit code is 1. With `only_paused`, a pattern stands for the paused watches that match
    /// it.
    pub fn post(&self, command: WatchCommand, query: &[(&str, &str)], only_paused: bool) -> Exit {
        self.control.with_daemon(async |socket| {
            let mut code = ExitCode::SUCCESS;
            let found = self.find(socket, only_paused).await?;
            if found.is_empty() {
                print(&line("no watch that matches is paused"))?;
            }
            for watch in found {
                let query = [&[("watch", watch.as_str())], query].concat();
                match client::ask(socket, Method::POST, command.as_str(), &query).await {
                    Ok(reply) => {
                        let CommandResult { watch, done } = client::object(socket, &reply)?;
                        let watch = watch.map_or(String::new(), |watch| format!("{watch}: "));
                        print(&line(&format!("{watch}{done}")))?;
                    }
                    Err(ControlError::Refused(why)) => {
                        print_error(format_args!("twitcher: {why}"));
                        code = ExitCode::FAILURE;
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            Ok(code)
        })
    }

    /// Returns the full names of the watches, each once, in the order of the command line.
    async fn find(&self, socket: &Path, only_paused: bool) -> Result<Vec<String>, Box<dyn Error>> {
        let all = match self.names.iter().any(|name| is_glob(name)) {
            true => watches(socket, &[]).await?,
            false => Vec::new(),
        };
        let mut found: Vec<String> = Vec::new();
        for name in &self.names {
            let is_pattern = is_glob(name) && !all.iter().any(|watch| watch.watch == *name);
            let named = match is_pattern {
                true => matching(name, &all, only_paused)?,
                false => {
                    let one = watches(socket, &[("watch", name)]).await?;
                    one.into_iter().map(|watch| watch.watch).collect()
                }
            };
            let is_new = |name: &String| !found.contains(name);
            let new: Vec<_> = named.into_iter().filter(is_new).collect();
            found.extend(new);
        }
        Ok(found)
    }
}

async fn watches(socket: &Path, query: &[(&str, &str)]) -> Result<Vec<WatchStatus>, ControlError> {
    let reply = client::ask(socket, Method::GET, "watches", query).await?;
    client::lines(socket, &reply)
}

/// Returns the names of the registered watches that match the pattern, sorted.
fn matching(pattern: &str, all: &[WatchStatus], only_paused: bool) -> Result<Vec<String>, String> {
    let is_match = |watch: &&WatchStatus| {
        watch.registered && (matches_glob(pattern, &watch.watch) || matches_glob(pattern, &watch.description))
    };
    let mut matching: Vec<_> = all.iter().filter(is_match).cloned().collect();
    WatchStatus::sort_by_name(&mut matching);
    match matching.len() {
        0 => Err(format!("no watch matches {pattern}; `twitcher status` lists them")),
        _ => {
            matching.retain(|watch| watch.paused || !only_paused);
            Ok(matching.into_iter().map(|watch| watch.watch).collect())
        }
    }
}
