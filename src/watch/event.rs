//! Why an action runs.

/// The reason for a run. Actions get it as `TWITCHER_EVENT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The daemon or the definition is new.
    Load,
    /// The node appeared.
    Created,
    /// The node's data changed, or something in the tree did.
    Changed,
    /// The set of the node's children changed.
    Children,
    /// An operator asked for the run.
    Trigger,
}

impl Event {
    pub const ALL: [Event; 5] =
        [Event::Load, Event::Created, Event::Changed, Event::Children, Event::Trigger];

    pub fn as_str(self) -> &'static str {
        match self {
            Event::Load => "load",
            Event::Created => "created",
            Event::Changed => "changed",
            Event::Children => "children",
            Event::Trigger => "trigger",
        }
    }

    /// Returns the event for a run with newer content, which came as `self`, in the place of a run for
    /// `older`. A first run and a run that an operator asked for stay what they are.
    pub(super) fn replacing(self, older: Self) -> Self {
        match (older, self) {
            (asked @ Event::Load, _)
            | (asked @ Event::Trigger, Event::Created | Event::Changed | Event::Children) => asked,
            (_, event) => event,
        }
    }
}
