//! `twitcher evaluate`: the confined child that runs config scripts. Internal; see [`crate::config::evaluate`].

use std::io::{self, BufRead, Write};
use std::process::ExitCode;

use crate::config::script::{Interpreter, Request};

/// Answers each line of JSON on stdin with one on stdout, until stdin ends.
pub fn run() -> ExitCode {
    match answer(&mut io::stdin().lock(), &mut io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => super::fail(format_args!("evaluate: {error}")),
    }
}

fn answer(requests: &mut impl BufRead, replies: &mut impl Write) -> io::Result<()> {
    let interpreter = Interpreter::new();
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
