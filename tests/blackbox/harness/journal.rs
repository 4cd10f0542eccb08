//! Files in which actions record what they do, and files for which they wait.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::wait::{wait_for, wait_until};

/// A file to which actions append one line each.
pub struct Journal {
    path: PathBuf,
}

impl Journal {
    /// Creates the file. Actions of any user can append to it.
    pub fn create(path: PathBuf) -> Self {
        fs::write(&path, "").expect("create the journal");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666))
            .expect("open the journal to every user");
        Self { path }
    }

    /// A journal that was created before.
    pub fn at(path: PathBuf) -> Self {
        Self { path }
    }

    pub fn path(&self) -> &str {
        self.path.to_str().expect("temporary paths are UTF-8")
    }

    /// Returns a shell command that appends the line `text`. The shell expands variables and commands in it.
    pub fn note(&self, text: &str) -> String {
        format!("printf '%s\\n' \"{text}\" >> {}", self.path())
    }

    /// Returns a shell command that appends its stdin as one line.
    pub fn record(&self) -> String {
        self.note("$(cat)")
    }

    /// Returns a shell command that appends a line with the event and its stdin.
    pub fn record_event(&self) -> String {
        self.note("$TWITCHER_EVENT $(cat)")
    }

    pub fn lines(&self) -> Vec<String> {
        let text = fs::read(&self.path).expect("read the journal");
        String::from_utf8_lossy(&text).lines().map(str::to_owned).collect()
    }

    /// Waits until the journal consists of exactly these lines. Panics at once at any other line, so this
    /// also shows that no other line came before the last of these.
    #[track_caller]
    pub fn wait_for(&self, expected: &[&str]) {
        wait_until(&format!("the journal to say {expected:?}; it says {:?}", self.path), || {
            let lines = self.lines();
            let so_far = expected.get(..lines.len()).unwrap_or(expected);
            assert_eq!(lines, so_far, "the journal must come to say {expected:?}");
            lines.len() == expected.len()
        });
    }

    /// Waits until the last line is this, and returns all lines. Above it may stand anything, because several
    /// updates may share one run.
    #[track_caller]
    pub fn wait_for_last(&self, expected: &str) -> Vec<String> {
        wait_for(&format!("the journal to end with {expected:?}"), || {
            let lines = self.lines();
            (lines.last().map(String::as_str) == Some(expected)).then_some(lines)
        })
    }

    /// Waits for a line for which `wanted` returns true, and returns it.
    #[track_caller]
    pub fn wait_for_line_where(&self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        wait_for(&format!("a journal line with {what}"), || {
            self.lines().into_iter().find(|line| wanted(line))
        })
    }

    /// Waits until one of the lines is this.
    #[track_caller]
    pub fn wait_for_line(&self, expected: &str) {
        wait_until(&format!("the journal to contain {expected:?}"), || {
            self.lines().iter().any(|line| line == expected)
        });
    }

    pub fn count(&self, line: &str) -> usize {
        self.lines().iter().filter(|found| *found == line).count()
    }
}

/// A gate that holds actions until the test opens it.
pub struct Gate {
    path: PathBuf,
}

impl Gate {
    pub fn closed(path: PathBuf) -> Self {
        Self { path }
    }

    /// Returns a shell command that waits until the gate is open. It also ends when the sandbox is gone, so
    /// that no test leaves a process behind.
    pub fn pass(&self) -> String {
        let sandbox = self.path.parent().unwrap_or(Path::new("/"));
        format!(
            "while [ ! -e {gate} ] && [ -d {sandbox} ]; do sleep 0.05; done",
            gate = self.path.display(),
            sandbox = sandbox.display()
        )
    }

    pub fn open(&self) {
        fs::write(&self.path, "").expect("open the gate");
    }
}
