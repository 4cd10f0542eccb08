//! What operators can do to a watch.

/// What can be done to a watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// With `force`, also what a guard holds.
    Trigger {
        force: bool,
    },
    Pause,
    Resume,
    Kill,
}

impl Order {
    /// As they are if nothing else is said.
    pub const ALL: [Self; 4] = [Order::Trigger { force: false }, Order::Pause, Order::Resume, Order::Kill];

    pub fn as_str(self) -> &'static str {
        match self {
            Order::Trigger { .. } => "trigger",
            Order::Pause => "pause",
            Order::Resume => "resume",
            Order::Kill => "kill",
        }
    }
}
