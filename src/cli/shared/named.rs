//! The watches that a command is for, by names and patterns.

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use hyper::Method;
use tokio::time::{Instant, sleep};

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
    /// Names of watches and services in the log, descriptions, or patterns of either with * and ?
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
            let members = match command {
                WatchCommand::Pause => Members::present(socket).await?,
                WatchCommand::Trigger { .. } | WatchCommand::Resume | WatchCommand::Kill => {
                    Members::default()
                }
            };
            let mut obeyed = Vec::new();
            if found.is_empty() {
                print(&line("no watch that matches is paused"))?;
            }
            for watch in found {
                let query = [&[("watch", watch.as_str())], query].concat();
                match client::ask(socket, Method::POST, command.as_str(), &query).await {
                    Ok(reply) => {
                        let CommandResult { watch, done } = client::object(socket, &reply)?;
                        let name = watch.unwrap_or_default();
                        print(&line(&format!("{name}: {done}")))?;
                        obeyed.push(name);
                    }
                    Err(ControlError::Refused(why)) => {
                        print_error(format_args!("twitcher: {why}"));
                        code = ExitCode::FAILURE;
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            if !members.have_gone(socket, &obeyed).await? {
                code = ExitCode::FAILURE;
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

/// How long a pause waits for the withdrawal of members, and how often it looks. A store that answers takes a
/// hundredth of a second.
const WITHDRAWAL_TIMEOUT: Duration = Duration::from_secs(5);
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// The services whose members were there before a pause, with the time that clients have to see them go.
#[derive(Default)]
struct Members(Vec<(String, Duration)>);

impl Members {
    async fn present(socket: &Path) -> Result<Self, ControlError> {
        let services = services(socket).await?.into_iter().filter(|service| service.is_present);
        let drain = |service: &ServiceStatus| Duration::try_from_secs_f64(service.drain).unwrap_or_default();
        Ok(Self(services.map(|service| (service.service.clone(), drain(&service))).collect()))
    }

    /// Waits until the members of these services are withdrawn, and clients had the time to see it. Returns
    /// false if the store does not confirm it.
    async fn have_gone(mut self, socket: &Path, paused: &[String]) -> Result<bool, Box<dyn Error>> {
        self.0.retain(|(service, _)| paused.contains(service));
        let Some(drain) = self.0.iter().map(|(_, drain)| *drain).max() else { return Ok(true) };
        let is_paused =
            |service: &&ServiceStatus| self.0.iter().any(|(paused, _)| *paused == service.service);
        let began = Instant::now();
        loop {
            let services = services(socket).await?;
            let present = services.iter().filter(is_paused).find(|it| it.is_present && it.pause.is_some());
            let Some(present) = present else { break };
            if began.elapsed() >= WITHDRAWAL_TIMEOUT {
                print_error(format_args!(
                    "twitcher: {}: the store has not confirmed within {} s that member {} is withdrawn; it \
                     goes when its session or lease expires",
                    present.service,
                    WITHDRAWAL_TIMEOUT.as_secs(),
                    present.place()
                ));
                return Ok(false);
            }
            sleep(LOOK_INTERVAL).await;
        }
        if !drain.is_zero() {
            print(&line(&format!("clients have {} s to see it", drain.as_secs_f64())))?;
            sleep(drain).await;
        }
        Ok(true)
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
        0 => Err(format!("no watch or service matches {pattern}; `twitcher status` lists them")),
        _ => {
            matching.retain(|watch| watch.paused || !only_paused);
            services.retain(|service| service.pause.is_some() || !only_paused);
            let of_services = services.into_iter().map(|service| service.service.clone());
            Ok(matching.into_iter().map(|watch| watch.watch).chain(of_services).collect())
        }
    }
}
