//! `twitcher commits edit KEY`

use std::error::Error;
use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::mem;
use std::process::{Command, ExitCode, Stdio};

use super::author::{AuthorArgs, comment};
use super::server::ServerArgs;
use crate::cli::shared::editor::{EditedText, at_most};
use crate::cli::shared::exit::{CONDITION_FAILED, ConditionError, Exit, UsageError, print_error};
use crate::commits::Key;
use crate::model::Commit;
use crate::text::{Merged, count, has_markers, merge};

/// Edit a key's payload with $VISUAL or $EDITOR, and save it as the next version
///
/// A text that was not changed is not saved. If somebody else has saved a version meanwhile, a terminal is
/// asked whether to go on with both texts, merged; otherwise the edited text stays in a file whose name is
/// shown, and the command exits with 3. A key that does not exist begins as an empty text.
#[derive(Debug, clap::Args)]
pub struct Edit {
    #[arg(value_parser = Key::parse)]
    key: Key,
    /// Why, in one line [default: asked for, on a terminal]
    #[arg(long, short = 'm', value_name = "COMMENT", value_parser = comment)]
    comment: Option<String>,
    #[command(flatten)]
    author: AuthorArgs,
    #[command(flatten)]
    server: ServerArgs,
}

/// The newest version when it was read.
struct Head {
    /// 0 if there is none.
    version: i64,
    author: String,
    payload: Vec<u8>,
}

impl Head {
    fn name(&self) -> String {
        format!("version {} by {}", self.version, self.author)
    }
}

/// A payload, and what stands before it.
const MAX_REPLY: u64 = Commit::MAX_PAYLOAD as u64 + 4096;

impl Edit {
    pub fn run(self) -> Exit {
        let key = &self.key;
        let author = self.author.name()?;
        let can_ask = io::stdin().is_terminal() && io::stderr().is_terminal();
        if self.comment.is_none() && !can_ask {
            let reason = format!("edit {key}: nobody can be asked for a comment here; give one with -m");
            return Err(UsageError(reason).into());
        }
        let mut comment = self.comment.clone();
        let mut head = self.read()?;
        let mut text = EditedText::new(Some(key.as_str()), &head.payload)?;
        let mut is_undecided = false;
        loop {
            let emptying = format!("`twitcher commits save {key} --empty` saves an empty payload");
            let edited = text.edit(&format!("key {key}"), &head.payload, &emptying)?;
            let Some((edited, after)) = edited else { return Ok(ExitCode::SUCCESS) };
            text = edited;
            if is_undecided && has_markers(&String::from_utf8_lossy(&after)) {
                let reason = format!("key {key}: the text still has conflict markers; nothing was saved");
                return Err(ConditionError(text.keep(&reason)).into());
            }
            if after.len() > Commit::MAX_PAYLOAD {
                let reason = format!(
                    "the text has more than {} bytes (1 MiB); nothing was saved",
                    Commit::MAX_PAYLOAD
                );
                return Err(text.keep(&reason).into());
            }
            let why = match &comment {
                Some(comment) => comment.clone(),
                None => match ask_for_comment(&text) {
                    Ok(comment) => comment,
                    Err(reason) => return Err(text.keep(&reason).into()),
                },
            };
            match self.save(&head, &author, &why, &after) {
                Ok(Some(0)) => return Ok(ExitCode::SUCCESS),
                Ok(Some(code)) if code == i32::from(CONDITION_FAILED) => {}
                Ok(Some(_) | None) => {
                    let reason = format!("the edited text of {key} was not saved, or nobody knows");
                    return Err(text.keep(&reason).into());
                }
                Err(reason) => return Err(text.keep(&reason).into()),
            }
            comment = Some(why);
            let unsaved = format!("somebody else saved {key} meanwhile, so nothing was saved");
            let newer = match can_ask.then(|| self.read()) {
                Some(Ok(newer)) => newer,
                Some(Err(_)) | None => return Err(ConditionError(text.keep(&unsaved)).into()),
            };
            let before = mem::replace(&mut head, newer);
            if head.payload == after {
                print_error(format_args!("twitcher: {} of {key} has the same text already", head.name()));
                return Ok(ExitCode::SUCCESS);
            }
            let merged = merged(&before, &after, &head);
            let Some(merged) = merged.filter(|merged| ask_to_go_on(&text, &head, merged.conflicts)) else {
                return Err(ConditionError(text.keep(&unsaved)).into());
            };
            if let Err(reason) = text.replace(merged.text.as_bytes()) {
                return Err(text.keep(&reason).into());
            }
            is_undecided = merged.conflicts > 0;
        }
    }

    /// Reads the head in a process of its own.
    fn read(&self) -> Result<Head, Box<dyn Error>> {
        let key = &self.key;
        let failed = |error| format!("cannot start the process that reads the key: {error}");
        let mut child =
            self.exchange([]).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().map_err(failed)?;
        let reply =
            child.stdout.take().map_or(Ok(None), |stdout| at_most(MAX_REPLY, stdout)).map_err(failed)?;
        let Some(mut reply) = reply else {
            // It would not end. Nothing that it says is of use.
            let _ = child.kill();
            let _ = child.wait();
            return Err("the process that reads the key replied with more than a payload can have".into());
        };
        if !child.wait().map_err(failed)?.success() {
            return Err(format!("key {key} was not read, so there is nothing to edit").into());
        }
        let end = reply.iter().position(|byte| *byte == b'\n');
        let end = end.ok_or("the process that reads the key replied with no version")?;
        let payload = reply.split_off(end + 1);
        let line = String::from_utf8_lossy(&reply[..end]).into_owned();
        let head = line.split_once(' ').and_then(|(version, author)| Some((version.parse().ok()?, author)));
        let (version, author) = head.ok_or("the process that reads the key replied with no version")?;
        Ok(Head { version, author: author.to_owned(), payload })
    }

    /// Saves the text if the head is still this one. Returns the exit code of the process that does it, which
    /// says why it failed.
    fn save(&self, head: &Head, author: &str, comment: &str, text: &[u8]) -> Result<Option<i32>, String> {
        let failed = |error| format!("cannot run the process that saves the text: {error}");
        let words = [
            format!("--replace={}", head.version),
            format!("--length={}", text.len()),
            format!("--author={author}"),
            format!("--comment={comment}"),
        ];
        let mut child = self.exchange(words).stdin(Stdio::piped()).spawn().map_err(failed)?;
        if let Some(mut stdin) = child.stdin.take() {
            // A process that has failed reads no more. Its exit code tells.
            let _ = stdin.write_all(text);
        }
        Ok(child.wait().map_err(failed)?.code())
    }

    /// Makes the command of the process that talks to the server.
    fn exchange<const N: usize>(&self, more: [String; N]) -> Command {
        let mut command = Command::new("/proc/self/exe");
        let more = more.into_iter().map(OsString::from);
        command.arg("exchange-commit").args(self.server.flags()).args(more);
        command.arg("--").arg(self.key.as_str());
        command
    }
}

/// Returns what is typed after this question, without spaces around it. `None` at the end of the input.
fn ask(question: &str) -> Option<String> {
    // If stderr is closed, nobody sees the question, and the input still counts.
    let _ = write!(io::stderr(), "{question} ");
    let mut line = String::new();
    match io::stdin().read_line(&mut line) {
        Ok(0) | Err(_) => None,
        Ok(_) => Some(line.trim().to_owned()),
    }
}

fn ask_for_comment(text: &EditedText) -> Result<String, String> {
    print_error(format_args!("The edited text is in {}.", text.path().display()));
    loop {
        let Some(line) = ask("Comment, in one line (empty: save nothing):").filter(|line| !line.is_empty())
        else {
            return Err("there is no comment, so nothing was saved".to_owned());
        };
        match comment(&line) {
            Ok(comment) => return Ok(comment),
            Err(why) => print_error(why),
        }
    }
}

/// Merges the edited text with that of the newer head. `None` if one of them is no text.
fn merged(before: &Head, edited: &[u8], newer: &Head) -> Option<Merged> {
    let texts = [&before.payload, edited, &newer.payload].map(|text| std::str::from_utf8(text).ok());
    let [before, ours, theirs] = texts;
    Some(merge(before?, ours?, theirs?, ["yours", &newer.name()]))
}

fn ask_to_go_on(text: &EditedText, head: &Head, conflicts: usize) -> bool {
    print_error(format_args!("The edited text is in {}.", text.path().display()));
    let rest = match conflicts {
        0 => "no line was changed by both".to_owned(),
        places => format!("{} to decide, between markers", count(places as u64, "place")),
    };
    print_error(format_args!("It is merged with that of {}: {rest}.", head.name()));
    let answer = ask("Edit again, with both texts? [Y/n]");
    answer.is_some_and(|answer| ["", "y", "yes"].contains(&&*answer.to_lowercase()))
}
