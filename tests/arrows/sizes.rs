//! How long lines and files may be.

use std::fs;
use std::path::{Path, PathBuf};

/// In characters. A reader has two files side by side.
const MAX_COLUMNS: usize = 110;

/// A file is one idea, and so much is read in one go.
const MAX_LINES: usize = 500;

#[test]
fn no_line_is_too_wide_and_no_file_too_long() {
    let mut files = Vec::new();
    for root in ["src", "tests", "benches", "fuzz/src", "fuzz/fuzz_targets"] {
        collect(Path::new(root), &mut files);
    }
    assert!(files.len() > 300, "only {} files were found", files.len());
    let mut wrong = Vec::new();
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        let lines = text.lines().count();
        if lines > MAX_LINES {
            wrong.push(format!("{} has {lines} lines", path.display()));
        }
        for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| line.chars().count() > MAX_COLUMNS) {
            wrong.push(format!("{}:{number} has {} columns", path.display(), line.chars().count()));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}
