//! What the pages share: the server's parts that they use, who looks at them, and when.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use super::super::access::{Access, Who};
use super::super::api::Problem;
use super::super::memory::Share;
use super::super::namespace::Namespace;
use super::super::route;
use crate::commits::Key;
use crate::settings::Right;

/// The parts of the server that the pages use.
#[derive(Clone, Copy)]
pub struct Site<'a> {
    pub namespaces: &'a BTreeMap<String, Namespace>,
    pub access: &'a Access,
    /// Whether clients speak TLS.
    pub is_secure: bool,
}

/// One look at a page.
#[derive(Clone, Copy)]
pub struct Visit<'a> {
    pub site: Site<'a>,
    pub who: Who<'a>,
    pub share: &'a Arc<Share>,
    pub now: SystemTime,
}

impl<'a> Visit<'a> {
    /// Returns a namespace if the visitor has that right in it. A name that is no namespace is denied like
    /// one that they may not read.
    pub fn namespace(&self, name: &str, right: Right) -> Result<&'a Namespace, Problem> {
        self.who.require(name, right)?;
        self.site.namespaces.get(name).ok_or(Problem::NotFound)
    }

    pub fn may_write(&self, namespace: &Namespace) -> bool {
        self.who.may(&namespace.name, Right::Write)
    }
}

pub fn key(text: &str) -> Result<Key, Problem> {
    Key::parse(text).map_err(|error| Problem::Malformed(error.to_string()))
}

/// Returns the version of an address.
pub fn version(text: &str) -> Result<i64, Problem> {
    route::version(text).ok_or(Problem::NotFound)
}

/// Returns the value of a field of a form or a query; empty without one.
pub fn field<'a>(fields: &'a [(String, String)], name: &str) -> &'a str {
    fields.iter().find(|(found, _)| found == name).map_or("", |(_, value)| value)
}
