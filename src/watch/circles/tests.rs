use super::*;

const MS: Duration = Duration::from_millis(1);

/// Circles with a clock.
#[derive(Default)]
struct Bench {
    circles: Circles<char>,
    now: Time,
}

impl Bench {
    /// An update starts a run of the watch at once. Returns what changes by it.
    fn run(&mut self, watch: char) -> Option<CircleChange<char>> {
        self.circles.updated(watch, self.now);
        self.circles.started(watch, false, self.now);
        self.circles.next_change()
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
    assert_eq!(bench.run_in_a_circle(MANY - 1, MS), []);
    let found = bench.run_in_a_circle(200, MS);
    let [CircleChange::Found { watches, runs_per_second }] = &found[..] else { panic!("{found:?}") };
    assert_eq!(watches, &['a']);
    assert!((190.0..210.0).contains(runs_per_second), "{runs_per_second}");
    bench.now = bench.circles.due().expect("the end of the circle");
    bench.circles.rest(bench.now);
    assert_eq!(bench.circles.next_change(), Some(CircleChange::Over('a')));
    assert_eq!(bench.circles.due(), None);
    assert_eq!(bench.run_in_a_circle(MANY, MS).len(), 1, "it is told of again");
}

#[test]
fn watches_that_start_each_other_are_told_of_once() {
    let mut bench = Bench::default();
    let mut found = Vec::new();
    for _ in 0..2 * MANY {
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
        assert_eq!(bench.run_in_a_circle(MANY - 2, MS), []);
        end(&mut bench);
    }
    assert_eq!(bench.run_in_a_circle(MANY - 2, MS), []);
}

#[test]
fn what_is_over_leaves_nothing_behind() {
    let mut bench = Bench::default();
    bench.run_in_a_circle(2 * MANY, MS);
    bench.circles.forget('a');
    assert_eq!(bench.circles.next_change(), Some(CircleChange::Over('a')));
    bench.wait(LATENCY + MS);
    bench.circles.updated('b', bench.now);
    let Circles { running, ended, rows, found, changes } = &bench.circles;
    assert!(running.is_empty() && ended.is_empty() && rows.is_empty());
    assert!(found.is_empty() && changes.is_empty());
}
