//! The daemon's side of a decoding.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::request::{DecodeReply, DecodeRequest};
use crate::model::{Blob, Commit, Decoded, Format, Resource, Schema};
use crate::sys::{self, AskError, Confinement, HelperUser, Piece, Respondent};
use crate::text::{printable, shortened};

/// The time for one content. What bounds the work is the processor time below; this is for a child that does
/// not work, and long enough for one that has to share the processors with many others.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// The largest reply. The header of a commit is the longest part of it.
const MAX_REPLY_BYTES: usize = 1 << 20;

/// The longest explanation of a fault, in characters.
const MAX_FAULT: usize = 500;

/// What the child may use.
const LIMITS: [(Resource, u64); 6] = [
    // The values of 16 MiB of JSON, measured at 20 times its size, and the program itself.
    (Resource::As, 512 << 20),
    // A hundred times what an ordinary content takes.
    (Resource::Cpu, 3),
    // stdin, stdout, stderr, the output and the files that the dynamic loader opens before `main`.
    (Resource::Nofile, 16),
    // Values may be nested 127 deep.
    (Resource::Stack, 8 << 20),
    // What a command reads of the largest content.
    (Resource::Fsize, 256 << 20),
    (Resource::Nproc, 0),
];

/// A content to decode.
pub struct Question<'a> {
    pub format: Format,
    /// The last component of the node's path.
    pub name: &'a str,
    pub schema: Option<&'a Schema>,
    pub content: &'a Blob,
}

/// What came of it.
#[derive(Debug)]
pub enum Answer {
    Conforms(Decoded),
    Faulty(String),
    /// The child did not come to an end by itself. The text says why.
    Undecided(String),
    /// The child could not be started.
    NotStarted(io::Error),
}

/// Decodes a content in a child that `program decode` starts, which takes at most [`DEADLINE`]. The daemon
/// gives `/proc/self/exe`.
pub fn decode(program: &Path, question: &Question<'_>) -> Answer {
    let prepared = sys::new_blob_file().and_then(|output| Ok((request(question, &output)?, output)));
    let (request, output) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => return Answer::NotStarted(error),
    };
    let confinement = Confinement {
        user: HelperUser::Unique,
        reads_all: false,
        limits: LIMITS.to_vec(),
        kept: vec![output.as_raw_fd()],
        renumbered: None,
        dies_with_thread: true,
    };
    let mut child = match Respondent::start(program, "decode", Some(request), confinement) {
        Ok(child) => child,
        Err(error) => return Answer::NotStarted(error),
    };
    let reply = child.receive(MAX_REPLY_BYTES, Instant::now() + DEADLINE);
    let ended = matches!(reply, Err(AskError::Died)).then(|| child.how_it_ended(DEADLINE)).flatten();
    // From now on, nobody writes to the output.
    child.end();
    let reply = match reply {
        Ok(line) => serde_json::from_slice(&line).map_err(|_| "its reply is damaged".to_owned()),
        Err(AskError::TimedOut) => Err(format!("it did not end within {} s", DEADLINE.as_secs())),
        Err(AskError::Died) => Err(match ended {
            Some(status) => format!("it ended with {status}; the content may take too much memory or time"),
            None => "it ended early".to_owned(),
        }),
        Err(AskError::System(error)) => Err(error.to_string()),
    };
    match reply {
        Err(why) => Answer::Undecided(format!("was not decoded: the process for it: {why}")),
        Ok(DecodeReply::Faulty(why)) => Answer::Faulty(shown(&why)),
        Ok(DecodeReply::Conforms { is_converted, commit }) => {
            conforms(question, is_converted, commit, output).unwrap_or_else(|error| {
                Answer::Undecided(format!("was not decoded: what came of it: {error}"))
            })
        }
    }
}

fn request(question: &Question<'_>, output: &File) -> io::Result<File> {
    let Question { format, name, schema, content } = question;
    let schema = schema.map(|schema| (schema.name.clone(), schema.text.clone()));
    let request =
        DecodeRequest { format: *format, name: (*name).to_owned(), schema, output: output.as_raw_fd() };
    sys::compose(content, [Piece::Own(request.encode()), Piece::Of(content.whole())])
}

/// Takes over what the child made of the content.
fn conforms(
    question: &Question<'_>,
    is_converted: bool,
    commit: Option<Commit>,
    output: File,
) -> io::Result<Answer> {
    let is_possible = match question.format {
        Format::Json => !is_converted && commit.is_none(),
        Format::Cbor | Format::Properties => is_converted && commit.is_none(),
        Format::Commit => {
            is_converted && commit.as_ref().is_some_and(|it| it.key == question.name && it.version > 0)
        }
    };
    if !is_possible {
        return Ok(Answer::Undecided("was not decoded: the reply is one that no content has".to_owned()));
    }
    let blob = if is_converted { sys::take_blob_file(output)? } else { question.content.clone() };
    Ok(Answer::Conforms(Decoded { blob, commit: commit.map(Arc::new) }))
}

/// Returns an explanation that the child gave, fit for a log.
fn shown(why: &str) -> String {
    printable(shortened(why, MAX_FAULT).as_bytes())
}
