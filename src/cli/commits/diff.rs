//! `twitcher commits diff KEY [OLD [NEW]]`

use std::error::Error;
use std::fmt::Write;
use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use bytes::Bytes;
use serde_json::json;
use similar::{ChangeTag, TextDiff};

use super::client::Client;
use super::server::ServerArgs;
use super::show::no_such;
use crate::cli::shared::exit::Exit;
use crate::cli::shared::number;
use crate::cli::shared::stdout::{line, print, print_bytes, print_json};
use crate::commits::Key;
use crate::model::Commit;
use crate::text::printable;

/// Show what differs between two versions of a key, as a unified diff
///
/// Without OLD, the newest version is compared with the one before it; without NEW, OLD with the newest one.
#[derive(Debug, clap::Args)]
pub struct Diff {
    #[arg(value_parser = Key::parse)]
    key: Key,
    /// The older version; 0 is nothing
    #[arg(value_parser = number::at_least(0_i64), allow_hyphen_values = true)]
    old: Option<i64>,
    /// The newer version
    #[arg(value_parser = number::at_least(0_i64), allow_hyphen_values = true)]
    new: Option<i64>,
    /// Print a JSON object: key, old and new (the headers, or null), equal, and diff (the unified diff, or
    /// null if a payload is no text)
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// A diff that takes longer is completed with less care: it is right, but longer than it could be.
const TIMEOUT: Duration = Duration::from_secs(2);

const HEADER: Style = Style::new().bold();
const PLACE: Style = AnsiColor::Cyan.on_default();
const OLD: Style = AnsiColor::Red.on_default();
const NEW: Style = AnsiColor::Green.on_default();

/// One side of a diff: a version, and its name.
struct Side {
    header: Option<Commit>,
    payload: Bytes,
}

impl Side {
    const NOTHING: Self = Self { header: None, payload: Bytes::new() };

    fn name(&self) -> String {
        let Some(Commit { key, version, author, mtime, comment, empty }) = &self.header else {
            return "/dev/null".to_owned();
        };
        let removed = if *empty { "removed " } else { "" };
        line(&format!("{key} version {version} {removed}by {author} at {mtime}: {comment}"))
            .trim_end()
            .to_owned()
    }
}

impl Diff {
    pub fn run(self) -> Exit {
        let (old, new) = self.server.with_client(async |client| self.sides(client).await)?;
        if self.json {
            print_json(&self.as_json(&old, &new))?;
        } else if old.payload == new.payload {
            // Only a removal changes a version without changing its bytes.
        } else if let Some([before, after]) = texts(&old, &new) {
            let names = [old.name(), new.name()];
            match io::stdout().is_terminal() {
                true => print(&unified(before, after, &names, on_terminal))?,
                false => print_bytes(unified(before, after, &names, |_, text| text.to_owned()).as_bytes())?,
            }
        } else {
            let said = format!("Binary payloads differ: {} and {}", old.name(), new.name());
            print(&line(&said))?;
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn sides(&self, client: &Client) -> Result<(Side, Side), Box<dyn Error>> {
        let new = self.side(client, self.new).await?;
        let before = new.header.as_ref().map_or(0, |new| new.version - 1);
        let old = self.side(client, Some(self.old.unwrap_or(before))).await?;
        Ok((old, new))
    }

    async fn side(&self, client: &Client, version: Option<i64>) -> Result<Side, Box<dyn Error>> {
        if version == Some(0) {
            return Ok(Side::NOTHING);
        }
        let found = client.commit(&self.key, version).await?;
        let (header, payload) = found.ok_or_else(|| no_such(client, &self.key, version))?;
        Ok(Side { header: Some(header), payload })
    }

    fn as_json(&self, old: &Side, new: &Side) -> String {
        let diff = texts(old, new).map(|[before, after]| {
            unified(before, after, &[old.name(), new.name()], |_, text| text.to_owned())
        });
        let equal = old.payload == new.payload;
        let object = json!({
            "key": self.key.as_str(), "old": old.header, "new": new.header, "equal": equal, "diff": diff,
        });
        format!("{object}\n")
    }
}

/// Returns both payloads as text, unless one is binary.
fn texts<'a>(old: &'a Side, new: &'a Side) -> Option<[&'a str; 2]> {
    let text = |side: &'a Side| std::str::from_utf8(&side.payload).ok().filter(|text| !text.contains('\0'));
    Some([text(old)?, text(new)?])
}

/// Returns the unified diff of two texts, or nothing if they are equal. `show` makes each line what is shown.
fn unified(old: &str, new: &str, names: &[String; 2], show: impl Fn(Style, &str) -> String) -> String {
    let diff = TextDiff::configure().timeout(TIMEOUT).diff_lines(old, new);
    let mut shown = String::new();
    // Writing to a string cannot fail.
    let mut put = |style, text: &str| {
        let _ = writeln!(shown, "{}", show(style, text));
    };
    let unified = diff.unified_diff();
    for (index, hunk) in unified.iter_hunks().enumerate() {
        if index == 0 {
            put(HEADER, &format!("--- {}", names[0]));
            put(HEADER, &format!("+++ {}", names[1]));
        }
        put(PLACE, &hunk.header().to_string());
        for change in hunk.iter_changes() {
            let (mark, style) = match change.tag() {
                ChangeTag::Delete => ('-', OLD),
                ChangeTag::Insert => ('+', NEW),
                ChangeTag::Equal => (' ', Style::new()),
            };
            let text: &str = change.value();
            put(style, &format!("{mark}{}", text.strip_suffix('\n').unwrap_or(text)));
            if change.missing_newline() || !text.ends_with('\n') {
                put(Style::new(), "\\ No newline at end of file");
            }
        }
    }
    shown
}

/// A line of others in colour, with what a terminal would obey escaped.
fn on_terminal(style: Style, text: &str) -> String {
    let between_tabs: Vec<_> = text.split('\t').map(|part| printable(part.as_bytes())).collect();
    format!("{style}{}{style:#}", between_tabs.join("\t"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diff(old: &str, new: &str) -> String {
        unified(old, new, &["a".into(), "b".into()], |_, text| text.to_owned())
    }

    #[test]
    fn a_diff_is_what_patch_takes() {
        assert_eq!(diff("one\ntwo\n", "one\ntwo\n"), "");
        assert_eq!(diff("one\ntwo\n", "one\n2\n"), "--- a\n+++ b\n@@ -1,2 +1,2 @@\n one\n-two\n+2\n");
        assert_eq!(diff("", "x\n"), "--- a\n+++ b\n@@ -0,0 +1 @@\n+x\n");
        let end = "\\ No newline at end of file\n";
        assert_eq!(diff("x", "y"), format!("--- a\n+++ b\n@@ -1 +1 @@\n-x\n{end}+y\n{end}"));
    }

    #[test]
    fn two_texts_of_a_megabyte_without_a_common_line_do_not_take_minutes() {
        let text = |name: &str| (0..120_000).map(|line| format!("{name}{line}\n")).collect::<String>();
        let lines = diff(&text("a"), &text("b")).lines().count();
        assert_eq!(lines, 240_000 + 3);
    }

    #[test]
    fn nothing_in_a_line_steers_a_terminal() {
        let shown = unified("", "\u{1b}]0;x\u{7}\ta\r\n", &["a".into(), "b".into()], on_terminal);
        let plain = anstream::adapter::strip_str(&shown).to_string();
        assert!(plain.ends_with("+\\u{1b}]0;x\\u{7}\ta\\r\n"), "{plain}");
    }
}
