//! Tests of what the packages contain beside the binary: examples, unit file, alerts, dashboard and
//! documents.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

mod container;
mod generated;
mod hardening;
mod manuals;
mod metrics;

/// A path in the repository.
fn here(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A command that runs `program` without the environment of these tests, except PATH.
fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    command
}

/// Runs the binary away from the machine's own configs.
fn twitcher(args: &[&str]) -> Output {
    let mut twitcher = command(env!("CARGO_BIN_EXE_twitcher"));
    twitcher.env("TWITCHER_CONFIG_PATH", "/nonexistent").args(args).output().expect("run twitcher")
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
fn the_documents_name_the_least_rust() {
    let cargo: toml::Table = fs::read_to_string(here("Cargo.toml")).unwrap().parse().unwrap();
    let least = cargo["package"]["rust-version"].as_str().expect("a version");
    for (name, expected) in [("README.md", 1), ("CONTRIBUTING.md", 1)] {
        let text = fs::read_to_string(here(name)).unwrap();
        let named: Vec<&str> =
            text.split("Rust ").skip(1).filter_map(|rest| rest.split(' ').next()).collect();
        let versions: Vec<_> = named.into_iter().filter(|word| word.starts_with("1.")).collect();
        assert_eq!(versions, vec![least; expected], "{name}");
    }
}

// What a terminal shows does not wrap there either.
#[test]
fn the_samples_of_the_readme_fit_a_terminal() {
    let readme = fs::read_to_string(here("README.md")).unwrap();
    let samples: Vec<&str> = readme.split("```").filter(|block| block.starts_with("\n$ twitcher ")).collect();
    assert_eq!(samples.len(), 3);
    for line in samples.iter().flat_map(|sample| sample.lines()) {
        assert!(line.chars().count() <= 80, "{line}");
    }
}

/// A directory with the unit, and with the drop-in if `hardened`. The check requires that the binary exists,
/// so the unit names the one under test.
fn unit(hardened: bool) -> tempfile::TempDir {
    let unit = fs::read_to_string(here("systemd/twitcher.service")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let drop_ins = dir.path().join("twitcher.service.d");
    fs::write(
        dir.path().join("twitcher.service"),
        unit.replace("/usr/sbin/twitcher", env!("CARGO_BIN_EXE_twitcher")),
    )
    .unwrap();
    fs::create_dir(&drop_ins).unwrap();
    if hardened {
        fs::copy(here("systemd/hardening.conf"), drop_ins.join("hardening.conf")).unwrap();
    }
    dir
}

fn systemd_analyze(args: &[&str], dir: &Path) -> Output {
    command("systemd-analyze")
        // Without what an administrator of this machine adds to an installed unit of the same name.
        .env("SYSTEMD_UNIT_PATH", "/usr/lib/systemd/system")
        .args(args)
        .arg(dir.join("twitcher.service"))
        .output()
        .expect("systemd-analyze is missing: apt-get install -y systemd")
}

#[test]
fn the_unit_file_and_its_drop_in_pass_systemd_analyze_verify() {
    for hardened in [false, true] {
        let dir = unit(hardened);
        // Without checking whether the manual is installed.
        let output = systemd_analyze(&["verify", "--man=no"], dir.path());
        let said = String::from_utf8_lossy(&output.stderr);
        // Other units of the machine may have faults of their own.
        let ours: Vec<_> = said.lines().filter(|line| line.contains("twitcher")).collect();
        // Old versions know only the first of the two types that the unit names, and use it.
        let path = dir.path().join("twitcher.service");
        let unit = fs::read_to_string(&path).unwrap();
        let line = unit.lines().position(|line| line == "Type=notify-reload").expect("the second type") + 1;
        let known =
            format!("{}:{line}: Failed to parse service type, ignoring: notify-reload", path.display());
        let expected = if systemd_version() < 253 { vec![known.as_str()] } else { Vec::new() };
        assert_eq!(ours, expected);
    }
}

// It is meant to run as nobody, on a host where the daemon is root.
#[test]
fn the_unit_of_the_server_passes_systemd_analyze_and_is_confined() {
    let unit = fs::read_to_string(here("systemd/twitcher-serve.service")).unwrap();
    assert!(unit.lines().any(|line| line == "DynamicUser=yes"));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("twitcher-serve.service");
    fs::write(&path, unit.replace("/usr/sbin/twitcher", env!("CARGO_BIN_EXE_twitcher"))).unwrap();
    let analyze = |args: &[&str]| {
        let mut analyze = command("systemd-analyze");
        analyze.env("SYSTEMD_UNIT_PATH", "/usr/lib/systemd/system").args(args).arg(&path);
        analyze.output().expect("systemd-analyze is missing: apt-get install -y systemd")
    };
    let said = String::from_utf8_lossy(&analyze(&["verify", "--man=no"]).stderr).into_owned();
    assert_eq!(said.lines().filter(|line| line.contains("twitcher")).collect::<Vec<_>>(), [""; 0]);
    let rated = analyze(&["security", "--offline=true", "--no-pager", "--threshold=30"]);
    assert!(rated.status.success(), "its exposure is over 3.0: {}", String::from_utf8_lossy(&rated.stdout));
}

/// The exposure level that `systemd-analyze security` gives the unit, from 0 (good) to 10.
fn exposure(hardened: bool) -> f64 {
    let output = systemd_analyze(&["security", "--offline=true", "--no-pager"], unit(hardened).path());
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let figure = said.rsplit_once("Overall exposure level for twitcher.service: ");
    let figure = figure.and_then(|(_, rest)| rest.split_whitespace().next()?.parse().ok());
    figure.unwrap_or_else(|| panic!("no figure in {said}"))
}

#[test]
fn the_drop_in_lowers_the_exposure_as_far_as_it_says() {
    let text = fs::read_to_string(here("systemd/hardening.conf")).unwrap();
    let numbers = text.split_whitespace().filter_map(|word| word.trim_end_matches('.').parse::<f64>().ok());
    let said: Vec<_> = numbers.filter(|number| number.fract() != 0.0).collect();
    let [before, after] = said[..] else { panic!("two figures, {said:?}") };
    let found = (exposure(false), exposure(true));
    // Other versions of systemd rate differently.
    let is_as_said =
        if systemd_version() == 252 { found.0 <= before && found.1 <= after } else { found.1 < 5.0 };
    assert!(is_as_said, "{found:?}");
}

// Actions could otherwise send messages in the daemon's name.
#[test]
fn only_the_daemon_itself_can_notify_systemd() {
    let unit = fs::read_to_string(here("systemd/twitcher.service")).unwrap();
    assert!(unit.lines().any(|line| line == "NotifyAccess=main"));
}

// "/etc/default/twitcher (the original's `ZKSERVERS` honoured)". The black-box suite tests the variable
// itself.
#[test]
fn the_unit_hands_the_daemon_the_environment_that_the_packages_install() {
    let unit = fs::read_to_string(here("systemd/twitcher.service")).unwrap();
    let file =
        unit.lines().find_map(|line| line.strip_prefix("EnvironmentFile=-")).expect("a file, if it is there");
    assert_eq!(file, "/etc/default/twitcher");
    let manifest = fs::read_to_string(here("Cargo.toml")).unwrap();
    let shipped = manifest.lines().filter(|line| line.contains("\"packaging/default/twitcher\"")).count();
    assert_eq!(shipped, 2, "one for each kind of package");
    let text = fs::read_to_string(here("packaging/default/twitcher")).unwrap();
    let settings: Vec<_> = text.lines().filter_map(|line| line.strip_prefix('#')).collect();
    assert!(settings.iter().any(|line| line.starts_with("ZKSERVERS=\"")), "{text}");
    assert!(
        text.lines().all(|line| line.is_empty() || line.starts_with('#')),
        "an installation sets no variable"
    );
}

fn systemd_version() -> u32 {
    let output = command("systemd-analyze").arg("--version").output().expect("run systemd-analyze");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = said.split_whitespace().nth(1).and_then(|version| version.parse().ok());
    version.unwrap_or_else(|| panic!("{said:?} names a version"))
}

#[test]
fn the_documents_name_every_flag() {
    let operations = fs::read_to_string(here("docs/operations.md")).unwrap();
    let help = twitcher(&["run", "--help"]);
    let help = String::from_utf8(help.stdout).unwrap();
    let flags = help.split_whitespace().filter(|word| word.starts_with("--"));
    for flag in flags.map(|flag| flag.trim_end_matches(|c: char| !c.is_ascii_alphabetic())) {
        let known = operations.contains(flag) || ["--help", "--verbose", "--debug"].contains(&flag);
        assert!(known, "docs/operations.md does not name {flag}");
    }
}

// Links to documents work where the packages install them.
#[test]
fn the_documents_in_the_packages_link_to_what_is_installed() {
    let installed = tempfile::tempdir().unwrap();
    let root = installed.path();
    let run = |program: &Path, arguments: &[&Path]| {
        let status = command(program).args(arguments).current_dir(here("")).status().unwrap();
        assert!(status.success(), "{} {arguments:?}", program.display());
    };
    run(&here("packaging/documents"), &[root]);
    for (source, place) in [
        ("etc/examples", "examples"),
        ("systemd", "examples/systemd"),
        ("packaging/prometheus", "examples/prometheus"),
        ("packaging/grafana", "examples/grafana"),
    ] {
        run(Path::new("cp"), &[Path::new("-r"), Path::new(source), &root.join(place)]);
    }
    let mut links = 0;
    for directory in ["", "docs", "docs/man"] {
        for document in fs::read_dir(root.join(directory)).unwrap().map(|entry| entry.unwrap().path()) {
            let Some(text) = document.is_file().then(|| fs::read_to_string(&document).unwrap()) else {
                continue;
            };
            for link in text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()) {
                let is_elsewhere =
                    link.is_empty() || link.contains("://") || link == "/etc/twitcher/twitcher.toml";
                let target = document.parent().unwrap().join(link);
                assert!(is_elsewhere || target.exists(), "{} links to {link}", document.display());
                links += usize::from(!is_elsewhere);
            }
        }
    }
    assert!(links > 30, "{links}");
    let manifest: toml::Table = fs::read_to_string(here("Cargo.toml")).unwrap().parse().unwrap();
    for package in ["deb", "generate-rpm"] {
        let assets = manifest["package"]["metadata"][package]["assets"].as_array().unwrap();
        for directory in ["", "docs/", "docs/man/"] {
            let source = format!("target/release/packaged/doc/{directory}*.md");
            let place = format!("usr/share/doc/twitcher/{directory}");
            let field = |asset: &toml::Value, index: usize, name: &str| {
                let value = asset.get(index).or_else(|| asset.get(name)).and_then(toml::Value::as_str);
                value.unwrap_or_default().trim_start_matches('/').to_owned()
            };
            let has = assets
                .iter()
                .any(|asset| field(asset, 0, "source") == source && field(asset, 1, "dest") == place);
            assert!(has, "{package}: {source}");
        }
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
        let path = here(&format!("tests/blackbox/{}", module.replace("::", "/")));
        let source = fs::read_to_string(path.with_extension("rs"));
        let source = source.or_else(|_| fs::read_to_string(path.join("mod.rs")));
        let source = source.unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(test == "*" || source.contains(&format!("fn {test}(")), "{name} is no test");
    }
}
