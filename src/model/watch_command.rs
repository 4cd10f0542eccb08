//! What operators can do to a watch.

/// What can be done to a watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchCommand {
    /// With `force`, also what a guard holds.
    Trigger {
        force: bool,
    },
    Pause,
    Resume,
    Kill,
}

impl WatchCommand {
    /// As they are if nothing else is said.
    pub const ALL: [Self; 4] = [
        WatchCommand::Trigger { force: false },
        WatchCommand::Pause,
        WatchCommand::Resume,
        WatchCommand::Kill,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            WatchCommand::Trigger { .. } => "trigger",
            WatchCommand::Pause => "pause",
            WatchCommand::Resume => "resume",
            WatchCommand::Kill => "kill",
        }
    }
}
