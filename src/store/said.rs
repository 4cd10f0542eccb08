//! The members of a service: the children of a node, with what each says of itself.
//!
//! Members are what `twitcher services` shows. The process of a store decodes their data, so that the daemon
//! hands on one object of JSON that it never reads. An object that is the same has one version, however often
//! its members were written or created anew.

use std::io;

use super::memory::{self, NoRoom};
use crate::model::Content;
use crate::sys::BlobWriter;
use crate::text::StableHash;
use crate::value::{object, plain};

/// What one member says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    /// As JSON, in the plain form.
    text: Box<str>,
    /// A hash of the name and the text.
    hash: i64,
}

impl Said {
    /// Decodes a member's data. `beside` is how much else must still fit into the memory then.
    pub(super) fn decode(name: &str, data: &[u8], beside: u64) -> Result<Self, NoRoom> {
        memory::room_for(object::member_memory(data).saturating_add(beside))?;
        let text = plain::write(&object::member(data));
        let mut hash = StableHash::default();
        hash.add(name);
        hash.add(&text);
        Ok(Self { text: text.into(), hash: hash.fold().cast_signed() })
    }

    pub(super) fn bytes(&self) -> u64 {
        self.text.len() as u64
    }

    pub(super) fn hash(&self) -> i64 {
        self.hash
    }
}

/// Makes the content of these members, which are sorted by name.
pub(super) fn content<'a>(members: impl Iterator<Item = (&'a str, &'a Said)>) -> io::Result<Content> {
    let (mut object, mut count) = (BlobWriter::default(), 0);
    let said = members.inspect(|_| count += 1).map(|(name, said)| (name, said.text.as_bytes()));
    object::write_members(said, &mut object)?;
    Ok(Content::Members { object: object.finish()?, count })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::read;

    #[test]
    fn members_are_one_line_of_json_and_what_says_the_same_has_one_hash() {
        let said = |name, data: &[u8]| Said::decode(name, data, 0).unwrap();
        let (a, b) = (said("a", b"{ \"pid\": 1 }"), said("b", b"\xff"));
        let Content::Members { object, count } = content([("a", &a), ("b", &b)].into_iter()).unwrap() else {
            panic!("no members");
        };
        let expected = b"{\"a\":{\"pid\":1},\"b\":{\"string_value\":{\"$bytes\":\"/w==\"}}}\n";
        assert_eq!((&*read(&object).unwrap(), count), (&expected[..], 2));
        assert_eq!(a, said("a", b"{\"pid\":1}"));
        for other in [said("b", b"{\"pid\":1}"), said("a", b"{\"pid\":2}"), said("a", b"")] {
            assert_ne!(a.hash(), other.hash());
        }
    }
}
