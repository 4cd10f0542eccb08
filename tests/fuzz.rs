//! Runs the fuzz targets of `fuzz/` without a fuzzer, on their seeds and on inputs that once failed.

use std::fs;
use std::path::Path;

#[path = "../fuzz/src/lib.rs"]
mod targets;

/// The corpora are kept with the sources, so they must stay small.
const MAX_CORPUS: u64 = 100 << 10;

#[test]
fn no_seed_breaks_a_promise() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let mut size = 0;
    for (name, run) in targets::TARGETS {
        let seeds = fuzz.join("corpus").join(name);
        let seeds = fs::read_dir(&seeds).unwrap_or_else(|error| panic!("{}: {error}", seeds.display()));
        let mut seeds: Vec<_> = seeds.map(|seed| seed.unwrap().path()).collect();
        seeds.sort();
        assert!(!seeds.is_empty(), "{name} has no seeds");
        for seed in seeds {
            // Shown only if the test fails.
            println!("{}", seed.display());
            let data = fs::read(&seed).unwrap();
            size += data.len() as u64;
            run(&data);
        }
        // An empty input leaves a target nothing to decide by.
        run(b"");
    }
    assert!(size <= MAX_CORPUS, "{size} bytes of seeds");
}

#[test]
fn each_target_has_a_binary() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let manifest = fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
    for (name, _) in targets::TARGETS {
        assert!(manifest.contains(&format!("name = \"{name}\"\npath = \"fuzz_targets/{name}.rs\"\n")));
        let binary = fs::read_to_string(fuzz.join(format!("fuzz_targets/{name}.rs"))).unwrap();
        assert!(binary.contains(&format!("twitcher_fuzz::{name}::run")), "{name}");
    }
    assert_eq!(fs::read_dir(fuzz.join("fuzz_targets")).unwrap().count(), targets::TARGETS.len());
}
