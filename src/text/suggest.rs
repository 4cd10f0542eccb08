//! Near misses of a word.

/// One mistake in each three letters is still the same word: `tiemout`, `WATCH_CHILD`.
const CHARS_PER_EDIT: usize = 3;

/// `; did you mean "timeout"?` for the nearest of `candidates`, or nothing where none is near.
pub fn suggest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    let lower = name.to_lowercase();
    let length = name.chars().count();
    candidates
        .into_iter()
        // The cheap half of the question: there may be thousands.
        .filter(|candidate| candidate.chars().count().abs_diff(length) * CHARS_PER_EDIT <= name.len())
        .map(|candidate| (strsim::damerau_levenshtein(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(mistakes, _)| mistakes * CHARS_PER_EDIT <= name.len())
        .min_by_key(|(mistakes, _)| *mistakes)
        .map_or(String::new(), |(_, candidate)| format!("; did you mean `{candidate}`?"))
}
