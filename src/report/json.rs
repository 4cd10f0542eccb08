//! Log lines as JSON objects, for programs that collect logs.

use serde::Serialize;
use time::OffsetDateTime;

use super::context::LogContext;
use super::level::Level;
use crate::action::output::Stream;
use crate::model::{CommitNote, NodePath, WatchKey};
use crate::text::{TIMESTAMP_FORMAT, escaped_json};

/// One line. The manual twitcher.toml(5) documents the fields, which are stable: fields may be added.
#[derive(Serialize)]
struct JsonLine<'a> {
    time: String,
    level: &'static str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    watch: Option<String>,
    /// The watches of a line about several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    watches: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    store: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<i64>,
    /// The commit that a run was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    commit: Option<&'a CommitNote>,
    /// The store's transaction that made a run.
    #[serde(skip_serializing_if = "Option::is_none")]
    transaction: Option<&'a str>,
    /// The operator who gave a command.
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<&'a str>,
    /// Where the action printed a line.
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<&'static str>,
    /// The line that the action printed.
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<&'a str>,
}

/// Returns the object without a newline. `message` is printable.
pub fn encode(at: OffsetDateTime, level: Level, message: &str, context: &LogContext<'_>) -> String {
    let (watch, watches) = match context.watches {
        [] => (None, Vec::new()),
        [one] => (Some(one.to_string()), Vec::new()),
        several => (None, some_names(several)),
    };
    let line = JsonLine {
        time: at.format(TIMESTAMP_FORMAT).unwrap_or_default(),
        level: level.as_str(),
        message,
        watch,
        watches,
        service: context.service.map(WatchKey::to_string),
        file: context.file,
        line: context.place.map(|(line, _)| line),
        column: context.place.map(|(_, column)| column),
        store: context.store,
        node: context.subject.map(|subject| &subject.path).or(context.member).map(NodePath::as_str),
        run: context.run,
        pid: context.pid,
        commit: context.cause.and_then(|cause| cause.commit.as_deref()),
        transaction: context.cause.and_then(|cause| cause.transaction.as_deref()),
        by: context.operator,
        stream: context.output.map(|(stream, _)| match stream {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        }),
        output: context.output.map(|(_, line)| line),
    };
    // Plain data with string keys always serializes.
    escaped_json(&serde_json::to_string(&line).unwrap_or_default())
}

/// How many bytes the names of watches may have in a line, as many as its text.
const MAX_NAMES_BYTES: usize = 32 << 10;

/// Returns as many names as have room in a line.
fn some_names(watches: &[&WatchKey]) -> Vec<String> {
    let mut bytes = 0;
    let fits = |name: &String| {
        bytes += name.len();
        bytes < MAX_NAMES_BYTES
    };
    watches.iter().map(ToString::to_string).take_while(fits).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn line(message: &str, context: &LogContext<'_>) -> Value {
        let line = encode(OffsetDateTime::UNIX_EPOCH, Level::Notice, message, context);
        assert!(!line.contains('\n'), "{line}");
        serde_json::from_str(&line).expect("JSON")
    }

    #[test]
    fn a_line_has_the_fields_that_are_known() {
        let plain =
            json!({ "time": "1970-01-01T00:00:00.000Z", "level": "NOTICE", "message": "a \"b\"\n  | c" });
        assert_eq!(line("a \"b\"\n  | c", &LogContext::default()), plain);
        let watch = WatchKey { file: "a.twc".into(), description: "x".into() };
        let output = Some((Stream::Stderr, "é\u{fffd}"));
        let context = LogContext {
            watches: &[&watch],
            file: Some("a.twc"),
            pid: Some(7),
            output,
            ..LogContext::default()
        };
        let found = line("m", &context);
        let expected = json!(["a.twc:x", "a.twc", 7, "stderr", "é\u{fffd}"]);
        assert_eq!(
            json!([found["watch"], found["file"], found["pid"], found["stream"], found["output"]]),
            expected
        );
    }

    #[test]
    fn the_names_of_thousands_of_watches_still_fit() {
        let keys: Vec<_> = (0..10_000)
            .map(|n| WatchKey { file: "a.twc".into(), description: format!("watch {n}").into() })
            .collect();
        let watches: Vec<_> = keys.iter().collect();
        let found = line("m", &LogContext { watches: &watches, ..LogContext::default() });
        assert_eq!((&found["watch"], &found["watches"][1]), (&Value::Null, &json!("a.twc:watch 1")));
        assert!(found.to_string().len() < 2 * MAX_NAMES_BYTES);
    }
}
