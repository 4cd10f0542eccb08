//! The load of the fault suite.

/// Returns `full` if the environment has `FAULTS=full`, else `small`.
pub fn load<T>(small: T, full: T) -> T {
    match std::env::var("FAULTS").as_deref() {
        Ok("full") => full,
        Ok(other) if !other.is_empty() => panic!("FAULTS={other}: the only value is `full`"),
        Ok(_) | Err(_) => small,
    }
}
