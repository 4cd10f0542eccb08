//! The messages of etcd, written and read by hand: an etcd of the tests shares no code with the program.

#[derive(Clone)]
pub enum Field {
    Number(u64),
    Bytes(Vec<u8>),
}

impl Field {
    pub fn number(&self) -> i64 {
        match self {
            Self::Number(number) => number.cast_signed(),
            Self::Bytes(_) => 0,
        }
    }

    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Number(_) => Vec::new(),
            Self::Bytes(bytes) => bytes.clone(),
        }
    }
}

/// The fields of a message of Protocol Buffers, each with its number.
pub fn fields(mut message: &[u8]) -> Vec<(u32, Field)> {
    let mut fields = Vec::new();
    while !message.is_empty() {
        let key = take_varint(&mut message);
        let field = match key & 7 {
            0 => Field::Number(take_varint(&mut message)),
            2 => {
                let length = take_varint(&mut message) as usize;
                let (field, rest) = message.split_at(length);
                message = rest;
                Field::Bytes(field.to_vec())
            }
            other => panic!("a field of kind {other}"),
        };
        fields.push(((key >> 3) as u32, field));
    }
    fields
}

fn take_varint(message: &mut &[u8]) -> u64 {
    let length = 1 + message.iter().position(|byte| byte & 0x80 == 0).expect("a whole number");
    let (number, rest) = message.split_at(length);
    *message = rest;
    number.iter().rev().fold(0, |number, byte| number << 7 | u64::from(byte & 0x7f))
}

fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

pub fn number(tag: u32, number: i64) -> Vec<u8> {
    [varint(u64::from(tag) << 3), varint(number.cast_unsigned())].concat()
}

pub fn bytes(tag: u32, bytes: &[u8]) -> Vec<u8> {
    [varint(u64::from(tag) << 3 | 2), varint(bytes.len() as u64), bytes.to_vec()].concat()
}

/// The header of a reply at this revision.
pub fn header(revision: i64) -> Vec<u8> {
    header_of(7, revision)
}

/// The header of a reply of this cluster.
pub fn header_of(cluster: i64, revision: i64) -> Vec<u8> {
    bytes(1, &[number(1, cluster), number(2, 8), number(3, revision)].concat())
}

pub fn key_value(key: &[u8], created: i64, changed: i64, version: i64, value: &[u8]) -> Vec<u8> {
    [bytes(1, key), number(2, created), number(3, changed), number(4, version), bytes(5, value)].concat()
}

pub fn event(key_value: &[u8]) -> Vec<u8> {
    bytes(11, &bytes(2, key_value))
}

/// What a watch is told.
pub fn events(watch: i64, revision: i64, events: &[Vec<u8>]) -> Vec<u8> {
    [header(revision), number(2, watch), events.concat()].concat()
}

/// The result of a read that has found these keys.
pub fn range(found: &[Vec<u8>], count: usize, limit: usize) -> Vec<u8> {
    let kvs: Vec<_> = found.iter().map(|kv| bytes(2, kv)).collect();
    let more = i64::from(limit > 0 && count > limit);
    [kvs.concat(), number(3, more), number(4, count as i64)].concat()
}
