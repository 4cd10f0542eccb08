//! The check of `RegisterWatch(#{ ... })`.

use rhai::{Dynamic, Map};

use super::registration::{CallPosition, Registration};
use super::vocabulary::{KEYS, Value, fill, type_of};

/// Returns the map that is the argument of `RegisterWatch`.
pub fn argument(value: &Dynamic) -> Result<Map, String> {
    let map = value.as_map_ref().map_err(|_| {
        format!("RegisterWatch takes a map, RegisterWatch(#{{ ... }}), not {}", type_of(value))
    })?;
    Ok(map.clone())
}

/// Checks the argument of `RegisterWatch`. `description` is used if the argument has none. An error names the
/// key.
pub fn registration(map: &Map, description: String, position: CallPosition) -> Result<Registration, String> {
    let mut registration = Registration::new(description, position);
    fill(KEYS, map, &mut registration)?;
    for key in KEYS.iter().filter(|key| map.contains_key(key.name)) {
        match key.only {
            Some(only) if only != registration.policy.run_mode => {
                let only = Value::RunMode(only).name();
                return Err(format!("`{}` is for run_mode: {only} only", key.name));
            }
            Some(_) | None => {}
        }
    }
    Ok(registration)
}
