//! Opens the control socket and the address of the metrics.

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use crate::control::endpoint::{ControlEndpoint, MetricsEndpoint, ServedFile, SharedOptions};
use crate::control::routes::Routes;
use crate::control::server::{self, Endpoints};
use crate::listen::SocketOptions;
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
    let options =
        socket.clone().map(|path| SharedOptions::new(SocketOptions { path, mode: Some(mode), group }));
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
            look_up_group(&options, &group, &log);
        }
    };
    // Without this thread, the group stays as it is.
    let _ = thread::Builder::new().name("group".into()).spawn(follow);
}

fn look_up_group(options: &SharedOptions, group: &NamedGroup, log: &Reporter) {
    match group.look_up() {
        Ok(number) => {
            options.set_group(number, group.mode);
            log.recovered(GROUP_PART);
        }
        Err(why) => log.degraded(GROUP_PART, without_group(&format!("control.group: {why}"))),
    }
}

fn without_group(why: &str) -> String {
    format!("{why}; it cannot use the control socket until the system knows it")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt;
    use std::sync::Arc;

    use super::*;
    use crate::control::endpoint::Endpoint;
    use crate::metrics::Metrics;
    use crate::model::LogFormat;
    use crate::report::log::Target;
    use crate::report::stream::LogStream;
    use crate::report::{Level, Log};

    // The system learns of a group late, and gives it another number later.
    #[test]
    fn the_socket_gets_its_group_as_soon_as_the_system_knows_it() {
        let directory = tempfile::tempdir().unwrap();
        let stream = LogStream::open(&directory.path().join("log")).unwrap();
        let log = Log::start(Target::Stream(stream), Level::Debug, LogFormat::Text).unwrap().0;
        let log = Reporter::new(log, Arc::new(Metrics::new().unwrap()));
        let path = directory.path().join("socket");
        let options =
            SharedOptions::new(SocketOptions { path: path.clone(), mode: Some(0o600), group: None });
        let group = |name: &str| NamedGroup { name: name.into(), mode: 0o660 };
        let parts = || log.all_degraded().into_iter().map(|found| found.part).collect::<Vec<_>>();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _entered = runtime.enter();
        let mut endpoint = ControlEndpoint::new(options.clone());
        let _listener = endpoint.open().unwrap();
        look_up_group(&options, &group("no-such-group"), &log);
        assert_eq!((parts(), endpoint.lost()), (vec![GROUP_PART.into()], None));
        let known = nix::unistd::Group::from_gid(nix::unistd::getegid()).unwrap().unwrap();
        look_up_group(&options, &group(&known.name), &log);
        assert_eq!(parts(), Vec::<std::borrow::Cow<str>>::new());
        assert!(endpoint.lost().is_some_and(|why| why.ends_with("has another group now")));
        let _listener = endpoint.open().unwrap();
        let made = fs::metadata(&path).unwrap();
        assert_eq!((made.mode() & 0o777, made.gid(), endpoint.lost()), (0o660, known.gid.as_raw(), None));
        look_up_group(&options, &group("no-such-group"), &log);
        assert_eq!((parts(), endpoint.lost()), (vec![GROUP_PART.into()], None), "it keeps the last number");
    }
}
