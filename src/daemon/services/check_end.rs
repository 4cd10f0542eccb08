//! How a check ended, in words.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::action::run::ExitStatus;
use crate::report::SignalName;
use crate::service::CheckResult;
use crate::text::printable;

/// How much of the last line of a check's output is shown: three lines of a terminal.
const MAX_LINE_CHARS: usize = 240;

/// Says how a check ended. `timeout` is the time that was over, if it was killed for that.
pub fn judged(
    status: &io::Result<ExitStatus>,
    timeout: Option<Duration>,
    output: &[u8],
) -> (CheckResult, Arc<str>) {
    let how = match (timeout, status) {
        (Some(timeout), _) => format!("timed out after {} s", timeout.as_secs_f64()),
        (None, Ok(ExitStatus::Exited(0))) => return (CheckResult::Passed, "".into()),
        (None, Ok(ExitStatus::Exited(code))) => format!("exit code {code}"),
        (None, Ok(ExitStatus::Signaled(signal))) => format!("killed by {}", SignalName(*signal)),
        (None, Ok(ExitStatus::Unknown)) => "nobody knows how it ended".to_owned(),
        (None, Err(error)) => format!("nobody knows how it ended: {error}"),
    };
    let said = match last_line(output) {
        Some(line) => format!("{how}: {line}"),
        None => how,
    };
    (CheckResult::Failed, said.into())
}

/// Returns the last line that is not empty.
fn last_line(output: &[u8]) -> Option<String> {
    let mut lines = output.rsplit(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let line = printable(lines.find(|line| !line.is_empty())?);
    Some(match line.char_indices().nth(MAX_LINE_CHARS) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_check_is_said_with_its_last_line() {
        let judged = |status, timeout, output: &[u8]| {
            let (result, said) = judged(&Ok(status), timeout, output);
            (result, said.to_string())
        };
        let failed = |said: &str| (CheckResult::Failed, said.to_owned());
        let (exited, second) = (ExitStatus::Exited, Some(Duration::from_millis(1500)));
        assert_eq!(judged(exited(0), None, b"fine\n"), (CheckResult::Passed, String::new()));
        assert_eq!(judged(exited(7), None, b"a\ncurl: (7) no\n\n"), failed("exit code 7: curl: (7) no"));
        assert_eq!(judged(exited(0), second, b"x"), failed("timed out after 1.5 s: x"));
        assert_eq!(judged(ExitStatus::Signaled(11), None, b""), failed("killed by SIGSEGV"));
        let long = judged(exited(1), None, &[b'x'; 1000]).1;
        assert_eq!(long.len(), "exit code 1: ".len() + MAX_LINE_CHARS + 3);
        assert_eq!(judged(exited(1), None, b"\x1b[31mred"), failed("exit code 1: \\u{1b}[31mred"));
    }
}
