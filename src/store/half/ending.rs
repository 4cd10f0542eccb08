//! Why a half is replaced, and how it ended, for people.

use std::fmt::Write;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::rc::Rc;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::time::{sleep, timeout};

use super::conduct::Violation;
use super::message::bounded;
use super::misfortune::{Blame, Trouble};
use super::remedy::explained;
use crate::sys::{Helper, watch_process};
use crate::text::printable;

/// How long a half may take to end that closed its socket or was killed. After that its end is not known.
const END_TIMEOUT: Duration = Duration::from_secs(1);

/// The pause between two looks where the kernel does not tell of the end.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// How much of what it wrote at last is quoted.
const MAX_QUOTED: usize = 1 << 10;

/// How often its stderr is read, which it may still fill.
const MAX_READS: usize = 64;

/// What Rust writes when an allocation fails.
const OUT_OF_MEMORY: &str = "memory allocation of ";

/// Why a half is replaced.
#[derive(Debug)]
pub(super) enum Ending {
    /// It ended by itself.
    Gone,
    Violation(Violation),
    /// It gave no answer for so long.
    Unresponsive(Duration),
    /// The daemon could not take a file that it sent.
    NoDescriptors,
    System(io::Error),
    /// It asked for that.
    Moved,
}

/// Says for people why a half was replaced, if that is an outage. `how` says how it ended.
pub(super) fn trouble(ending: Ending, how: String) -> Option<Trouble> {
    let (reason, blame) = match ending {
        Ending::Gone => (how, Blame::Half),
        Ending::Moved => return None,
        Ending::Violation(violation) => {
            (format!("the process of this store said {violation}, and was killed"), Blame::Half)
        }
        Ending::Unresponsive(patience) => {
            let seconds = patience.as_secs_f64();
            let reason = format!("the process of this store gave no answer for {seconds} s, and was killed");
            (reason, Blame::Silence)
        }
        Ending::NoDescriptors => {
            let error = io::Error::from_raw_os_error(nix::libc::EMFILE);
            (format!("cannot take what the process of this store sent: {}", explained(&error)), Blame::Daemon)
        }
        Ending::System(error) => {
            let reason = format!("the process of this store cannot be talked to: {}", explained(&error));
            (reason, Blame::Daemon)
        }
    };
    Some(Trouble { reason, blame })
}

/// Waits until the half has ended, and reaps it.
async fn end(helper: &mut Helper) -> io::Result<ExitStatus> {
    let watched = watch_process(helper.pid());
    loop {
        if let Some(ended) = helper.try_reap() {
            return ended;
        }
        match &watched {
            Ok(process) => drop(process.readable().await?),
            Err(_) => sleep(LOOK_INTERVAL).await,
        }
    }
}

/// Waits for the end of a half that is about to end, and describes it. A half that takes long is left to a
/// task that reaps it, and holds `lingering` until then.
pub(super) async fn describe(
    mut helper: Helper,
    stderr: OwnedFd,
    memory: Option<u64>,
    lingering: &Rc<()>,
) -> String {
    let mut text = match timeout(END_TIMEOUT, end(&mut helper)).await {
        Ok(Ok(status)) => shown(status),
        Ok(Err(error)) => format!("the process of this store has ended ({error})"),
        Err(_) => "the process of this store closed its socket, and has not ended yet".to_owned(),
    };
    helper.kill();
    let said = last_words(stderr);
    if said.contains(OUT_OF_MEMORY)
        && let Some(memory) = memory
    {
        let _ = write!(
            text,
            " when it needed more memory than `store_memory` allows ({memory} bytes); raise it in \
             twitcher.toml"
        );
    }
    if !said.is_empty() {
        let _ = write!(text, "; it said: {said}");
    }
    if !helper.has_ended() {
        let lingering = Rc::clone(lingering);
        tokio::task::spawn_local(async move {
            let _ = end(&mut helper).await;
            drop(lingering);
        });
    }
    bounded(text)
}

fn shown(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("the process of this store exited with {code}"),
        (None, Some(signal)) => match Signal::try_from(signal) {
            Ok(signal) => format!("the process of this store was ended by {signal}"),
            Err(_) => format!("the process of this store was ended by signal {signal}"),
        },
        (None, None) => "the process of this store has ended".to_owned(),
    }
}

/// Returns the end of what a half wrote to its stderr: why it panicked, for example.
fn last_words(stderr: OwnedFd) -> String {
    let (mut file, mut all) = (File::from(stderr), Vec::new());
    let mut chunk = [0; 4096];
    for _ in 0..MAX_READS {
        let Ok(length @ 1..) = file.read(&mut chunk) else { break };
        all.extend_from_slice(&chunk[..length]);
        let excess = all.len().saturating_sub(MAX_QUOTED);
        all.drain(..excess);
    }
    let text = String::from_utf8_lossy(&all);
    // Rust's advice is for its programmers.
    let is_said = |line: &&str| !line.is_empty() && !line.starts_with("note: run with `RUST_BACKTRACE");
    let lines: Vec<String> = text.lines().filter(is_said).map(|line| printable(line.as_bytes())).collect();
    lines.join(" / ")
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn the_end_of_what_a_half_wrote_is_quoted_in_one_printable_line() {
        let (reader, writer) = nix::unistd::pipe().unwrap();
        let mut writer = File::from(writer);
        let begin = "lost ".repeat(MAX_QUOTED);
        write!(writer, "{begin}\n\nFORGED \u{1b}[2J\u{202e}x\r\nnote: run with `RUST_BACKTRACE=1`\nlast\0\n")
            .unwrap();
        drop(writer);
        let said = last_words(reader);
        assert!(said.len() <= 2 * MAX_QUOTED, "{} bytes", said.len());
        assert!(said.contains(" / FORGED ") && said.contains(" / last"), "{said}");
        assert!(!said.chars().any(|c| c.is_control() || c == '\u{202e}'), "{said:?}");
        assert!(!said.contains("RUST_BACKTRACE"), "{said}");
    }
}
