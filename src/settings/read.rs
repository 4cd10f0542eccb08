//! Reads `twitcher.toml`.

use std::fs;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

use super::error::SettingsError;
use super::file::{FILE, SettingsFile};
use super::parse_error::parse_error;
use super::{control, stores};
use crate::text::decode;
use crate::trust::root::{OpenError, OpenedFile, Root};
use crate::trust::{Trust, exposed};

/// Reads `twitcher.toml` in `config_path` and checks every value, but not the files, credentials and groups
/// that values name.
pub fn read(config_path: &Path, trust: Trust) -> Result<SettingsFile, SettingsError> {
    let path = &config_path.join(FILE);
    let failed = |source| SettingsError::Read { path: path.clone(), source };
    let untrusted = |source| SettingsError::Untrusted { path: path.clone(), source };
    let opened = Root::open(config_path, trust).and_then(|root| root.read(Path::new(FILE)));
    let OpenedFile { mut file, stat, warning } = match opened {
        Ok(opened) => opened,
        // A link whose target is missing is not a missing file: it was to be read.
        Err(OpenError::System(error)) if is_missing(&error) && has_no_entry(path) => {
            return Ok(SettingsFile::empty(config_path));
        }
        // The directory need not be trusted if the file does not exist.
        Err(OpenError::Untrusted(_)) if has_no_entry(path) => return Ok(SettingsFile::empty(config_path)),
        Err(OpenError::System(error)) => return Err(failed(error)),
        Err(OpenError::Untrusted(error)) => return Err(untrusted(error)),
    };
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(failed)?;
    let text = decode(bytes)
        .map_err(|reason| SettingsError::Value { origin: path.display().to_string(), reason })?;
    let mut file: SettingsFile = toml::from_str(&text).map_err(|error| parse_error(path, &text, &error))?;
    file.path.clone_from(path);
    file.warnings.extend(warning);
    if file.has_secrets()
        && let Some(exposed) = exposed(path, stat.st_mode)
    {
        match trust {
            Trust::Root => return Err(untrusted(exposed)),
            Trust::Warned | Trust::Anyone => file.warnings.push(exposed.warning()),
        }
    }
    check(&file)?;
    Ok(file)
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
    control::mode(file)?;
    control::metrics_address(file)?;
    Ok(())
}
