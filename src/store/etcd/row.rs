//! Typed rows, as txaio-etcd keeps them: a row's key is the number of its table's slot in two bytes,
//! big-endian, and then the row's own key of one or two parts. Such a row is a node whose path begins with
//! the slot and the type of the key: `/@4:oid/258` is `00 04 00 00 00 00 00 00 01 02`.
//!
//! A row has one path: a number without leading zeros, a UUID and bytes in small letters, and a text in which
//! only what cannot be in a path is written as `%` and two digits.

use data_encoding::{HEXLOWER, HEXUPPER};
use thiserror::Error;

use crate::model::NodePath;
use crate::text::suggest;

/// The slots of a store are numbered with two bytes.
const SLOT_BYTES: usize = size_of::<u16>();

/// The largest object id: the programs that share such tables also keep ids in floating-point numbers, which
/// have 53 bits for whole ones.
const MAX_OID: u64 = 1 << 53;

/// What the path of a table or a row says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    table: Table,
    /// The parts that the path names, from none to all that the table's keys have.
    parts: Vec<Vec<u8>>,
}

/// A table: its slot, and the types of the one or two parts of its rows' keys.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Table {
    slot: u16,
    types: Vec<PartType>,
}

/// The type of a part of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PartType {
    Oid,
    Uuid,
    String,
    Bytes,
}

/// What a key is that lies in the ranges of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// This node, which is the one in question or below it.
    Node(NodePath),
    /// A row elsewhere in the same table.
    Elsewhere,
    /// It is no node's.
    NoNode,
}

/// Why a path that begins like that of a row is none.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum RowError {
    #[error("{node}: slot {slot} of a table is a number from 0 to 65535, without leading zeros")]
    Slot { node: NodePath, slot: String },
    #[error(
        "{node}: unknown type of keys `{given}`{suggestion} (the types are oid, uuid, string, bytes, and \
         pairs such as uuid-oid)"
    )]
    Type { node: NodePath, given: String, suggestion: String },
    #[error(
        "{node}: a pair of {first} and {second} has no end of its first part; one must be an oid or a uuid"
    )]
    Ambiguous { node: NodePath, first: &'static str, second: &'static str },
    #[error("{node}: a row of `{table}` has {parts} below its table, no more")]
    Depth { node: NodePath, table: String, parts: String },
    #[error("{node}: `{part}` is no {kind}: {rule}")]
    Part { node: NodePath, part: String, kind: &'static str, rule: &'static str },
    #[error("{node}: write `{part}` as `{canonical}`: each row has one path")]
    Spelling { node: NodePath, part: String, canonical: String },
}

impl Row {
    /// Returns the table or row that `node` is; `None` for the path of any other node.
    pub(super) fn parse(node: &NodePath) -> Option<Result<Self, RowError>> {
        let mut components = node.components();
        let (slot, types) = components.next()?.strip_prefix('@')?.split_once(':')?;
        let is_slot = !slot.is_empty() && slot.bytes().all(|byte| byte.is_ascii_digit());
        // With the types of a key, it is the path of a row with a mistake, and no other node.
        (is_slot || types_named(types).is_some()).then(|| {
            let table = Table::parse(node, slot, types)?;
            let parts: Vec<_> = components.collect();
            if parts.len() > table.types.len() {
                let parts = if table.types.len() == 1 { "one part" } else { "two parts" };
                return Err(RowError::Depth { node: node.clone(), table: table.name(), parts: parts.into() });
            }
            let parts = table.types.iter().zip(parts).map(|(kind, part)| kind.parse(node, part));
            Ok(Self { parts: parts.collect::<Result<_, _>>()?, table })
        })
    }

    /// Returns the row's key. Of a table of texts or bytes, that of the row with the empty key; of any other
    /// table and of the first half of a pair, `None`: there is no such row.
    pub(super) fn key(&self) -> Option<Vec<u8>> {
        let empty = self.parts.is_empty() && matches!(self.table.types[..], [kind] if kind.width().is_none());
        (self.is_whole() || empty).then(|| self.bytes())
    }

    /// Returns the first key of the range that all rows below this table or half of a pair are in, and the
    /// first one after that range, as etcd takes them; `None` of a whole row, which has none below it. Of a
    /// pair whose first part is a text or bytes, rows of other pairs are in it as well: [`Self::find`] tells.
    pub(super) fn below(&self) -> Option<(Vec<u8>, Vec<u8>)> {
        if self.is_whole() {
            return None;
        }
        let prefix = self.bytes();
        let end = after_prefix(&prefix);
        Some(([&prefix[..], &[0]].concat(), end))
    }

    /// Returns what the row with this key is, seen from this table, half of a pair or row.
    pub(super) fn find(&self, key: &[u8]) -> Found {
        match self.table.row(key) {
            Some(row) if row.parts.starts_with(&self.parts) => Found::Node(row.node()),
            Some(_) => Found::Elsewhere,
            None => Found::NoNode,
        }
    }

    /// Returns the first key after `key` and after those with the same first half, which has a width, if this
    /// is a table of pairs.
    pub(super) fn after_child(&self, key: &[u8]) -> Option<Vec<u8>> {
        match (&self.table.types[..], self.parts.len()) {
            ([first, _], 0) => key.get(..SLOT_BYTES + first.width()?).map(after_prefix),
            _ => None,
        }
    }

    /// Returns the parts of the key, by which rows of one table are sorted.
    pub(super) fn into_parts(self) -> Vec<Vec<u8>> {
        self.parts
    }

    fn is_whole(&self) -> bool {
        self.parts.len() == self.table.types.len()
    }

    fn bytes(&self) -> Vec<u8> {
        [&self.table.slot.to_be_bytes()[..], &self.parts.concat()].concat()
    }

    fn node(&self) -> NodePath {
        let parts = self.table.types.iter().zip(&self.parts).filter_map(|(kind, part)| kind.show(part));
        parts.fold(self.table.node(), |node, part| node.child(&part))
    }
}

impl Table {
    fn node(&self) -> NodePath {
        NodePath::unchecked(&format!("/{}", self.name()))
    }

    /// Returns the row with this key, unless the key is not one of this table.
    fn row(&self, key: &[u8]) -> Option<Row> {
        let key = key.strip_prefix(&self.slot.to_be_bytes())?;
        let parts = match self.types[..] {
            [kind] if key.is_empty() && kind.width().is_none() => vec![],
            [_] => vec![key],
            [first, second] => {
                let middle = match (first.width(), second.width()) {
                    (Some(width), _) => width,
                    (None, Some(width)) => key.len().checked_sub(width)?,
                    (None, None) => return None,
                };
                let (first, second) = key.split_at_checked(middle)?;
                vec![first, second]
            }
            _ => return None,
        };
        let fits = self.types.iter().zip(&parts).all(|(kind, part)| kind.show(part).is_some());
        fits.then(|| Row { table: self.clone(), parts: parts.into_iter().map(<[u8]>::to_vec).collect() })
    }

    fn name(&self) -> String {
        let types: Vec<_> = self.types.iter().map(|kind| kind.name()).collect();
        format!("@{}:{}", self.slot, types.join("-"))
    }

    fn parse(node: &NodePath, slot: &str, types: &str) -> Result<Self, RowError> {
        let number = slot.parse::<u16>().ok().filter(|number| number.to_string() == slot);
        let number = number.ok_or_else(|| RowError::Slot { node: node.clone(), slot: slot.to_owned() })?;
        match types_named(types).as_deref() {
            Some(&[first, second]) if first.width().is_none() && second.width().is_none() => {
                Err(RowError::Ambiguous { node: node.clone(), first: first.name(), second: second.name() })
            }
            Some(all @ ([_] | [_, _])) => Ok(Self { slot: number, types: all.to_vec() }),
            _ => Err(RowError::Type {
                node: node.clone(),
                given: types.to_owned(),
                suggestion: suggest(types, type_names().iter().map(String::as_str)),
            }),
        }
    }
}

/// Returns the types that have these names.
fn types_named(types: &str) -> Option<Vec<PartType>> {
    types.split('-').map(PartType::named).collect()
}

/// The names of all types of keys, also of pairs.
fn type_names() -> Vec<String> {
    let pairs = PartType::ALL.into_iter().flat_map(|first| PartType::ALL.map(|second| (first, second)));
    let pairs = pairs.filter(|(first, second)| first.width().or(second.width()).is_some());
    let pairs = pairs.map(|(first, second)| format!("{}-{}", first.name(), second.name()));
    PartType::ALL.into_iter().map(|one| one.name().to_owned()).chain(pairs).collect()
}

impl PartType {
    const ALL: [Self; 4] = [Self::Oid, Self::Uuid, Self::String, Self::Bytes];

    fn name(self) -> &'static str {
        match self {
            Self::Oid => "oid",
            Self::Uuid => "uuid",
            Self::String => "string",
            Self::Bytes => "bytes",
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// How many bytes a part of this type has, or `None` where it ends with the key.
    fn width(self) -> Option<usize> {
        match self {
            Self::Oid => Some(size_of::<u64>()),
            Self::Uuid => Some(16),
            Self::String | Self::Bytes => None,
        }
    }

    /// Returns the part of a key that a component of a path names.
    fn parse(self, node: &NodePath, part: &str) -> Result<Vec<u8>, RowError> {
        let read = match self {
            Self::Oid => part.parse::<u64>().ok().map(|oid| oid.to_be_bytes().to_vec()),
            Self::Uuid => uuid(part),
            Self::String => unescaped(part),
            Self::Bytes => HEXLOWER.decode(part.to_ascii_lowercase().as_bytes()).ok(),
        };
        let canonical = read.as_deref().and_then(|bytes| self.show(bytes));
        match (read, canonical) {
            (Some(bytes), Some(canonical)) if canonical == part => Ok(bytes),
            (_, Some(canonical)) => {
                Err(RowError::Spelling { node: node.clone(), part: part.to_owned(), canonical })
            }
            (_, None) => Err(RowError::Part {
                node: node.clone(),
                part: part.to_owned(),
                kind: self.name(),
                rule: self.rule(),
            }),
        }
    }

    /// Returns the component of a path that names this part of a key, or `None` where the bytes are not of
    /// this type, or empty: no component is.
    fn show(self, part: &[u8]) -> Option<String> {
        match self {
            Self::Oid => {
                let oid = u64::from_be_bytes(part.try_into().ok()?);
                (oid <= MAX_OID).then(|| oid.to_string())
            }
            Self::Uuid => {
                let hex = HEXLOWER.encode(<&[u8; 16]>::try_from(part).ok()?);
                let groups = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
                Some(groups.join("-"))
            }
            Self::String => std::str::from_utf8(part).ok().filter(|text| !text.is_empty()).map(escaped),
            Self::Bytes => (!part.is_empty()).then(|| HEXLOWER.encode(part)),
        }
    }

    fn rule(self) -> &'static str {
        match self {
            Self::Oid => "write a decimal number up to 2^53",
            Self::Uuid => "write 32 hexadecimal digits in groups of 8, 4, 4, 4 and 12",
            Self::String => {
                "a % stands before two hexadecimal digits, and the text is UTF-8; write % itself as %25"
            }
            Self::Bytes => "write two hexadecimal digits for each byte",
        }
    }
}

/// Returns why a node cannot be in etcd: its path begins like that of a row and is none. Such a node has no
/// keys.
pub(in crate::store) fn mistake(node: &NodePath) -> Option<RowError> {
    Row::parse(node)?.err()
}

/// Whether a node is a table or half of a pair that is no row as well.
pub(in crate::store) fn is_without_data(node: &NodePath) -> bool {
    matches!(Row::parse(node), Some(Ok(row)) if row.key().is_none())
}

/// Returns the first key after all that begin with `prefix`, as etcd takes the end of a range.
fn after_prefix(prefix: &[u8]) -> Vec<u8> {
    match prefix.iter().rposition(|byte| *byte != u8::MAX) {
        Some(last) => [&prefix[..last], &[prefix[last] + 1]].concat(),
        // Nothing comes after such a prefix: the range has no end.
        None => vec![0],
    }
}

fn uuid(part: &str) -> Option<Vec<u8>> {
    let digits: String = part.chars().filter(|c| *c != '-').collect();
    let bytes = HEXLOWER.decode(digits.to_ascii_lowercase().as_bytes()).ok()?;
    (bytes.len() == 16).then_some(bytes)
}

/// Writes a text as one component of a path.
fn escaped(text: &str) -> String {
    let dots = matches!(text, "." | "..");
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c == '/' || c == '%' || c.is_control() || dots {
            for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                shown.push('%');
                shown.push_str(&HEXUPPER.encode(&[byte]));
            }
        } else {
            shown.push(c);
        }
    }
    shown
}

fn unescaped(part: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let [byte, after @ ..] = rest {
        rest = after;
        if *byte == b'%' {
            let (digits, after) = rest.split_at_checked(2)?;
            bytes.extend(HEXUPPER.decode(&digits.to_ascii_uppercase()).ok()?);
            rest = after;
        } else {
            bytes.push(*byte);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn row(path: &str) -> Result<Row, RowError> {
        Row::parse(&NodePath::parse(path).unwrap()).expect("the path of a row")
    }

    fn key(path: &str) -> Option<String> {
        row(path).unwrap().key().map(|key| HEXLOWER.encode(&key))
    }

    fn node(path: Option<&str>) -> Found {
        path.map_or(Found::NoNode, |path| Found::Node(NodePath::parse(path).unwrap()))
    }

    const UUID: &str = "6e2c37fa-2f43-4d9c-9a10-0123456789ab";

    #[test]
    fn the_key_of_a_row_is_the_slot_and_the_parts() {
        for (path, expected) in [
            ("/@4:oid/258", Some("00040000000000000102")),
            ("/@4:oid/9007199254740992", Some("00040020000000000000")),
            ("/@1:uuid/6e2c37fa-2f43-4d9c-9a10-0123456789ab", Some("00016e2c37fa2f434d9c9a100123456789ab")),
            ("/@2:string/name", Some("00026e616d65")),
            ("/@2:string/a%2Fb%25", Some("0002612f6225")),
            ("/@2:string", Some("0002")),
            ("/@3:bytes/0a0b", Some("00030a0b")),
            ("/@65535:oid-string/1/\u{fc}", Some("ffff0000000000000001c3bc")),
            ("/@7:string-oid/ab/1", Some("000761620000000000000001")),
            ("/@4:oid", None),
            ("/@7:oid-uuid/1", None),
            ("/@7:string-oid", None),
        ] {
            assert_eq!(key(path).as_deref(), expected, "{path}");
        }
        assert_eq!(
            key(&format!("/@7:uuid-oid/{UUID}/258")).unwrap(),
            "00076e2c37fa2f434d9c9a100123456789ab0000000000000102"
        );
    }

    #[test]
    fn other_nodes_may_begin_with_the_same_character() {
        for path in ["/", "/@", "/@4", "/@a:x", "/@:", "/a/@4:oid", "/@-1:iod", "/@a:oid-x"] {
            assert!(Row::parse(&NodePath::parse(path).unwrap()).is_none(), "{path}");
        }
    }

    #[test]
    fn a_mistake_in_the_path_of_a_row_is_named_with_the_remedy() {
        for (path, words) in [
            ("/@65536:oid/1", "slot 65536 of a table is a number from 0 to 65535"),
            ("/@04:oid/1", "slot 04 of a table"),
            ("/@-1:oid/1", "slot -1 of a table"),
            ("/@a:string", "slot a of a table"),
            ("/@:oid-uuid/1", "slot  of a table"),
            ("/@4:iod/1", "unknown type of keys `iod`; did you mean `oid`? (the types are oid, uuid, "),
            ("/@4:uuid-iod/1", "unknown type of keys `uuid-iod`; did you mean `uuid-oid`? (the types"),
            ("/@4:/1", "unknown type of keys `` (the types are"),
            ("/@4:oid-oid-oid/1", "unknown type of keys `oid-oid-oid`"),
            ("/@4:string-bytes/a", "a pair of string and bytes has no end"),
            ("/@4:oid/1/2", "a row of `@4:oid` has one part below its table"),
            ("/@4:oid-oid/1/2/3", "has two parts below its table"),
            ("/@4:oid/x", "`x` is no oid: write a decimal number up to 2^53"),
            ("/@4:oid/9007199254740993", "is no oid"),
            ("/@4:oid/18446744073709551616", "is no oid"),
            ("/@4:oid/007", "write `007` as `7`"),
            ("/@4:oid/+7", "write `+7` as `7`"),
            ("/@1:uuid/6e2c37fa", "is no uuid: write 32 hexadecimal digits"),
            ("/@1:uuid/6E2C37FA-2F43-4D9C-9A10-0123456789AB", "as `6e2c37fa-2f43-4d9c-9a10-0123456789ab`"),
            ("/@1:uuid/6e2c37fa2f434d9c9a100123456789ab", "as `6e2c37fa-2f43-4d9c-9a10-0123456789ab`"),
            ("/@2:string/100%", "`100%` is no string: a % stands before two"),
            ("/@2:string/%ff", "is no string"),
            ("/@2:string/%41", "write `%41` as `A`"),
            ("/@2:string/a%2fb", "write `a%2fb` as `a%2Fb`"),
            ("/@3:bytes/abc", "is no bytes: write two hexadecimal digits"),
            ("/@3:bytes/0A", "write `0A` as `0a`"),
        ] {
            let error = row(path).unwrap_err().to_string();
            assert!(error.contains(words) && error.starts_with(path), "{path}: {error}");
        }
    }

    #[test]
    fn a_table_has_the_rows_of_its_slot_and_no_others() {
        let table = row("/@4:oid").unwrap();
        assert_eq!(table.below(), Some((vec![0, 4, 0], vec![0, 5])));
        for (key, path) in [
            ("00040000000000000102", Some("/@4:oid/258")),
            ("00040020000000000001", None),
            ("000400000000000001", None),
            ("0004000000000000010200", None),
            ("00050000000000000102", None),
            ("0004", None),
            ("", None),
        ] {
            let key = HEXLOWER.decode(key.as_bytes()).unwrap();
            assert_eq!(table.find(&key), node(path), "{key:?}");
        }
        assert_eq!(row("/@65535:oid").unwrap().below(), Some((vec![255, 255, 0], vec![0])));
        assert_eq!(row("/@255:oid").unwrap().below(), Some((vec![0, 255, 0], vec![1])));
    }

    #[test]
    fn half_of_a_pair_has_the_rows_that_begin_with_it_and_no_others() {
        let half = row("/@7:string-oid/ab").unwrap();
        let (first, end) = half.below().unwrap();
        for (other, is_below) in [("/@7:string-oid/ab/1", true), ("/@7:string-oid/abc/1", false)] {
            let key = row(other).unwrap().key().unwrap();
            assert!(first <= key && key < end);
            let found = if is_below { node(Some(other)) } else { Found::Elsewhere };
            assert_eq!(half.find(&key), found, "{other}");
        }
    }

    fn part() -> impl Strategy<Value = (PartType, Vec<u8>)> {
        prop_oneof![
            (0..=MAX_OID).prop_map(|oid| (PartType::Oid, oid.to_be_bytes().to_vec())),
            any::<[u8; 16]>().prop_map(|uuid| (PartType::Uuid, uuid.to_vec())),
            "(?s).{1,4}".prop_map(|text| (PartType::String, text.into_bytes())),
            prop_oneof![Just("."), Just(".."), Just("%"), Just("/"), Just("%2F")]
                .prop_map(|text| (PartType::String, text.as_bytes().to_vec())),
            proptest::collection::vec(any::<u8>(), 1..5).prop_map(|bytes| (PartType::Bytes, bytes)),
        ]
    }

    proptest! {
        // Whatever programs keep in a table, each row has a path, and the path leads back to its key.
        #[test]
        fn the_path_of_a_key_leads_to_that_key(slot: u16, parts in proptest::collection::vec(part(), 1..=2)) {
            let (types, parts): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
            prop_assume!(types.len() == 1 || types.iter().any(|kind| kind.width().is_some()));
            let table = Table { slot, types };
            let key = [&slot.to_be_bytes()[..], &parts.concat()].concat();
            let whole = Row { parts: vec![], table };
            let Found::Node(node) = whole.find(&key) else { panic!("each row has a path") };
            let again = Row::parse(&NodePath::parse(node.as_str()).unwrap()).unwrap().unwrap();
            prop_assert_eq!(again.key(), Some(key.clone()));
            let (first, end) = whole.below().unwrap();
            prop_assert!(first <= key && (key < end || end == [0]));
        }
    }
}
