//! What a config may know of its host.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    pub hostname: String,
    /// The variables that were asked for; `None` where there is none of that name.
    pub variables: BTreeMap<String, Option<String>>,
}
