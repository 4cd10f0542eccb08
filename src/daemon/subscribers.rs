//! The watches of one node and facet.

use super::watches::WatchId;
use crate::model::State;
use crate::watch::Seen;

/// The watches of one subject. There may be a hundred thousand subjects, and most have one watch.
pub(super) struct Subscribers {
    watches: Subscribed,
    /// Whether a report on the subject is due because a watch asked for it.
    pub(super) is_asked: bool,
    /// Why the subject cannot be read, if it cannot.
    pub(super) unreadable: Option<Box<str>>,
}

enum Subscribed {
    /// It is told every report, and knows by itself what is new.
    One(Subscriber),
    Many(Box<Many>),
}

/// Thousands of watches may have one node.
struct Many {
    /// Sorted.
    watches: Vec<Subscriber>,
    /// The last reported state. `None` until the first report on the present connection.
    seen: Option<Seen>,
}

/// A watch of a subject.
#[derive(Clone, Copy)]
pub(super) struct Subscriber {
    watch: WatchId,
    /// Whether it is to be told the state again, changed or not.
    pub(super) asks: bool,
}

impl Subscribers {
    /// Makes those of a subject that was not watched. A report is due.
    pub(super) fn new(watch: WatchId) -> Self {
        let watches = Subscribed::One(Subscriber { watch, asks: true });
        Self { watches, is_asked: true, unreadable: None }
    }

    /// Takes a report on the subject. Returns the watches to tell: all of them if the state may be another
    /// than the last, and otherwise those that asked. `awaits` says whether a watch needs the state although
    /// it did not ask.
    pub(super) fn take_report(&mut self, state: &State, awaits: impl Fn(WatchId) -> bool) -> Vec<WatchId> {
        self.is_asked = false;
        let Many { watches, seen } = match &mut self.watches {
            Subscribed::One(subscriber) => {
                subscriber.asks = false;
                return vec![subscriber.watch];
            }
            Subscribed::Many(many) => &mut **many,
        };
        let now = Some(Seen::of(state));
        let is_news = std::mem::replace(seen, now) != now;
        let told = watches.iter_mut().filter_map(|Subscriber { watch, asks }| {
            let asked = std::mem::take(asks);
            (is_news || asked || awaits(*watch)).then_some(*watch)
        });
        told.collect()
    }

    /// Notes that the next report may be about another state, whatever it says.
    pub(super) fn forget_report(&mut self) {
        match &mut self.watches {
            Subscribed::One(_) => {}
            Subscribed::Many(many) => many.seen = None,
        }
    }

    /// Adds a watch, which is to be told the state.
    pub(super) fn join(&mut self, watch: WatchId) {
        let many = match &mut self.watches {
            Subscribed::One(first) => {
                let many = Box::new(Many { watches: vec![*first], seen: None });
                self.watches = Subscribed::Many(many);
                return self.join(watch);
            }
            Subscribed::Many(many) => many,
        };
        let subscriber = Subscriber { watch, asks: true };
        match many.place(watch) {
            Ok(place) => many.watches[place] = subscriber,
            Err(place) => many.watches.insert(place, subscriber),
        }
    }

    pub(super) fn find(&mut self, watch: WatchId) -> Option<&mut Subscriber> {
        match &mut self.watches {
            Subscribed::One(subscriber) => Some(subscriber).filter(|subscriber| subscriber.watch == watch),
            Subscribed::Many(many) => many.place(watch).ok().map(|place| &mut many.watches[place]),
        }
    }

    /// Removes a watch. Returns whether there is none any more.
    pub(super) fn leave(&mut self, watch: WatchId) -> bool {
        match &mut self.watches {
            Subscribed::One(subscriber) => subscriber.watch == watch,
            Subscribed::Many(many) => {
                if let Ok(place) = many.place(watch) {
                    many.watches.remove(place);
                }
                many.watches.is_empty()
            }
        }
    }

    pub(super) fn watches(&self) -> impl Iterator<Item = WatchId> {
        let watches = match &self.watches {
            Subscribed::One(subscriber) => std::slice::from_ref(subscriber),
            Subscribed::Many(many) => &many.watches,
        };
        watches.iter().map(|subscriber| subscriber.watch)
    }
}

impl Many {
    fn place(&self, watch: WatchId) -> Result<usize, usize> {
        self.watches.binary_search_by_key(&watch, |subscriber| subscriber.watch)
    }
}
