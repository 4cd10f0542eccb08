//! `twitcher edit NODE`

use std::error::Error;
use std::io::Write;
use std::process::{Command, ExitCode, Stdio};

use super::shared::editor::{EditedText, at_most};
use super::shared::exit::{CONDITION_FAILED, Exit};
use super::shared::store::NodeArgs;

/// Edit a node's data with $VISUAL or $EDITOR
///
/// The data is replaced only if nobody else has changed the node since it was read. If somebody has, or if
/// the store refuses the data, the edited text stays in a file whose name is shown. A text that was not
/// changed is not written.
#[derive(Debug, clap::Args)]
pub struct Edit {
    #[command(flatten)]
    node: NodeArgs,
}

impl Edit {
    pub fn run(self) -> Exit {
        let node = &self.node.node;
        // Nobody is to edit a text that cannot be written.
        self.node.require_writable()?;
        let (state, before) = self.read()?;
        let text = EditedText::new(node.components().last(), &before)?;
        let emptying = format!("`twitcher set {node} --empty` empties it");
        let Some((text, after)) = text.edit(&format!("node {node}"), &before, &emptying)? else {
            return Ok(ExitCode::SUCCESS);
        };
        match self.replace(&state, &after) {
            Ok(Some(0)) => Ok(ExitCode::SUCCESS),
            Ok(Some(code)) if code == i32::from(CONDITION_FAILED) => {
                let reason = format!("somebody else changed node {node} meanwhile, so nothing was written");
                Err(text.keep(&reason).into())
            }
            Ok(Some(_) | None) => {
                let reason = format!("the edited text of node {node} was not written, or nobody knows");
                Err(text.keep(&reason).into())
            }
            Err(reason) => Err(text.keep(&reason).into()),
        }
    }

    /// Reads the node in a process of its own. Returns its state and its data.
    fn read(&self) -> Result<(String, Vec<u8>), Box<dyn Error>> {
        let failed = |error| format!("cannot start the process that reads the node: {error}");
        let mut child =
            self.exchange(&[]).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().map_err(failed)?;
        let reply =
            child.stdout.take().map_or(Ok(None), |stdout| at_most(MAX_REPLY, stdout)).map_err(failed)?;
        let Some(mut reply) = reply else {
            // It would not end. Nothing that it says is of use.
            let _ = child.kill();
            let _ = child.wait();
            return Err("the process that reads the node replied with more than a node can have".into());
        };
        if !child.wait().map_err(failed)?.success() {
            return Err(format!("node {} was not read, so there is nothing to edit", self.node.node).into());
        }
        let end = reply.iter().position(|byte| *byte == b'\n');
        let end = end.ok_or("the process that reads the node replied with no state")?;
        let data = reply.split_off(end + 1);
        let state = String::from_utf8_lossy(&reply[..end]).into_owned();
        Ok((state, data))
    }

    /// Replaces the data if the state is still this. Returns the exit code of the process that does it, which
    /// says why it failed.
    fn replace(&self, state: &str, data: &[u8]) -> Result<Option<i32>, String> {
        let failed = |error| format!("cannot run the process that writes the node: {error}");
        let length = data.len().to_string();
        let mut command = self.exchange(&["--replace", state, "--length", &length]);
        let mut child = command.stdin(Stdio::piped()).spawn().map_err(failed)?;
        if let Some(mut stdin) = child.stdin.take() {
            // A process that has failed reads no more. Its exit code tells.
            let _ = stdin.write_all(data);
        }
        Ok(child.wait().map_err(failed)?.code())
    }

    /// Makes the command of the process that talks to the store. Root's process gives root up before it
    /// connects, which this one must not do, since it runs the editor.
    fn exchange(&self, more: &[&str]) -> Command {
        let mut command = Command::new("/proc/self/exe");
        command.arg("exchange").args(self.node.flags()).args(more).arg("--").arg(self.node.node.as_str());
        command
    }
}

/// More than the data of any node, and what stands before it: no store gives more than 16 MiB.
const MAX_REPLY: u64 = 32 << 20;
