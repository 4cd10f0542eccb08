//! Tests of single situations, in the words of the contract.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::model::{
    DataPart, Holder, Member, MemberAcl, MemberData, MemberName, NodePath, Pace, Pause, StoreName,
};

const SECOND: Duration = Duration::from_secs(1);

const PACE: Pace =
    Pace { interval: Duration::from_secs(10), timeout: Duration::from_secs(5), rise: 1, fall: 2 };

fn name(address: &str) -> MemberName {
    let path = NodePath::parse(&format!("/services/web/{address}")).unwrap();
    MemberName { store: StoreName::default(), path }
}

fn member(address: &str, data: &str) -> Arc<Member> {
    let data = MemberData([DataPart::Bytes(data.into())].into());
    Member { name: name(address), data, acl: MemberAcl::Read }.into()
}

fn checked(pace: Pace) -> Definition {
    Definition { member: member("a:80", "{}"), check: Some(pace) }
}

fn why(text: &str) -> Arc<str> {
    text.into()
}

/// A service with a clock of its own.
struct Bench {
    service: Service,
    now: Time,
    check: u64,
}

impl Bench {
    fn new(definition: Definition) -> (Self, Vec<Effect>) {
        Self::after(definition, Snapshot::default())
    }

    fn after(definition: Definition, snapshot: Snapshot) -> (Self, Vec<Effect>) {
        let service = Service::unloaded(definition.clone());
        let mut bench = Self { service, now: SECOND, check: 0 };
        let effects = bench.step(Input::Loaded { definition, snapshot });
        (bench, effects)
    }

    /// A service whose member is there, and whose next check is due.
    fn announced(pace: Pace) -> Self {
        let (mut bench, _) = Self::new(checked(pace));
        for _ in 0..pace.rise {
            bench.pass();
        }
        bench.report("a:80", Report::Announced);
        assert_eq!(bench.service.condition(), Condition::Announced);
        bench
    }

    fn step(&mut self, input: Input) -> Vec<Effect> {
        let effects = self.service.step(self.now, input);
        for effect in &effects {
            if let Effect::StartCheck { check } = effect {
                self.check = check.0;
            }
        }
        effects
    }

    fn sleep(&mut self, time: Duration) -> Vec<Effect> {
        self.now += time;
        self.step(Input::Tick)
    }

    /// Waits for the next check, if none runs, and ends it.
    fn check(&mut self, result: CheckResult, said: &str) -> Vec<Effect> {
        if let Some(due) = self.service.deadline() {
            self.now = self.now.max(due);
            self.step(Input::Tick);
        }
        self.end(result, said)
    }

    fn end(&mut self, result: CheckResult, said: &str) -> Vec<Effect> {
        self.step(Input::CheckEnded { check: CheckId(self.check), result, said: why(said) })
    }

    fn pass(&mut self) -> Vec<Effect> {
        self.check(CheckResult::Passed, "")
    }

    fn fail(&mut self) -> Vec<Effect> {
        self.check(CheckResult::Failed, "exit 1")
    }

    fn start(&mut self) {
        self.step(Input::CheckStarted { check: CheckId(self.check), executed: self.now });
    }

    fn report(&mut self, address: &str, report: Report) -> Vec<Effect> {
        self.step(Input::Kept { member: name(address), report })
    }

    fn redefine(&mut self, definition: Definition, same_check: bool) -> Vec<Effect> {
        self.step(Input::Redefined { definition, same_check })
    }
}

fn well() -> Effect {
    Effect::Turned { is_well: true, why: None }
}

fn ill(text: &str) -> Effect {
    Effect::Turned { is_well: false, why: Some(why(text)) }
}

fn announce(address: &str, data: &str) -> Effect {
    Effect::Announce(member(address, data))
}

fn withdraw(address: &str) -> Effect {
    Effect::Withdraw(name(address))
}

fn start(check: u64) -> Effect {
    Effect::StartCheck { check: CheckId(check) }
}

fn kill(check: u64) -> Effect {
    Effect::KillCheck { check: CheckId(check) }
}

#[test]
fn rise_successes_announce_and_fall_failures_withdraw() {
    let (mut bench, effects) = Bench::new(checked(Pace { rise: 2, fall: 3, ..PACE }));
    assert_eq!(effects, [start(1)]);
    assert_eq!(bench.service.condition(), Condition::Waiting);
    assert_eq!(bench.pass(), []);
    assert_eq!(bench.pass(), [well(), announce("a:80", "{}")]);
    assert_eq!(bench.service.condition(), Condition::Waiting);
    assert_eq!(bench.report("a:80", Report::Announced), [Effect::Announced(name("a:80"))]);
    assert_eq!(bench.service.condition(), Condition::Announced);
    assert_eq!((bench.fail(), bench.fail()), (vec![], vec![]));
    assert_eq!(bench.fail(), [ill("exit 1"), withdraw("a:80")]);
    assert_eq!(bench.service.condition(), Condition::Failing);
    assert_eq!(bench.report("a:80", Report::Withdrawn), [Effect::Withdrawn(name("a:80"))]);
    assert_eq!(bench.fail(), []);
    assert_eq!(bench.pass(), []);
    assert_eq!(bench.pass(), [well(), announce("a:80", "{}")]);
}

#[test]
fn a_service_without_a_check_is_announced_at_once() {
    let (mut bench, effects) = Bench::new(Definition { check: None, ..checked(PACE) });
    assert_eq!(effects, [announce("a:80", "{}")]);
    assert_eq!(bench.service.deadline(), None);
    assert_eq!(bench.step(Input::Stopping), [withdraw("a:80")]);
}

#[test]
fn a_service_that_was_never_well_turns_once() {
    let (mut bench, _) = Bench::new(checked(PACE));
    assert_eq!(bench.fail(), []);
    assert_eq!(bench.service.condition(), Condition::Waiting);
    assert_eq!(bench.fail(), [ill("exit 1")]);
    assert_eq!(bench.fail(), []);
    assert_eq!(bench.service.condition(), Condition::Failing);
    assert_eq!(bench.service.obstacle(), Some(why("exit 1")));
}

#[test]
fn the_interval_counts_from_the_end_of_a_check() {
    let (mut bench, _) = Bench::new(checked(PACE));
    bench.start();
    assert_eq!(bench.sleep(3 * SECOND), []);
    bench.end(CheckResult::Passed, "");
    assert_eq!(bench.service.deadline(), Some(bench.now + PACE.interval));
    assert_eq!(bench.sleep(PACE.interval - SECOND), []);
    assert_eq!(bench.sleep(SECOND), [start(2)]);
}

#[test]
fn a_check_that_takes_too_long_is_killed_and_has_failed() {
    let mut bench = Bench::announced(Pace { fall: 1, ..PACE });
    assert_eq!(bench.sleep(PACE.interval), [start(2)]);
    // A start that takes long has a deadline of its own.
    assert_eq!(bench.sleep(100 * SECOND), []);
    bench.start();
    assert_eq!(bench.service.deadline(), Some(bench.now + PACE.timeout));
    assert_eq!(bench.sleep(PACE.timeout), [kill(2)]);
    let effects = bench.end(CheckResult::Failed, "timed out: still connecting");
    assert_eq!(effects, [ill("timed out: still connecting"), withdraw("a:80")]);
}

#[test]
fn a_check_that_succeeds_after_its_timeout_has_failed() {
    let mut bench = Bench::announced(Pace { fall: 1, ..PACE });
    bench.sleep(PACE.interval);
    bench.start();
    bench.sleep(PACE.timeout);
    let effects = bench.end(CheckResult::Passed, "");
    assert_eq!(effects, [ill("it took longer than its timeout"), withdraw("a:80")]);
}

#[test]
fn a_check_that_outlives_its_kill_fails_again_and_again_and_no_other_one_starts() {
    let mut bench = Bench::announced(PACE);
    bench.sleep(PACE.interval);
    bench.start();
    assert_eq!(bench.sleep(PACE.timeout), [kill(2)]);
    assert_eq!(bench.sleep(2 * SECOND), []);
    let effects = bench.sleep(PACE.interval + PACE.timeout);
    assert_eq!(effects, [ill("it was killed at its timeout, and does not end"), withdraw("a:80")]);
    assert_eq!(bench.sleep(PACE.interval + PACE.timeout), []);
    assert_eq!(bench.end(CheckResult::Passed, ""), []);
    assert_eq!(bench.sleep(PACE.interval), [start(3)]);
}

#[test]
fn a_check_that_cannot_be_started_keeps_the_verdict_and_is_said_once() {
    let mut bench = Bench::announced(PACE);
    let not_started = |bench: &mut Bench| bench.check(CheckResult::NotStarted, "unknown user");
    bench.fail();
    assert_eq!(not_started(&mut bench), [Effect::Unstartable { why: why("unknown user") }]);
    for _ in 0..5 {
        assert_eq!(not_started(&mut bench), []);
    }
    assert_eq!(bench.service.condition(), Condition::Announced);
    // It is no success either: the failures are still in a row.
    assert_eq!(bench.fail(), [Effect::Startable, ill("exit 1"), withdraw("a:80")]);
    assert_eq!(not_started(&mut bench), [Effect::Unstartable { why: why("unknown user") }]);
    assert_eq!(bench.service.condition(), Condition::Failing);
}

#[test]
fn a_member_that_was_never_announced_waits_for_a_check_that_can_be_started() {
    let (mut bench, _) = Bench::new(checked(PACE));
    bench.check(CheckResult::NotStarted, "no descriptors");
    assert_eq!(bench.service.condition(), Condition::Waiting);
    assert_eq!(bench.service.obstacle(), Some(why("no descriptors")));
}

#[test]
fn a_pause_withdraws_and_keeps_checking() {
    let mut bench = Bench::announced(PACE);
    assert_eq!(bench.step(Input::Paused(Box::default())), [withdraw("a:80")]);
    assert_eq!(bench.service.condition(), Condition::Drained);
    assert_eq!(bench.report("a:80", Report::Withdrawn), [Effect::Withdrawn(name("a:80"))]);
    bench.fail();
    assert_eq!(bench.fail(), [ill("exit 1")]);
    assert_eq!(bench.pass(), [well()]);
    assert_eq!(bench.service.condition(), Condition::Drained);
    assert_eq!(bench.step(Input::Resumed), [announce("a:80", "{}")]);
}

#[test]
fn a_pause_ends_by_itself_and_outlives_the_daemon() {
    let mut bench = Bench::announced(PACE);
    let ends = Some(bench.now + 3 * SECOND);
    bench.step(Input::Paused(Pause { ends, ..Pause::default() }.into()));
    let snapshot = bench.service.snapshot();
    assert_eq!(bench.sleep(3 * SECOND), [Effect::PauseOver, announce("a:80", "{}")]);
    let (mut next, effects) = Bench::after(checked(PACE), snapshot);
    assert_eq!((effects, next.service.condition()), (vec![start(1)], Condition::Drained));
    assert!(next.sleep(3 * SECOND).contains(&Effect::PauseOver));
}

#[test]
fn what_this_daemon_was_told_of_a_pause_is_newer_than_the_record() {
    let pause = |why: &str| Box::new(Pause { why: Some(why.into()), ..Pause::default() });
    let mut bench = Bench::announced(PACE);
    bench.step(Input::Paused(pause("told")));
    // Its file is removed and put back before the member is gone.
    bench.step(Input::Retired);
    let snapshot = Snapshot { pause: Some(pause("recorded")), ..Snapshot::default() };
    bench.step(Input::Loaded { definition: checked(PACE), snapshot });
    assert_eq!(bench.service.pause(), Some(&*pause("told")));
}

#[test]
fn changed_data_is_written_in_place() {
    let mut bench = Bench::announced(PACE);
    let changed = Definition { member: member("a:80", "{\"weight\":1}"), ..checked(PACE) };
    assert_eq!(bench.redefine(changed.clone(), true), [announce("a:80", "{\"weight\":1}")]);
    assert_eq!(bench.service.condition(), Condition::Announced);
    assert_eq!(bench.redefine(changed, true), []);
}

#[test]
fn a_changed_name_withdraws_the_old_member_and_announces_the_new_one() {
    let mut bench = Bench::announced(PACE);
    let moved = Definition { member: member("b:80", "{}"), ..checked(PACE) };
    assert_eq!(bench.redefine(moved, true), [withdraw("a:80"), announce("b:80", "{}")]);
    assert_eq!(bench.service.condition(), Condition::Waiting);
    assert_eq!(bench.report("a:80", Report::Withdrawn), [Effect::Withdrawn(name("a:80"))]);
    assert_eq!(bench.report("b:80", Report::Announced), [Effect::Announced(name("b:80"))]);
    assert_eq!(bench.service.condition(), Condition::Announced);
}

#[test]
fn a_changed_check_starts_afresh_without_flapping_what_is_announced() {
    let mut bench = Bench::announced(PACE);
    bench.fail();
    bench.sleep(PACE.interval);
    bench.start();
    assert_eq!(bench.redefine(checked(PACE), false), [kill(3), start(4)]);
    assert_eq!(bench.service.condition(), Condition::Announced);
    // The end of the old check says nothing.
    let ended = Input::CheckEnded { check: CheckId(3), result: CheckResult::Failed, said: why("old") };
    assert_eq!(bench.step(ended), []);
    assert_eq!(bench.fail(), []);
    assert_eq!(bench.fail(), [ill("exit 1"), withdraw("a:80")]);
}

#[test]
fn another_member_with_another_check_waits_for_its_first_check() {
    let mut bench = Bench::announced(PACE);
    let other = Definition { member: member("b:80", "{}"), ..checked(PACE) };
    assert_eq!(bench.redefine(other, false), [withdraw("a:80"), start(2)]);
    assert_eq!(bench.pass(), [well(), announce("b:80", "{}")]);
}

#[test]
fn a_check_that_is_added_or_removed_counts_from_then_on() {
    let (mut bench, _) = Bench::new(Definition { check: None, ..checked(PACE) });
    assert_eq!(bench.redefine(checked(PACE), true), [start(1)]);
    bench.fail();
    assert_eq!(bench.fail(), [ill("exit 1"), withdraw("a:80")]);
    let effects = bench.redefine(Definition { check: None, ..checked(PACE) }, true);
    assert_eq!(effects, [announce("a:80", "{}")]);
    assert_eq!(bench.service.deadline(), None);
}

#[test]
fn a_shorter_interval_counts_at_once() {
    let mut bench = Bench::announced(Pace { interval: 1000 * SECOND, ..PACE });
    assert_eq!(bench.sleep(60 * SECOND), []);
    assert_eq!(bench.redefine(checked(PACE), true), [start(2)]);
}

#[test]
fn a_service_that_is_removed_withdraws_first_and_goes_once_its_member_is_gone() {
    let mut bench = Bench::announced(PACE);
    bench.sleep(PACE.interval);
    assert_eq!(bench.step(Input::Retired), [withdraw("a:80"), kill(2)]);
    let effects = bench.report("a:80", Report::Withdrawn);
    assert_eq!(effects, [Effect::Withdrawn(name("a:80")), Effect::Forget]);
    let (mut bench, _) = Bench::new(checked(PACE));
    assert_eq!(bench.step(Input::Retired), [kill(1), Effect::Forget]);
}

#[test]
fn a_daemon_that_stops_withdraws_before_anything_else() {
    let mut bench = Bench::announced(PACE);
    bench.sleep(PACE.interval);
    assert_eq!(bench.step(Input::Stopping), [withdraw("a:80"), kill(2)]);
    assert!(!bench.service.is_gone());
    assert!(!bench.service.snapshot().is_well);
    let loaded = Input::Loaded { definition: checked(PACE), snapshot: Snapshot::default() };
    assert_eq!(bench.step(loaded), []);
    bench.report("a:80", Report::Withdrawn);
    assert!(bench.service.is_gone());
}

#[test]
fn the_next_daemon_announces_what_a_killed_one_left_and_lets_one_failure_withdraw_it() {
    let mut bench = Bench::announced(Pace { rise: 3, fall: 3, ..PACE });
    let snapshot = bench.service.snapshot();
    assert!(snapshot.is_well);
    let pace = Pace { rise: 3, fall: 3, ..PACE };
    let (mut next, effects) = Bench::after(checked(pace), snapshot.clone());
    assert_eq!(effects, [announce("a:80", "{}"), start(1)]);
    assert_eq!(next.fail(), [ill("exit 1"), withdraw("a:80")]);
    let (mut next, _) = Bench::after(checked(pace), snapshot);
    next.check(CheckResult::NotStarted, "no descriptors");
    next.pass();
    assert_eq!((next.fail(), next.fail()), (vec![], vec![]));
    assert_eq!(next.fail(), [ill("exit 1"), withdraw("a:80")]);
    assert!(!next.service.snapshot().is_well);
    bench.step(Input::Stopping);
}

#[test]
fn a_lost_session_commands_nothing_and_is_healed_by_the_keeper() {
    let mut bench = Bench::announced(PACE);
    assert_eq!(bench.report("a:80", Report::Disconnected), []);
    assert_eq!(bench.service.condition(), Condition::Waiting);
    assert_eq!(bench.report("a:80", Report::Announced), []);
    assert_eq!(bench.service.condition(), Condition::Announced);
}

#[test]
fn a_conflict_is_said_once_also_over_lost_sessions_and_so_is_its_end() {
    let (mut bench, _) = Bench::new(checked(PACE));
    bench.pass();
    let conflict = |holder| Report::Conflict { holder: Holder::Owner(why(holder)) };
    let said = |holder| Effect::Conflict { holder: Holder::Owner(why(holder)) };
    assert_eq!(bench.report("a:80", conflict("session 7")), [said("session 7")]);
    assert_eq!(bench.report("a:80", conflict("session 7")), []);
    assert_eq!(bench.report("a:80", Report::Disconnected), []);
    assert_eq!(bench.report("a:80", conflict("session 7")), []);
    assert_eq!(bench.service.condition(), Condition::Conflict);
    assert_eq!(bench.service.obstacle(), Some(why("session 7")));
    assert_eq!(bench.report("a:80", conflict("session 8")), [said("session 8")]);
    assert_eq!(bench.report("a:80", Report::Announced), [Effect::Announced(name("a:80"))]);
}

#[test]
fn a_refusal_of_the_store_is_said_once() {
    let (mut bench, _) = Bench::new(checked(PACE));
    bench.pass();
    let waiting = || Report::Waiting { reason: why("no right to create") };
    assert_eq!(bench.report("a:80", waiting()), [Effect::Refused { reason: why("no right to create") }]);
    assert_eq!(bench.report("a:80", waiting()), []);
    assert_eq!(bench.service.condition(), Condition::Waiting);
    bench.fail();
    assert_eq!(bench.fail(), [ill("exit 1"), withdraw("a:80")]);
    // It was never there.
    assert_eq!(bench.report("a:80", Report::Withdrawn), []);
}

#[test]
fn a_report_on_a_member_that_is_to_be_withdrawn_says_nothing() {
    let mut bench = Bench::announced(PACE);
    bench.step(Input::Paused(Box::default()));
    bench.step(Input::Resumed);
    assert_eq!(bench.report("a:80", Report::Announced), [], "it was announced before the pause");
    assert_eq!(bench.service.condition(), Condition::Waiting);
    assert_eq!(bench.report("a:80", Report::Withdrawn), [Effect::Withdrawn(name("a:80"))]);
    assert_eq!(bench.report("a:80", Report::Announced), [Effect::Announced(name("a:80"))]);
    assert_eq!(bench.service.condition(), Condition::Announced);
}

#[test]
fn the_condition_counts_since_its_last_change() {
    let mut bench = Bench::announced(PACE);
    let since = bench.now;
    bench.pass();
    bench.fail();
    assert_eq!(bench.service.since(), Some(since));
    bench.fail();
    assert_eq!(bench.service.since(), Some(bench.now));
}
