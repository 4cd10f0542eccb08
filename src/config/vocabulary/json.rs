//! Writes a map of a script as JSON.

use rhai::Dynamic;
use serde_json::{Map, Number, Value};

use super::fault::Fault;
use super::values;

/// Deeper data is a mistake, such as a map that contains itself.
const MAX_DEPTH: usize = 32;

/// Returns a map as compact JSON, its keys in order.
pub(super) fn object(value: &Dynamic) -> Result<String, Vec<Fault>> {
    let map = values::map("#{ weight: 10 }", value)?;
    let mut faults = Vec::new();
    let object = members(map, 0, &mut faults);
    if faults.is_empty() { Ok(object.to_string()) } else { Err(faults) }
}

fn members(map: rhai::Map, depth: usize, faults: &mut Vec<Fault>) -> Value {
    let mut object = Map::new();
    for (key, value) in map {
        let before = faults.len();
        object.insert(key.to_string(), json(&value.flatten(), depth + 1, faults));
        for fault in &mut faults[before..] {
            fault.path.insert(0, key.to_string());
            fault.text = match fault.text.strip_prefix(": ") {
                Some(within) if within.starts_with('`') => format!(": `{key}.{}", &within[1..]),
                _ => format!(": `{key}`{}", fault.text),
            };
        }
    }
    Value::Object(object)
}

fn json(value: &Dynamic, depth: usize, faults: &mut Vec<Fault>) -> Value {
    if depth > MAX_DEPTH {
        faults.push(format!(" is nested more than {MAX_DEPTH} deep").into());
        return Value::Null;
    }
    if let Ok(map) = value.as_map_ref() {
        return members(map.clone(), depth, faults);
    }
    if let Ok(array) = value.as_array_ref() {
        let items = array.iter().map(|item| json(&item.flatten_clone(), depth + 1, faults));
        return Value::Array(items.collect());
    }
    if let Ok(text) = value.as_immutable_string_ref() {
        return Value::String(text.to_string());
    }
    if let Ok(number) = value.as_int() {
        return number.into();
    }
    if let Ok(truth) = value.as_bool() {
        return truth.into();
    }
    if value.is_unit() {
        return Value::Null;
    }
    if let Ok(float) = value.as_float() {
        return Number::from_f64(float).map_or_else(
            || {
                faults.push(format!(": {float} is no number of JSON").into());
                Value::Null
            },
            Value::Number,
        );
    }
    let what = "a string, a number, a bool, an array or a map";
    faults.push(values::must_be(what, value).into());
    Value::Null
}
