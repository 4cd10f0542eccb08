//! What helps where a half cannot be started, or not be talked to.

use std::io;

use nix::libc;

/// Adds to an error of a start what helps, where that is known. The half was to be `user`.
pub(super) fn with_remedy(error: io::Error, user: &str) -> io::Error {
    let remedy = match error.raw_os_error() {
        Some(libc::EAGAIN) => format!(
            "there is no free process for {user}; end other processes of this user, or raise the limit that \
             applies: TasksMax= of twitcher.service, or `nproc` (`ulimit -u`)"
        ),
        Some(libc::ENOMEM) => {
            "the host or the daemon's control group has no free memory; raise MemoryMax= of \
             twitcher.service, or look at what fills the memory"
                .to_owned()
        }
        Some(libc::ENOENT) => {
            "the program is executed by /proc/self/exe; is /proc mounted? (`mount -t proc proc /proc`)"
                .to_owned()
        }
        _ => return error,
    };
    io::Error::new(error.kind(), format!("{error}: {remedy}"))
}

/// Says for people what is wrong, and what helps, where this process has too few descriptors.
pub(super) fn explained(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EMFILE) => format!("{error}; raise LimitNOFILE= of twitcher.service, or `ulimit -n`"),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_helps_is_said_where_it_is_known() {
        let said =
            |number| with_remedy(io::Error::from_raw_os_error(number), "nobody (uid 65534)").to_string();
        assert!(said(libc::EAGAIN).contains("nobody (uid 65534)"));
        assert!(said(libc::EAGAIN).contains("TasksMax="));
        assert!(said(libc::ENOMEM).contains("MemoryMax="));
        assert!(said(libc::ENOENT).contains("mount -t proc"));
        assert_eq!(said(libc::EIO), io::Error::from_raw_os_error(libc::EIO).to_string());
        let unknown = with_remedy(io::Error::from_raw_os_error(libc::EMFILE), "nobody");
        assert_eq!(unknown.raw_os_error(), Some(libc::EMFILE));
        assert!(explained(&unknown).contains("LimitNOFILE="));
        assert!(!explained(&io::Error::from_raw_os_error(libc::EIO)).contains("LimitNOFILE="));
    }
}
