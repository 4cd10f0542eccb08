//! Proving who we are, in the ways of the servers.

use aws_lc_rs::digest::{Algorithm, Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256};

/// A way to log in, which the server chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    /// MariaDB's usual one, and that of old servers.
    Native,
    /// MySQL's since 8.0. The server asks for the password itself when it has not seen it since its start.
    CachingSha2,
    /// The password itself, as servers want it that ask another one.
    Clear,
}

impl Method {
    pub(super) fn named(name: &[u8]) -> Option<Self> {
        match name {
            b"mysql_native_password" => Some(Self::Native),
            b"caching_sha2_password" => Some(Self::CachingSha2),
            b"mysql_clear_password" => Some(Self::Clear),
            _ => None,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Native => "mysql_native_password",
            Self::CachingSha2 => "caching_sha2_password",
            Self::Clear => "mysql_clear_password",
        }
    }

    /// Returns the answer to the server's challenge; for [`Self::Clear`], the password as it is sent.
    pub(super) fn proof(self, password: &str, challenge: &[u8]) -> Vec<u8> {
        let password = password.as_bytes();
        match self {
            Self::Clear => [password, b"\0"].concat(),
            Self::Native | Self::CachingSha2 if password.is_empty() => Vec::new(),
            Self::Native => {
                let hash = |parts: &[&[u8]]| digest(&SHA1_FOR_LEGACY_USE_ONLY, parts);
                let once = hash(&[password]);
                xor(&once, &hash(&[challenge, &hash(&[&once])]))
            }
            Self::CachingSha2 => {
                let hash = |parts: &[&[u8]]| digest(&SHA256, parts);
                let once = hash(&[password]);
                xor(&once, &hash(&[&hash(&[&once]), challenge]))
            }
        }
    }
}

fn digest(algorithm: &'static Algorithm, parts: &[&[u8]]) -> Vec<u8> {
    let mut context = Context::new(algorithm);
    parts.iter().for_each(|part| context.update(part));
    context.finish().as_ref().to_vec()
}

fn xor(one: &[u8], other: &[u8]) -> Vec<u8> {
    one.iter().zip(other).map(|(one, other)| one ^ other).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    // The server keeps SHA-256 of the password's SHA-256, and takes a proof that leads to it.
    #[test]
    fn a_server_can_check_a_proof_with_the_hash_that_it_keeps() {
        let challenge = b"12345678901234567890";
        let hash = |parts: &[&[u8]]| digest(&SHA256, parts);
        let kept = hash(&[&hash(&[b"hunter2"])]);
        let once = xor(&Method::CachingSha2.proof("hunter2", challenge), &hash(&[&kept, challenge]));
        assert_eq!(hash(&[&once]), kept);
        assert_eq!(Method::CachingSha2.proof("", challenge), b"");
        assert_eq!(Method::Clear.proof("hunter2", challenge), b"hunter2\0");
    }
}
