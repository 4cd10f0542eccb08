//! Sends lines to the local syslog through `/dev/log`, with facility `daemon`.

use std::io;
use std::os::unix::net::UnixDatagram;

use syslog::{Facility, Formatter3164, Logger, LoggerBackend};

use super::level::Level;
use super::line::LogLine;
use super::output::{LogDaemon, SEND_TIMEOUT};

pub struct Syslog(Logger<LoggerBackend, Formatter3164>);

impl LogDaemon for Syslog {
    const NAME: &str = "syslog (/dev/log)";
    const REMEDY: &str = "start a syslog daemon, or name a file with --log-file";

    fn connect() -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.connect("/dev/log")?;
        socket.set_write_timeout(Some(SEND_TIMEOUT))?;
        let formatter = Formatter3164 {
            facility: Facility::LOG_DAEMON,
            hostname: None,
            process: "twitcher".into(),
            pid: std::process::id(),
        };
        Ok(Self(Logger::new(LoggerBackend::Unix(socket), formatter)))
    }

    fn send(&mut self, line: &LogLine) -> io::Result<()> {
        let Self(logger) = self;
        match line.level {
            Level::Error => logger.err(&line.text),
            Level::Warning => logger.warning(&line.text),
            Level::Notice => logger.notice(&line.text),
            Level::Info => logger.info(&line.text),
            Level::Debug => logger.debug(&line.text),
        }
        .map_err(io::Error::other)
    }
}
