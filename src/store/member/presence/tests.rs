use super::*;

fn path() -> NodePath {
    NodePath::parse("/s/m").unwrap()
}

fn member(data: &str) -> Member {
    Member { path: path(), data: data.into(), acl: MemberAcl::Read }
}

fn found(owner: Option<&str>, stamp: i64, data: &str) -> Option<Found> {
    let owner = owner.map(str::to_owned);
    Some(Found { owner, is_left: false, stamp: Stamp(stamp), data: Some(data.into()) })
}

struct Bench {
    presence: Presence,
    now: Instant,
}

impl Bench {
    /// With a connection of the owner `own`, which is on record, after `former` ones.
    fn open(former: &[&str]) -> Self {
        let mut it = Self { presence: Presence::default(), now: Instant::now() };
        it.presence.opened("own".into(), it.now);
        assert_eq!(it.events(), [KeeperEvent::Opened { owner: "own".into() }]);
        let former = former.iter().map(|name| (*name).to_owned()).collect();
        it.order(KeeperOrder::Recorded { owner: "own".into(), former });
        it
    }

    fn order(&mut self, order: KeeperOrder) {
        self.presence.take(order, self.now);
    }

    fn announce(&mut self, data: &str) {
        self.order(KeeperOrder::Announce(member(data)));
    }

    fn read(&mut self, found: Option<Found>) {
        self.presence.read(&path(), Ok(found), self.now);
    }

    fn wrote(&mut self, wrote: Wrote) {
        self.presence.wrote(&path(), wrote, self.now);
    }

    fn events(&mut self) -> Vec<KeeperEvent> {
        std::iter::from_fn(|| self.presence.next_event()).collect()
    }

    /// Panics unless these are the effects that are to be performed.
    #[track_caller]
    fn expect(&mut self, expected: &[Effect]) {
        let effects: Vec<_> = std::iter::from_fn(|| self.presence.next_effect()).collect();
        assert_eq!(effects, expected);
    }

    /// Lets time pass until something is due, and returns how much.
    fn wait(&mut self) -> Duration {
        let due = self.presence.due().expect("something is due");
        let waited = due - self.now;
        self.now = due;
        self.presence.tick(due);
        waited
    }

    fn held() -> Self {
        let mut it = Self::open(&[]);
        it.announce("a");
        it.expect(&[write(Write::Create(member("a").into()))]);
        it.wrote(Wrote::Done);
        assert_eq!(it.events(), [announced()]);
        it.expect(&[read(false)]);
        it.read(found(Some("own"), 7, "a"));
        assert_eq!(it.events(), []);
        it.expect(&[]);
        it
    }
}

fn read(is_fresh: bool) -> Effect {
    Effect::Read { path: path(), is_fresh }
}

fn write(write: Write) -> Effect {
    Effect::Write { path: path(), write }
}

fn announced() -> KeeperEvent {
    KeeperEvent::Announced { path: path() }
}

fn withdrawn() -> KeeperEvent {
    KeeperEvent::Withdrawn { path: path() }
}

fn conflict(holder: Option<&str>) -> KeeperEvent {
    KeeperEvent::Conflict { path: path(), holder: holder.map(str::to_owned) }
}

#[test]
fn nothing_is_written_before_the_owner_is_on_record() {
    let mut it = Bench { presence: Presence::default(), now: Instant::now() };
    it.announce("a");
    it.presence.opened("own".into(), it.now);
    it.order(KeeperOrder::Recorded { owner: "another".into(), former: Vec::new() });
    it.expect(&[]);
    it.order(KeeperOrder::Recorded { owner: "own".into(), former: Vec::new() });
    it.expect(&[write(Write::Create(member("a").into()))]);
}

#[test]
fn a_ghost_is_replaced_in_one_step_whatever_its_data() {
    for data in ["a", "other"] {
        let mut it = Bench::open(&["ghost"]);
        it.announce("a");
        it.expect(&[write(Write::Create(member("a").into()))]);
        it.wrote(Wrote::Thwarted);
        it.expect(&[read(true)]);
        it.read(found(Some("ghost"), 3, data));
        it.expect(&[write(Write::Replace(Stamp(3), member("a").into()))]);
        it.wrote(Wrote::Done);
        assert_eq!(it.events(), [announced()]);
    }
}

#[test]
fn what_another_owner_or_nobody_holds_is_told_once_and_taken_when_it_goes() {
    for holder in [Some("other"), None] {
        let mut it = Bench::open(&["ghost"]);
        it.announce("a");
        it.expect(&[write(Write::Create(member("a").into()))]);
        it.wrote(Wrote::Thwarted);
        it.expect(&[read(true)]);
        it.read(found(holder, 3, "a"));
        assert_eq!(it.events(), [conflict(holder)]);
        it.expect(&[]);
        // It changes, and is still there.
        it.presence.changed(&path());
        it.expect(&[read(false)]);
        it.read(found(holder, 4, "b"));
        assert_eq!(it.events(), []);
        it.expect(&[]);
        it.presence.changed(&path());
        it.expect(&[read(false)]);
        it.read(None);
        it.expect(&[write(Write::Create(member("a").into()))]);
    }
}

#[test]
fn what_somebody_deletes_or_overwrites_is_put_back() {
    let mut it = Bench::held();
    it.presence.changed(&path());
    it.expect(&[read(false)]);
    it.read(None);
    it.expect(&[write(Write::Create(member("a").into()))]);
    it.wrote(Wrote::NoParent);
    it.expect(&[write(Write::Parents)]);
    it.wrote(Wrote::Done);
    it.expect(&[write(Write::Create(member("a").into()))]);
    let mut it = Bench::held();
    it.presence.changed(&path());
    it.expect(&[read(false)]);
    it.read(found(Some("own"), 8, "overwritten"));
    it.expect(&[write(Write::Set(Stamp(8), member("a").into()))]);
    let mut it = Bench::held();
    it.presence.changed(&path());
    it.expect(&[read(false)]);
    it.read(found(None, 8, "overwritten"));
    it.expect(&[write(Write::Replace(Stamp(8), member("a").into()))]);
}

#[test]
fn a_change_during_a_read_is_not_lost() {
    let mut it = Bench::held();
    it.presence.changed(&path());
    it.expect(&[read(false)]);
    it.presence.changed(&path());
    it.read(found(Some("own"), 7, "a"));
    it.expect(&[read(false)]);
}

#[test]
fn changed_data_is_written_in_place_and_another_acl_by_another_node() {
    let mut it = Bench::held();
    it.announce("b");
    it.expect(&[write(Write::Set(Stamp(7), member("b").into()))]);
    it.wrote(Wrote::Done);
    assert_eq!(it.events(), [announced()]);
    it.expect(&[read(false)]);
    it.read(found(Some("own"), 8, "b"));
    it.announce("b");
    assert_eq!(it.events(), [announced()]);
    it.expect(&[]);
    // Nobody may write to it.
    it.announce("c");
    it.expect(&[write(Write::Set(Stamp(8), member("c").into()))]);
    it.wrote(Wrote::Fixed);
    it.expect(&[write(Write::Replace(Stamp(8), member("c").into()))]);
    it.wrote(Wrote::Done);
    it.expect(&[read(false)]);
    it.read(found(Some("own"), 0, "c"));
    let open = Member { acl: MemberAcl::Open, ..member("c") };
    it.order(KeeperOrder::Announce(open.clone()));
    it.expect(&[write(Write::Replace(Stamp(0), open.into()))]);
}

#[test]
fn only_what_is_ours_is_withdrawn() {
    let mut it = Bench::held();
    it.order(KeeperOrder::Withdraw(path()));
    it.expect(&[write(Write::Delete(Stamp(7)))]);
    it.wrote(Wrote::Thwarted);
    it.expect(&[read(true)]);
    it.read(found(Some("other"), 9, "a"));
    assert_eq!(it.events(), [withdrawn()]);
    it.expect(&[]);
    // What a former owner has left is ours.
    let mut it = Bench::open(&["ghost"]);
    it.order(KeeperOrder::Withdraw(path()));
    it.expect(&[read(false)]);
    it.presence.lost();
    it.presence.opened("own".into(), it.now);
    it.expect(&[read(false)]);
    it.read(found(Some("ghost"), 9, "a"));
    it.expect(&[write(Write::Delete(Stamp(9)))]);
    it.wrote(Wrote::Done);
    assert_eq!(it.events(), [withdrawn()]);
}

#[test]
fn a_refusal_is_told_once_and_tried_again_less_and_less_often() {
    let mut it = Bench::open(&[]);
    it.announce("a");
    let create = write(Write::Create(member("a").into()));
    it.expect(std::slice::from_ref(&create));
    it.wrote(Wrote::Refused("no".into()));
    assert_eq!(it.events(), [KeeperEvent::Waiting { path: path(), reason: "no".into() }]);
    let mut pauses = Vec::new();
    for _ in 0..7 {
        it.expect(&[]);
        pauses.push(it.wait().as_secs());
        it.expect(&[read(true)]);
        it.read(None);
        it.expect(std::slice::from_ref(&create));
        it.wrote(Wrote::Refused("no".into()));
        assert_eq!(it.events(), []);
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
    it.announce("b");
    it.expect(&[read(false)]);
}

#[test]
fn a_store_that_thwarts_every_write_has_pauses() {
    let mut it = Bench::open(&[]);
    it.announce("a");
    let mut tries = 0;
    while let Some(effect) = it.presence.next_effect() {
        tries += 1;
        match effect {
            Effect::Read { .. } => it.read(None),
            Effect::Write { .. } => it.wrote(Wrote::Thwarted),
        }
        assert!(tries < 100);
    }
    assert!(matches!(it.events()[..], [KeeperEvent::Waiting { .. }]));
}

#[test]
fn a_lost_connection_withdraws_nothing_and_the_same_owner_writes_nothing() {
    let mut it = Bench::held();
    it.presence.lost();
    assert_eq!(it.events(), []);
    it.presence.opened("own".into(), it.now);
    it.expect(&[read(false)]);
    it.read(found(Some("own"), 7, "a"));
    it.expect(&[]);
    assert_eq!(it.events(), [announced()]);
    // Another owner replaces what the first one left.
    it.presence.lost();
    it.presence.opened("second".into(), it.now);
    assert_eq!(it.events(), [KeeperEvent::Opened { owner: "second".into() }]);
    it.expect(&[]);
    it.order(KeeperOrder::Recorded { owner: "second".into(), former: Vec::new() });
    it.expect(&[read(false)]);
    it.read(found(Some("own"), 7, "a"));
    it.expect(&[write(Write::Replace(Stamp(7), member("a").into()))]);
}

#[test]
fn too_much_data_is_refused_before_a_store_ends_the_connection() {
    let mut it = Bench::open(&[]);
    it.announce(&"x".repeat(MAX_DATA + 1));
    it.expect(&[]);
    let [KeeperEvent::Waiting { reason, .. }] = &it.events()[..] else { panic!("it is told") };
    assert!(reason.contains("1000001"), "{reason}");
    it.announce("a");
    it.expect(&[read(false)]);
}

#[test]
fn every_member_is_looked_at_now_and_then() {
    let mut it = Bench::held();
    assert_eq!(it.wait(), AUDIT_INTERVAL);
    it.expect(&[read(true)]);
    it.read(found(Some("own"), 7, "a"));
    it.expect(&[]);
    assert_eq!(it.events(), []);
}
