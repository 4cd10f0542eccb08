//! `twitcher check [--explain] [PATH...]`: validates configs the way the daemon loads them.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use super::explain::explain;
use super::{complain, settings, stores};
use crate::config::evaluate::Evaluator;
use crate::config::load::{Source, Watches, load};
use crate::config::resolve::Accounts;
use crate::config::scan::{read, read_module, scan};
use crate::report::count;
use crate::store::StoreNames;

/// Checks files (of any name) and directories (their `*.twc`, recursively). Prints `PATH: ok, N watches` for each
/// good file, and to stderr what is wrong with the others, as the daemon would log it. Without paths, checks the
/// config directory. With `explain`, what each watch of a good file comes to follows that file's line, blank lines around
/// it.
pub fn run(mut paths: Vec<PathBuf>, explain: bool) -> ExitCode {
    if paths.is_empty() {
        paths.push(settings::config_path(None));
    }
    let mut check = Check {
        evaluator: Evaluator::new("/proc/self/exe".into()),
        accounts: Accounts::default(),
        explain,
        good: true,
    };
    for path in paths {
        check.path(&path);
    }
    if check.good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

struct Check {
    evaluator: Evaluator,
    accounts: Accounts,
    explain: bool,
    good: bool,
}

impl Check {
    fn path(&mut self, path: &Path) {
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => self.directory(path),
            Ok(_) => {
                // As the daemon loads it, which decides what `import` may reach.
                let (absolute, config_path) =
                    (settings::absolute(path.to_owned()), settings::config_path(None));
                let parent = path.parent().unwrap_or(Path::new(""));
                let (root, name) = match absolute.strip_prefix(&config_path) {
                    Ok(below) => (config_path.as_path(), below),
                    Err(_) => (parent, Path::new(path.file_name().unwrap_or_default())),
                };
                let stores = match settings::File::read(root) {
                    Ok(file) => Some(stores::names(&file)),
                    Err(error) => {
                        complain(format_args!("warning: {error}; names of stores are not checked"));
                        None
                    }
                };
                self.file(path, root, &name.to_string_lossy(), stores.as_ref());
            }
            Err(error) => self.bad(&format!("{}: {error}", path.display())),
        }
    }

    fn directory(&mut self, root: &Path) {
        let stores = match settings::File::read(root) {
            Ok(file) => {
                if let Err(error) = file.control.group(root) {
                    self.bad(&error.to_string());
                }
                for problem in stores::problems(&file, root) {
                    self.bad(&problem.to_string());
                }
                Some(stores::names(&file))
            }
            Err(error) => {
                self.bad(&error.to_string());
                None
            }
        };
        let tree = scan(root);
        for (path, reason) in &tree.unreadable {
            self.bad(&format!("{}: cannot read: {reason}", path.display()));
        }
        for warning in &tree.distrust {
            complain(format_args!("warning: {warning}"));
        }
        for (name, found) in &tree.files {
            if let Some(warning) = &found.distrust {
                complain(format_args!("warning: {warning}"));
            }
            self.file(&found.path, root, name, stores.as_ref());
        }
    }

    /// `stores` are those that the file may name, if anybody knows.
    fn file(&mut self, path: &Path, root: &Path, name: &str, stores: Option<&StoreNames>) {
        let text = match read(path) {
            Ok(Some((text, _))) => text,
            Ok(None) => return self.bad(&format!("{}: it changed while it was read", path.display())),
            Err(reason) => return self.bad(&format!("{}: {reason}", path.display())),
        };
        let source = Source { path: path.to_owned(), name: name.into(), text: text.into() };
        // An empty root is that of a bare file name.
        let root = if root.as_os_str().is_empty() { Path::new(".") } else { root };
        let mut module = |module: &str| read_module(root, module).map(Arc::from);
        match load(source, &mut self.evaluator, &mut self.accounts, stores, &mut module).result {
            Ok(Watches { specs, places, warnings }) => {
                for warning in warnings {
                    complain(format_args!("warning: {warning}"));
                }
                // Whoever closed the pipe still gets the exit code.
                let mut stdout = io::stdout().lock();
                let _ = writeln!(stdout, "{}: ok, {}", path.display(), count(specs.len(), "watch"));
                if self.explain {
                    for (spec, place) in specs.iter().zip(&places) {
                        let _ = write!(stdout, "\n{}", explain(spec, place));
                    }
                    let _ = writeln!(stdout);
                }
            }
            Err(error) => self.bad(&error.message),
        }
    }

    fn bad(&mut self, message: &str) {
        self.good = false;
        complain(message);
    }
}
