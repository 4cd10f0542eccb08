//! Opens the control socket and the address of the metrics.

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use crate::control::endpoint::{ControlEndpoint, MetricsEndpoint, ServedFile, SharedOptions};
use crate::control::routes::Routes;
use crate::control::server::{self, Endpoints};
use crate::control::socket::SocketOptions;
use crate::report::{Report, Reporter};
use crate::settings::{ControlSettings, NamedGroup};
use crate::trust::Place;

/// What is degraded while the group of the control socket is unknown.
const GROUP_PART: &str = "control socket group";

/// The time between two lookups of the group of the control socket.
const GROUP_INTERVAL: Duration = Duration::from_secs(60);

/// The socket's file, which is removed on drop.
pub struct Serving(ServedFile);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Serves the control socket and the metrics from a thread of its own. A failure is reported, and the daemon
/// works without the socket or the metrics until they can be had.
pub fn start(
    control: ControlSettings,
    metrics: Option<SocketAddr>,
    log: &Reporter,
    routes: Routes,
) -> Option<Serving> {
    let ControlSettings { socket, mode, group, unknown_group, named_group } = control;
    if let Some(error) = unknown_group {
        log.degraded(GROUP_PART, without_group(&error.to_string()));
    }
    if socket.is_none() && metrics.is_none() {
        log.report(&Report::Serving { control: None, metrics: None });
        return None;
    }
    // Other users could replace the socket, or exchange it for a link while root creates it.
    if let Some(warning) = socket.as_deref().and_then(|path| Place::warning("control socket", path)) {
        log.report(&Report::Problem { what: &warning });
    }
    let options = socket.clone().map(|path| SharedOptions::new(SocketOptions { path, mode, group }));
    if let Some((options, group)) = options.clone().zip(named_group) {
        follow_group(options, group, log.clone());
    }
    let control = options.map(ControlEndpoint::new);
    let file = control.as_ref().map(ControlEndpoint::file);
    match server::start(Endpoints { control, metrics: metrics.map(MetricsEndpoint::new) }, routes, log) {
        Ok(served) => {
            let control = socket.as_deref().filter(|_| served.control);
            if control.is_some() || served.metrics.is_some() {
                log.report(&Report::Serving { control, metrics: served.metrics });
            }
        }
        Err(error) => log.degraded("control socket", format!("{error}; going on without, until a restart")),
    }
    file.map(Serving)
}

/// Looks the group up again and again, on a thread of its own. A group that is known no longer keeps its last
/// number, because a directory service may be away.
fn follow_group(options: SharedOptions, group: NamedGroup, log: Reporter) {
    let follow = move || {
        loop {
            thread::sleep(GROUP_INTERVAL);
            match group.look_up() {
                Ok(number) => {
                    options.set_group(number, group.mode);
                    log.recovered(GROUP_PART);
                }
                Err(why) => log.degraded(GROUP_PART, without_group(&format!("control.group: {why}"))),
            }
        }
    };
    // Without this thread, the group stays as it is.
    let _ = thread::Builder::new().name("group".into()).spawn(follow);
}

fn without_group(why: &str) -> String {
    format!("{why}; it cannot use the control socket until the system knows it")
}
