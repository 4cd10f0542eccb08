//! A substitute for systemd's journal. It receives entries in the journal's native protocol.

use std::fs;
use std::io::ErrorKind;
use std::net::Shutdown;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::twitcher::Twitcher;
use super::wait::wait_for;

/// The time within which the listening thread notices that its test has ended.
const TURN: Duration = Duration::from_millis(100);

/// A directory that a daemon finds as `/run`, and the journal in it.
pub struct Journald {
    run: PathBuf,
    entries: Arc<Mutex<Vec<Entry>>>,
    /// The thread listens as long as the first value lives.
    listener: Option<(Arc<()>, JoinHandle<()>)>,
}

/// The fields of one entry, in the order in which they came.
#[derive(Clone, Debug)]
pub struct Entry(Vec<(String, String)>);

impl Entry {
    pub fn values(&self, name: &str) -> Vec<&str> {
        self.0.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str()).collect()
    }

    /// The only field of this name. Panics if there are several.
    #[track_caller]
    pub fn value(&self, name: &str) -> Option<&str> {
        let values = self.values(name);
        assert!(values.len() < 2, "{name} in {self:?}");
        values.first().copied()
    }

    pub fn message(&self) -> &str {
        self.value("MESSAGE").unwrap_or_else(|| panic!("a line without a message: {self:?}"))
    }

    /// Parses a datagram as systemd's "Native Journal Protocol" describes it.
    #[track_caller]
    fn parse(mut datagram: &[u8]) -> Self {
        let mut fields = Vec::new();
        while !datagram.is_empty() {
            let end = datagram.iter().position(|byte| *byte == b'\n').expect("a line ends");
            let (line, rest) = (&datagram[..end], &datagram[end + 1..]);
            let (name, value) = match line.iter().position(|byte| *byte == b'=') {
                Some(at) => {
                    datagram = rest;
                    (&line[..at], &line[at + 1..])
                }
                None => {
                    let (length, rest) = rest.split_at(8);
                    let length = u64::from_le_bytes(length.try_into().expect("eight bytes")) as usize;
                    assert_eq!(rest[length], b'\n', "the end of a value");
                    datagram = &rest[length + 1..];
                    (line, &rest[..length])
                }
            };
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_owned()).expect("UTF-8");
            fields.push((text(name), text(value)));
        }
        Self(fields)
    }
}

impl Journald {
    /// Makes the `/run` without a journal.
    pub fn absent(run: PathBuf) -> Self {
        fs::create_dir_all(run.join("systemd/journal")).expect("create a directory");
        Self { run, entries: Arc::default(), listener: None }
    }

    pub fn listening(run: PathBuf) -> Self {
        let mut journald = Self::absent(run);
        journald.listen();
        journald
    }

    pub fn listen(&mut self) {
        self.listen_on(self.bind());
    }

    /// Binds the socket. Entries queue there until somebody listens.
    pub fn bind(&self) -> UnixDatagram {
        UnixDatagram::bind(self.socket()).expect("listen")
    }

    pub fn listen_on(&mut self, socket: UnixDatagram) {
        socket.set_read_timeout(Some(TURN)).expect("set a timeout");
        let life = Arc::new(());
        let (entries, lives) = (Arc::clone(&self.entries), Arc::downgrade(&life));
        let thread = thread::spawn(move || {
            let mut buffer = vec![0; 256 * 1024];
            while lives.strong_count() > 0 {
                match socket.recv(&mut buffer) {
                    Ok(length) => entries.lock().unwrap().push(Entry::parse(&buffer[..length])),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                }
            }
            // A process that another test starts may have a copy of the socket until it executes its program,
            // and what is sent to that would be lost.
            socket.shutdown(Shutdown::Both).expect("close the socket");
        });
        self.listener = Some((life, thread));
    }

    /// Ends the journal and removes its socket.
    pub fn leave(&mut self) {
        fs::remove_file(self.socket()).expect("remove the socket");
        let (life, thread) = self.listener.take().expect("it was there");
        drop(life);
        thread.join().expect("the entries are well-formed");
    }

    fn socket(&self) -> PathBuf {
        self.run.join("systemd/journal/socket")
    }

    /// Runs the command in a mount namespace with this `/run` and without a syslog daemon. `JOURNAL_STREAM`
    /// says that its `stdout` or `stderr`, whichever is `connected`, leads to the journal.
    pub fn around(&self, twitcher: Twitcher, connected: &str) -> Twitcher {
        let script = format!(
            "mount --bind {run} /run || exit
             [ ! -e /dev/log ] || mount --bind /dev/null /dev/log || exit
             exec 3>&{number}
             JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/3); export JOURNAL_STREAM
             exec 3>&-; exec \"$@\"",
            run = self.run.display(),
            number = if connected == "stdout" { 1 } else { 2 },
        );
        twitcher.under(["unshare", "--mount", "sh", "-c", &script, "sh"])
    }

    pub fn entries(&self) -> Vec<Entry> {
        self.entries.lock().unwrap().clone()
    }

    /// Waits for an entry whose message contains all of `parts`.
    #[track_caller]
    pub fn wait_for(&self, parts: &[&str]) -> Entry {
        wait_for(&format!("a journal entry with {parts:?}"), || {
            let is_it = |entry: &Entry| parts.iter().all(|part| entry.message().contains(part));
            self.entries().into_iter().find(is_it)
        })
    }
}

impl Drop for Journald {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- the journal has:\n{:#?}\n---", self.entries());
        }
    }
}
