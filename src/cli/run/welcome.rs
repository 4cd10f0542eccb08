//! What `--devel` tells a newcomer.

use std::path::Path;

use crate::settings::DaemonSettings;
use crate::text::quoted;

/// The width of the box, which fits a terminal of 80 columns.
const WIDTH: usize = 76;

/// Returns a box with the commands to try next. It has no sides, because a command can be longer than a
/// terminal is wide, and people copy it. Each line but the empty first one is indented by two spaces, so that
/// the log keeps it as a line.
pub fn text(scratch: &Path, settings: &DaemonSettings) -> String {
    let program = std::env::args_os().next().unwrap_or_else(|| "twitcher".into());
    let program = quoted(&program.to_string_lossy());
    let store = quoted(&settings.default_store.to_string());
    let rule = "\u{2500}".repeat(WIDTH);
    let mut lines = vec![
        rule.clone(),
        format!(" Nodes and state are in {} until this process ends.", scratch.display()),
        " Run this in another terminal, and see the action run here:".to_owned(),
        String::new(),
        format!("  {program} set --store {store} /twitcher/example1 hello"),
        String::new(),
    ];
    if let Some(socket) = &settings.control.socket {
        let socket = quoted(&socket.to_string_lossy());
        lines.push(" See the state of the daemon and its watches:".to_owned());
        lines.push(String::new());
        lines.push(format!("  {program} status --control-socket {socket}"));
        lines.push(String::new());
    }
    lines.push(" Ctrl-C ends it; with -d, it logs everything.".to_owned());
    lines.push(rule);
    lines.iter().map(|line| format!("\n  {line}")).collect()
}
