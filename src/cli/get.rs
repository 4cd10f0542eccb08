//! `twitcher get NODE`

use std::process::ExitCode;

use super::shared::exit::Exit;
use super::shared::stdout::print_foreign;
use super::shared::store::NodeArgs;

/// Write a node's bytes to stdout; a terminal gets control characters escaped
#[derive(Debug, clap::Args)]
pub struct Get {
    #[command(flatten)]
    node: NodeArgs,
}

impl Get {
    pub fn run(self) -> Exit {
        let data = self.node.with_client(async |client, node| Ok(client.get(node).await?))?;
        print_foreign(&data)?;
        Ok(ExitCode::SUCCESS)
    }
}
