//! The functions for function actions: files, processes, JSON and the log.

use std::fs;
use std::io::{self, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};

use rhai::{Blob, Dynamic, Engine, EvalAltResult, ImmutableString, Map};

use super::write_file::{Written, write};
use crate::config::exec::exec;

type Result<T> = std::result::Result<T, Box<EvalAltResult>>;

/// Adds the functions to `engine`. They can do everything that the user of this process may do.
pub fn register(engine: &mut Engine) {
    engine.register_fn("read_file", |path: &str| read_file(path));
    engine.register_fn("write_file", |path: &str, text: &str| write_file(path, text.as_bytes()));
    engine.register_fn("write_file", |path: &str, blob: Blob| write_file(path, &blob));
    engine.register_fn("run", |command: ImmutableString| run(command.into()));
    engine.register_fn("run", |command: rhai::Array| run(command.into()));
    engine.register_fn("parse_json", |text: &str| parse_json(text));
    engine.register_fn("log", |text: Dynamic| say(&mut io::stdout(), &text.to_string()));
    engine.on_print(|text| say(&mut io::stdout(), text));
    engine.on_debug(|text, _, position| match (position.line(), position.position()) {
        (Some(line), Some(column)) => say(&mut io::stderr(), &format!("{line}:{column}: {text}")),
        (Some(_), None) | (None, _) => say(&mut io::stderr(), text),
    });
}

/// Writes a line. Ignores errors, because a function should not fail when the daemon no longer reads.
fn say(out: &mut impl Write, text: &str) {
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

fn read_file(path: &str) -> Result<String> {
    let bytes = fs::read(path).map_err(|error| format!("cannot read {path}: {error}"))?;
    Ok(match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    })
}

fn write_file(path: &str, content: &[u8]) -> Result<()> {
    match write(Path::new(path), content) {
        Ok(Written::AtOnce | Written::Passed) => {}
        Ok(Written::InPlace(reason)) => say(
            &mut io::stderr(),
            &format!("write_file: {path} is written in place ({reason}), so a reader may see a part of it"),
        ),
        Err(error) => return Err(format!("cannot write {path}: {error}").into()),
    }
    Ok(())
}

/// Runs a command to its end. The command reads the action's stdin, which is the node's content.
fn run(command: Dynamic) -> Result<Map> {
    let words = exec(&command).map_err(|error| error.replacen("Exec", "run", 1))?;
    let output = Command::new(&words[0])
        .args(&words[1..])
        .stdin(Stdio::inherit())
        .output()
        .map_err(|error| format!("cannot run {}: {error}", words[0]))?;
    // Shells report a signal in this way.
    let code = output.status.code().unwrap_or_else(|| 128 + output.status.signal().unwrap_or(0));
    let text = |bytes: &[u8]| Dynamic::from(String::from_utf8_lossy(bytes).into_owned());
    Ok(Map::from_iter([
        ("code".into(), i64::from(code).into()),
        ("stdout".into(), text(&output.stdout)),
        ("stderr".into(), text(&output.stderr)),
    ]))
}

fn parse_json(text: &str) -> Result<Dynamic> {
    let value: serde_json::Value = serde_json::from_str(text.trim_start_matches('\u{feff}'))
        .map_err(|error| format!("parse_json: {error}"))?;
    rhai::serde::to_dynamic(value)
}
