//! Suggestions for a mistyped word.

/// A suggestion may differ in one of so many characters: `tiemout`, `WATCH_CHILD`.
const CHARS_PER_EDIT: usize = 3;

/// Returns ``; did you mean `timeout`?`` with the nearest of `candidates`, or an empty text if none is near.
pub fn suggest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    let lower = name.to_lowercase();
    let length = name.chars().count();
    candidates
        .into_iter()
        // There may be thousands of candidates, and to compare lengths is cheap.
        .filter(|candidate| candidate.chars().count().abs_diff(length) * CHARS_PER_EDIT <= name.len())
        .map(|candidate| (strsim::damerau_levenshtein(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(mistakes, _)| mistakes * CHARS_PER_EDIT <= name.len())
        .min_by_key(|(mistakes, _)| *mistakes)
        .map_or(String::new(), |(_, candidate)| did_you_mean(candidate))
}

/// Returns ``; did you mean `timeout`?`` for a word that is known to be the one.
pub fn did_you_mean(word: &str) -> String {
    format!("; did you mean `{word}`?")
}
