//! Where the keys of `twitcher.toml` stand, for errors about values that the parser takes.

use std::collections::BTreeMap;

use toml::de::{DeTable, DeValue};

use crate::text::position;

/// The line and the column of each key, from 1, by its path: `stores.eu.url`.
#[derive(Debug, Default)]
pub(super) struct Places(BTreeMap<String, (usize, usize)>);

impl Places {
    pub(super) fn of(text: &str) -> Self {
        let mut places = Self::default();
        if let Ok(table) = DeTable::parse(text) {
            places.add(text, "", table.get_ref());
        }
        places
    }

    fn add(&mut self, text: &str, above: &str, table: &DeTable<'_>) {
        for (key, value) in table {
            let path = format!("{above}{}", key.get_ref());
            let before = text.get(..key.span().start).unwrap_or_default();
            // Of several blocks [[auth]], the first counts.
            self.0.entry(path.clone()).or_insert_with(|| position(before));
            let below = format!("{path}.");
            match value.get_ref() {
                DeValue::Table(table) => self.add(text, &below, table),
                DeValue::Array(array) => {
                    for element in array.iter() {
                        if let DeValue::Table(table) = element.get_ref() {
                            self.add(text, &below, table);
                        }
                    }
                }
                _ => {}
            }
        }
    }

    /// Returns the place of the key, or else that of the block in which the key is missing.
    pub(super) fn find(&self, key: &str) -> Option<(usize, usize)> {
        let mut key = key;
        loop {
            if let Some(place) = self.0.get(key) {
                return Some(*place);
            }
            key = key.rsplit_once('.')?.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_the_place_where_it_stands_and_a_missing_one_that_of_its_block() {
        let places =
            Places::of("store = 'x'\n[tls]\n  ca = 'y'\n\n[[auth]]\nscheme = 'é'\n[stores.eu]\nurl = 1");
        for (key, expected) in [
            ("store", Some((1, 1))),
            ("tls", Some((2, 2))),
            ("tls.ca", Some((3, 3))),
            ("tls.key", Some((2, 2))),
            ("auth.scheme", Some((6, 1))),
            ("stores.eu.url", Some((8, 1))),
            ("log_format", None),
        ] {
            assert_eq!(places.find(key), expected, "{key}");
        }
    }
}
