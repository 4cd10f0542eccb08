//! A mistake that people make, one config each: `check` names it, with its place and a remedy.

use std::fs;
use std::path::Path;

use super::{TWITCHER, command};

mod keys;
mod names;
mod others;
mod syntax;
mod together;

/// A config, and its messages without notes, each as `LINE:COLUMN: text`. Those of a module start with
/// its name.
type Case = (&'static str, &'static [&'static str]);

/// The modules beside each config.
const MODULES: [(&str, &str); 2] = [
    (
        "usual.rhai",
        "export const ROOT = \"/r\";\nconst HIDDEN = 1;\nfn quiet() { #{ nice: 10 } }\n\
      fn foreign(e) { e.another }\nfn calls_it(e) { foreign(e) }\n",
    ),
    ("broken.rhai", "let x = ;\n"),
];

/// The interpreter's names of types. No message may have one.
const FOREIGN: [&str; 11] = [
    "i64",
    "f64",
    "&str",
    "ImmutableString",
    "FnPtr",
    "Dynamic",
    "twitcher::",
    "type char",
    "Range<",
    "type timestamp",
    "Instant",
];

fn check(cases: &[Case]) {
    for (config, expected) in cases {
        let said = said(config, &[]);
        let place = |line: &&str| line.contains(".twc:") || line.contains(".rhai:");
        let is_message = |line: &&str| !line.starts_with(' ');
        let messages: Vec<&str> = said.lines().filter(is_message).filter(place).collect();
        let messages: Vec<&str> =
            messages.iter().map(|line| line.strip_prefix("a.twc:").unwrap_or(line)).collect();
        assert_eq!(messages, *expected, "{config}\n{said}");
        for name in FOREIGN {
            assert!(!said.contains(name), "{config}\n{said}");
        }
    }
}

/// Returns what `check` says about a config, and panics unless it refuses it.
fn said(config: &str, flags: &[&str]) -> String {
    let directory = tempfile::tempdir().unwrap();
    let (code, said) = run(directory.path(), config, flags);
    assert_eq!(code, Some(1), "{config}\n{said}");
    said
}

fn run(directory: &Path, config: &str, flags: &[&str]) -> (Option<i32>, String) {
    for (name, text) in MODULES {
        fs::write(directory.join(name), text).unwrap();
    }
    fs::write(directory.join("a.twc"), config).unwrap();
    let mut command = command(TWITCHER);
    let output = command.current_dir(directory).arg("check").args(flags).arg("a.twc").output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout) + text(&output.stderr).as_str())
}
