//! Finds services again that have another name in their file: who gives a service another description, or
//! puts one before others that have none, changes nothing about their members.

use std::collections::HashMap;

use super::ServiceId;
use crate::model::{MemberName, ServiceSpec, WatchKey};

/// What names change to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Renaming {
    /// The services with another name, what it was and what it is.
    pub renamed: Vec<(ServiceId, WatchKey, WatchKey)>,
    /// The names that no service has any more.
    pub vacant: Vec<WatchKey>,
}

/// Returns which of the `current` services of a file get the names that others, or nobody, had. A service
/// whose name is taken by another one gets a name that is vacant. `is_left` says whether a name still belongs
/// to a service that is being withdrawn; nobody gets that.
pub fn renaming(
    current: &[(ServiceId, &ServiceSpec)],
    wanted: &[ServiceSpec],
    is_left: impl Fn(&WatchKey) -> bool,
) -> Renaming {
    let wanted = once(wanted.iter().map(|spec| (&spec.member.name, &spec.id)));
    let present = once(current.iter().map(|(id, spec)| (&spec.member.name, id)));
    let mut renamed = Vec::new();
    for (id, spec) in current {
        let name = &spec.member.name;
        let is_only = present.get(name).is_some_and(Option::is_some);
        if let Some(Some(now)) = wanted.get(name).filter(|_| is_only)
            && **now != spec.id
            && !is_left(now)
        {
            renamed.push((*id, spec.id.clone(), (*now).clone()));
        }
    }
    let is_taken = |key: &WatchKey| renamed.iter().any(|(_, _, now)| now == key);
    let mut vacant: Vec<WatchKey> =
        renamed.iter().map(|(_, before, _)| before.clone()).filter(|before| !is_taken(before)).collect();
    vacant.sort();
    let mut displaced = Vec::new();
    for (id, spec) in current {
        let keeps_member = renamed.iter().any(|(renamed, ..)| renamed == id);
        if !keeps_member
            && is_taken(&spec.id)
            && let Some(free) = vacant.pop()
        {
            displaced.push((*id, spec.id.clone(), free));
        }
    }
    renamed.extend(displaced);
    renamed.sort();
    Renaming { renamed, vacant }
}

/// Returns what belongs to each member, or `None` if that is not one thing.
fn once<'a, T>(all: impl Iterator<Item = (&'a MemberName, T)>) -> HashMap<&'a MemberName, Option<T>> {
    let mut found = HashMap::new();
    for (name, it) in all {
        found.entry(name).and_modify(|known| *known = None).or_insert(Some(it));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::services::tests::named;

    /// Returns who is called what after a file that registered members under the names `1`, `2`... registers
    /// `wanted` that way, and the names that are vacant.
    fn names(current: &str, wanted: &str, left: &str) -> (String, String) {
        let specs = |members: &str| -> Vec<ServiceSpec> {
            let members = members.chars().enumerate().filter(|(_, member)| *member != '.');
            members.map(|(index, member)| named(&(index + 1).to_string(), &member.to_string())).collect()
        };
        let (current, wanted) = (specs(current), specs(wanted));
        let current: Vec<_> = (0..).map(ServiceId).zip(&current).collect();
        let Renaming { renamed, vacant } = renaming(&current, &wanted, |key| left == &*key.description);
        let mut names: Vec<_> = current.iter().map(|(id, spec)| (*id, spec.id.clone())).collect();
        for (id, before, now) in renamed {
            let name = &mut names.iter_mut().find(|(known, _)| *known == id).unwrap().1;
            assert_eq!(*name, before);
            *name = now;
        }
        let text = |(id, name): &(ServiceId, WatchKey)| {
            let spec = current.iter().find(|(known, _)| known == id).unwrap().1;
            format!("{}{}", name.description, spec.member.name.address())
        };
        let mut names: Vec<_> = names.iter().map(text).collect();
        names.sort();
        (names.join(" "), vacant.iter().map(|key| &*key.description).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn a_service_keeps_its_member_under_another_name() {
        for (current, wanted, left, expected, vacant) in [
            ("ab", "ab", "", "1a 2b", ""),
            ("ab", "ba", "", "1b 2a", ""),
            // One is put before the others, or taken out of them.
            ("ab", "xab", "", "2a 3b", "1"),
            ("abc", "bc", "", "1b 2c 3a", ""),
            ("ab", "..ab", "", "3a 4b", "1 2"),
            // Another member stands where the first was.
            ("a", "b", "", "1a", ""),
            ("ab", "cb", "", "1a 2b", ""),
            // Nobody knows which of two it is.
            ("aa", "xa", "", "1a 2a", ""),
            ("a", "xaa", "", "1a", ""),
            // The name belongs to one that is being withdrawn.
            ("a", ".a", "2", "1a", ""),
        ] {
            let found = names(current, wanted, left);
            assert_eq!(found, (expected.to_owned(), vacant.to_owned()), "{current} {wanted}");
        }
    }
}
