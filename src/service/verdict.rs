//! Whether a service is well, by the results of its checks.

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckResult {
    Passed,
    Failed,
    /// Nothing is known: the check did not start, for want of a process or of a descriptor.
    NotStarted,
}

impl CheckResult {
    /// Returns the word of metrics and of `status`.
    pub fn as_str(self) -> &'static str {
        match self {
            CheckResult::Passed => "passed",
            CheckResult::Failed => "failed",
            CheckResult::NotStarted => "not_started",
        }
    }
}

/// What is held to be true of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// There were not enough checks to know.
    Unknown,
    Well,
    Failing,
}

/// A change of the health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The service is well now, and is to be announced.
    Up,
    /// The service fails now, and is to be withdrawn.
    Down,
}

/// Judges a service by how often its checks passed or failed in a row.
#[derive(Clone, Debug)]
pub struct Verdict {
    rise: u32,
    fall: u32,
    health: Health,
    /// How many checks in a row spoke against the present health.
    against: u32,
    last: Option<CheckResult>,
    /// Whether a former daemon judged so, and no check has confirmed it.
    is_inherited: bool,
}

impl Verdict {
    /// `rise` checks in a row must pass before the service is well, and `fall` must fail before it is not.
    /// Both are at least 1.
    pub fn new(rise: u32, fall: u32) -> Self {
        let (rise, fall) = (rise.max(1), fall.max(1));
        Self { rise, fall, health: Health::Unknown, against: 0, last: None, is_inherited: false }
    }

    /// A service that was well when a former daemon died. Nobody knows how many checks had failed in a row
    /// by then, so the next one that fails is the last that it takes.
    pub(super) fn inherited(rise: u32, fall: u32) -> Self {
        Self { health: Health::Well, is_inherited: true, ..Self::new(rise, fall) }
    }

    /// Returns the verdict on a service that has no check.
    pub(super) fn unchecked() -> Self {
        Self { health: Health::Well, ..Self::new(1, 1) }
    }

    /// Has as many checks decide from now on.
    pub(super) fn set_bounds(&mut self, rise: u32, fall: u32) {
        (self.rise, self.fall) = (rise.max(1), fall.max(1));
    }

    /// Begins to count anew, because another check decides now. It has to turn the present health.
    pub(super) fn begin_anew(&mut self) {
        (self.against, self.last) = (0, None);
    }

    pub fn health(&self) -> Health {
        self.health
    }

    /// Takes the result of a check. Returns what changes because of it.
    pub fn take(&mut self, result: CheckResult) -> Option<Turn> {
        let is_same = self.last == Some(result);
        let is_last_straw = self.is_inherited && result == CheckResult::Failed;
        let (turn, needed, speaks_against) = match result {
            // It neither counts, nor does it end a row.
            CheckResult::NotStarted => return None,
            CheckResult::Passed => (Turn::Up, self.rise, self.health != Health::Well),
            CheckResult::Failed => (Turn::Down, self.fall, self.health != Health::Failing),
        };
        (self.last, self.is_inherited) = (Some(result), false);
        self.against = match (speaks_against, is_same) {
            (false, _) => 0,
            (true, false) => 1,
            (true, true) => self.against.saturating_add(1),
        };
        if !speaks_against || self.against < needed && !is_last_straw {
            return None;
        }
        self.against = 0;
        self.health = match turn {
            Turn::Up => Health::Well,
            Turn::Down => Health::Failing,
        };
        Some(turn)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// Takes checks, one a letter: `+` passed, `-` failed, `?` not started. Returns the turns: `U`, `D` or
    /// `.`.
    fn turns(rise: u32, fall: u32, checks: &str) -> String {
        let mut verdict = Verdict::new(rise, fall);
        let taken = checks.chars().map(|check| match verdict.take(of(check)) {
            Some(Turn::Up) => 'U',
            Some(Turn::Down) => 'D',
            None => '.',
        });
        taken.collect()
    }

    fn of(check: char) -> CheckResult {
        match check {
            '+' => CheckResult::Passed,
            '-' => CheckResult::Failed,
            _ => CheckResult::NotStarted,
        }
    }

    #[test]
    fn a_service_rises_and_falls_after_so_many_checks_in_a_row() {
        for (rise, fall, checks, expected) in [
            (1, 2, "+-+--+", "U...DU"),
            (1, 2, "--+", ".DU"),
            (2, 3, "++---++", ".U..D.U"),
            (2, 3, "+-+-++--+---", ".....U.....D"),
            (1, 1, "+-+-", "UDUD"),
            (1, 2, "+-?-", "U..D"),
            (1, 2, "????+", "....U"),
            (2, 2, "+?+-?-", "..U..D"),
            (0, 0, "+-", "UD"),
        ] {
            assert_eq!(turns(rise, fall, checks), expected, "rise {rise}, fall {fall}, {checks}");
        }
    }

    proptest! {
        // It says what the last checks say, and turns no oftener than they do.
        #[test]
        fn the_verdict_follows_from_the_last_checks(
            rise in 1_u32..4, fall in 1_u32..4,
            checks in vec(prop::sample::select(vec!['+', '-', '?']), 0..40),
        ) {
            let mut verdict = Verdict::new(rise, fall);
            let mut counted = Vec::new();
            let mut expected = Health::Unknown;
            for check in checks {
                let turn = verdict.take(of(check));
                if check != '?' {
                    counted.push(check);
                }
                let before = expected;
                let row = |letter| counted.iter().rev().take_while(|check| **check == letter).count() as u32;
                if row('+') >= rise {
                    expected = Health::Well;
                } else if row('-') >= fall {
                    expected = Health::Failing;
                }
                prop_assert_eq!(verdict.health(), expected);
                let turned = match expected {
                    _ if before == expected => None,
                    Health::Well => Some(Turn::Up),
                    Health::Failing => Some(Turn::Down),
                    Health::Unknown => None,
                };
                prop_assert_eq!(turn, turned);
            }
        }
    }
}
