//! A server process that never outlives the suite.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Mutex;

use nix::sys::signal::Signal;

use super::command::command;
use super::process::Process;

/// A server process, if it runs, and the shell that started it. The shell kills the server when it is told
/// to, and when our end of the shell's stdin closes. The end closes even if this value is never dropped,
/// because it is a static or the test run was killed. Then the shell also removes the data.
#[derive(Default)]
pub struct Guarded(Mutex<Option<Running>>);

struct Running {
    shell: Child,
    server: Process,
}

impl Guarded {
    /// Starts this command line. The output goes to the file `log` in `home`, the directory of its data.
    #[track_caller]
    pub fn start(&self, home: &Path, words: &[&OsStr]) {
        let mut shell = command("/bin/sh")
            .arg("-c")
            .arg(
                r#""$@" >>"$DATA/log" 2>&1 & echo $!
                read -r told; kill -9 $!; wait; [ "$told" ] || rm -rf "$DATA""#,
            )
            .arg("guard")
            .args(words)
            .env("DATA", home)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start a shell");
        let mut pid = String::new();
        let output = shell.stdout.take().expect("piped");
        BufReader::new(output).read_line(&mut pid).expect("the server's process number");
        *self.0.lock().unwrap() = Some(Running { shell, server: Process::parse(&pid) });
    }

    /// Kills it, if it runs.
    pub fn kill(&self) {
        drop(self.0.lock().unwrap().take());
    }

    /// Whether it runs.
    pub fn is_alive(&self) -> bool {
        self.0.lock().unwrap().as_ref().is_some_and(|running| running.server.is_alive())
    }

    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        self.0.lock().unwrap().as_ref().expect("the server is up").server.signal(signal);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut stdin) = self.shell.stdin.take() {
            let _ = stdin.write_all(b"end\n");
        }
        // The shell ends after the server, so that the next server finds its port free.
        let _ = self.shell.wait();
    }
}
