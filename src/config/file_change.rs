//! The reports of the loader to the daemon.

use super::load::LeftOut;
use crate::model::{ServiceSpec, WatchSpec};

/// A change of the config directory. `file` is a path below it. Each error and each warning is reported once,
/// until it no longer applies.
#[derive(Clone, Debug)]
pub enum FileChange {
    /// The file is loaded. `watches` are all of its watches, changed or not, except those that are left out
    /// because they name an unknown user or group. The last good ones of these stay.
    Loaded {
        file: String,
        watches: Vec<WatchSpec>,
        /// All of its services, with the same exception.
        services: Vec<ServiceSpec>,
        warnings: Vec<String>,
        left_out: Option<LeftOut>,
    },
    /// The file cannot be loaded. Its last good watches stay. `error` starts with the path.
    Failed {
        file: String,
        error: String,
    },
    Removed {
        file: String,
    },
    /// A path that is or may be a directory cannot be read or is not trusted. No file below `path` is loaded,
    /// and the watches from there stay. `path` is below the config directory and ends with a slash; `./` is
    /// the config directory itself.
    Inaccessible {
        path: String,
        error: String,
    },
    /// The path was inaccessible and no longer is.
    Accessible {
        path: String,
    },
    /// A warning about a directory, or about a file that is no config; `path` is below the config directory.
    Warning {
        path: String,
        warning: String,
    },
    /// Hints fail, so the directory is polled. The text says why.
    Degraded(String),
    /// Hints come again after [`Self::Degraded`].
    Followed,
    /// Every file that existed at the start has been reported.
    FirstScanDone,
    /// The oldest `requests` calls of [`Loader::rescan`](super::files::Loader::rescan) are done: every file
    /// that existed at these calls has been reported.
    Rescanned {
        requests: usize,
    },
}
