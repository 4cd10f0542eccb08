//! `twitcher rm [--recursive] NODE`

use super::shared::exit::Exit;
use super::shared::store::NodeArgs;

/// Delete a node
#[derive(Debug, clap::Args)]
pub struct Rm {
    #[command(flatten)]
    node: NodeArgs,
    /// Delete everything below the node, too
    #[arg(long)]
    recursive: bool,
}

impl Rm {
    pub fn run(self) -> Exit {
        self.node.with_client(async |client, node| Ok(client.rm(node, self.recursive).await?))
    }
}
