//! What is wrong with a map of keys.

/// A mistake in a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::config) struct Fault {
    /// The key, and the keys within its value, outermost first. Empty: the map itself.
    pub path: Vec<String>,
    pub text: String,
}

impl Fault {
    pub(super) fn at(key: &str, text: impl Into<String>) -> Self {
        Self { path: vec![key.to_owned()], text: text.into() }
    }

    /// Returns the mistake in the value of `key`, as one of the map that has the key.
    pub(super) fn of(mut self, key: &str) -> Self {
        self.path.insert(0, key.to_owned());
        self.text = format!("`{key}`{}", self.text);
        self
    }
}

/// The text follows the key.
impl From<String> for Fault {
    fn from(text: String) -> Self {
        Self { path: Vec::new(), text }
    }
}
