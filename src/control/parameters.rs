//! Parses the parameters of requests.

use std::collections::HashMap;

use super::response::{HttpError, bad_request};

/// The parameters in a request's query. Unknown and repeated parameters are errors.
pub(super) struct Parameters(HashMap<String, String>);

impl Parameters {
    pub(super) fn parse(query: Option<&str>, known: &[&str]) -> Result<Self, HttpError> {
        let mut parameters = HashMap::new();
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            if !known.contains(&&*name) {
                return Err(bad_request(format!("unknown parameter {name:?}")));
            }
            if parameters.insert(name.to_string(), value.into_owned()).is_some() {
                return Err(bad_request(format!("the parameter {name:?} is given twice")));
            }
        }
        Ok(Self(parameters))
    }

    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        self.0.remove(name)
    }

    pub(super) fn required(mut self, name: &str) -> Result<String, HttpError> {
        self.take(name).ok_or_else(|| bad_request(format!("the parameter {name:?} is missing")))
    }

    /// Returns the value of the parameter `name`, or `default` without that parameter.
    pub(super) fn parsed<T: std::str::FromStr>(&mut self, name: &str, default: T) -> Result<T, HttpError> {
        let Some(text) = self.take(name) else { return Ok(default) };
        text.parse().map_err(|_| bad_request(format!("the parameter {name:?} cannot be {text:?}")))
    }
}
