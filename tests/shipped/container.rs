//! The Containerfile, as far as it can be checked without a container engine.

use std::fs;

use super::{here, twitcher};

/// The instructions with their arguments, without comments.
fn instructions() -> Vec<(String, String)> {
    let text = fs::read_to_string(here("packaging/Containerfile")).unwrap();
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let (instruction, rest) = line.split_once(' ').expect("an instruction with arguments");
            (instruction.to_owned(), rest.to_owned())
        })
        .collect()
}

/// The words of an argument in JSON, after the options.
fn words(arguments: &str) -> Vec<String> {
    serde_json::from_str(&arguments[arguments.find('[').expect("a list")..]).expect("a list of words")
}

#[test]
fn the_containerfile_copies_what_is_there_and_builds_with_the_least_rust() {
    let cargo: toml::Table = fs::read_to_string(here("Cargo.toml")).unwrap().parse().unwrap();
    let least = cargo["package"]["rust-version"].as_str().expect("a version");
    let mut sources = 0;
    for (instruction, arguments) in instructions() {
        match instruction.as_str() {
            "FROM" if arguments.contains("/rust:") => {
                assert!(arguments.contains(&format!("/rust:{least}-")), "{arguments}");
            }
            "COPY" if !arguments.starts_with("--from=") => {
                let paths: Vec<_> = arguments.split(' ').collect();
                for source in &paths[..paths.len() - 1] {
                    assert!(here(source).exists(), "{source}");
                    sources += 1;
                }
            }
            _ => {}
        }
    }
    assert!(sources > 3);
}

// Exit code 2 is wrong usage. Nothing is started: there are no configs and no daemon.
#[test]
fn the_commands_of_the_containerfile_parse() {
    let (mut command, mut health) = (Vec::new(), Vec::new());
    for (instruction, arguments) in instructions() {
        match instruction.as_str() {
            "ENTRYPOINT" | "CMD" => command.extend(words(&arguments)),
            "HEALTHCHECK" => health = words(&arguments),
            _ => {}
        }
    }
    for (words, nowhere) in [(command, "--config-path"), (health, "--control-socket")] {
        let (program, arguments) = words.split_first().expect("a program");
        assert_eq!(program, "/usr/sbin/twitcher");
        let arguments: Vec<&str> =
            arguments.iter().map(String::as_str).chain([nowhere, "/nonexistent"]).collect();
        let output = twitcher(&arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {output:?}");
    }
}
