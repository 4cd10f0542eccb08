//! `twitcher services SERVICE`

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::time::sleep;

use super::shared::exit::{Exit, print_error};
use super::shared::following::{self, Following, Found, until_interrupted};
use super::shared::runtime::block_on;
use super::shared::stdout::{foreign, print_foreign, print_json};
use super::shared::store::NodeArgs;
use crate::content;
use crate::model::{Blob, Content, Facet, NodePath, State, Subject};
use crate::store::{Client, ClientError, ReadNode, StoreSettings};
use crate::text::escaped_json;
use crate::value::{object, plain};
use crate::watch::Seen;

/// Print the members of a service, with what each says of itself
///
/// A service is a node, and its members are the children. Each line has the name of a member and its data as
/// compact JSON: data that is no object as its `string_value`, and no data as null.
#[derive(Debug, clap::Args)]
pub struct Services {
    #[command(flatten)]
    node: NodeArgs,
    /// Print a JSON object: path, data, children (the members' data by their names) and stat (what the store
    /// knows of the service's node)
    #[arg(long)]
    json: bool,
    /// Print the members again whenever one comes, goes or changes, until interrupted. An empty line ends
    /// each list; with --json each object is one line
    #[arg(long)]
    follow: bool,
}

/// What each member says of itself, as compact JSON.
type Said = BTreeMap<String, String>;

impl Services {
    pub fn run(self) -> Exit {
        let settings = self.node.store_settings()?;
        let path = &self.node.node;
        let service = self.node.with_client_of(&settings, async |client, node| {
            // A service that is followed must be there at first, too.
            Ok(client.service(node).await?)
        })?;
        if self.follow {
            block_on(self.follow(&settings))??;
            return Ok(ExitCode::SUCCESS);
        }
        let members: Said = service.members.iter().map(|(name, data)| (name.clone(), said(data))).collect();
        if self.json {
            print_json(&format!("{}\n", json(path, service.node.as_ref(), &members)?))?;
        } else {
            print_foreign(lines(&members).as_bytes())?;
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn follow(&self, settings: &StoreSettings) -> Result<(), Box<dyn Error>> {
        let subject = Subject { path: self.node.node.clone(), facet: Facet::Members };
        until_interrupted(settings, subject, async |following| self.print_changes(settings, following).await)
            .await
    }

    async fn print_changes(
        &self,
        settings: &StoreSettings,
        following: &mut Following,
    ) -> Result<(), Box<dyn Error>> {
        let mut printed = None;
        let mut unprinted: Option<State> = None;
        loop {
            let found = tokio::select! {
                found = following.next() => found,
                text = self.text(settings, unprinted.as_ref()), if unprinted.is_some() => {
                    following::print(text?).await?;
                    printed = unprinted.take().as_ref().map(Seen::of);
                    continue;
                }
            };
            match found {
                Some(Found::State(_, state)) => {
                    let seen = Seen::of(&state);
                    let is_news = printed.is_none_or(|printed| is_other(printed, seen));
                    unprinted = is_news.then_some(state);
                }
                Some(Found::Unreadable(subject, reason)) => {
                    print_error(format_args!("twitcher: {} cannot be read: {reason}", subject.path));
                }
                None => return Ok(()),
            }
        }
    }

    /// Returns what is printed of a state. Can be dropped at any time.
    async fn text(&self, settings: &StoreSettings, state: Option<&State>) -> Result<String, Box<dyn Error>> {
        let members = match state {
            Some(State::Present { content: Content::Members { object, .. }, .. }) => read(object)?,
            Some(State::Present { .. } | State::Absent) | None => Said::new(),
        };
        if self.json {
            let own = own(settings, &self.node.node).await;
            let line = serde_json::to_string(&json(&self.node.node, own.as_ref(), &members)?)?;
            return Ok(escaped_json(&line) + "\n");
        }
        let lines = lines(&members) + "\n";
        Ok(if io::stdout().is_terminal() { foreign(lines.as_bytes()) } else { lines })
    }
}

/// Whether the store reports another state than was printed.
fn is_other(printed: Seen, seen: Seen) -> bool {
    match (printed, seen) {
        (Seen::Absent, Seen::Absent) => false,
        (Seen::Present(before), Seen::Present(now)) => !before.is_same_state(now),
        (Seen::Absent, Seen::Present(_)) | (Seen::Present(_), Seen::Absent) => true,
    }
}

/// Reads the service's own node, as often as it takes.
async fn own(settings: &StoreSettings, node: &NodePath) -> Option<ReadNode> {
    loop {
        let read = async {
            let client = Client::connect(settings).await?;
            let read = client.read_node(node).await;
            client.close().await;
            read
        };
        match read.await {
            Ok(read) => return Some(read),
            Err(ClientError::Missing { .. }) => return None,
            Err(error) => print_error(format_args!("twitcher: {error}; trying again")),
        }
        sleep(RETRY_INTERVAL).await;
    }
}

/// The store's own client retries as well, and says more of what is wrong.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Reads the members from the object that a store made of them.
fn read(members: &Blob) -> Result<Said, Box<dyn Error>> {
    let members = object::members(&content::read(members)?).map_err(|fault| fault.to_string())?;
    Ok(members.into_iter().map(|(name, value)| (name, plain::write(&value))).collect())
}

/// Returns what a node says of itself, as compact JSON.
fn said(data: &[u8]) -> String {
    plain::write(&object::member(data))
}

fn lines(members: &Said) -> String {
    members.iter().map(|(name, said)| format!("{name} {said}\n")).collect()
}

/// Returns the object as ndServiceRegistry has it.
fn json(path: &NodePath, node: Option<&ReadNode>, members: &Said) -> serde_json::Result<Value> {
    let mut children = Map::new();
    for (name, said) in members {
        children.insert(name.clone(), serde_json::from_str(said)?);
    }
    let (data, stat) = match node {
        Some(node) => (serde_json::from_str(&said(&node.data))?, node.stat()),
        None => (Value::Null, Map::new()),
    };
    Ok(json!({ "path": path.as_str(), "data": data, "children": children, "stat": stat }))
}
