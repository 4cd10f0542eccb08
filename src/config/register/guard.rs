//! The keys that say which updates are suspicious.

use rhai::{Dynamic, Map};

use super::{boolean, int, type_of};
use crate::model::{Guard, Share};
use crate::text::suggest;

const KEYS: [&str; 2] = ["not_empty", "max_shrink"];

const EXAMPLE: &str = "#{ not_empty: true, max_shrink: 50 }";

/// Checks these keys. `take` gives the value of a key.
pub(super) fn guard(take: &mut impl FnMut(&str) -> Option<Dynamic>) -> Result<Guard, String> {
    let max_data = take("max_data").map(max_data).transpose()?;
    let Some(value) = take("guard") else { return Ok(Guard { max_data, ..Guard::default() }) };
    let type_name = type_of(&value);
    let Some(mut map) = value.try_cast::<Map>() else {
        return Err(format!("`guard` must be a map, {EXAMPLE}, not {type_name}"));
    };
    if map.is_empty() {
        return Err(format!("`guard` is empty and guards nothing; write {EXAMPLE}, or leave it out"));
    }
    if let Some(unknown) = map.keys().find(|key| !KEYS.contains(&key.as_str())) {
        // It looks as if it belonged here.
        let near = match unknown.as_str() {
            "max_data" => "; `max_data` stands beside `guard`, not in it".to_owned(),
            unknown => suggest(unknown, KEYS),
        };
        return Err(format!("`guard`: unknown key `{unknown}`{near}"));
    }
    let mut take = |key: &str| map.remove(key).map(Dynamic::flatten);
    Ok(Guard {
        max_data,
        not_empty: take("not_empty").map_or(Ok(false), |value| boolean("not_empty", value))?,
        max_shrink: take("max_shrink").map(share).transpose()?,
    })
}

fn max_data(value: Dynamic) -> Result<u64, String> {
    let number = int("max_data", value)?;
    u64::try_from(number)
        .map_err(|_| format!("`max_data`: {number} is less than 0; leave it out for no limit"))
}

fn share(value: Dynamic) -> Result<Share, String> {
    let percent = match (value.as_int(), value.as_float()) {
        (Ok(percent), _) => percent as f64,
        (Err(_), Ok(percent)) => percent,
        (Err(_), Err(_)) => {
            return Err(format!(
                "`max_shrink` must be a number of percent, such as 50, not {}",
                type_of(&value)
            ));
        }
    };
    Share::of_percent(percent)
        .ok_or_else(|| format!("`max_shrink`: {percent} is not between 0 and 100 percent"))
}
