//! The types of values, in the words of configs.

use rhai::Dynamic;

use super::constants::Constant;
use crate::config::registration::RegisteredAction;

/// Names the type of a value.
pub fn type_of(value: &Dynamic) -> String {
    match Constant::of(value) {
        Some(constant) => constant.name.to_owned(),
        None if value.is::<RegisteredAction>() => EXEC.to_owned(),
        None => type_named(value.type_name()),
    }
}

const EXEC: &str = "an Exec(...)";

/// Names the type that the interpreter calls `name`.
pub(in crate::config) fn type_named(name: &str) -> String {
    let known = TYPES.iter().find(|(names, _)| names.contains(&name));
    match (known, name) {
        (Some((_, words)), _) => (*words).to_owned(),
        (None, range) if range.contains("Range") => RANGE.to_owned(),
        (None, name) => {
            format!("a value of type {}", name.rsplit("::").next().unwrap_or(name))
        }
    }
}

const RANGE: &str = "a range of numbers";

/// The interpreter has several names for a type.
#[rustfmt::skip]
const TYPES: [(&[&str], &str); 13] = [
    (&["()"], "nothing ()"),
    (&["string", "&str", "ImmutableString", "alloc::string::String", "&str | ImmutableString | String"],
        "a string"),
    (&["char"], "a character in single quotes"),
    (&["i64", "int"], "an int"),
    (&["f64", "float"], "a float"),
    (&["bool"], "a bool"),
    (&["map"], "a map"),
    (&["array"], "an array"),
    (&["blob"], "a blob"),
    (&["Fn", "rhai::types::fn_ptr::FnPtr"], "a function"),
    (&["range", "range="], RANGE),
    (&["timestamp", "std::time::Instant"], "a point in time"),
    (&["Exec", "twitcher::config::registration::RegisteredAction"], EXEC),
];

/// Returns what to write in the place of a character, which people mean as a string: `; write "0"`.
pub(in crate::config) fn as_string(value: &Dynamic) -> String {
    value.as_char().map_or(String::new(), |c| format!("; write {:?}", c.to_string()))
}
