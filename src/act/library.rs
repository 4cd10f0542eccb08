//! The functions for function actions: files, processes, JSON and the log.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::stat::{Mode, umask};
use rhai::{Blob, Dynamic, Engine, EvalAltResult, ImmutableString, Map};

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
    replace(Path::new(path), content).map_err(|error| format!("cannot write {path}: {error}").into())
}

/// Replaces the content of `path`. A reader sees the old or the new content, even after a crash.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let existing = match fs::metadata(path) {
        // A device or a pipe is not replaced.
        Ok(metadata) if !metadata.is_file() => {
            return File::options().write(true).open(path)?.write_all(content);
        }
        Ok(metadata) => Some(metadata),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    // A symlink stays, and its target is replaced.
    let target = if existing.is_some() { fs::canonicalize(path)? } else { path.to_owned() };
    let directory = match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    };
    let mut file = tempfile::Builder::new().prefix(".twitcher-").tempfile_in(directory)?;
    file.write_all(content)?;
    let mode = match &existing {
        Some(metadata) => {
            // Only root can give the file away. If another user replaces it, that user owns it.
            let _ = chown(file.path(), Some(metadata.uid()), Some(metadata.gid()));
            metadata.mode() & 0o7777
        }
        None => 0o666 & !current_umask().bits(),
    };
    file.as_file().set_permissions(Permissions::from_mode(mode))?;
    file.as_file().sync_all()?;
    file.persist(&target).map_err(|error| error.error)?;
    File::open(directory)?.sync_all()
}

/// Returns the umask. The kernel only returns it when it sets another one; nothing else in this process makes
/// files meanwhile.
fn current_umask() -> Mode {
    let mask = umask(Mode::from_bits_truncate(0o022));
    umask(mask);
    mask
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
    let value: serde_json::Value =
        serde_json::from_str(text).map_err(|error| format!("parse_json: {error}"))?;
    rhai::serde::to_dynamic(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replacing_keeps_mode_and_symlink_and_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        let (file, link) = (directory.path().join("file"), directory.path().join("link"));
        replace(&file, b"one").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink("file", &link).unwrap();
        replace(&link, b"two").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"two");
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o640);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
        assert!(replace(&directory.path().join("no/such"), b"").is_err());
        replace(Path::new("/dev/null"), b"gone").unwrap();
    }
}
