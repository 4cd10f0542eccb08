//! What the process of a keeper is to be told, and what it may say to that. No IO.
//!
//! A process may end at any time, and the next one is told everything anew. Each withdrawal has exactly one
//! answer, whatever becomes of the processes: so a member that is to be announced again, while its withdrawal
//! has no answer, waits for that.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::message::{MAX_OWNER, ToKeeper};
use crate::model::NodePath;
use crate::store::half::conduct::Violation;
use crate::store::half::message::{MAX_PATH, MAX_TEXT};
use crate::store::member::{KeeperEvent, KeeperOrder, Member};
use crate::text::printable;

#[derive(Default)]
pub(super) struct Standing {
    places: BTreeMap<NodePath, Place>,
    /// The places of which the present process is to be told, the oldest first.
    untold: VecDeque<NodePath>,
    /// The present owner, with the former ones, if the process is to be told that they are on record.
    recorded: Option<(String, Vec<String>)>,
}

#[derive(Default)]
struct Place {
    /// The member that is to be there, once no withdrawal is without an answer.
    wanted: Option<Arc<Member>>,
    /// How many withdrawals have no answer.
    owed: usize,
    told: Told,
    /// Whether it is among those of which the process is to be told.
    is_untold: bool,
}

/// What the present process knows of a place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Told {
    #[default]
    Nothing,
    ToAnnounce,
    ToWithdraw,
}

impl Standing {
    /// Returns how many places there are.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// Prepares to tell another process everything anew.
    pub(super) fn restart(&mut self) {
        self.recorded = None;
        self.untold = self.places.keys().cloned().collect();
        for place in self.places.values_mut() {
            (place.told, place.is_untold) = (Told::Nothing, true);
        }
    }

    /// Takes an order. Returns what is to be told at once.
    pub(super) fn order(&mut self, order: KeeperOrder) -> Option<KeeperEvent> {
        match order {
            KeeperOrder::Announce(member) if member.path.as_str().len() > MAX_PATH => {
                let reason = format!("its path is longer than {MAX_PATH} bytes");
                return Some(KeeperEvent::Waiting { path: member.path, reason });
            }
            KeeperOrder::Announce(member) => {
                let path = member.path.clone();
                self.places.entry(path.clone()).or_default().wanted = Some(member.into());
                self.tell(path);
            }
            KeeperOrder::Withdraw(path) if path.as_str().len() > MAX_PATH => {
                return Some(KeeperEvent::Withdrawn { path });
            }
            KeeperOrder::Withdraw(path) => {
                let place = self.places.entry(path.clone()).or_default();
                place.wanted = None;
                place.owed += 1;
                self.tell(path);
            }
            KeeperOrder::Recorded { owner, former } => self.recorded = Some((owner, former)),
        }
        None
    }

    fn tell(&mut self, path: NodePath) {
        if let Some(place) = self.places.get_mut(&path)
            && !std::mem::replace(&mut place.is_untold, true)
        {
            self.untold.push_back(path);
        }
    }

    /// Returns what to tell the process next, with the data of a member or the former owners.
    pub(super) fn next(&mut self) -> Option<(ToKeeper, Vec<u8>)> {
        if let Some((owner, former)) = self.recorded.take() {
            // They are plain strings.
            return Some((ToKeeper::Recorded { owner }, serde_json::to_vec(&former).unwrap_or_default()));
        }
        while let Some(path) = self.untold.pop_front() {
            let Some(place) = self.places.get_mut(&path) else { continue };
            place.is_untold = false;
            if place.owed > 0 {
                if std::mem::replace(&mut place.told, Told::ToWithdraw) != Told::ToWithdraw {
                    return Some((ToKeeper::Withdraw { path }, Vec::new()));
                }
            } else if let Some(member) = &place.wanted {
                place.told = Told::ToAnnounce;
                return Some((ToKeeper::Announce { path, acl: member.acl }, member.data.clone()));
            }
        }
        None
    }

    pub(super) fn has_next(&self) -> bool {
        self.recorded.is_some() || !self.untold.is_empty()
    }

    /// Judges what the process says. Returns what of it is to be passed on.
    pub(super) fn hear(&mut self, event: KeeperEvent) -> Result<Vec<KeeperEvent>, Violation> {
        let place = |path: &NodePath| {
            let place = self.places.get(path).filter(|place| place.told != Told::Nothing);
            place.ok_or(Violation::UnknownSubject)
        };
        Ok(vec![match event {
            KeeperEvent::Connected { what } => KeeperEvent::Connected { what: text(&what)? },
            KeeperEvent::Disconnected { reason } => KeeperEvent::Disconnected { reason: text(&reason)? },
            KeeperEvent::Refused { reason } => KeeperEvent::Refused { reason: text(&reason)? },
            KeeperEvent::Opened { owner } => {
                if owner.len() > MAX_OWNER || text(&owner)? != owner {
                    return Err(Violation::Text);
                }
                KeeperEvent::Opened { owner }
            }
            KeeperEvent::Announced { path } => {
                // It was said before the withdrawal arrived.
                if place(&path)?.owed > 0 {
                    return Ok(Vec::new());
                }
                KeeperEvent::Announced { path }
            }
            KeeperEvent::Conflict { path, holder } => {
                let is_leaving = place(&path)?.owed > 0;
                let holder = holder.map(|holder| text(&holder)).transpose()?;
                if is_leaving {
                    return Ok(Vec::new());
                }
                KeeperEvent::Conflict { path, holder }
            }
            KeeperEvent::Waiting { path, reason } => {
                place(&path)?;
                KeeperEvent::Waiting { path, reason: text(&reason)? }
            }
            KeeperEvent::Withdrawn { path } => return self.withdrawn(&path),
        }])
    }

    fn withdrawn(&mut self, path: &NodePath) -> Result<Vec<KeeperEvent>, Violation> {
        let place = self.places.get_mut(path).filter(|place| place.told == Told::ToWithdraw);
        let place = place.ok_or(Violation::Order("that a member is withdrawn"))?;
        let answers = std::mem::take(&mut place.owed);
        place.told = Told::Nothing;
        if place.wanted.is_some() {
            self.tell(path.clone());
        } else {
            self.places.remove(path);
        }
        Ok(vec![KeeperEvent::Withdrawn { path: path.clone() }; answers])
    }
}

/// Makes a text for people of what the process says, if it is no longer than an honest one's.
fn text(said: &str) -> Result<String, Violation> {
    if said.len() > MAX_TEXT { Err(Violation::Text) } else { Ok(printable(said.as_bytes())) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::MemberAcl;

    fn path(name: &str) -> NodePath {
        NodePath::parse(&format!("/s/{name}")).unwrap()
    }

    fn announce(name: &str, data: &str) -> KeeperOrder {
        KeeperOrder::Announce(Member { path: path(name), data: data.into(), acl: MemberAcl::Read })
    }

    fn withdraw(name: &str) -> KeeperOrder {
        KeeperOrder::Withdraw(path(name))
    }

    /// What the process is told, in short.
    fn told(standing: &mut Standing) -> Vec<String> {
        std::iter::from_fn(|| standing.next())
            .map(|(message, body)| {
                let body = String::from_utf8(body).unwrap();
                match message {
                    ToKeeper::Announce { path, .. } => format!("+{path} {body}"),
                    ToKeeper::Withdraw { path } => format!("-{path}"),
                    ToKeeper::Recorded { owner } => format!("{owner} after {body}"),
                    other => format!("{other:?}"),
                }
            })
            .collect()
    }

    fn withdrawn(name: &str) -> KeeperEvent {
        KeeperEvent::Withdrawn { path: path(name) }
    }

    fn announced(name: &str) -> KeeperEvent {
        KeeperEvent::Announced { path: path(name) }
    }

    #[test]
    fn each_process_is_told_what_stands_and_each_withdrawal_has_one_answer() {
        let mut standing = Standing::default();
        for order in [announce("a", "1"), announce("b", "1"), announce("a", "2"), withdraw("b")] {
            assert_eq!(standing.order(order), None);
        }
        assert_eq!(told(&mut standing), ["+/s/a 2", "-/s/b"]);
        assert_eq!(standing.hear(announced("b")), Ok(vec![]), "it was said before");
        standing.order(announce("b", "3"));
        standing.order(withdraw("b"));
        standing.order(announce("b", "4"));
        assert!(told(&mut standing).is_empty(), "the withdrawal has no answer");
        standing.order(KeeperOrder::Recorded { owner: "o".into(), former: vec!["n".into()] });
        standing.restart();
        assert_eq!(told(&mut standing), ["+/s/a 2", "-/s/b"], "of another process nothing is on record");
        assert_eq!(standing.hear(withdrawn("b")), Ok(vec![withdrawn("b"), withdrawn("b")]));
        assert_eq!(told(&mut standing), ["+/s/b 4"]);
        assert_eq!(standing.hear(announced("b")), Ok(vec![announced("b")]));
        standing.order(KeeperOrder::Recorded { owner: "o".into(), former: vec!["n".into()] });
        assert_eq!(told(&mut standing), ["o after [\"n\"]"]);
        for name in ["a", "b"] {
            standing.order(withdraw(name));
            assert_eq!(told(&mut standing), [format!("-/s/{name}")]);
            assert_eq!(standing.hear(withdrawn(name)), Ok(vec![withdrawn(name)]));
        }
        assert!(standing.places.is_empty() && !standing.has_next());
    }

    // It speaks to a network, and is not believed.
    #[test]
    fn a_process_speaks_of_the_members_that_it_was_told_of_and_briefly() {
        let mut standing = Standing::default();
        standing.order(announce("a", ""));
        let says = |standing: &mut Standing, event| standing.hear(event).is_ok();
        assert!(!says(&mut standing, announced("a")), "it was not told yet");
        told(&mut standing);
        assert!(says(&mut standing, announced("a")));
        assert!(!says(&mut standing, announced("b")));
        assert!(!says(&mut standing, withdrawn("a")) && !says(&mut standing, withdrawn("b")));
        let long = || "x".repeat(MAX_TEXT + 1);
        for event in [
            KeeperEvent::Connected { what: long() },
            KeeperEvent::Disconnected { reason: long() },
            KeeperEvent::Refused { reason: long() },
            KeeperEvent::Waiting { path: path("a"), reason: long() },
            KeeperEvent::Conflict { path: path("a"), holder: Some(long()) },
            KeeperEvent::Opened { owner: "x".repeat(MAX_OWNER + 1) },
            KeeperEvent::Opened { owner: "a\nb".into() },
        ] {
            assert_eq!(standing.hear(event), Err(Violation::Text));
        }
        let said = standing.hear(KeeperEvent::Connected { what: "a\n\u{1b}[2J".into() }).unwrap();
        let [KeeperEvent::Connected { what }] = said.as_slice() else { panic!("{said:?}") };
        assert!(!what.chars().any(char::is_control), "{what:?}");
    }

    #[test]
    fn a_path_that_no_message_may_have_is_answered_at_once() {
        let mut standing = Standing::default();
        let long = NodePath::parse(&format!("/{}", "x".repeat(MAX_PATH))).unwrap();
        let member = Member { path: long.clone(), data: Vec::new(), acl: MemberAcl::Read };
        let answer = standing.order(KeeperOrder::Announce(member));
        assert!(matches!(answer, Some(KeeperEvent::Waiting { .. })));
        let answer = standing.order(KeeperOrder::Withdraw(long.clone()));
        assert_eq!(answer, Some(KeeperEvent::Withdrawn { path: long }));
        assert!(!standing.has_next());
    }
}
