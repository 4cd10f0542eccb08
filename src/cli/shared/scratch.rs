//! Makes temporary directories for what other users must not read.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

/// Makes a directory that only this user can enter, whatever the umask. It is removed on drop.
pub fn private_directory(prefix: &str) -> io::Result<TempDir> {
    tempfile::Builder::new().prefix(prefix).permissions(Permissions::from_mode(0o700)).tempdir()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn nobody_else_can_enter_it() {
        let made = private_directory("twitcher-test-").unwrap();
        assert_eq!(made.path().metadata().unwrap().mode() & 0o777, 0o700);
    }
}
