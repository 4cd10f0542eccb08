//! What is wrong with a text in double quotes.

/// Returns the words of each `${...}` in the text.
pub fn placeholders(text: &str) -> impl Iterator<Item = &str> {
    text.split("${").skip(1).filter_map(|rest| rest.split_once('}').map(|(inner, _)| inner.trim()))
}

/// Returns the name that the words in `${...}` start with, and what follows it.
pub fn leading_name(words: &str) -> Option<(&str, &str)> {
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let end = words.find(|c| !is_of_name(c)).unwrap_or(words.len());
    let (name, rest) = words.split_at(end);
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_').then_some((name, rest))
}
