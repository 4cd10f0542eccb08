//! The parts of a packet. A server that breaks the rules is an error, and nothing worse.

use std::io;

/// What is left of a packet.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

pub(super) fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the server does not speak MySQL's protocol")
}

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, length: usize) -> io::Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or_else(malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn number(&mut self, bytes: usize) -> io::Result<u64> {
        let taken = self.take(bytes)?;
        Ok(taken.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    pub(super) fn byte(&mut self) -> io::Result<u8> {
        Ok(self.take(1)?[0])
    }

    /// Takes bytes up to a NUL, which is taken and left out; all if there is none.
    pub(super) fn text(&mut self) -> &'a [u8] {
        let end = self.0.iter().position(|byte| *byte == 0);
        let text = &self.0[..end.unwrap_or(self.0.len())];
        self.0 = &self.0[end.map_or(self.0.len(), |end| end + 1)..];
        text
    }

    /// Takes a number whose first byte says how long it is.
    pub(super) fn length(&mut self) -> io::Result<usize> {
        let number = match self.byte()? {
            byte @ 0..=0xfa => u64::from(byte),
            0xfc => self.number(2)?,
            0xfd => self.number(3)?,
            0xfe => self.number(8)?,
            0xfb | 0xff => return Err(malformed()),
        };
        usize::try_from(number).map_err(|_| malformed())
    }

    /// Takes the value of a column.
    pub(super) fn value(&mut self) -> io::Result<Option<&'a [u8]>> {
        if self.0.first() == Some(&0xfb) {
            self.0 = &self.0[1..];
            return Ok(None);
        }
        let length = self.length()?;
        self.take(length).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_lengths_of_one_to_eight_bytes() {
        let long = [b"\xfc\x2c\x01".to_vec(), vec![b'x'; 300]].concat();
        let mut reader = Reader(&long);
        assert_eq!(reader.value().unwrap().map(<[u8]>::len), Some(300));
        let mut reader = Reader(b"\xfb\x02ab\xfe\x01\0\0\0\0\0\0\0c");
        assert_eq!(reader.value().unwrap(), None);
        assert_eq!(reader.value().unwrap(), Some(&b"ab"[..]));
        assert_eq!(reader.value().unwrap(), Some(&b"c"[..]));
        assert!(reader.value().is_err());
    }

    #[test]
    fn a_packet_that_ends_too_early_is_an_error() {
        for wrong in
            [&b"\x05ab"[..], b"\xfc\x01", b"\xfd\0", b"\xfe\xff\xff\xff\xff\xff\xff\xff\xffx", b"\xff"]
        {
            assert!(Reader(wrong).value().is_err(), "{wrong:?}");
        }
        assert_eq!(Reader(b"ab").text(), b"ab");
        let mut reader = Reader(b"ab\0c");
        assert_eq!((reader.text(), reader.0), (&b"ab"[..], &b"c"[..]));
    }
}
