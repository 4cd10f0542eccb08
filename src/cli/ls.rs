//! `twitcher ls NODE`

use super::shared::exit::Exit;
use super::shared::stdout::print_foreign;
use super::shared::store::NodeArgs;

/// List the names of a node's children, sorted, one per line
#[derive(Debug, clap::Args)]
pub struct Ls {
    #[command(flatten)]
    node: NodeArgs,
}

impl Ls {
    pub fn run(self) -> Exit {
        self.node.with_client(async |client, node| {
            let names: String =
                client.ls(node).await?.into_iter().flat_map(|name| [name, "\n".into()]).collect();
            Ok(print_foreign(names.as_bytes())?)
        })
    }
}
