//! How members of services say what they are.

use serde::{Deserialize, Serialize};

/// The format in which the data of a member is written (`format`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum MemberFormat {
    /// That of ndServiceRegistry and zk_watcher.
    #[default]
    Registry,
    /// That of Apache Curator's x-discovery.
    Curator,
    /// That of Twitter's Finagle.
    Serverset,
    /// That of Airbnb's Nerve and Synapse.
    Nerve,
    /// The data as it is.
    Raw,
}

impl MemberFormat {
    pub const ALL: [Self; 5] = [Self::Registry, Self::Curator, Self::Serverset, Self::Nerve, Self::Raw];

    /// Returns the word of configs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Registry => "REGISTRY",
            Self::Curator => "CURATOR",
            Self::Serverset => "SERVERSET",
            Self::Nerve => "NERVE",
            Self::Raw => "RAW",
        }
    }
}
