//! Whether a service is well, by the results of its checks.

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckResult {
    Passed,
    Failed,
    /// Nothing is known: the check did not start, for want of a process or of a descriptor.
    NotStarted,
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
}

impl Verdict {
    /// `rise` checks in a row must pass before the service is well, and `fall` must fail before it is not.
    /// Both are at least 1.
    pub fn new(rise: u32, fall: u32) -> Self {
        let (rise, fall) = (rise.max(1), fall.max(1));
        Self { rise, fall, health: Health::Unknown, against: 0, last: None }
    }

    pub fn health(&self) -> Health {
        self.health
    }

    /// Takes the result of a check. Returns what changes because of it.
    pub fn take(&mut self, result: CheckResult) -> Option<Turn> {
        let is_same = self.last == Some(result);
        let (turn, needed, speaks_against) = match result {
            // It neither counts, nor does it end a row.
            CheckResult::NotStarted => return None,
            CheckResult::Passed => (Turn::Up, self.rise, self.health != Health::Well),
            CheckResult::Failed => (Turn::Down, self.fall, self.health != Health::Failing),
        };
        self.last = Some(result);
        self.against = match (speaks_against, is_same) {
            (false, _) => 0,
            (true, false) => 1,
            (true, true) => self.against + 1,
        };
        if self.against < needed || !speaks_against {
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
    /// `.`
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
