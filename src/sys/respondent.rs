//! A helper that is asked, and answers within a time.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::confine::Confinement;
use super::helper::Helper;

/// A confined child that reads requests from its stdin and writes replies to its stdout. It is killed when
/// this is dropped.
pub struct Respondent {
    /// `None` after [`Respondent::with_replies`].
    helper: Option<Helper>,
    requests: Option<File>,
    replies: File,
}

/// The reason why there is no reply.
#[derive(Debug)]
pub enum AskError {
    TimedOut,
    /// The child ended, or said more than it may.
    Died,
    System(io::Error),
}

impl From<io::Error> for AskError {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

impl Respondent {
    /// Starts `program subcommand` as [`Helper::start`] does. Requests are sent to it by [`Self::send`], or
    /// `request` is a file with the only one.
    pub fn start(
        program: &Path,
        subcommand: &str,
        request: Option<File>,
        confinement: Confinement,
    ) -> io::Result<Self> {
        let stdin = request.map_or_else(Stdio::piped, Stdio::from);
        let mut helper =
            Helper::start(program, subcommand, [stdin, Stdio::piped(), Stdio::null()], confinement)?;
        let child = helper.child();
        let Some(replies) = child.stdout.take() else { unreachable!("it was asked for as a pipe") };
        let (requests, replies) = (child.stdin.take().map(OwnedFd::from), OwnedFd::from(replies));
        for end in requests.iter().chain([&replies]) {
            fcntl(end, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        }
        Ok(Self { helper: Some(helper), requests: requests.map(File::from), replies: replies.into() })
    }

    /// Makes one without a child. Each `read` of `replies` returns one reply. The fuzzer uses it for replies
    /// that no child sends.
    pub fn with_replies(replies: File) -> io::Result<Self> {
        let requests = File::options().write(true).open("/dev/null")?;
        Ok(Self { helper: None, requests: Some(requests), replies })
    }

    pub fn send(&mut self, mut bytes: &[u8], deadline: Instant) -> Result<(), AskError> {
        let Some(requests) = &mut self.requests else { return Err(AskError::Died) };
        while !bytes.is_empty() {
            match requests.write(bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => wait(requests, PollFlags::POLLOUT, deadline)?,
                    io::ErrorKind::Interrupted => {}
                    io::ErrorKind::BrokenPipe => return Err(AskError::Died),
                    _ => return Err(error.into()),
                },
            }
        }
        Ok(())
    }

    /// Returns the next reply, a line of at most `max` bytes or a little more.
    pub fn receive(&mut self, max: usize, deadline: Instant) -> Result<Vec<u8>, AskError> {
        let mut line = Vec::new();
        let mut chunk = [0; 64 << 10];
        while line.last() != Some(&b'\n') {
            match self.replies.read(&mut chunk) {
                Ok(0) => return Err(AskError::Died),
                Ok(_) if line.len() > max => return Err(AskError::Died),
                Ok(length) => line.extend_from_slice(&chunk[..length]),
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => wait(&self.replies, PollFlags::POLLIN, deadline)?,
                    io::ErrorKind::Interrupted => {}
                    _ => return Err(error.into()),
                },
            }
        }
        Ok(line)
    }

    /// Returns how the child ended, if it closed its end and is given a moment to end.
    pub fn how_it_ended(&mut self, moment: Duration) -> Option<ExitStatus> {
        let (helper, deadline) = (self.helper.as_mut()?, Instant::now() + moment);
        loop {
            match helper.try_reap() {
                Some(ended) => return ended.ok(),
                None if Instant::now() >= deadline => return None,
                None => std::thread::sleep(Duration::from_millis(1)),
            }
        }
    }

    /// Kills the child, and waits for its end.
    pub fn end(&mut self) {
        if let Some(helper) = &mut self.helper {
            helper.end();
        }
    }
}

impl Drop for Respondent {
    fn drop(&mut self) {
        self.end();
    }
}

fn wait(file: &File, flags: PollFlags, deadline: Instant) -> Result<(), AskError> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(AskError::TimedOut);
    }
    // Rounded down, the last millisecond would be a busy loop.
    let timeout = PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
    match poll(&mut [PollFd::new(file.as_fd(), flags)], timeout) {
        Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
        Err(error) => Err(AskError::System(error.into())),
    }
}
