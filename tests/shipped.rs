//! What the repository ships beside the binary works with it: examples, unit file, alerts, dashboard, documents.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

#[path = "shipped/manuals.rs"]
mod manuals;
#[path = "shipped/metrics.rs"]
mod metrics;

fn here(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn twitcher(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_twitcher")).args(args).output().expect("run twitcher")
}

#[test]
fn every_shipped_example_passes_check() {
    let output = twitcher(&["check", here("etc/examples").to_str().unwrap()]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let names = fs::read_dir(here("etc/examples")).unwrap().map(|entry| entry.unwrap().file_name());
    let examples = names.filter(|name| name.to_string_lossy().ends_with(".twc")).count();
    assert_eq!(said.lines().filter(|line| line.contains(": ok, ")).count(), examples);
}

#[test]
fn the_unit_file_passes_systemd_analyze_verify() {
    let unit = fs::read_to_string(here("systemd/twitcher.service")).unwrap();
    // The check wants the binary to exist, and the installed one may be another or none.
    let unit = unit.replace("/usr/sbin/twitcher", env!("CARGO_BIN_EXE_twitcher"));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("twitcher.service");
    fs::write(&path, &unit).unwrap();
    let output = Command::new("systemd-analyze")
        .arg("verify")
        .arg(&path)
        .output()
        .expect("systemd-analyze is missing: apt-get install -y systemd");
    let said = String::from_utf8_lossy(&output.stderr);
    // Other units of the machine may have faults of their own.
    let ours: Vec<_> = said.lines().filter(|line| line.contains("twitcher")).collect();
    // Of the two types the unit names, an old version knows the first only, and keeps to it.
    let line = unit.lines().position(|line| line == "Type=notify-reload").expect("the second type") + 1;
    let known = format!("{}:{line}: Failed to parse service type, ignoring: notify-reload", path.display());
    let expected = if systemd_version() < 253 { vec![known.as_str()] } else { Vec::new() };
    assert_eq!(ours, expected);
}

fn systemd_version() -> u32 {
    let output = Command::new("systemd-analyze").arg("--version").output().expect("run systemd-analyze");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = said.split_whitespace().nth(1).and_then(|version| version.parse().ok());
    version.unwrap_or_else(|| panic!("{said:?} names a version"))
}

#[test]
fn the_documents_name_every_flag_there_is() {
    let operations = fs::read_to_string(here("docs/operations.md")).unwrap();
    let help = twitcher(&["run", "--help"]);
    let help = String::from_utf8(help.stdout).unwrap();
    let flags = help.split_whitespace().filter(|word| word.starts_with("--"));
    for flag in flags.map(|flag| flag.trim_end_matches(|c: char| !c.is_ascii_alphabetic())) {
        let known = operations.contains(flag) || ["--help", "--verbose", "--debug"].contains(&flag);
        assert!(known, "docs/operations.md does not name {flag}");
    }
}

// Each promise "names the test that holds it".
#[test]
fn the_guarantees_name_tests_that_exist() {
    let guarantees = fs::read_to_string(here("docs/guarantees.md")).unwrap();
    let (table, _) = guarantees.split_once("What cannot be promised").expect("the end of the table");
    let names: Vec<_> = table.split('`').filter(|name| name.contains("::")).collect();
    assert!(names.len() > 20, "{names:?}");
    for name in names {
        let (module, test) = name.rsplit_once("::").expect("a test in a module");
        let file = here(&format!("tests/blackbox/{}.rs", module.replace("::", "/")));
        let source = fs::read_to_string(file).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(test == "*" || source.contains(&format!("fn {test}()")), "{name} is no test");
    }
}
