//! `twitcher evaluate`: the confined child that runs config scripts. Internal; see
//! [`crate::config::evaluate`].

use std::io::{self, BufRead, Write};
use std::process::ExitCode;

use super::shared::exit::Exit;
use crate::config::evaluate::READY;
use crate::config::request::Request;
use crate::config::script::Interpreter;
use crate::sys::{Work, allow_only};

/// Evaluate configs for the daemon (internal: talks to its parent over stdin and stdout)
#[derive(Debug, clap::Args)]
pub struct Evaluate {}

impl Evaluate {
    pub fn run(self) -> Exit {
        // A kernel that cannot do this leaves the other limits of this process.
        let _ = allow_only(Work::Computing);
        let answered = answer(&mut io::stdin().lock(), &mut io::stdout().lock());
        answered.map_err(|error| format!("evaluate: {error}"))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Says that it is ready, and answers each request, a line of JSON, with a line of JSON, until the end of
/// `requests`.
fn answer(requests: &mut impl BufRead, replies: &mut impl Write) -> io::Result<()> {
    let interpreter = Interpreter::new();
    replies.write_all(READY.as_bytes())?;
    replies.flush()?;
    let mut line = String::new();
    while requests.read_line(&mut line)? > 0 {
        let request: Request = serde_json::from_str(&line)?;
        let mut reply = serde_json::to_vec(&interpreter.evaluate(&request))?;
        reply.push(b'\n');
        replies.write_all(&reply)?;
        replies.flush()?;
        line.clear();
    }
    Ok(())
}
