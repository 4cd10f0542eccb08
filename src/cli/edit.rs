//! `twitcher edit NODE`

use std::env;
use std::error::Error;
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use nix::unistd::geteuid;
use signal_hook::consts::{SIGINT, SIGQUIT};
use tempfile::TempDir;

use super::shared::exit::{CONDITION_FAILED, Exit, print_error};
use super::shared::scratch;
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

/// The editor if neither variable names one.
const DEFAULT_EDITOR: &str = "vi";

impl Edit {
    pub fn run(self) -> Exit {
        let node = &self.node.node;
        // Nobody is to edit a text that cannot be written.
        self.node.require_writable()?;
        let (state, before) = self.read()?;
        let directory = private_directory()?;
        let file = directory.path().join(file_name(node.components().last()));
        let cannot = |what: &str, error| format!("cannot {what} {}: {error}", file.display());
        let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file);
        written
            .and_then(|mut opened| opened.write_all(&before))
            .map_err(|error| cannot("write the text to edit to", error))?;
        let edited = edit(&file);
        let after = match fs::read(&file) {
            Ok(after) => after,
            Err(error) => {
                let reason = cannot("read the edited text from", error);
                return Err(self.keep(directory, &file, file.exists(), &reason));
            }
        };
        if let Err(reason) = edited {
            return Err(self.keep(directory, &file, before != after, &reason));
        }
        if after == before {
            print_error(format_args!("twitcher: node {node}: the text is unchanged, so nothing was written"));
            return Ok(ExitCode::SUCCESS);
        }
        if after.is_empty() {
            let reason = format!(
                "the text is empty, so node {node} was not changed; `twitcher set {node} --empty` empties it"
            );
            return Err(self.keep(directory, &file, false, &reason));
        }
        let only_newline = after.strip_suffix(b"\n") == Some(&before);
        if only_newline {
            print_error(format_args!(
                "twitcher: node {node}: the text is unchanged but for a newline at its end, which most \
                 editors add, so nothing was written"
            ));
            return Ok(ExitCode::SUCCESS);
        }
        if after.ends_with(b"\n") && !before.is_empty() && !before.ends_with(b"\n") {
            print_error(format_args!(
                "warning: node {node}: the data ends with a newline now, as most editors write it; before, \
                 it did not"
            ));
        }
        match self.replace(&state, &after) {
            Ok(Some(0)) => Ok(ExitCode::SUCCESS),
            Ok(Some(code)) if code == i32::from(CONDITION_FAILED) => {
                let reason = format!("somebody else changed node {node} meanwhile, so nothing was written");
                Err(self.keep(directory, &file, true, &reason))
            }
            Ok(Some(_) | None) => {
                let reason = format!("the edited text of node {node} was not written, or nobody knows");
                Err(self.keep(directory, &file, true, &reason))
            }
            Err(reason) => Err(self.keep(directory, &file, true, &reason)),
        }
    }

    /// Makes the error that nothing was written for this reason. The directory is removed unless the text is
    /// to be kept.
    fn keep(&self, directory: TempDir, file: &Path, keep: bool, reason: &str) -> Box<dyn Error> {
        if !keep {
            return reason.into();
        }
        let kept = directory.keep();
        debug_assert!(file.starts_with(kept));
        format!("{reason}; the edited text is in {}", file.display()).into()
    }

    /// Reads the node in a process of its own. Returns its state and its data.
    fn read(&self) -> Result<(String, Vec<u8>), Box<dyn Error>> {
        let failed = |error| format!("cannot start the process that reads the node: {error}");
        let mut child =
            self.exchange(&[]).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().map_err(failed)?;
        let reply = child.stdout.take().map(at_most_a_node).unwrap_or(Ok(None)).map_err(failed)?;
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

/// Reads a reply to its end. Returns `None` if it is longer than any node: the process that sends it talks to
/// the network without root's rights, and must not fill the memory of root's process.
fn at_most_a_node(replies: impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut reply = Vec::new();
    let length = replies.take(MAX_REPLY + 1).read_to_end(&mut reply)?;
    Ok((length as u64 <= MAX_REPLY).then_some(reply))
}

/// Makes a directory that only this user can enter, for the text and what the editor puts beside it.
fn private_directory() -> Result<TempDir, String> {
    let parent = env::temp_dir();
    let cannot = |error| format!("cannot use {} for the text to edit: {error}; set TMPDIR", parent.display());
    let metadata = fs::metadata(&parent).map_err(|error| cannot(error.to_string()))?;
    let is_ours = [0, geteuid().as_raw()].contains(&metadata.uid());
    // With the sticky bit, nobody can rename what belongs to others.
    if !is_ours || (metadata.mode() & 0o022 != 0 && metadata.mode() & 0o1000 == 0) {
        return Err(cannot("other users can change what is in it".to_owned()));
    }
    scratch::private_directory("twitcher-edit-").map_err(|error| cannot(error.to_string()))
}

/// The longest name of the file. It ends like the node's name, since editors know a format by the end.
const MAX_FILE_NAME: usize = 64;

/// Returns the name of the file for a node with this name.
fn file_name(node: Option<&str>) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
    let name: Vec<char> = node.unwrap_or("root").chars().map(plain).collect();
    let end: String = name[name.len().saturating_sub(MAX_FILE_NAME)..].iter().collect();
    match end.trim_start_matches(['.', '-']) {
        "" => "node".to_owned(),
        end => end.to_owned(),
    }
}

/// Runs the editor on the file.
fn edit(file: &Path) -> Result<(), String> {
    let variable = |name| env::var_os(name).filter(|value| !value.is_empty());
    let editor = variable("VISUAL").or_else(|| variable("EDITOR")).unwrap_or_else(|| DEFAULT_EDITOR.into());
    // Ctrl-C is for the editor. A handler that does nothing, unlike an ignored signal, is not inherited.
    let ignored = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGQUIT] {
        let registered = signal_hook::flag::register(signal, Arc::clone(&ignored));
        registered.map_err(|error| format!("cannot handle signals: {error}"))?;
    }
    // The variables may have arguments, as in `code --wait`, so the shell reads them.
    let mut script = editor.clone();
    script.push(" \"$@\"");
    let ended = Command::new("/bin/sh").arg("-c").arg(script).arg(&editor).arg(file).status();
    let name = editor.to_string_lossy();
    match ended {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!(
            "the editor {name:?} failed ({status}), so nothing was written; VISUAL or EDITOR names \
             another one"
        )),
        Err(error) => Err(format!("cannot start the editor {name:?}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_without_an_end_fills_no_memory() {
        assert_eq!(at_most_a_node(&b"1,2,3\ndata"[..]).unwrap().unwrap(), b"1,2,3\ndata");
        assert!(at_most_a_node(io::repeat(b'x').take(MAX_REPLY)).unwrap().is_some());
        assert!(at_most_a_node(io::repeat(b'x')).unwrap().is_none());
    }
}
