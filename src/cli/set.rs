//! `twitcher set NODE [DATA]`

use std::io::{self, Read};

use super::shared::exit::Exit;
use super::shared::store::NodeArgs;

/// Create a node, with its parents, or replace its data
#[derive(Debug, clap::Args)]
pub struct Set {
    #[command(flatten)]
    node: NodeArgs,
    /// The new data; - reads it from stdin; without DATA the node is empty
    #[arg(allow_hyphen_values = true)]
    data: Option<String>,
}

impl Set {
    pub fn run(self) -> Exit {
        let mut data = self.data.unwrap_or_default().into_bytes();
        if data == b"-" {
            data.clear();
            // Read before the connection: a session must not wait for a keyboard.
            let read = io::stdin().lock().read_to_end(&mut data);
            read.map_err(|error| format!("cannot read the data from stdin: {error}"))?;
        }
        self.node.with_client(async |client, node| Ok(client.set(node, &data).await?))
    }
}
