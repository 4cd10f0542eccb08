use super::*;

const MS: Duration = Duration::from_millis(1);

/// The number of runs that make a circle, with the rests between them.
const ENOUGH: u32 = MANY + RESTS * STEP;

/// Circles with a clock.
#[derive(Default)]
struct Bench {
    circles: Circles<char>,
    now: Time,
}

impl Bench {
    /// An update starts a run of the watch, at once or after a rest in which all actions end. Returns what
    /// changes by it.
    fn run(&mut self, watch: char) -> Option<CircleChange<char>> {
        self.circles.updated(watch, self.now);
        if self.circles.holds_back(watch, self.now) {
            self.wait(10 * MS);
            let running: Vec<_> = self.circles.running.keys().copied().filter(|it| *it != 'x').collect();
            running.into_iter().for_each(|it| self.end(it));
            self.finish_rest(watch);
        }
        self.circles.started(watch, false, self.now);
        self.circles.next_change()
    }

    /// Lets a rest end in which nothing happens.
    fn finish_rest(&mut self, watch: char) {
        self.now = self.circles.due().expect("the end of the rest");
        self.circles.rest(self.now);
        assert_eq!(self.circles.next_rested(), Some(watch));
    }

    fn end(&mut self, watch: char) {
        self.circles.ended(watch, self.now);
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
    }

    /// Each run of the watch sets its node, which is seen `latency` after its end.
    fn run_in_a_circle(&mut self, times: u32, latency: Duration) -> Vec<CircleChange<char>> {
        let mut changes = Vec::new();
        for _ in 0..times {
            changes.extend(self.run('a'));
            self.wait(4 * MS);
            self.end('a');
            self.wait(latency);
        }
        changes
    }
}

#[test]
fn a_watch_that_starts_itself_is_told_of_once_and_when_it_rests() {
    let mut bench = Bench::default();
    assert_eq!(bench.run_in_a_circle(ENOUGH - 1, MS), []);
    let found = bench.run_in_a_circle(200, MS);
    let [CircleChange::Found { watches, runs_per_second }] = &found[..] else { panic!("{found:?}") };
    assert_eq!(watches, &['a']);
    assert!((190.0..210.0).contains(runs_per_second), "{runs_per_second}");
    bench.now = bench.circles.due().expect("the end of the circle");
    bench.circles.rest(bench.now);
    assert_eq!(bench.circles.next_change(), Some(CircleChange::Over('a')));
    assert_eq!(bench.circles.due(), None);
    assert_eq!(bench.run_in_a_circle(ENOUGH, MS).len(), 1, "it is told of again");
}

#[test]
fn watches_that_start_each_other_are_told_of_once() {
    let mut bench = Bench::default();
    let mut found = Vec::new();
    for _ in 0..2 * ENOUGH {
        for (watch, next) in [('a', 'b'), ('b', 'c'), ('c', 'a')] {
            if watch == 'a' && bench.circles.running.is_empty() {
                found.extend(bench.run('a'));
            }
            bench.wait(20 * MS);
            found.extend(bench.run(next));
            bench.end(watch);
            bench.wait(100 * MS);
        }
    }
    let [CircleChange::Found { watches, .. }] = &found[..] else { panic!("{found:?}") };
    assert_eq!(watches.iter().collect::<BTreeSet<_>>(), ['a', 'b', 'c'].iter().collect());
}

#[test]
fn a_busy_node_whose_updates_find_the_action_at_rest_is_no_circle() {
    let mut bench = Bench::default();
    assert_eq!(bench.run_in_a_circle(1000, LATENCY + MS), []);
}

/// Runs the action of `a`, 20 ms each, while somebody else sets its node every `interval`. Returns the
/// changes and how long runs were held back.
fn run_for_others(interval: Duration, time: Duration) -> (Vec<CircleChange<char>>, Duration) {
    let mut bench = Bench::default();
    let (mut end, mut waits, mut holds) = (None, false, false);
    let (mut changes, mut held) = (Vec::new(), Duration::ZERO);
    let mut next_update = interval;
    while bench.now < time {
        bench.wait(MS);
        held += if holds { MS } else { Duration::ZERO };
        let updates = bench.now >= next_update;
        if updates {
            next_update += interval;
            bench.circles.updated('a', bench.now);
        }
        let ends = end.take_if(|end| *end <= bench.now).is_some();
        if ends {
            bench.end('a');
        }
        bench.circles.rest(bench.now);
        let may_start = (waits && ends) || (updates && end.is_none() && !holds);
        let is_rested = bench.circles.next_rested().is_some();
        waits |= updates;
        if is_rested || may_start && !bench.circles.holds_back('a', bench.now) {
            (waits, holds) = (false, false);
            bench.circles.started('a', false, bench.now);
            end = Some(bench.now + 20 * MS);
            changes.extend(bench.circles.next_change());
        } else if may_start {
            holds = true;
        }
    }
    (changes, held)
}

// No update finds the action at rest, as in a circle.
#[test]
fn a_node_that_others_set_all_the_time_is_no_circle_and_is_held_back_for_a_moment_only() {
    for interval in [1, 3, 7, 15, 19, 20, 21, 35, 60] {
        let (changes, held) = run_for_others(interval * MS, Duration::from_secs(30));
        assert_eq!(changes, [], "every {interval} ms");
        assert!(held <= Duration::from_millis(400), "every {interval} ms: {held:?}");
    }
}

#[test]
fn a_rest_in_which_another_action_of_the_circle_may_set_the_node_says_nothing() {
    let mut bench = Bench::default();
    let mut rests = 0;
    // The other action, which runs all the time, sets the node at times.
    bench.circles.updated('b', bench.now);
    bench.circles.started('b', false, bench.now);
    for _ in 0..1000 {
        bench.circles.updated('a', bench.now);
        if bench.circles.holds_back('a', bench.now) {
            rests += 1;
            if let Rest::Now { watches, .. } = &mut bench.circles.rows.get_mut(&'a').unwrap().rest {
                watches.insert('b');
            }
            bench.wait(MAX_LATENCY + MS);
            bench.circles.updated('a', bench.now);
            bench.finish_rest('a');
        }
        bench.circles.started('a', false, bench.now);
        assert_eq!(bench.circles.next_change(), None);
        bench.wait(4 * MS);
        bench.end('a');
    }
    assert!(rests > 3, "{rests}");
}

#[test]
fn a_slow_watch_is_not_held_back() {
    let mut bench = Bench::default();
    for _ in 0..200 {
        bench.circles.updated('a', bench.now);
        assert!(!bench.circles.holds_back('a', bench.now));
        bench.circles.started('a', false, bench.now);
        bench.wait(MAX_INTERVAL + 50 * MS);
        bench.end('a');
    }
}

#[test]
fn a_watch_that_is_forgotten_during_its_rest_is_let_go() {
    let mut bench = Bench::default();
    while !bench.circles.holds_back('a', bench.now) {
        bench.run_in_a_circle(1, MS);
    }
    bench.circles.forget('a', bench.now);
    assert_eq!((bench.circles.next_rested(), bench.circles.due()), (Some('a'), None));
}

// A host under load reports an update late now and then.
#[test]
fn a_few_late_updates_hide_no_circle() {
    for (late, found) in [(15, 1), (5, 0)] {
        let mut bench = Bench::default();
        // Nobody starts this one. It is always there to be taken for the cause.
        bench.run('x');
        let mut changes = Vec::new();
        for _ in 0..40 {
            changes.extend(bench.run_in_a_circle(late - 1, MS));
            changes.extend(bench.run_in_a_circle(1, LATENCY + MS));
        }
        assert_eq!(changes.len(), found, "one of {late} is late: {changes:?}");
    }
}

// Two watches of one busy node, beside an action that always runs and that nobody starts.
#[test]
fn an_action_that_always_runs_is_not_taken_for_the_cause() {
    let mut bench = Bench::default();
    bench.run('x');
    for _ in 0..1000 {
        assert_eq!((bench.run('a'), bench.run('b')), (None, None));
        bench.wait(MS);
        bench.end('a');
        bench.end('b');
        bench.wait(LATENCY + MS);
    }
}

#[test]
fn a_rest_a_retry_and_a_throttle_each_end_the_row() {
    let mut bench = Bench::default();
    let rest = |bench: &mut Bench| bench.wait(REST + MS);
    let retry = |bench: &mut Bench| {
        bench.circles.started('a', false, bench.now);
        bench.end('a');
    };
    let throttle = |bench: &mut Bench| {
        bench.circles.updated('a', bench.now);
        bench.circles.started('a', true, bench.now);
        bench.end('a');
    };
    let ends: [fn(&mut Bench); 3] = [rest, retry, throttle];
    for end in ends {
        assert_eq!(bench.run_in_a_circle(ENOUGH - 2, MS), []);
        end(&mut bench);
    }
    assert_eq!(bench.run_in_a_circle(ENOUGH - 2, MS), []);
}

#[test]
fn what_is_over_leaves_nothing_behind() {
    let mut bench = Bench::default();
    bench.run_in_a_circle(2 * ENOUGH, MS);
    bench.circles.forget('a', bench.now);
    assert_eq!(bench.circles.next_change(), Some(CircleChange::Over('a')));
    bench.wait(LATENCY + MS);
    bench.circles.updated('b', bench.now);
    let Circles { running, ended, active, rows, starts, .. } = &bench.circles;
    assert!(running.is_empty() && ended.is_empty() && active.is_none());
    assert!(rows.is_empty() && starts.is_empty());
    let Circles { resting, rested, found, known, changes, .. } = &bench.circles;
    assert!(resting.is_empty() && rested.is_empty());
    assert!(found.is_empty() && known.is_empty() && changes.is_empty());
}

#[test]
fn a_watch_that_is_only_tried_again_leaves_no_ends_behind() {
    let mut bench = Bench::default();
    for _ in 0..1000 {
        bench.circles.started('a', false, bench.now);
        bench.wait(LATENCY + MS);
        bench.end('a');
        assert_eq!(bench.circles.ended.len(), 1);
    }
}

#[test]
fn a_start_looks_at_no_rows_but_those_that_rest_each_once() {
    const WATCHES: u32 = 5000;
    let mut circles = Circles::default();
    let mut now = Time::ZERO;
    for _ in 0..4 {
        for watch in 0..WATCHES {
            circles.updated(watch, now);
            circles.started(watch, false, now);
            circles.ended(watch, now);
            now += MS / 10;
        }
    }
    assert_eq!(circles.visited, 0);
    now += REST;
    circles.started(WATCHES, false, now);
    assert_eq!((circles.visited, circles.rows.len()), (WATCHES as usize, 1));
}

#[test]
fn the_updates_of_many_watches_for_one_change_look_once_at_the_actions_that_run() {
    const ACTIONS: u32 = 300;
    const WATCHES: std::ops::Range<u32> = 1000..2000;
    let mut circles = Circles::default();
    (0..ACTIONS).for_each(|action| circles.started(action, false, Time::ZERO));
    for _ in 0..FEW {
        for watch in WATCHES {
            circles.updated(watch, Time::ZERO);
            circles.started(watch, false, Time::ZERO);
            circles.ended(watch, Time::ZERO);
        }
    }
    let now = LATENCY + MS;
    for _ in 0..10 {
        WATCHES.for_each(|watch| circles.updated(watch, now));
    }
    assert_eq!(circles.visited, ACTIONS as usize);
}
