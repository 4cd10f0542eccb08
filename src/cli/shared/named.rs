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
use crate::control::status::{DaemonStatus, ServiceStatus, WatchStatus};
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
        let (all, services) = match self.names.iter().any(|name| is_glob(name)) {
            true => (watches(socket, &[]).await?, services(socket).await?),
            false => (Vec::new(), Vec::new()),
        };
        let mut found: Vec<String> = Vec::new();
        for name in &self.names {
            let is_pattern = is_glob(name) && !all.iter().any(|watch| watch.watch == *name);
            let named = match is_pattern {
                true => matching(name, &all, &services, only_paused)?,
                false => match watches(socket, &[("watch", name)]).await {
                    Ok(one) => one.into_iter().map(|watch| watch.watch).collect(),
                    // Only the daemon knows which service is meant, if one is.
                    Err(ControlError::Refused(why)) => match is_service(socket, name).await? {
                        true => vec![name.clone()],
                        false => return Err(ControlError::Refused(why).into()),
                    },
                    Err(error) => return Err(error.into()),
                },
            };
            let is_new = |name: &String| !found.contains(name);
            let new: Vec<_> = named.into_iter().filter(is_new).collect();
            found.extend(new);
        }
        Ok(found)
    }
}

/// Whether a service has this name or description.
async fn is_service(socket: &Path, name: &str) -> Result<bool, ControlError> {
    let services = services(socket).await?;
    Ok(services.iter().any(|service| service.service == name || service.description == name))
}

async fn services(socket: &Path) -> Result<Vec<ServiceStatus>, ControlError> {
    let reply = client::ask(socket, Method::GET, "status", &[]).await?;
    let daemon: DaemonStatus = client::object(socket, &reply)?;
    Ok(daemon.services)
}

async fn watches(socket: &Path, query: &[(&str, &str)]) -> Result<Vec<WatchStatus>, ControlError> {
    let reply = client::ask(socket, Method::GET, "watches", query).await?;
    client::lines(socket, &reply)
}

/// Returns the names of the registered watches, and then of the services, that match the pattern, sorted.
fn matching(
    pattern: &str,
    all: &[WatchStatus],
    services: &[ServiceStatus],
    only_paused: bool,
) -> Result<Vec<String>, String> {
    let is_match = |watch: &&WatchStatus| {
        watch.registered && (matches_glob(pattern, &watch.watch) || matches_glob(pattern, &watch.description))
    };
    let mut matching: Vec<_> = all.iter().filter(is_match).cloned().collect();
    WatchStatus::sort_by_name(&mut matching);
    let is_match = |service: &&ServiceStatus| {
        matches_glob(pattern, &service.service) || matches_glob(pattern, &service.description)
    };
    let mut services: Vec<&ServiceStatus> = services.iter().filter(is_match).collect();
    services.sort_by(|one, other| (&one.file, &one.description).cmp(&(&other.file, &other.description)));
    match matching.len() + services.len() {
        0 => Err(format!("no watch matches {pattern}; `twitcher status` lists them")),
        _ => {
            matching.retain(|watch| watch.paused || !only_paused);
            services.retain(|service| service.pause.is_some() || !only_paused);
            let of_services = services.into_iter().map(|service| service.service.clone());
            Ok(matching.into_iter().map(|watch| watch.watch).chain(of_services).collect())
        }
    }
}
