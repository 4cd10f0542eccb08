//! Services with a keeper that does what the test says.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{Sender, UnboundedReceiver, channel, unbounded_channel};

use super::Services;
use super::checks::Checks;
use super::keepers::Keepers;
use super::perform::ServicePerformer;
use crate::action::spawn::Spawner;
use crate::daemon::clock::Clock;
use crate::daemon::fixtures::{block_on, key, reporter, spec};
use crate::daemon::identities::Identities;
use crate::daemon::persist::Persist;
use crate::ledger::Ledger;
use crate::model::{
    Action, Check, DataPart, Member, MemberAcl, MemberData, MemberFormat, MemberName, NodePath, Pace,
    ServiceSpec, StoreName,
};
use crate::report::Reporter;
use crate::service::{Condition, Input};
use crate::store::{KeeperEvent, KeeperLink, KeeperOrder};

/// The far end of the keeper, once it is open.
type Far = Rc<RefCell<Option<(UnboundedReceiver<KeeperOrder>, Sender<KeeperEvent>)>>>;

struct Bench {
    log: Reporter,
    clock: Clock,
    services: Services,
    checks: Checks,
    keepers: Keepers,
    identities: Identities,
    persist: Persist,
    far: Far,
}

impl Bench {
    fn new(directory: &Path) -> Self {
        let (log, clock, far) = (reporter(), Clock::start(), Far::default());
        let opened = far.clone();
        let open = move |_: &StoreName, _: &mut Ledger| {
            let (orders, taken) = unbounded_channel();
            let (told, events) = channel(8);
            *opened.borrow_mut() = Some((taken, told));
            Ok(KeeperLink { orders, events, process: Rc::default() })
        };
        Self {
            services: Services::new(clock),
            checks: Checks::new(clock, Spawner::new().expect("limits")),
            keepers: Keepers::new(Box::new(open)),
            identities: Identities::new(log.clone()),
            persist: Persist::new(log.clone(), Ledger::open(directory).expect("a ledger")),
            log,
            clock,
            far,
        }
    }

    fn performer(&mut self) -> ServicePerformer<'_> {
        let Self { log, clock, services, checks, keepers, identities, persist, far: _ } = self;
        let clock = *clock;
        let (is_dry_run, has_one_store) = (false, true);
        ServicePerformer {
            log,
            clock,
            services,
            checks,
            keepers,
            identities,
            persist,
            is_dry_run,
            has_one_store,
        }
    }

    fn load(&mut self, wanted: Vec<ServiceSpec>) {
        self.performer().load("a.twc", wanted);
        self.performer().perform_all();
    }

    /// The orders that the keeper got since the last call, in short.
    fn orders(&self) -> Vec<String> {
        let mut far = self.far.borrow_mut();
        let Some((orders, _)) = far.as_mut() else { return Vec::new() };
        std::iter::from_fn(|| orders.try_recv().ok())
            .map(|order| match order {
                KeeperOrder::Announce(member) => {
                    format!("+{} {}", member.path, String::from_utf8_lossy(&member.data))
                }
                KeeperOrder::Withdraw(path) => format!("-{path}"),
                KeeperOrder::Recorded { owner, former } => format!("{owner} after {former:?}"),
            })
            .collect()
    }

    /// The keeper says something.
    async fn tell(&mut self, event: KeeperEvent) {
        self.far.borrow().as_ref().expect("a keeper").1.try_send(event).expect("the daemon hears it");
        let (keeper, event) = self.keepers.next_event().await.expect("an event");
        self.performer().keeper_event(keeper, event);
        self.performer().perform_all();
    }

    fn condition(&self, name: &str) -> Condition {
        let id = self.services.id(&key(name)).expect("a service");
        self.services.get(id).expect("a service").service().condition()
    }

    /// Performs what happens to checks and time until `done`.
    async fn until(&mut self, done: impl Fn(&Self) -> bool) {
        let waited = async {
            while !done(self) {
                tokio::select! {
                    Some(event) = self.checks.next_event() => self.performer().check_event(event),
                    Some(answer) = self.identities.next() => {
                        let run_as = self.identities.take(answer);
                        let known = run_as.as_ref().and_then(|it| self.identities.known(it).cloned());
                        if let Some(run_as) = run_as {
                            self.performer().identified(&run_as, known.as_ref());
                        }
                    }
                    () = tokio::time::sleep(Duration::from_millis(10)) => self.services.tick(),
                }
                self.performer().perform_all();
            }
        };
        tokio::time::timeout(Duration::from_secs(60), waited).await.expect("it happens in time");
    }
}

fn path() -> NodePath {
    NodePath::parse("/s/h:1").expect("a path")
}

/// A service of `a.twc` whose member is `/s/h:1`.
fn service(description: &str, check: Option<&str>) -> ServiceSpec {
    let plain = spec(description, "/unused");
    let parts = [DataPart::Bytes(description.into()), DataPart::Bytes(b" ".into()), DataPart::Pid];
    let data = MemberData(parts.into());
    let name = MemberName { store: StoreName::default(), path: path() };
    let words = |script: &str| ["/bin/sh", "-c", script].map(Arc::from);
    ServiceSpec {
        id: plain.id,
        member: Member { name, data, acl: MemberAcl::Read }.into(),
        format: MemberFormat::Raw,
        port: None,
        check: check.map(|script| Check {
            action: Action::Command(words(script).into()),
            pace: Pace { interval: Duration::from_millis(100), ..Pace::DEFAULT },
        }),
        drain: Duration::ZERO,
        run_as: plain.run_as,
        identity: plain.identity,
        exec_context: plain.exec_context,
    }
}

/// A service of `a.twc` whose member is `/s/ADDRESS`.
pub fn named(description: &str, address: &str) -> ServiceSpec {
    let spec = service(description, None);
    let path = NodePath::parse(&format!("/s/{address}")).expect("a path");
    let name = MemberName { path, ..spec.member.name.clone() };
    let data = MemberData([].into());
    ServiceSpec { member: Member { name, data, acl: MemberAcl::Read }.into(), ..spec }
}

fn announced(name: &str) -> String {
    format!("+/s/h:1 {name} {}", std::process::id())
}

fn with_bench(test: impl AsyncFnOnce(&mut Bench, &Path)) {
    let directory = tempfile::tempdir().expect("a directory");
    block_on(async {
        let mut bench = Bench::new(directory.path());
        test(&mut bench, directory.path()).await;
    });
}

#[test]
fn a_member_is_announced_for_one_of_two_services_and_then_for_the_other() {
    with_bench(async |bench, _| {
        bench.load(vec![service("a", None), service("b", None)]);
        assert_eq!(bench.orders(), [announced("a")]);
        assert_eq!(bench.condition("b"), Condition::Conflict);
        bench.tell(KeeperEvent::Announced { path: path() }).await;
        assert_eq!((bench.condition("a"), bench.condition("b")), (Condition::Announced, Condition::Conflict));
        bench.load(vec![service("b", None)]);
        assert_eq!(bench.orders(), ["-/s/h:1".to_owned(), announced("b")]);
        // The first report is about the member of the other service.
        bench.tell(KeeperEvent::Announced { path: path() }).await;
        assert_eq!(bench.condition("b"), Condition::Conflict);
        bench.tell(KeeperEvent::Withdrawn { path: path() }).await;
        bench.tell(KeeperEvent::Announced { path: path() }).await;
        assert_eq!(bench.condition("b"), Condition::Announced);
        assert_eq!(bench.services.id(&key("a")), None, "it is forgotten");
    });
}

#[test]
fn an_owner_is_on_record_before_the_keeper_goes_on_and_the_next_daemon_knows_it() {
    let directory = tempfile::tempdir().expect("a directory");
    for (owner, expected) in
        [("s1", "s1 after []"), ("s2", "s2 after [\"s1\"]"), ("s3", "s3 after [\"s2\", \"s1\"]")]
    {
        block_on(async {
            let mut bench = Bench::new(directory.path());
            bench.load(vec![service("a", None)]);
            bench.orders();
            bench.tell(KeeperEvent::Opened { owner: owner.to_owned() }).await;
            assert_eq!(bench.orders(), [expected]);
        });
    }
}

#[test]
fn checks_announce_and_withdraw() {
    with_bench(async |bench, directory| {
        let well = directory.join("well");
        bench.load(vec![service("a", Some(&format!("test -e {}", well.display())))]);
        bench.until(|bench| bench.condition("a") == Condition::Failing).await;
        assert_eq!(bench.orders(), [""; 0]);
        std::fs::write(&well, "").expect("write a file");
        bench.until(|bench| bench.condition("a") == Condition::Waiting).await;
        assert_eq!(bench.orders(), [announced("a")]);
        bench.tell(KeeperEvent::Announced { path: path() }).await;
        assert_eq!(bench.condition("a"), Condition::Announced);
        bench.tell(KeeperEvent::Disconnected { reason: "away".into() }).await;
        assert_eq!(bench.condition("a"), Condition::Waiting);
        assert_eq!(bench.keepers.disconnected(&StoreName::default()), Some("away"));
        bench.tell(KeeperEvent::Refused { reason: "no password".into() }).await;
        assert_eq!(bench.keepers.disconnected(&StoreName::default()), Some("no password"));
        bench.tell(KeeperEvent::Connected { what: "it".into() }).await;
        assert_eq!(bench.keepers.disconnected(&StoreName::default()), None);
        std::fs::remove_file(&well).expect("remove a file");
        bench.until(|bench| bench.condition("a") == Condition::Failing).await;
        assert_eq!(bench.orders(), ["-/s/h:1"]);
    });
}

#[test]
fn the_next_daemon_announces_at_once_what_was_well_under_the_same_check() {
    let directory = tempfile::tempdir().expect("a directory");
    let load = |script: &'static str| {
        block_on(async {
            let mut bench = Bench::new(directory.path());
            bench.load(vec![service("a", Some(script))]);
            let at_once = bench.orders();
            bench
                .until(|bench| bench.condition("a") == Condition::Waiting && !bench.services.are_gone())
                .await;
            bench.performer().save();
            bench.persist.ledger_mut().commit();
            at_once
        })
    };
    assert_eq!(load("true"), [""; 0]);
    assert_eq!(load("true"), [announced("a")]);
    assert_eq!(load("exit 0"), [""; 0], "another check has said nothing yet");
    // A daemon that stops leaves nothing to take over.
    block_on(async {
        let mut bench = Bench::new(directory.path());
        bench.load(vec![service("a", Some("exit 0"))]);
        assert_eq!(bench.orders(), [announced("a")]);
        bench.services.stop();
        bench.performer().perform_all();
        assert_eq!(bench.orders(), ["-/s/h:1"]);
        bench.tell(KeeperEvent::Withdrawn { path: path() }).await;
        assert!(bench.services.are_gone());
        bench.performer().save();
    });
    assert_eq!(load("exit 0"), [""; 0]);
}

// "nothing written while nothing turns"
#[test]
fn a_service_that_has_another_place_in_its_file_keeps_its_member_and_its_pause() {
    let directory = tempfile::tempdir().expect("a directory");
    block_on(async {
        let mut bench = Bench::new(directory.path());
        bench.load(vec![named("1", "a"), named("2", "b"), named("3", "c")]);
        assert_eq!(bench.orders(), ["+/s/a ", "+/s/b ", "+/s/c "]);
        let id = bench.services.id(&key("1")).expect("a service");
        bench.services.step(id, Input::Paused(Box::default()));
        bench.performer().perform_all();
        assert_eq!(bench.orders(), ["-/s/a"]);
        bench.load(vec![named("1", "x"), named("2", "a"), named("3", "b")]);
        assert_eq!(bench.orders(), ["-/s/c", "+/s/x "]);
        assert_eq!(bench.services.id(&key("2")), Some(id));
        let conditions = ["1", "2", "3"].map(|name| bench.condition(name));
        assert_eq!(conditions, [Condition::Waiting, Condition::Drained, Condition::Waiting]);
        bench.performer().save();
        bench.persist.ledger_mut().commit();
    });
    block_on(async {
        let mut bench = Bench::new(directory.path());
        bench.load(vec![named("1", "x"), named("2", "a"), named("3", "b")]);
        assert_eq!(bench.orders(), ["+/s/x ", "+/s/b "], "the pause is that of the member");
    });
}

// The daemon may die right after the file was loaded.
#[test]
fn a_name_that_is_vacant_keeps_nothing_of_the_service_that_had_it() {
    let directory = tempfile::tempdir().expect("a directory");
    block_on(async {
        let mut bench = Bench::new(directory.path());
        bench.load(vec![named("1", "a")]);
        let id = bench.services.id(&key("1")).expect("a service");
        bench.services.step(id, Input::Paused(Box::default()));
        bench.performer().perform_all();
        bench.performer().save();
        bench.load(vec![named("2", "a")]);
        assert_eq!((bench.services.id(&key("1")), bench.services.id(&key("2"))), (None, Some(id)));
        bench.persist.ledger_mut().commit();
    });
    block_on(async {
        let mut bench = Bench::new(directory.path());
        bench.load(vec![named("1", "z"), named("2", "a")]);
        assert_eq!(bench.orders(), ["+/s/z "]);
        assert_eq!(["1", "2"].map(|name| bench.condition(name)), [Condition::Waiting, Condition::Drained]);
    });
}

#[test]
fn a_pause_outlives_the_daemon_and_the_removal_of_the_file() {
    let directory = tempfile::tempdir().expect("a directory");
    block_on(async {
        let mut bench = Bench::new(directory.path());
        bench.load(vec![service("a", None)]);
        let id = bench.services.id(&key("a")).expect("a service");
        bench.services.step(id, Input::Paused(Box::default()));
        bench.performer().perform_all();
        assert_eq!(bench.orders(), [announced("a"), "-/s/h:1".to_owned()]);
        bench.performer().save();
        bench.load(Vec::new());
        bench.persist.ledger_mut().commit();
    });
    block_on(async {
        let mut bench = Bench::new(directory.path());
        bench.load(vec![service("a", None)]);
        assert_eq!((bench.orders(), bench.condition("a")), (Vec::new(), Condition::Drained));
    });
}
