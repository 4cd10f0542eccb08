//! The mistakes of a config. A script goes on after most of them, so that one check finds them all.

use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;

use rhai::{Dynamic, NativeCallContext, Position};
use serde::{Deserialize, Serialize};

use super::registration::CallPosition;

/// A loop can make the same mistake thousands of times, each with another text.
const MAX_KEPT: usize = 1000;

/// A mistake in a file or module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mistake {
    pub at: CallPosition,
    pub text: String,
    /// The lines below the message, each with the place that it names.
    pub notes: Vec<(String, Option<CallPosition>)>,
}

impl Mistake {
    pub fn new(source: &str, position: Position, text: impl Into<String>) -> Self {
        Self { at: CallPosition::new(source, position), text: text.into(), notes: Vec::new() }
    }
}

/// Takes the place of a value whose mistake is reported already, so that the script can go on.
#[derive(Clone, Copy, Debug)]
pub struct Faulty;

/// Whether `value` is [`Faulty`], or a map or array with such a value.
pub fn is_faulty(value: &Dynamic) -> bool {
    if let Ok(map) = value.as_map_ref() {
        return map.values().any(is_faulty);
    }
    if let Ok(array) = value.as_array_ref() {
        return array.iter().any(is_faulty);
    }
    value.read_lock::<Faulty>().is_some()
}

/// Collects the mistakes of one evaluation. Clones share their state.
#[derive(Clone, Default)]
pub struct Mistakes(Rc<RefCell<State>>);

#[derive(Default)]
struct State {
    found: Vec<Mistake>,
    seen: HashSet<(CallPosition, String)>,
    may_catch: bool,
    /// The number of reports so far.
    reports: usize,
    /// The reports that came from within a function, with the index of the first mistake of each.
    called: Vec<(usize, usize)>,
    /// The report that is returned as an error, because an error shows the calls that led to it.
    traced: Option<usize>,
}

impl Mistakes {
    /// Forgets the previous evaluation.
    pub fn begin(&self) {
        let traced = self.0.borrow_mut().traced.take();
        *self.0.borrow_mut() = State { traced, ..State::default() };
    }

    /// The script may catch errors with `try`. So it gets them, as in every release.
    pub fn may_catch(&self) {
        self.0.borrow_mut().may_catch = true;
    }

    /// Returns the report of this number as an error, and forgets the others.
    pub fn trace(&self, report: usize) {
        *self.0.borrow_mut() = State { traced: Some(report), ..State::default() };
    }

    /// Records mistakes that the native function of `context` found, so that the script goes on. Returns them
    /// as an error if the script may catch it.
    pub fn report(&self, context: &NativeCallContext, mistakes: Vec<Mistake>) -> Result<(), String> {
        if mistakes.is_empty() {
            return Ok(());
        }
        let number = {
            let state = &mut *self.0.borrow_mut();
            state.reports += 1;
            state.reports
        };
        let State { may_catch, traced, .. } = *self.0.borrow();
        if may_catch || traced == Some(number) {
            let texts: Vec<String> = mistakes.into_iter().map(|mistake| mistake.text).collect();
            return Err(texts.join("; "));
        }
        let before = self.0.borrow().found.len();
        mistakes.into_iter().for_each(|mistake| self.add(mistake));
        let state = &mut *self.0.borrow_mut();
        if context.call_level() > 0 && state.found.len() > before {
            state.called.push((number, before));
        }
        Ok(())
    }

    /// Returns the reports that came from within a function, with the index of the first mistake of each.
    pub fn called(&self) -> Vec<(usize, usize)> {
        self.0.borrow().called.clone()
    }

    pub fn add(&self, mistake: Mistake) {
        let state = &mut *self.0.borrow_mut();
        if state.found.len() < MAX_KEPT && state.seen.insert((mistake.at.clone(), mistake.text.clone())) {
            state.found.push(mistake);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.borrow().found.is_empty()
    }

    pub fn take(&self) -> Vec<Mistake> {
        std::mem::take(&mut *self.0.borrow_mut()).found
    }
}

/// Returns the place of a call of a native function. `main` is the name of the script.
pub fn place_of(context: &NativeCallContext, main: &str) -> CallPosition {
    CallPosition::new(context.call_source().unwrap_or(main), context.call_position())
}
