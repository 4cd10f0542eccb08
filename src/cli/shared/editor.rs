//! A text in the user's editor, for commands that write what was edited. The text is in a private file, which
//! stays if the text could not be written: nobody's work is lost.

use std::env;
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use nix::unistd::geteuid;
use signal_hook::consts::{SIGINT, SIGQUIT};
use tempfile::TempDir;

use super::exit::print_error;
use super::scratch;

/// The editor if neither variable names one.
const DEFAULT_EDITOR: &str = "vi";

/// A text that is being edited. Its file is removed on drop.
pub struct EditedText {
    directory: TempDir,
    file: PathBuf,
}

impl EditedText {
    /// Writes the text to a file whose name ends like this, since editors know a format by the end.
    pub fn new(name: Option<&str>, text: &[u8]) -> Result<Self, String> {
        let directory = private_directory()?;
        let file = directory.path().join(file_name(name));
        let edited = Self { directory, file };
        let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&edited.file);
        written
            .and_then(|mut opened| opened.write_all(text))
            .map_err(|error| edited.cannot("write the text to edit to", &error))?;
        Ok(edited)
    }

    /// Has the text edited, and returns what it is now. `None` if there is nothing to write, which is told:
    /// it is what `what` has, which was `before`. An empty text is not written either; `emptying` says what
    /// empties it. An error says where the text is, if there is one to keep.
    pub fn edit(self, what: &str, before: &[u8], emptying: &str) -> Result<Option<(Self, Vec<u8>)>, String> {
        let edited = edit(&self.file);
        let after = match fs::read(&self.file) {
            Ok(after) => after,
            Err(error) => {
                let reason = self.cannot("read the edited text from", &error);
                return Err(if self.file.exists() { self.keep(&reason) } else { reason });
            }
        };
        match edited {
            Err(reason) if before != after => return Err(self.keep(&reason)),
            Err(reason) => return Err(reason),
            Ok(()) => {}
        }
        if after == before {
            print_error(format_args!("twitcher: {what}: the text is unchanged, so nothing was written"));
            return Ok(None);
        }
        if after.is_empty() {
            return Err(format!("the text is empty, so {what} was not changed; {emptying}"));
        }
        if after.strip_suffix(b"\n") == Some(before) {
            print_error(format_args!(
                "twitcher: {what}: the text is unchanged but for a newline at its end, which most editors \
                 add, so nothing was written"
            ));
            return Ok(None);
        }
        if after.ends_with(b"\n") && !before.is_empty() && !before.ends_with(b"\n") {
            print_error(format_args!(
                "warning: {what}: the data ends with a newline now, as most editors write it; before, it did \
                 not"
            ));
        }
        Ok(Some((self, after)))
    }

    /// Puts another text in place of the edited one.
    pub fn replace(&self, text: &[u8]) -> Result<(), String> {
        fs::write(&self.file, text).map_err(|error| self.cannot("write the text to edit to", &error))
    }

    pub fn path(&self) -> &Path {
        &self.file
    }

    /// Keeps the file. Returns the reason why nothing was written, and where the text is.
    pub fn keep(self, reason: &str) -> String {
        let Self { directory, file } = self;
        let kept = directory.keep();
        debug_assert!(file.starts_with(kept));
        format!("{reason}; the edited text is in {}", file.display())
    }

    fn cannot(&self, what: &str, error: &io::Error) -> String {
        format!("cannot {what} {}: {error}", self.file.display())
    }
}

/// Reads what a process has read, to its end. Returns `None` if it is longer than `most`: the process talks
/// to the network without root's rights, and must not fill the memory of root's process.
pub fn at_most(most: u64, replies: impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut reply = Vec::new();
    let length = replies.take(most + 1).read_to_end(&mut reply)?;
    Ok((length as u64 <= most).then_some(reply))
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

/// Returns what says whether Ctrl-C is for this process. It is for the editor, as long as one runs. A handler
/// that does nothing, unlike an ignored signal, is not inherited.
fn signals_are_ours() -> io::Result<&'static AtomicBool> {
    static ARE_OURS: OnceLock<Arc<AtomicBool>> = OnceLock::new();
    if let Some(registered) = ARE_OURS.get() {
        return Ok(registered);
    }
    let are_ours = Arc::new(AtomicBool::new(true));
    for signal in [SIGINT, SIGQUIT] {
        signal_hook::flag::register_conditional_default(signal, Arc::clone(&are_ours))?;
    }
    Ok(ARE_OURS.get_or_init(|| are_ours))
}

/// Runs the editor on the file.
fn edit(file: &Path) -> Result<(), String> {
    let variable = |name| env::var_os(name).filter(|value| !value.is_empty());
    let editor = variable("VISUAL").or_else(|| variable("EDITOR")).unwrap_or_else(|| DEFAULT_EDITOR.into());
    let is_over = signals_are_ours().map_err(|error| format!("cannot handle signals: {error}"))?;
    is_over.store(false, Ordering::Relaxed);
    // The variables may have arguments, as in `code --wait`, so the shell reads them.
    let mut script = editor.clone();
    script.push(" \"$@\"");
    let ended = Command::new("/bin/sh").arg("-c").arg(script).arg(&editor).arg(file).status();
    is_over.store(true, Ordering::Relaxed);
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
        assert_eq!(at_most(10, &b"1,2,3\ndata"[..]).unwrap().unwrap(), b"1,2,3\ndata");
        assert!(at_most(1 << 20, io::repeat(b'x').take(1 << 20)).unwrap().is_some());
        assert!(at_most(1 << 20, io::repeat(b'x')).unwrap().is_none());
    }
}
