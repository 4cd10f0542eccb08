//! `twitcher get NODE`

use super::shared::exit::Exit;
use super::shared::stdout::print_foreign;
use super::shared::store::NodeArgs;

/// Write a node's bytes to stdout
#[derive(Debug, clap::Args)]
pub struct Get {
    #[command(flatten)]
    node: NodeArgs,
}

impl Get {
    pub fn run(self) -> Exit {
        self.node.with_client(async |client, node| Ok(print_foreign(&client.get(node).await?)?))
    }
}
