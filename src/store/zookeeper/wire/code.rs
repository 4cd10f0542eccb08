//! The error codes of the server.

use thiserror::Error;

/// Why the server did not do what a request asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum ErrorCode {
    #[error("the server has lost its own connection")]
    ConnectionLoss,
    #[error("the server could not read the request")]
    MarshallingError,
    #[error("the server does not know this operation")]
    Unimplemented,
    #[error("the server takes no such path or arguments")]
    BadArguments,
    #[error("the node does not exist")]
    NoNode,
    #[error("no permission")]
    NoAuth,
    #[error("the node has another version")]
    BadVersion,
    #[error("an ephemeral node can have no children")]
    NoChildrenForEphemerals,
    #[error("the node exists already")]
    NodeExists,
    #[error("the node has children")]
    NotEmpty,
    #[error("the session has expired")]
    SessionExpired,
    #[error("the server takes no such ACL")]
    InvalidAcl,
    #[error("the server refused the credentials")]
    AuthFailed,
    #[error("the session has moved to another server")]
    SessionMoved,
    #[error("the server is read-only")]
    NotReadOnly,
    #[error("the server lets in nobody without a login by SASL")]
    SaslRequired,
    #[error("the quota of a node above it is exceeded")]
    QuotaExceeded,
    #[error("the server has too much to do")]
    Throttled,
    /// A code that later servers may have.
    #[error("the server's error {0}")]
    Unknown(i32),
}

impl ErrorCode {
    /// Returns the meaning of a number that is not 0.
    pub(super) fn of(number: i32) -> Self {
        match number {
            -4 => Self::ConnectionLoss,
            -5 => Self::MarshallingError,
            -6 => Self::Unimplemented,
            -8 => Self::BadArguments,
            -101 => Self::NoNode,
            -102 => Self::NoAuth,
            -103 => Self::BadVersion,
            -108 => Self::NoChildrenForEphemerals,
            -110 => Self::NodeExists,
            -111 => Self::NotEmpty,
            -112 => Self::SessionExpired,
            -114 => Self::InvalidAcl,
            -115 => Self::AuthFailed,
            -118 => Self::SessionMoved,
            -119 => Self::NotReadOnly,
            -124 => Self::SaslRequired,
            -125 => Self::QuotaExceeded,
            -127 => Self::Throttled,
            number => Self::Unknown(number),
        }
    }
}
