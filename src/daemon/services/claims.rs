//! Which service a member belongs to. Files that do not know each other can register the same one, and a
//! service can move from one file to another: then one of them has it, and the others wait for it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::ServiceId;
use crate::model::{Member, MemberName, StoreName};

/// What becomes of an announcement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The keeper is to announce the member.
    Granted,
    /// This service has the member. The announcement waits until that one is withdrawn.
    HeldBy(ServiceId),
}

/// What becomes of a withdrawal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Release {
    /// The keeper is to withdraw the member, and then to announce it for the next service, if there is one.
    Released { next: Option<(ServiceId, Arc<Member>)> },
    /// The service only waited for the member. There is nothing to withdraw.
    OnlyWaited,
}

#[derive(Default)]
pub struct Claims {
    members: HashMap<MemberName, Claimed>,
}

#[derive(Default)]
struct Claimed {
    holder: Option<ServiceId>,
    /// The services that wait for it, the one that waits longest first.
    waiting: VecDeque<(ServiceId, Arc<Member>)>,
    /// The services whose withdrawal the keeper has not confirmed, oldest first.
    leaving: VecDeque<ServiceId>,
}

impl Claims {
    pub fn announce(&mut self, service: ServiceId, member: &Arc<Member>) -> Claim {
        let claimed = self.members.entry(member.name.clone()).or_default();
        match claimed.holder {
            Some(holder) if holder != service => {
                match claimed.waiting.iter_mut().find(|(waiting, _)| *waiting == service) {
                    Some((_, waits_for)) => *waits_for = member.clone(),
                    None => claimed.waiting.push_back((service, member.clone())),
                }
                Claim::HeldBy(holder)
            }
            Some(_) | None => {
                claimed.holder = Some(service);
                Claim::Granted
            }
        }
    }

    pub fn withdraw(&mut self, service: ServiceId, name: &MemberName) -> Release {
        let Some(claimed) = self.members.get_mut(name) else { return Release::OnlyWaited };
        if claimed.holder != Some(service) {
            claimed.waiting.retain(|(waiting, _)| *waiting != service);
            return Release::OnlyWaited;
        }
        claimed.leaving.push_back(service);
        let next = claimed.waiting.pop_front();
        claimed.holder = next.as_ref().map(|(service, _)| *service);
        Release::Released { next }
    }

    /// Takes the keeper's word that a member is withdrawn. Returns whose it was.
    pub fn withdrawn(&mut self, name: &MemberName) -> Option<ServiceId> {
        let claimed = self.members.get_mut(name)?;
        let left = claimed.leaving.pop_front();
        if claimed.holder.is_none() && claimed.leaving.is_empty() {
            self.members.remove(name);
        }
        left
    }

    /// Returns whom a report on this member concerns; none if it is older than the last withdrawal.
    pub fn concerned(&self, name: &MemberName) -> Option<ServiceId> {
        self.members.get(name).filter(|claimed| claimed.leaving.is_empty())?.holder
    }

    /// Whether no member of this store is announced, waits to be, or is being withdrawn.
    pub fn is_idle(&self, store: &StoreName) -> bool {
        !self.members.keys().any(|name| name.store == *store)
    }

    /// Returns the members of a store, with their holders.
    pub fn held_in<'a>(&'a self, store: &'a str) -> impl Iterator<Item = (&'a MemberName, ServiceId)> + 'a {
        let in_store = self.members.iter().filter(move |(name, _)| name.store.as_str() == store);
        in_store.filter_map(|(name, claimed)| Some((name, claimed.holder?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{MemberAcl, MemberData, NodePath};

    fn member() -> Arc<Member> {
        let name = MemberName { store: StoreName::default(), path: NodePath::parse("/s/a:1").unwrap() };
        Member { name, data: MemberData([].into()), acl: MemberAcl::Read }.into()
    }

    #[test]
    fn a_member_is_announced_for_one_service_and_then_for_the_next() {
        let (mut claims, member) = (Claims::default(), member());
        let [one, two, three] = [1, 2, 3].map(ServiceId);
        assert_eq!(claims.announce(one, &member), Claim::Granted);
        assert_eq!(claims.announce(one, &member), Claim::Granted, "with changed data");
        assert_eq!(claims.announce(two, &member), Claim::HeldBy(one));
        assert_eq!(claims.announce(three, &member), Claim::HeldBy(one));
        assert_eq!(claims.withdraw(two, &member.name), Release::OnlyWaited);
        let next = Some((three, member.clone()));
        assert_eq!(claims.withdraw(one, &member.name), Release::Released { next });
        assert_eq!(claims.concerned(&member.name), None, "that is about the former holder");
        assert_eq!(claims.withdrawn(&member.name), Some(one));
        assert_eq!(claims.concerned(&member.name), Some(three));
        assert_eq!(claims.held_in("default").collect::<Vec<_>>(), [(&member.name, three)]);
        assert_eq!(claims.withdraw(three, &member.name), Release::Released { next: None });
        assert!(!claims.is_idle(&member.name.store), "its withdrawal is not confirmed");
        assert_eq!(claims.withdrawn(&member.name), Some(three));
        assert!(claims.is_idle(&member.name.store));
    }
}
