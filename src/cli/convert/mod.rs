//! `twitcher convert FILE...`: turns configs of the Python original, and INI files of zk_watcher, into Rhai.
//!
//! [`ini`] reads the latter. Of the former, [`tokens`] cuts a file into logical lines, [`parse`] finds the
//! statements that can be translated, and [`translate`] runs them, without effects, and writes them in Rhai.
//! Because each statement runs, the types and values are known, and what the daemon would refuse is marked
//! here. [`evaluate`] and [`value`] know expressions, [`watch`] the arguments of `RegisterWatch`, [`names`]
//! the names that Rhai does not take, and [`changes`] what a statement that is not translated may change. All
//! of it is text in, text out.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::shared::exit::{Exit, print_error};
use super::shared::stdout::{print_foreign, unless_closed};
use crate::text::printable;
use translate::{Translation, translate};

mod changes;
mod evaluate;
mod ini;
mod names;
mod parse;
#[cfg(test)]
mod tests;
mod tokens;
mod translate;
mod value;
mod watch;

/// Print configs of the Python original, Twitcher 1, or of zk_watcher, as configs in Rhai
///
/// Translates calls of RegisterWatch and Exec with the variables, lists, strings and loops that they use, and
/// the sections of an INI file of zk_watcher.
/// What cannot be translated, such as a function, stands in the result as a comment with its line, and the
/// exit code is 1. Check the result with `twitcher check`.
#[derive(Debug, clap::Args)]
pub struct Convert {
    /// Files of the original or of zk_watcher; the results follow one another
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// The daemon takes no longer configs.
const MAX_BYTES: u64 = 4 << 20;

const HEADER: &str = "\
// Made by `twitcher convert` from a config of the Python original. What differs, whatever a config says:
// - run_on_load: true runs at each start of the daemon and after a change of the watch; the original ran all
//   watches of a file whenever the file changed.
// - stdout and stderr of actions go to the log; the original dropped them (output: \"discard\" does).
// - An action gets PATH, HOME, USER and TWITCHER_* as its environment, not the daemon's: see `env`.
// - An action starts in /, with umask 022 and the groups of its user: see `cwd` and `umask`.
// - Signals go to the action's whole process group. A timeout sends SIGTERM, and SIGKILL 5 s later.
// - A watch without a description is called FILE-NUMBER, without the directory.
// docs/migration.md has the whole list.

";

impl Convert {
    pub fn run(self) -> Exit {
        let mut is_whole = true;
        let mut printed = String::new();
        let mut headers: Vec<&str> = Vec::new();
        for file in &self.files {
            let name = printable(file.as_os_str().as_encoded_bytes());
            if self.files.len() > 1 {
                printed += &format!("// {name}\n\n");
            }
            match converted(file) {
                Ok((header, Translation { rhai, marks })) => {
                    if !headers.contains(&header) {
                        headers.push(header);
                    }
                    is_whole &= marks.is_empty();
                    printed += &rhai;
                    for (line, why) in marks {
                        print_error(format_args!("{name}:{line}: {why}"));
                    }
                }
                Err(why) => {
                    is_whole = false;
                    print_error(format_args!("{name}: {why}"));
                    if self.files.len() == 1 {
                        return Ok(ExitCode::FAILURE);
                    }
                    printed += &format!("// not converted: {}\n", printable(why.as_bytes()));
                }
            }
            if self.files.len() > 1 {
                printed.push('\n');
            }
        }
        unless_closed(print_foreign([headers.concat(), printed].concat().as_bytes()))?;
        Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// Returns the translation of a file, and what is to be said of all files of its kind.
fn converted(file: &Path) -> Result<(&'static str, Translation), String> {
    let source = read(file).map_err(|error| error.to_string())?;
    if source.len() as u64 > MAX_BYTES {
        return Err(format!("larger than {} MiB", MAX_BYTES >> 20));
    }
    let source = String::from_utf8(source).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        format!("line {line} is not UTF-8; convert the file with iconv first")
    })?;
    if let Some(translation) = translate(&source) {
        return Ok((HEADER, translation));
    }
    match ini::is_ini(&source) {
        true => Ok((ini::HEADER, ini::translate(&source))),
        false => Err("not a Python config of Twitcher (it calls no RegisterWatch), nor an INI file of \
                      zk_watcher (it does not begin with a section)"
            .to_owned()),
    }
}

/// Reads one byte more than the largest file, at most.
fn read(file: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(file)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
