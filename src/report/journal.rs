//! Sends lines to systemd's journal in its protocol, with fields, so that `journalctl
//! TWITCHER_WATCH=git.twc:deploy` finds the lines of one watch.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;

use nix::sys::stat::fstat;

use super::context::LogContext;

use super::level::Level;
use super::line::{LogLine, MAX_LINE_BYTES};
use super::output::{LogDaemon, SEND_TIMEOUT};
use crate::text::printable;

/// Whether stdout or stderr goes to the journal.
///
/// `JOURNAL_STREAM` holds the journal's device and inode (systemd.exec(5)). They must be compared, because a
/// parent that redirects the output may have left the variable behind.
pub fn is_connected() -> bool {
    let Ok(journal) = std::env::var("JOURNAL_STREAM") else { return false };
    let is_it = |fd: &dyn AsFd| {
        fstat(fd.as_fd()).is_ok_and(|stat| journal == format!("{}:{}", stat.st_dev, stat.st_ino))
    };
    is_it(&io::stdout()) || is_it(&io::stderr())
}

pub struct Journal(UnixDatagram);

impl LogDaemon for Journal {
    const NAME: &str = "the journal (/run/systemd/journal/socket)";
    const REMEDY: &str = "start systemd-journald";

    fn connect() -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.connect("/run/systemd/journal/socket")?;
        socket.set_write_timeout(Some(SEND_TIMEOUT))?;
        Ok(Self(socket))
    }

    fn send(&mut self, line: &LogLine) -> io::Result<()> {
        self.0.send(&datagram(line)).map(drop)
    }
}

fn datagram(line: &LogLine) -> Vec<u8> {
    // The numbers of syslog(3).
    let priority = match line.level {
        Level::Error => "3",
        Level::Warning => "4",
        Level::Notice => "5",
        Level::Info => "6",
        Level::Debug => "7",
    };
    let mut datagram = Vec::new();
    add(&mut datagram, "MESSAGE", &line.text);
    add(&mut datagram, "PRIORITY", priority);
    add(&mut datagram, "SYSLOG_IDENTIFIER", "twitcher");
    // LOG_DAEMON of syslog(3).
    add(&mut datagram, "SYSLOG_FACILITY", "3");
    datagram.extend_from_slice(&line.fields);
    datagram
}

/// Encodes a report's context for [`LogLine::fields`]. Fields beyond [`MAX_LINE_BYTES`] are left out.
pub fn fields(context: &LogContext<'_>) -> Vec<u8> {
    let watches = context.watches.iter().map(|watch| ("TWITCHER_WATCH", watch.to_string()));
    let run = context.run.map(|run| ("TWITCHER_RUN_ID", run.to_owned()));
    let node = context.subject.map(|subject| &subject.path).or(context.member);
    let node = node.map(|path| ("TWITCHER_ZNODE", path.to_string()));
    let service = context.service.map(|service| ("TWITCHER_SERVICE", service.to_string()));
    let commit = context.cause.and_then(|cause| cause.commit.as_ref());
    // `journalctl` may show the values as they are.
    let commit = commit.into_iter().flat_map(|commit| {
        [
            ("TWITCHER_COMMIT_VERSION", commit.version.to_string()),
            ("TWITCHER_COMMIT_AUTHOR", printable(commit.author.as_bytes())),
            ("TWITCHER_COMMIT_COMMENT", printable(commit.comment.as_bytes())),
        ]
    });
    let transaction = context.cause.and_then(|cause| cause.transaction.clone());
    let transaction = transaction.map(|id| ("TWITCHER_TRANSACTION", id));
    let mut fields = Vec::new();
    let cause = commit.chain(transaction);
    for (name, value) in run.into_iter().chain(node).chain(service).chain(watches).chain(cause) {
        if fields.len() + value.len() < MAX_LINE_BYTES {
            add(&mut fields, name, &value);
        }
    }
    fields
}

/// Adds one field. A value that contains a newline is preceded by its length instead of `=`.
fn add(fields: &mut Vec<u8>, name: &str, value: &str) {
    fields.extend_from_slice(name.as_bytes());
    if value.contains('\n') {
        fields.push(b'\n');
        fields.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        fields.push(b'=');
    }
    fields.extend_from_slice(value.as_bytes());
    fields.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Facet, NodePath, Subject, WatchKey};

    #[test]
    fn a_line_is_a_datagram_of_fields() {
        let watch = WatchKey { file: "git.twc".into(), description: "deploy".into() };
        let subject = Subject { path: NodePath::parse("/git/head").unwrap(), facet: Facet::Data };
        let context = LogContext {
            watches: &[&watch],
            run: Some("19a.1-7"),
            subject: Some(&subject),
            ..LogContext::default()
        };
        let line = LogLine {
            fields: fields(&context),
            ..LogLine::new(Level::Warning, "git.twc:deploy run 7".into())
        };
        let expected = "MESSAGE=git.twc:deploy run 7\nPRIORITY=4\nSYSLOG_IDENTIFIER=twitcher\n\
                        SYSLOG_FACILITY=3\nTWITCHER_RUN_ID=19a.1-7\nTWITCHER_ZNODE=/git/head\n\
                        TWITCHER_WATCH=git.twc:deploy\n";
        assert_eq!(String::from_utf8(datagram(&line)).unwrap(), expected);
    }

    #[test]
    fn a_newline_in_a_value_begins_no_field() {
        let line = LogLine::new(Level::Error, "a\nPRIORITY=0".into());
        let bytes = datagram(&line);
        assert!(bytes.starts_with(b"MESSAGE\n\x0c\0\0\0\0\0\0\0a\nPRIORITY=0\nPRIORITY=3\n"), "{bytes:?}");
    }

    #[test]
    fn the_fields_of_thousands_of_watches_still_fit() {
        let keys: Vec<_> = (0..10_000)
            .map(|n| WatchKey { file: "a.twc".into(), description: format!("watch {n}").into() })
            .collect();
        let watches: Vec<_> = keys.iter().collect();
        let fields = fields(&LogContext { watches: &watches, ..LogContext::default() });
        assert!(fields.starts_with(b"TWITCHER_WATCH=a.twc:watch 0\n") && fields.ends_with(b"\n"));
        assert!((MAX_LINE_BYTES / 2..2 * MAX_LINE_BYTES).contains(&fields.len()), "{}", fields.len());
    }
}
