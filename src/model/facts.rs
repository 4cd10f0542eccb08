//! What a config may know of its host.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    pub hostname: String,
    /// The environment variables that the config asked for. `None`: there is no such variable.
    pub variables: BTreeMap<String, Option<String>>,
}
