//! Writing requests.

use super::operation::{CHECK, CREATE, DATA, DELETE, FAILURE, SET_DATA};
use super::reply::{AUTH_XID, Expected, PING_XID};
use crate::model::NodePath;
use crate::store::acl::{Acl, AclEntry};

/// What a request asks for. Paths are absolute, and begin at the server's root.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Request<'a> {
    /// The data of a node, and if asked for, a watch on it.
    Data {
        path: &'a str,
        watch: bool,
    },
    /// The data of each of these nodes. Servers before 3.6 do not know this, and close the connection.
    DataOfEach {
        paths: &'a [NodePath],
    },
    /// The stat of a node. The watch is one on the node's data, or on its creation.
    Exists {
        path: &'a str,
        watch: bool,
    },
    Children {
        path: &'a str,
        watch: bool,
    },
    Acl {
        path: &'a str,
    },
    /// Waits until this server knows all that the leader knows.
    Sync {
        path: &'a str,
    },
    /// Creates a node, which goes with the session if it is ephemeral, and else stays.
    Create {
        path: &'a str,
        data: &'a [u8],
        acl: &'a Acl,
        is_ephemeral: bool,
    },
    /// Creates a node that goes with the session. The server adds the next number to the name: ten digits,
    /// each child of the same parent with a higher one.
    CreateNext {
        path: &'a str,
        data: &'a [u8],
        acl: &'a Acl,
    },
    /// Replaces a node's ACL, whatever its version.
    SetAcl {
        path: &'a str,
        acl: &'a Acl,
    },
    /// The version -1 stands for any.
    SetData {
        path: &'a str,
        data: &'a [u8],
        version: i32,
    },
    Delete {
        path: &'a str,
        version: i32,
    },
    /// Does all of these, or nothing.
    Multi {
        parts: &'a [Part<'a>],
    },
    Sasl {
        token: &'a [u8],
    },
    /// Removes our watch on the node's children, or on its data and its creation. Servers of 3.4 do not know
    /// this, which does no harm.
    RemoveWatch {
        path: &'a str,
        is_on_children: bool,
    },
    Close,
}

/// A part of a multi. The version -1 stands for any.
#[derive(Clone, Debug)]
pub(crate) enum Part<'a> {
    Check { path: NodePath, version: i32 },
    Create { path: NodePath, data: &'a [u8], acl: &'a Acl, is_ephemeral: bool },
    SetData { path: NodePath, data: &'a [u8], version: i32 },
    Delete { path: NodePath, version: i32 },
}

impl Part<'_> {
    pub(crate) fn data(&self) -> &[u8] {
        match self {
            Self::Create { data, .. } | Self::SetData { data, .. } => data,
            Self::Check { .. } | Self::Delete { .. } => &[],
        }
    }

    fn write(&self, output: &mut Vec<u8>) {
        match self {
            Self::Check { path, version } => {
                header(CHECK, output);
                write_bytes(path.as_str().as_bytes(), output);
                output.extend(version.to_be_bytes());
            }
            Self::Create { path, data, acl, is_ephemeral } => {
                header(CREATE, output);
                write_bytes(path.as_str().as_bytes(), output);
                write_bytes(data, output);
                write_acl(acl, output);
                output.extend(flags(*is_ephemeral));
            }
            Self::SetData { path, data, version } => {
                header(SET_DATA, output);
                write_bytes(path.as_str().as_bytes(), output);
                write_bytes(data, output);
                output.extend(version.to_be_bytes());
            }
            Self::Delete { path, version } => {
                header(DELETE, output);
                write_bytes(path.as_str().as_bytes(), output);
                output.extend(version.to_be_bytes());
            }
        }
    }
}

/// Begins a part of a multi or a multiRead.
fn header(operation: i32, output: &mut Vec<u8>) {
    output.extend(operation.to_be_bytes());
    // More follows, and no error.
    output.push(false.into());
    output.extend((-1_i32).to_be_bytes());
}

/// Ends the parts.
fn end(output: &mut Vec<u8>) {
    output.extend(FAILURE.to_be_bytes());
    output.push(true.into());
    output.extend((-1_i32).to_be_bytes());
}

/// The version that stands for any.
const ANY_VERSION: i32 = -1;

/// The flags of an ephemeral node with a number at the end of its name.
const EPHEMERAL_SEQUENTIAL: i32 = 3;

/// Returns the flags of a node that is not sequential.
fn flags(is_ephemeral: bool) -> [u8; 4] {
    i32::from(is_ephemeral).to_be_bytes()
}

impl Request<'_> {
    fn operation(&self) -> i32 {
        match self {
            Self::Create { .. } | Self::CreateNext { .. } => CREATE,
            Self::Delete { .. } => DELETE,
            Self::Exists { .. } => 3,
            Self::Data { .. } => DATA,
            Self::SetData { .. } => SET_DATA,
            Self::Acl { .. } => 6,
            Self::SetAcl { .. } => 7,
            Self::Sync { .. } => 9,
            Self::Children { .. } => 12,
            Self::Multi { .. } => 14,
            Self::RemoveWatch { .. } => 18,
            Self::DataOfEach { .. } => 22,
            Self::Sasl { .. } => 102,
            Self::Close => -11,
        }
    }

    /// Returns what the reply to this has.
    pub(crate) fn expected(&self) -> Expected {
        match self {
            Self::Data { .. } => Expected::Data,
            Self::DataOfEach { .. } => Expected::DataOfEach,
            Self::Exists { .. } | Self::SetData { .. } | Self::SetAcl { .. } => Expected::Stat,
            Self::Children { .. } => Expected::Children,
            Self::Acl { .. } => Expected::Acl,
            Self::Sync { .. } | Self::Create { .. } | Self::CreateNext { .. } => Expected::Path,
            Self::Multi { .. } => Expected::Multi,
            Self::Sasl { .. } => Expected::Token,
            Self::Delete { .. } | Self::RemoveWatch { .. } | Self::Close => Expected::Nothing,
        }
    }

    /// Writes the request as a message with this number.
    pub(crate) fn write(&self, xid: i32, output: &mut Vec<u8>) {
        framed(output, |output| {
            output.extend(xid.to_be_bytes());
            output.extend(self.operation().to_be_bytes());
            match *self {
                Self::Data { path, watch }
                | Self::Exists { path, watch }
                | Self::Children { path, watch } => {
                    write_bytes(path.as_bytes(), output);
                    output.push(watch.into());
                }
                Self::Acl { path } | Self::Sync { path } => write_bytes(path.as_bytes(), output),
                Self::Create { path, data, acl, is_ephemeral } => {
                    write_bytes(path.as_bytes(), output);
                    write_bytes(data, output);
                    write_acl(acl, output);
                    output.extend(flags(is_ephemeral));
                }
                Self::CreateNext { path, data, acl } => {
                    write_bytes(path.as_bytes(), output);
                    write_bytes(data, output);
                    write_acl(acl, output);
                    output.extend(EPHEMERAL_SEQUENTIAL.to_be_bytes());
                }
                Self::SetAcl { path, acl } => {
                    write_bytes(path.as_bytes(), output);
                    write_acl(acl, output);
                    output.extend(ANY_VERSION.to_be_bytes());
                }
                Self::SetData { path, data, version } => {
                    write_bytes(path.as_bytes(), output);
                    write_bytes(data, output);
                    output.extend(version.to_be_bytes());
                }
                Self::Delete { path, version } => {
                    write_bytes(path.as_bytes(), output);
                    output.extend(version.to_be_bytes());
                }
                Self::RemoveWatch { path, is_on_children } => {
                    write_bytes(path.as_bytes(), output);
                    output.extend(if is_on_children { 1_i32 } else { 2 }.to_be_bytes());
                }
                Self::Multi { parts } => {
                    parts.iter().for_each(|part| part.write(output));
                    end(output);
                }
                Self::DataOfEach { paths } => {
                    for path in paths {
                        header(DATA, output);
                        write_bytes(path.as_str().as_bytes(), output);
                        // No watch.
                        output.push(false.into());
                    }
                    end(output);
                }
                Self::Sasl { token } => write_bytes(token, output),
                Self::Close => {}
            }
        });
    }
}

/// The session that a connection is to go on with, and what proves that it is ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SessionKey {
    pub(crate) session: i64,
    pub(crate) password: Vec<u8>,
}

/// Asks for a new session, or to go on with this one, with a timeout in milliseconds.
pub(crate) fn write_hello(timeout: i32, resumed: Option<&SessionKey>, output: &mut Vec<u8>) {
    framed(output, |output| {
        // The version of the protocol, and the last transaction that was seen.
        output.extend(0_i32.to_be_bytes());
        output.extend(0_i64.to_be_bytes());
        output.extend(timeout.to_be_bytes());
        match resumed {
            Some(SessionKey { session, password }) => {
                output.extend(session.to_be_bytes());
                write_bytes(password, output);
            }
            None => {
                output.extend(0_i64.to_be_bytes());
                write_bytes(&[0; 16], output);
            }
        }
        // Whether a server will do that sees too few others to write.
        output.push(false.into());
    });
}

/// Gives the server credentials of this scheme.
pub(crate) fn write_auth(scheme: &str, credentials: &[u8], output: &mut Vec<u8>) {
    framed(output, |output| {
        output.extend(AUTH_XID.to_be_bytes());
        output.extend(100_i32.to_be_bytes());
        // The type, which no server looks at.
        output.extend(0_i32.to_be_bytes());
        write_bytes(scheme.as_bytes(), output);
        write_bytes(credentials, output);
    });
}

pub(crate) fn write_ping(output: &mut Vec<u8>) {
    framed(output, |output| {
        output.extend(PING_XID.to_be_bytes());
        output.extend(11_i32.to_be_bytes());
    });
}

/// Puts the length before what `write` writes.
fn framed(output: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let start = output.len();
    output.extend([0; 4]);
    write(output);
    let length = length(output.len() - start - 4);
    output[start..start + 4].copy_from_slice(&length);
}

fn write_acl(acl: &Acl, output: &mut Vec<u8>) {
    output.extend(length(acl.entries.len()));
    for AclEntry { permissions, scheme, id } in &acl.entries {
        output.extend(permissions.to_be_bytes());
        write_bytes(scheme.as_bytes(), output);
        write_bytes(id.as_bytes(), output);
    }
}

fn write_bytes(bytes: &[u8], output: &mut Vec<u8>) {
    output.extend(length(bytes.len()));
    output.extend_from_slice(bytes);
}

/// The client refuses larger data before, so that the 31 bits of the protocol are enough.
fn length(length: usize) -> [u8; 4] {
    i32::try_from(length).expect("a request of less than 2 GiB").to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut output = Vec::new();
        write(&mut output);
        output
    }

    // The right bytes are those of the records in ZooKeeper's `zookeeper.jute`.
    #[test]
    fn requests_are_what_the_protocol_says() {
        let request = |request: Request<'_>| written(|output| request.write(0x0102_0304, output));
        assert_eq!(
            request(Request::Data { path: "/a", watch: true }),
            b"\0\0\0\x0f\x01\x02\x03\x04\0\0\0\x04\0\0\0\x02/a\x01"
        );
        assert_eq!(
            request(Request::Exists { path: "/a", watch: false }),
            b"\0\0\0\x0f\x01\x02\x03\x04\0\0\0\x03\0\0\0\x02/a\0"
        );
        assert_eq!(
            request(Request::Children { path: "/", watch: true }),
            b"\0\0\0\x0e\x01\x02\x03\x04\0\0\0\x0c\0\0\0\x01/\x01"
        );
        assert_eq!(request(Request::Acl { path: "/" }), b"\0\0\0\x0d\x01\x02\x03\x04\0\0\0\x06\0\0\0\x01/");
        assert_eq!(request(Request::Sync { path: "/" }), b"\0\0\0\x0d\x01\x02\x03\x04\0\0\0\x09\0\0\0\x01/");
        assert_eq!(
            request(Request::Create { path: "/a", data: b"xyz", acl: &Acl::open(), is_ephemeral: false }),
            b"\0\0\0\x34\x01\x02\x03\x04\0\0\0\x01\0\0\0\x02/a\0\0\0\x03xyz\0\0\0\x01\0\0\0\x1f\
              \0\0\0\x05world\0\0\0\x06anyone\0\0\0\0"
        );
        let ephemeral = Request::Create { path: "/a", data: b"", acl: &Acl::open(), is_ephemeral: true };
        assert!(request(ephemeral).ends_with(b"\0\0\0\x06anyone\0\0\0\x01"));
        let next = Request::CreateNext { path: "/a/_c_", data: b"x", acl: &Acl::open() };
        assert!(request(next).starts_with(b"\0\0\0\x36\x01\x02\x03\x04\0\0\0\x01\0\0\0\x06/a/_c_"));
        assert!(request(next).ends_with(b"\0\0\0\x06anyone\0\0\0\x03"));
        assert_eq!(
            request(Request::SetAcl { path: "/a", acl: &"ip:::1:r".parse().unwrap() }),
            b"\0\0\0\x27\x01\x02\x03\x04\0\0\0\x07\0\0\0\x02/a\0\0\0\x01\0\0\0\x01\0\0\0\x02ip\
              \0\0\0\x03::1\xff\xff\xff\xff"
        );
        assert_eq!(
            request(Request::SetData { path: "/a", data: b"", version: -1 }),
            b"\0\0\0\x16\x01\x02\x03\x04\0\0\0\x05\0\0\0\x02/a\0\0\0\0\xff\xff\xff\xff"
        );
        assert_eq!(
            request(Request::Delete { path: "/a", version: 7 }),
            b"\0\0\0\x12\x01\x02\x03\x04\0\0\0\x02\0\0\0\x02/a\0\0\0\x07"
        );
        assert_eq!(
            request(Request::RemoveWatch { path: "/a", is_on_children: false }),
            b"\0\0\0\x12\x01\x02\x03\x04\0\0\0\x12\0\0\0\x02/a\0\0\0\x02"
        );
        assert_eq!(
            request(Request::Sasl { token: b"t" }),
            b"\0\0\0\x0d\x01\x02\x03\x04\0\0\0\x66\0\0\0\x01t"
        );
        let part = Part::Check { path: NodePath::parse("/a").unwrap(), version: 7 };
        assert_eq!(
            request(Request::Multi { parts: &[part] }),
            b"\0\0\0\x24\x01\x02\x03\x04\0\0\0\x0e\0\0\0\x0d\0\xff\xff\xff\xff\0\0\0\x02/a\0\0\0\x07\
              \xff\xff\xff\xff\x01\xff\xff\xff\xff"
        );
        let paths = ["/a", "/"].map(|path| NodePath::parse(path).unwrap());
        assert_eq!(
            request(Request::DataOfEach { paths: &paths }),
            b"\0\0\0\x30\x01\x02\x03\x04\0\0\0\x16\0\0\0\x04\0\xff\xff\xff\xff\0\0\0\x02/a\0\
              \0\0\0\x04\0\xff\xff\xff\xff\0\0\0\x01/\0\xff\xff\xff\xff\x01\xff\xff\xff\xff"
        );
        assert_eq!(request(Request::Close), b"\0\0\0\x08\x01\x02\x03\x04\xff\xff\xff\xf5");
    }

    #[test]
    fn what_opens_and_keeps_a_session_is_what_the_protocol_says() {
        let hello = written(|output| write_hello(10_000, None, output));
        assert_eq!(hello[..4], [0, 0, 0, 45]);
        assert_eq!(hello[4..20], *b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x27\x10");
        assert_eq!(hello[20..], *b"\0\0\0\0\0\0\0\0\0\0\0\x10\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
        let key = SessionKey { session: -3, password: vec![7; 16] };
        let resumed = written(|output| write_hello(10_000, Some(&key), output));
        assert_eq!(resumed[..20], hello[..20]);
        assert_eq!(resumed[20..28], [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfd]);
        assert_eq!(resumed[28..], [&[0, 0, 0, 16][..], &[7; 16], &[0]].concat());
        assert_eq!(
            written(|output| write_auth("digest", b"a:b", output)),
            b"\0\0\0\x1d\xff\xff\xff\xfc\0\0\0\x64\0\0\0\0\0\0\0\x06digest\0\0\0\x03a:b"
        );
        assert_eq!(written(write_ping), b"\0\0\0\x08\xff\xff\xff\xfe\0\0\0\x0b");
    }
}
