//! What the keeper reports of the member.

use super::state::Keeping;
use super::{Effect, Report, Service};
use crate::model::MemberName;

impl Service {
    pub(super) fn kept(&mut self, member: &MemberName, report: Report, effects: &mut Vec<Effect>) {
        if report == Report::Withdrawn {
            return self.withdrawn(member, effects);
        }
        // A report on a member that was to be withdrawn meanwhile tells nothing new.
        let is_told = self.told.as_ref().is_some_and(|told| told.name == *member);
        if !is_told || self.leaving.contains(member) {
            return;
        }
        match report {
            Report::Announced => {
                let before = std::mem::replace(&mut self.keeping, Keeping::Yes);
                let had_obstacle = matches!(before, Keeping::Conflict { .. } | Keeping::Waiting { .. });
                let is_new = !self.present.contains(member);
                if is_new {
                    self.present.push(member.clone());
                }
                if is_new || had_obstacle {
                    effects.push(Effect::Announced(member.clone()));
                }
            }
            Report::Conflict { holder } => {
                let new = Keeping::Conflict { holder: holder.clone() };
                if std::mem::replace(&mut self.keeping, new.clone()) != new {
                    effects.push(Effect::Conflict { holder });
                }
            }
            Report::Waiting { reason } => {
                let new = Keeping::Waiting { reason: reason.clone() };
                if std::mem::replace(&mut self.keeping, new.clone()) != new {
                    effects.push(Effect::Refused { reason });
                }
            }
            // An obstacle outlives the session: it is not reported once more after each.
            Report::Disconnected => match self.keeping {
                Keeping::Yes => self.keeping = Keeping::Asked,
                Keeping::No | Keeping::Asked | Keeping::Conflict { .. } | Keeping::Waiting { .. } => {}
            },
            Report::Withdrawn => {}
        }
    }

    fn withdrawn(&mut self, member: &MemberName, effects: &mut Vec<Effect>) {
        let Some(index) = self.leaving.iter().position(|leaving| leaving == member) else { return };
        self.leaving.remove(index);
        // It may have been withdrawn, announced and withdrawn again.
        if let Some(index) = self.present.iter().position(|present| present == member) {
            self.present.remove(index);
            effects.push(Effect::Withdrawn(member.clone()));
        }
    }
}
