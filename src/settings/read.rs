//! Reads `twitcher.toml`.

use std::fs;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

use super::error::SettingsError;
use super::file::{FILE, SettingsFile};
use super::parse_error::parse_error;
use super::places::Places;
use super::serve::ServeSettings;
use super::{commits_keys, control, stores};
use crate::text::{TextError, decode, hidden_characters};
use crate::trust::root::{OpenError, OpenedFile, Root};
use crate::trust::{Fault, Trust, Untrusted, exposed};

/// A file with thousands of stores has less.
const MAX_BYTES: u64 = 1 << 20;

/// Reads `twitcher.toml` in `config_path` and checks every value, but not the files, credentials and groups
/// that values name.
pub fn read(config_path: &Path, trust: Trust) -> Result<SettingsFile, SettingsError> {
    let path = &config_path.join(FILE);
    let Some((bytes, OpenedFile { stat, warning, .. })) = read_bytes(config_path, trust)? else {
        return Ok(SettingsFile::empty(config_path));
    };
    let no_text = |error: TextError| SettingsError::Value { origin: error.place(path), reason: error.reason };
    let text = decode(bytes).map_err(no_text)?;
    let mut file: SettingsFile = toml::from_str(&text).map_err(|error| parse_error(path, &text, &error))?;
    file.path.clone_from(path);
    file.places = Places::of(&text);
    file.warnings.extend(warning);
    let hidden = hidden_characters(&without_secrets(&text), "#");
    file.warnings.extend(hidden.map(|warning| format!("{}:{warning}", path.display())));
    if file.has_secrets()
        && let Some(exposed) = exposed(path, stat.st_mode)
    {
        match trust {
            Trust::Root => return Err(SettingsError::Untrusted { path: path.clone(), source: exposed }),
            Trust::Warned | Trust::Anyone => file.warnings.push(exposed.warning()),
        }
    }
    check(&file)?;
    Ok(file)
}

/// Returns what the file holds; `None` if there is no file.
pub fn text(config_path: &Path, trust: Trust) -> Result<Option<Vec<u8>>, SettingsError> {
    Ok(read_bytes(config_path, trust)?.map(|(bytes, _)| bytes))
}

fn read_bytes(config_path: &Path, trust: Trust) -> Result<Option<(Vec<u8>, OpenedFile)>, SettingsError> {
    let path = &config_path.join(FILE);
    let failed = |source| SettingsError::Read { path: path.clone(), source };
    let mut opened = match Root::open(config_path, trust).and_then(|root| root.read(Path::new(FILE))) {
        Ok(opened) => opened,
        // A link whose target is missing is not a missing file: it was to be read.
        Err(OpenError::System(error)) if is_missing(&error) && has_no_entry(path) => return Ok(None),
        // The directory need not be trusted if the file does not exist.
        Err(OpenError::Untrusted(_)) if has_no_entry(path) => return Ok(None),
        Err(OpenError::System(error)) => return Err(failed(error)),
        // There is nothing to read, whoever can change it.
        Err(OpenError::Untrusted(Untrusted { fault: Fault::Special(_), .. })) => {
            return Err(failed(io::Error::other("not a regular file")));
        }
        Err(OpenError::Untrusted(source)) => {
            return Err(SettingsError::Untrusted { path: path.clone(), source });
        }
    };
    let mut bytes = Vec::new();
    opened.file.by_ref().take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    match bytes.len() as u64 > MAX_BYTES {
        true => Err(failed(io::Error::other(format!("larger than {} MiB", MAX_BYTES >> 20)))),
        false => Ok(Some((bytes, opened))),
    }
}

/// Empties the lines that have a secret, about which warnings say nothing.
fn without_secrets(text: &str) -> String {
    let is_secret = |line: &str| ["password", "credentials", "token"].iter().any(|word| line.contains(word));
    text.lines().flat_map(|line| [if is_secret(line) { "" } else { line }, "\n"]).collect()
}

fn has_no_entry(path: &Path) -> bool {
    fs::symlink_metadata(path).is_err_and(|error| is_missing(&error))
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// Reports the mistakes that `twitcher run` reports, so that `twitcher check` and every client command do
/// too.
fn check(file: &SettingsFile) -> Result<(), SettingsError> {
    stores::chosen_store(None, None, file)?;
    stores::named_stores(file, None)?;
    file.stop_timeout()?;
    file.rescan_interval()?;
    file.log_format()?;
    control::mode(file)?;
    control::metrics_address(file)?;
    commits_keys::check(file)?;
    if file.serve.is_some() {
        ServeSettings::new(file)?;
    }
    Ok(())
}
