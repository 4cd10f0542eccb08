//! `twitcher ls NODE`

use std::process::ExitCode;

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
        let names = self.node.with_client(async |client, node| Ok(client.ls(node).await?))?;
        let lines: String = names.into_iter().flat_map(|name| [name, "\n".into()]).collect();
        print_foreign(lines.as_bytes())?;
        Ok(ExitCode::SUCCESS)
    }
}
