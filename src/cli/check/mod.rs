//! `twitcher check [--explain] [PATH...]`: validates configs the way the daemon loads them.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fmt::Display;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use super::shared::configs::ConfigArgs;
use super::shared::exit::{Exit, print_error};
use super::shared::stdout::{PrintError, line, print_bytes, unless_closed};
use crate::config::evaluate::Evaluator;
use crate::config::load::{Source, Watches, load};
use crate::config::quote::narrow;
use crate::config::resolve::Accounts;
use crate::config::scan::{ConfigText, read, read_module, scan_below};
use crate::model::{MemberName, ServiceSpec, StoreName, StoreNames, Subject, WatchSpec};
use crate::settings::{self, ControlSettings};
use crate::store::StoreSettings;
use crate::text::count;
use crate::trust::Trust;
use crate::trust::root::Root;
use explain::{explain, explain_service};

mod explain;

/// Validate .twc files, and directories of them; exit 1 and show where if one is wrong
///
/// Run by root, it also rejects files in the config directory that users other than root can change, and
/// warns of such files elsewhere.
#[derive(Debug, clap::Args)]
pub struct Check {
    /// Print each watch of the valid files as the daemon would load it: its identity and its settings
    #[arg(long)]
    explain: bool,
    /// Judge without this host: users, groups and rights are not looked up, and any user may own the files
    ///
    /// For a build server or a laptop, where the users of the actions do not exist.
    #[arg(long, conflicts_with = "explain")]
    lint: bool,
    /// Only warn of files that users other than root can change
    #[arg(long, alias = "allow_untrusted")]
    allow_untrusted: bool,
    #[command(flatten)]
    configs: ConfigArgs,
    /// Files and directories [default: the config directory]
    paths: Vec<PathBuf>,
}

impl Check {
    /// Prints `PATH: ok, N watches` for each valid file, whatever its name, followed by the explanations.
    /// Prints errors to stderr, as the daemon would log them.
    pub fn run(self) -> Exit {
        let config_path = settings::config_path(self.configs.path());
        let paths = if self.paths.is_empty() { vec![config_path.clone()] } else { self.paths };
        let mut checker = Checker {
            evaluator: Evaluator::new("/proc/self/exe".into()),
            accounts: if self.lint { Accounts::of_any_host() } else { Accounts::default() },
            config_path,
            allow_untrusted: self.allow_untrusted,
            lint: self.lint,
            explain: self.explain,
            settings: BTreeMap::new(),
            registered: HashMap::new(),
            members: HashMap::new(),
            valid: true,
            unprinted: None,
        };
        for path in paths {
            checker.path(&path);
        }
        if let Some(error) = checker.unprinted {
            return Err(error.into());
        }
        Ok(if checker.valid { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

struct Checker {
    evaluator: Evaluator,
    accounts: Accounts,
    config_path: PathBuf,
    allow_untrusted: bool,
    lint: bool,
    explain: bool,
    /// The stores whose settings are right.
    settings: BTreeMap<StoreName, StoreSettings>,
    /// The file that first registered each watch, by the watch without its name.
    registered: HashMap<(String, Subject, u64), PathBuf>,
    /// The file that first has each member.
    members: HashMap<MemberName, PathBuf>,
    valid: bool,
    /// Why a result is not on stdout.
    unprinted: Option<PrintError>,
}

impl Checker {
    fn path(&mut self, path: &Path) {
        let is_directory = match fs::metadata(path) {
            Ok(metadata) => metadata.is_dir(),
            Err(error) => return self.reject(&format!("{}: {error}", path.display())),
        };
        // `import` finds modules below `root`, and `trust` judges the files.
        let in_config_directory = self.in_config_directory(path);
        let (root, below, trust) = match (&in_config_directory, is_directory) {
            (Some(below), _) => (self.config_path.clone(), below.clone(), self.trust(self.allow_untrusted)),
            // The daemon does not load this path, so untrusted files get only a warning.
            (None, true) => (path.to_owned(), PathBuf::new(), self.trust(true)),
            (None, false) => {
                let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
                let parent = parent.unwrap_or(Path::new(".")).to_owned();
                (parent, path.file_name().unwrap_or_default().into(), self.trust(true))
            }
        };
        let root = match Root::open(&root, trust) {
            Ok(root) => root,
            Err(error) => return self.reject(&format!("{}: {}", root.display(), error.reason_at(&root))),
        };
        let stores = self.stores(&root, below.as_os_str().is_empty());
        if let Some(reason) = skipped(&below, is_directory).filter(|_| in_config_directory.is_some()) {
            warn(format_args!("{}: the daemon does not load it: {reason}", path.display()));
        }
        match is_directory {
            true => self.directory(&root, &below, stores.as_ref()),
            false => self.file(path, &root, &below, stores.as_ref()),
        }
    }

    fn trust(&self, allow_untrusted: bool) -> Trust {
        if self.lint { Trust::Anyone } else { Trust::of_this_process(allow_untrusted) }
    }

    /// Returns `path` relative to the config directory, if its name or its target is in that directory.
    fn in_config_directory(&self, path: &Path) -> Option<PathBuf> {
        let below = |path: &Path, root: &Path| path.strip_prefix(root).ok().map(Path::to_owned);
        let by_name = below(&settings::absolute(path.to_owned()), &self.config_path);
        let is_plain = |below: &PathBuf| !below.components().any(|part| part == Component::ParentDir);
        by_name
            .filter(is_plain)
            .or_else(|| below(&fs::canonicalize(path).ok()?, &fs::canonicalize(&self.config_path).ok()?))
    }

    /// Returns the stores that a file may name; `None` if `twitcher.toml` cannot be read. With `is_whole`,
    /// checks `twitcher.toml` itself too.
    fn stores(&mut self, root: &Root, is_whole: bool) -> Option<StoreNames> {
        match settings::read(root.path(), root.trust()) {
            Ok(file) => {
                if is_whole {
                    for warning in &file.warnings {
                        warn(warning);
                    }
                    match ControlSettings::new(None, &file) {
                        // Another host may have the group.
                        Ok(ControlSettings { unknown_group: Some(_), .. }) if self.lint => {}
                        Err(error) | Ok(ControlSettings { unknown_group: Some(error), .. }) => {
                            self.reject(&error.to_string());
                        }
                        Ok(ControlSettings { unknown_group: None, .. }) => {}
                    }
                }
                // Other hosts have the files of the stores.
                let problems = if self.lint { Vec::new() } else { settings::problems(&file) };
                for problem in problems {
                    self.reject(&problem.to_string());
                }
                let names = settings::store_names(&file);
                let known =
                    names.iter().filter_map(|name| Some((name.clone(), settings::store_named(name, &file)?)));
                self.settings = known.collect();
                Some(names)
            }
            Err(error) if is_whole => {
                self.reject(&error.to_string());
                None
            }
            Err(error) => {
                warn(format_args!("{error}; names of stores are not checked"));
                None
            }
        }
    }

    fn directory(&mut self, root: &Root, below: &Path, stores: Option<&StoreNames>) {
        let tree = scan_below(root, below);
        for (path, reason) in &tree.inaccessible {
            self.reject(&format!("{}: {reason}", path.display()));
        }
        for (_, warning) in &tree.warnings {
            warn(warning);
        }
        if tree.files.is_empty() && tree.inaccessible.is_empty() {
            let path = root.path_of(below);
            warn(format_args!("{}: nothing to check: no file in it ends in .twc", path.display()));
        }
        for (name, found) in &tree.files {
            match &found.seen {
                Ok(_) => self.file(&found.path, root, Path::new(name), stores),
                Err(reason) => self.reject(&format!("{}: {reason}", found.path.display())),
            }
        }
    }

    fn file(&mut self, path: &Path, root: &Root, below: &Path, stores: Option<&StoreNames>) {
        let ConfigText { text, warning, .. } = match read(root, below) {
            Ok(Some(text)) => text,
            Ok(None) => return self.reject(&format!("{}: it changed while it was read", path.display())),
            Err(error) => return self.reject(&error.at(path)),
        };
        let name = below.to_string_lossy().into();
        let source = Source { path: path.to_owned(), name, text: text.into() };
        let mut module = |module: &str| read_module(root, module).map(Arc::from);
        match load(source, &mut self.evaluator, &mut self.accounts, stores, &mut module).result {
            Ok(Watches { complaints: Some(complaints), .. }) => self.reject(&complaints),
            Ok(Watches { complaints: None, specs, services, locations, mut warnings, .. }) => {
                let (of_watches, of_services) = locations.split_at(specs.len());
                let mut mistakes = Vec::new();
                for (spec, location) in specs.iter().zip(of_watches) {
                    let store = self.settings.get(&spec.store);
                    if let Some(mistake) = store.and_then(|store| store.mistake(&spec.subject.path)) {
                        mistakes.push(format!("{location}: `znode`: {mistake} (the watch's store is etcd)"));
                    }
                }
                for (spec, location) in services.iter().zip(of_services) {
                    let name = &spec.member.name;
                    let store = self.settings.get(&name.store);
                    if let Some(mistake) = store.and_then(|store| store.mistake(&name.path)) {
                        let which = "(the service's store is etcd)";
                        mistakes.push(format!("{location}: `service`: {mistake} {which}"));
                    }
                }
                warnings.extend(warning);
                warnings.extend(self.registered_twice(path, &specs));
                warnings.extend(self.announced_twice(path, &services));
                for warning in warnings {
                    warn(warning);
                }
                if !mistakes.is_empty() {
                    return mistakes.iter().for_each(|mistake| self.reject(mistake));
                }
                let mut text = line(&format!("{}: ok, {}", path.display(), counts(&specs, &services)));
                if self.explain {
                    for (spec, location) in specs.iter().zip(of_watches) {
                        text += "\n";
                        text += &explain(spec, location);
                    }
                    for (spec, location) in services.iter().zip(of_services) {
                        text += "\n";
                        text += &explain_service(spec, location);
                    }
                    text += "\n";
                }
                // The other files are still checked.
                if let Err(error) = unless_closed(print_bytes(text.as_bytes())) {
                    self.unprinted.get_or_insert(error);
                }
            }
            Err(error) => self.reject(&error.message),
        }
    }

    /// Returns a warning if another file registers one of these watches, too.
    fn registered_twice(&mut self, path: &Path, specs: &[WatchSpec]) -> Option<String> {
        let mut warning = None;
        for spec in specs {
            let watch = (spec.store.to_string(), spec.subject.clone(), spec.definition_hash());
            let first = self.registered.entry(watch).or_insert_with(|| path.to_owned());
            if *first != path && warning.is_none() {
                warning = Some(format!(
                    "{}: registers a watch of {} that {} registers, too; its action runs twice for each \
                     update",
                    path.display(),
                    spec.subject.path,
                    first.display()
                ));
            }
        }
        warning
    }

    /// Returns a warning if another file has one of these members, too.
    fn announced_twice(&mut self, path: &Path, services: &[ServiceSpec]) -> Option<String> {
        let mut warning = None;
        for spec in services {
            let name = &spec.member.name;
            let first = self.members.entry(name.clone()).or_insert_with(|| path.to_owned());
            if *first != path && warning.is_none() {
                let (path, first) = (path.display(), first.display());
                warning = Some(format!(
                    "{path}: has the member {name}, which {first} has, too; only one of them is announced"
                ));
            }
        }
        warning
    }

    fn reject(&mut self, message: &str) {
        self.valid = false;
        print_error(narrowed(message));
    }
}

/// Returns how many there are: `2 watches`, `1 service`, `2 watches, 1 service`.
fn counts(specs: &[WatchSpec], services: &[ServiceSpec]) -> String {
    let watches = count(specs.len() as u64, "watch");
    match (specs.len(), count(services.len() as u64, "service")) {
        (_, _) if services.is_empty() => watches,
        (0, services) => services,
        (_, services) => format!("{watches}, {services}"),
    }
}

/// Returns why the daemon skips a file or directory at `below` in the config directory, if it does.
fn skipped(below: &Path, is_directory: bool) -> Option<&'static str> {
    let is_hidden = |part: &OsStr| part.as_encoded_bytes().starts_with(b".");
    if below.iter().any(is_hidden) {
        return Some("a name in its path starts with a dot");
    }
    let is_config = is_directory || below.extension().is_some_and(|extension| extension == "twc");
    (!is_config).then_some("its name does not end in .twc")
}

fn warn(warning: impl Display) {
    print_error(narrowed(&format!("warning: {warning}")));
}

/// Returns the message as it fits the terminal, if stderr is one.
fn narrowed(message: &str) -> String {
    match terminal_size::terminal_size_of(io::stderr()) {
        Some((width, _)) => narrow(message, width.0.into()),
        None => message.to_owned(),
    }
}
