//! Decoded values, as functions see them.

use rhai::{Array, Dynamic, Map};

use crate::value::Value;

/// Returns a value as the interpreter has it. An integer that does not fit in 64 bits becomes a float. What
/// only CBOR has becomes a map with one entry, as in the plain form, but a byte string is a blob.
pub(super) fn dynamic(value: Value) -> Dynamic {
    match value {
        Value::Null => Dynamic::UNIT,
        Value::Bool(it) => it.into(),
        Value::Int(it) => i64::try_from(it).map_or_else(|_| Dynamic::from(it as f64), Dynamic::from),
        Value::Float(it) => it.into(),
        Value::Text(it) => it.into(),
        Value::Bytes(it) => Dynamic::from_blob(it),
        Value::Array(it) => array(it).into(),
        Value::Map(it) => {
            let entries = it.into_iter().map(|(key, value)| (key.into(), dynamic(value)));
            entries.collect::<Map>().into()
        }
        Value::Pairs(it) => {
            let pairs = it.into_iter().map(|(key, value)| array([key, value]).into()).collect::<Array>();
            single("$map", pairs.into())
        }
        Value::Tagged(tag, it) => {
            let tag = Value::Int(tag.into());
            single("$tag", array([tag, *it]).into())
        }
        Value::Simple(it) => single("$simple", i64::from(it).into()),
    }
}

fn array(values: impl IntoIterator<Item = Value>) -> Array {
    values.into_iter().map(dynamic).collect()
}

fn single(key: &str, value: Dynamic) -> Dynamic {
    Map::from_iter([(key.into(), value)]).into()
}
