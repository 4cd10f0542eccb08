//! The facts that a config may know of its host.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    pub hostname: String,
    /// The environment variables that the config asked for. `None`: the variable is not set.
    pub variables: BTreeMap<String, Option<String>>,
}
