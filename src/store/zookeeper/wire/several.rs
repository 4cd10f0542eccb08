//! Reading several nodes by one request, which servers know since 3.6 (`multiRead`).

use super::code::ErrorCode;
use super::operation::{DATA, FAILURE};
use super::reader::{Malformed, Reader};
use super::stat::Stat;
use crate::model::Blob;
use crate::sys::seal_copy;

/// What one of the nodes has, or why it was not read.
pub(crate) type NodeData = Result<(Blob, Stat), ErrorCode>;

/// Reads what all of the nodes have.
pub(super) fn read_several(reader: &mut Reader<'_>) -> Result<Vec<NodeData>, Malformed> {
    let what = "the reply to multiRead";
    let mut found = Vec::new();
    loop {
        let (operation, is_end) = (reader.i32(what)?, reader.bool(what)?);
        reader.i32(what)?;
        let one = match operation {
            _ if is_end => return Ok(found),
            DATA => Ok((seal_copy(reader.bytes("a node's data")?), Stat::read(reader)?)),
            FAILURE => Err(ErrorCode::of(reader.i32(what)?)),
            operation => return Err(Malformed::Operation(operation)),
        };
        found.push(one);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: &[u8] = b"\xff\xff\xff\xff\x01\xff\xff\xff\xff";

    fn read(body: &[u8]) -> Result<Vec<NodeData>, Malformed> {
        let mut reader = Reader::new(body);
        let found = read_several(&mut reader)?;
        reader.end("all").map(|()| found)
    }

    #[test]
    fn each_node_has_its_data_or_a_reason() {
        let stat = [b"\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x02", &[0; 52][..]].concat();
        let body = [
            &b"\0\0\0\x04\0\0\0\0\0\0\0\0\x03abc"[..],
            &stat,
            b"\xff\xff\xff\xff\0\xff\xff\xff\x9b\xff\xff\xff\x9b",
            b"\0\0\0\x04\0\0\0\0\0\xff\xff\xff\xff",
            &stat,
            END,
        ]
        .concat();
        let found = Stat { czxid: 1, mzxid: 2, ..Stat::default() };
        let expected =
            vec![Ok((b"abc"[..].into(), found)), Err(ErrorCode::NoNode), Ok((Blob::default(), found))];
        assert_eq!(read(&body), Ok(expected));
        for cut in 0..body.len() {
            assert!(read(&body[..cut]).is_err(), "{cut} bytes");
        }
        assert_eq!(read(END), Ok(Vec::new()));
        let other = [b"\0\0\0\x01\0\0\0\0\0", END].concat();
        assert_eq!(read(&other), Err(Malformed::Operation(1)));
    }
}
