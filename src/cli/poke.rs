//! `twitcher poke NODE`

use super::shared::exit::Exit;
use super::shared::store::NodeArgs;

/// Rewrite a node's data unchanged, so that watches fire
#[derive(Debug, clap::Args)]
pub struct Poke {
    #[command(flatten)]
    node: NodeArgs,
}

impl Poke {
    pub fn run(self) -> Exit {
        self.node.perform(async |client, node| client.poke(node).await)
    }
}
