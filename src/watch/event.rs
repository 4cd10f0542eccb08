//! Why an action runs.

/// The reason for a run. Actions get it as `TWITCHER_EVENT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The watch was loaded, by a new daemon or with a new definition.
    Load,
    /// The node appeared.
    Created,
    /// The node's data, a node of the tree, or a member changed.
    Changed,
    /// The set of the node's children changed.
    Children,
    /// The node was deleted (`run_on_delete`).
    Deleted,
    /// An operator asked for the run.
    Trigger,
}

impl Event {
    pub const ALL: [Event; 6] =
        [Event::Load, Event::Created, Event::Changed, Event::Children, Event::Deleted, Event::Trigger];

    pub fn as_str(self) -> &'static str {
        match self {
            Event::Load => "load",
            Event::Created => "created",
            Event::Changed => "changed",
            Event::Children => "children",
            Event::Deleted => "deleted",
            Event::Trigger => "trigger",
        }
    }

    /// Returns the event of a run whose update `older` was replaced by an update with this event. A run stays
    /// [`Load`](Self::Load) or [`Trigger`](Self::Trigger) if it was, unless there is no content any more.
    pub(super) fn replacing(self, older: Self) -> Self {
        match (older, self) {
            (_, Event::Deleted) => Event::Deleted,
            (asked @ Event::Load, _)
            | (asked @ Event::Trigger, Event::Created | Event::Changed | Event::Children) => asked,
            (_, event) => event,
        }
    }
}
