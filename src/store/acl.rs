//! Access control lists, as people write them: `--acl owner`, `--acl world:anyone:r,auth::cdrwa`.

use std::fmt;
use std::str::FromStr;

/// Who may do what with a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acl {
    pub(super) entries: Vec<AclEntry>,
}

/// Some who may do something with a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AclEntry {
    pub(super) permissions: i32,
    pub(super) scheme: String,
    pub(super) id: String,
}

/// The permissions by their letters: to create children, delete children, read, write, and change the ACL.
const PERMISSIONS: [(char, i32); 5] = [('c', 4), ('d', 8), ('r', 1), ('w', 2), ('a', 16)];

/// Every permission.
const ALL: i32 = 31;

/// The permission to read.
const READ: i32 = 1;

impl Acl {
    /// Everybody may do everything, which is ZooKeeper's own default.
    pub(super) fn open() -> Self {
        Self { entries: vec![AclEntry::new(ALL, "world", "anyone")] }
    }

    /// Those who created the node may do everything, by the credentials of their session, and nobody else
    /// anything.
    pub(super) fn owner() -> Self {
        Self { entries: vec![AclEntry::new(ALL, "auth", "")] }
    }

    /// Like [`Self::owner`], but everybody may read.
    pub(super) fn read() -> Self {
        let mut acl = Self::owner();
        acl.entries.extend(Self::read_only().entries);
        acl
    }

    /// Everybody may read, and nobody anything else.
    pub(super) fn read_only() -> Self {
        Self { entries: vec![AclEntry::new(READ, "world", "anyone")] }
    }
}

impl AclEntry {
    fn new(permissions: i32, scheme: &str, id: &str) -> Self {
        Self { permissions, scheme: scheme.to_owned(), id: id.to_owned() }
    }

    fn parse(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| {
            Err(format!(
                "{text:?} {what}; write open, read, owner, or SCHEME:ID:PERMISSIONS,... as zkCli.sh does"
            ))
        };
        // An id may have colons, as those of the scheme digest do.
        let (Some((scheme, rest)), Some((_, letters))) = (text.split_once(':'), text.rsplit_once(':')) else {
            return wrong("is no ACL");
        };
        let Some((id, _)) = rest.rsplit_once(':') else { return wrong("has no permissions") };
        if scheme.is_empty() || (id.is_empty() && scheme != "auth") {
            return wrong("names nobody");
        }
        let mut permissions = 0;
        for letter in letters.chars() {
            match PERMISSIONS.iter().find(|(known, _)| *known == letter) {
                Some((_, permission)) => permissions |= permission,
                None => return wrong("has a permission that is none of c, d, r, w and a"),
            }
        }
        if permissions == 0 {
            return wrong("has no permissions");
        }
        Ok(Self::new(permissions, scheme, id))
    }
}

impl FromStr for Acl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "open" => Ok(Self::open()),
            "owner" => Ok(Self::owner()),
            "read" => Ok(Self::read()),
            _ => Ok(Self { entries: text.split(',').map(AclEntry::parse).collect::<Result<_, _>>()? }),
        }
    }
}

impl fmt::Display for Acl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, entry) in self.entries.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            write!(f, "{comma}{}:{}:", entry.scheme, entry.id)?;
            for (letter, _) in PERMISSIONS.iter().filter(|(_, bit)| entry.permissions & bit != 0) {
                write!(f, "{letter}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_acl_is_written_as_a_word_or_as_zookeeper_writes_it() {
        for (text, whole) in [
            ("open", "world:anyone:cdrwa"),
            ("owner", "auth::cdrwa"),
            ("read", "auth::cdrwa,world:anyone:r"),
            ("world:anyone:r,auth::cdrwa", "world:anyone:r,auth::cdrwa"),
            ("digest:u:AbC=:rw", "digest:u:AbC=:rw"),
            ("ip:10.0.0.0/8:r", "ip:10.0.0.0/8:r"),
            ("sasl:web:awr", "sasl:web:rwa"),
        ] {
            assert_eq!(text.parse::<Acl>().unwrap().to_string(), whole);
        }
        for wrong in [
            "",
            "closed",
            "world:anyone",
            "world:anyone:",
            "world::r",
            ":anyone:r",
            "world:anyone:x",
            "open,",
        ] {
            let error = wrong.parse::<Acl>().unwrap_err();
            assert!(error.contains("open, read, owner"), "{wrong}: {error}");
        }
    }
}
