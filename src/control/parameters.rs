//! Parses the parameters of requests.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use super::response::{HttpError, bad_request};
use crate::text::{Timestamp, parse_span};

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

    pub(super) fn required(&mut self, name: &str) -> Result<String, HttpError> {
        self.take(name).ok_or_else(|| bad_request(format!("the parameter {name:?} is missing")))
    }

    /// Returns the value of the parameter `name`, or `default` without that parameter.
    pub(super) fn parsed<T: std::str::FromStr>(&mut self, name: &str, default: T) -> Result<T, HttpError> {
        let Some(text) = self.take(name) else { return Ok(default) };
        text.parse().map_err(|_| bad_request(format!("the parameter {name:?} cannot be {text:?}")))
    }

    /// Returns the value of the parameter `name`, if it is given.
    pub(super) fn optional<T: std::str::FromStr>(&mut self, name: &str) -> Result<Option<T>, HttpError> {
        let Some(text) = self.take(name) else { return Ok(None) };
        let value =
            text.parse().map_err(|_| bad_request(format!("the parameter {name:?} cannot be {text:?}")))?;
        Ok(Some(value))
    }

    /// Returns the point in time that the parameter `name` gives.
    pub(super) fn time(&mut self, name: &str) -> Result<Option<SystemTime>, HttpError> {
        let Some(text) = self.take(name) else { return Ok(None) };
        let time = Timestamp::parse(&text);
        let time = time.ok_or_else(|| bad_request(format!("the parameter {name:?} cannot be {text:?}")))?;
        Ok(Some(time.0))
    }

    /// Returns the span that the parameter `name` gives, such as `2h`: above zero, and at most `longest`.
    pub(super) fn span(&mut self, name: &str, longest: Duration) -> Result<Option<Duration>, HttpError> {
        let Some(text) = self.take(name) else { return Ok(None) };
        let span = parse_span(&text).filter(|span| !span.is_zero() && *span <= longest);
        let span = span.ok_or_else(|| bad_request(format!("the parameter {name:?} cannot be {text:?}")))?;
        Ok(Some(span))
    }

    /// Returns the text that the parameter `name` gives; none if it is blank.
    pub(super) fn text(&mut self, name: &str, longest: usize) -> Result<Option<String>, HttpError> {
        let Some(text) = self.take(name) else { return Ok(None) };
        if text.len() > longest {
            return Err(bad_request(format!("the parameter {name:?} has more than {longest} bytes")));
        }
        Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty()))
    }
}
