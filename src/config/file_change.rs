//! What the loader tells the daemon about config files.

use crate::model::WatchSpec;

/// A file is named by its path below the config directory.
#[derive(Clone, Debug)]
pub enum FileChange {
    /// The file is loaded. `watches` are all of its watches, changed or not. A warning is given once, until
    /// it no longer applies.
    Loaded {
        file: String,
        watches: Vec<WatchSpec>,
        warnings: Vec<String>,
    },
    /// The file cannot be loaded, and its last good watches stay. `error` starts with its path. Each error is
    /// given once.
    Failed {
        file: String,
        error: String,
    },
    Removed {
        file: String,
    },
    /// `path` cannot be read or is not trusted. It is a directory, or what may be one. Nothing below it is
    /// loaded, and what was registered there stays. It is a path below the config directory that ends with a
    /// slash; `./` is the config directory itself. Each error is given once.
    Inaccessible {
        path: String,
        error: String,
    },
    /// The path was inaccessible and no longer is.
    Accessible {
        path: String,
    },
    /// A warning about a directory. It is given once, until it no longer applies.
    Warning(String),
    /// Changes cannot be followed as they should. This is given once until they can.
    Degraded(String),
    /// Every file that existed at the start has been given. This is given once.
    FirstScanDone,
    /// This many calls of [`Loader::rescan`](super::files::Loader::rescan) are done, the oldest first: every
    /// file that existed at these calls has been given.
    Rescanned {
        requests: usize,
    },
}
