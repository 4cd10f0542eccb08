//! Packets as the two ends of a store's socket send them to each other, made of a fuzzer's bytes.

use std::fs::File;
use std::io::{IoSlice, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::net::{
    RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, Shutdown, recv, sendmsg, shutdown,
};
use serde_json::{Value, json};
use tokio::task::yield_now;
use twitcher::store::{DirectorySettings, DirectoryUrl, StoreSettings};

/// The settings of a store as the daemon sends them.
pub fn settings() -> Vec<u8> {
    let settings = StoreSettings::Directory(DirectorySettings {
        url: DirectoryUrl { root: "/nonexistent".into() },
        session_timeout: Duration::from_secs(10),
        rescan_interval: Duration::from_secs(60),
        readonly: false,
    });
    serde_json::to_vec(&settings).expect("plain data")
}

/// The bytes of a fuzzer, from which values are taken. At their end, all values are 0.
pub struct Input<'a>(pub &'a [u8]);

impl Input<'_> {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        self.0.split_off_first().copied().unwrap_or(0)
    }

    /// Some bytes, with their number before them.
    pub fn bytes(&mut self) -> Vec<u8> {
        let length = usize::from(self.byte()).min(self.0.len());
        self.0.split_off(..length).map(<[u8]>::to_vec).unwrap_or_default()
    }

    /// A text, now and then a very long one.
    pub fn text(&mut self) -> String {
        match self.0.first() {
            Some(0xff) => {
                self.byte();
                "x".repeat(usize::from(self.byte()) << 6)
            }
            _ => String::from_utf8_lossy(&self.bytes()).into_owned(),
        }
    }

    /// A number that is small or at one of the ends.
    pub fn number(&mut self) -> i64 {
        match self.byte().cast_signed() {
            i8::MAX => i64::MAX,
            i8::MIN => i64::MIN,
            number => number.into(),
        }
    }

    /// A number from 0 on.
    pub fn size(&mut self) -> u64 {
        match self.byte() {
            0xff => u64::MAX,
            0xfe => 1 << 30,
            number => number.into(),
        }
    }

    pub fn id(&mut self) -> u64 {
        match self.byte() {
            0xff => u64::MAX,
            number => u64::from(number % 6),
        }
    }

    pub fn facet(&mut self) -> Value {
        ["Data", "Children", "Tree", "Members"].map(Value::from)[usize::from(self.byte() % 4)].clone()
    }
}

/// What goes with a message.
pub enum Body {
    Inline(Vec<u8>),
    /// A file in memory that is sealed as it must be.
    Sealed(Vec<u8>),
    /// Descriptors that nobody may send.
    Wrong(Vec<OwnedFd>),
    /// Bytes, and a sealed file as well.
    Both(Vec<u8>),
}

impl Body {
    pub fn of(input: &mut Input<'_>, bytes: Vec<u8>) -> Self {
        let wrong = |files: Vec<OwnedFd>| Self::Wrong(files);
        match input.byte() % 16 {
            0..=7 => Self::Inline(bytes),
            8..=11 => Self::Sealed(bytes),
            12 => wrong(vec![file(&bytes, SealFlags::from_bits_retain(u32::from(input.byte() % 15)))]),
            13 => {
                let (reader, writer) = std::io::pipe().expect("a pipe");
                let (reader, writer) = (reader.into(), writer.into());
                wrong(if input.byte().is_multiple_of(2) { vec![reader] } else { vec![reader, writer] })
            }
            14 => wrong(vec![File::open("/dev/null").expect("a device").into()]),
            _ => Self::Both(bytes),
        }
    }

    pub fn is_wrong(&self) -> bool {
        matches!(self, Self::Wrong(_))
    }
}

const ALL_SEALS: SealFlags =
    SealFlags::WRITE.union(SealFlags::SHRINK).union(SealFlags::GROW).union(SealFlags::SEAL);

fn file(content: &[u8], seals: SealFlags) -> OwnedFd {
    let file = memfd_create("content", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING);
    let mut file = File::from(file.expect("a file in memory"));
    file.write_all(content).expect("write it");
    // Some seals exclude others.
    let _ = fcntl_add_seals(&file, seals);
    file.into()
}

/// Sends one message. Returns false if it cannot be sent, because the other end is full or closed.
pub fn send(socket: &OwnedFd, header: &[u8], body: &Body) -> bool {
    let (inline, files) = match body {
        Body::Inline(bytes) => (bytes.as_slice(), vec![]),
        Body::Sealed(bytes) => (&[][..], vec![file(bytes, ALL_SEALS)]),
        Body::Both(bytes) => (b"both".as_slice(), vec![file(bytes, ALL_SEALS)]),
        Body::Wrong(files) => {
            return send_raw(socket, &framed(header, b""), files);
        }
    };
    send_raw(socket, &framed(header, inline), &files)
}

fn framed(header: &[u8], body: &[u8]) -> Vec<u8> {
    [&(header.len() as u32).to_le_bytes(), header, body].concat()
}

/// Sends a packet as it is.
pub fn send_raw(socket: &OwnedFd, packet: &[u8], files: &[OwnedFd]) -> bool {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let files: Vec<_> = files.iter().map(AsFd::as_fd).collect();
    if !files.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(&files));
    }
    sendmsg(socket, &[IoSlice::new(packet)], &mut control, SendFlags::NOSIGNAL).is_ok()
}

/// The state of a node, and its content.
pub fn state(input: &mut Input<'_>) -> (Value, Vec<u8>) {
    let kind = input.byte();
    if kind.is_multiple_of(8) {
        return (json!("Absent"), Vec::new());
    }
    let (content, bytes) = match kind % 8 {
        1 | 2 => (json!("Data"), input.bytes()),
        3 => (json!({ "Members": { "count": input.size() } }), input.bytes()),
        4 => (json!({ "Children": { "count": input.size() } }), input.bytes()),
        5 => {
            let (nodes, data_bytes, index) = (input.size(), input.size(), input.size());
            (json!({ "Tree": { "nodes": nodes, "data_bytes": data_bytes, "index": index } }), input.bytes())
        }
        _ => tree(input),
    };
    let version = version(input);
    let [incarnation, revision, number] = version;
    let version = json!({ "incarnation": incarnation, "revision": revision, "number": number });
    (json!({ "Present": { "version": version, "content": content } }), bytes)
}

fn version(input: &mut Input<'_>) -> [i64; 3] {
    [input.number(), input.number(), input.number()]
}

/// A tree that may be right.
fn tree(input: &mut Input<'_>) -> (Value, Vec<u8>) {
    const PATHS: [&str; 10] = ["", "/a", "/a/b", "/a/b/c", "/b", "/c", "/é", "//", "/.", "x"];
    let count = input.byte() % 8;
    let (mut pieces, mut index, mut place) = (0u64, Vec::new(), 0);
    for _ in 0..count {
        let next = input.byte();
        // Sorted, unless the fuzzer wants another order.
        let path = PATHS[if next >= 0xf0 { usize::from(next & 15) % PATHS.len() } else { place }];
        place = (place + 1 + usize::from(next % 2)) % PATHS.len();
        let version = version(input);
        let (born, length) = (input.size(), u64::from(input.byte() % 9));
        index.extend((path.len() as u32).to_le_bytes());
        version.iter().for_each(|number| index.extend(number.to_le_bytes()));
        index.extend(born.to_le_bytes());
        index.extend(length.to_le_bytes());
        index.extend(path.as_bytes());
        pieces += length;
    }
    let lie = input.byte();
    let off = |bit: u8| u64::from(lie >> 6 == 3 && lie & bit != 0);
    let header = json!({ "Tree": {
        "nodes": u64::from(count) + off(1), "data_bytes": pieces + off(2), "index": pieces + off(4),
    } });
    (header, [vec![b'.'; pieces as usize], index].concat())
}

/// How many packets are sent at most: as few as come at once without a pause.
const MAX_PACKETS: usize = 48;

/// The longest text that the daemon believes, when each of its bytes is escaped.
const MAX_TEXT: usize = (4 << 10) * 8;

/// Receives so many packets, whatever they say.
pub async fn receive(socket: &OwnedFd, packets: usize) {
    for _ in 0..packets {
        let mut byte = [0u8];
        while recv(socket, &mut byte[..], RecvFlags::DONTWAIT).is_err() {
            yield_now().await;
        }
    }
}

/// Sends what the input has, and ends the conversation. Some packets are bytes as they are; `say` sends a
/// message of any other kind, and returns whether it could. Adds to `packets` how many were tried.
pub fn say_all<'a>(
    input: &mut Input<'a>,
    socket: &OwnedFd,
    packets: &mut usize,
    mut say: impl FnMut(u8, &mut Input<'a>) -> bool,
) {
    while !input.is_empty() && *packets < MAX_PACKETS {
        *packets += 1;
        let is_sent = match input.byte() {
            kind @ 0xf8..=0xff => {
                let bytes = input.bytes();
                match kind {
                    // An empty packet is the end.
                    0xf8..=0xfb => bytes.is_empty() || send_raw(socket, &bytes, &[]),
                    _ => send(socket, &bytes, &Body::Inline(Vec::new())),
                }
            }
            kind => say(kind, input),
        };
        if !is_sent {
            break;
        }
    }
    shutdown(socket, Shutdown::Both).expect("the end");
}

/// Sees that a text is fit for a terminal.
pub fn check_text(text: &str) {
    assert!(text.len() <= MAX_TEXT && !text.chars().any(char::is_control), "{text:?}");
}
