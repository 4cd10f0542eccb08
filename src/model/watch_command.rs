//! The commands of operators to a watch.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchCommand {
    /// Runs the action with the present content; with `force`, also with content that a guard holds.
    Trigger {
        force: bool,
    },
    Pause,
    Resume,
    Kill,
}

impl WatchCommand {
    /// Every command, without `force`.
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
