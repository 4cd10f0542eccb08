//! Opens the control socket and the address of the metrics.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use crate::control::routes::Routes;
use crate::control::server::{self, Listeners};
use crate::control::socket::{self, BoundSocket, SocketFile, SocketOptions};
use crate::report::{Report, Reporter};
use crate::settings::ControlSettings;
use crate::trust::Place;

/// Serves the control socket and the metrics from a thread of its own. A failure is logged, and the daemon
/// works without the socket or the metrics. Returns the socket's file, which is removed on drop.
pub fn start(
    control: ControlSettings,
    metrics: Option<SocketAddr>,
    log: &Reporter,
    routes: Routes,
) -> Option<SocketFile> {
    let ControlSettings { socket, mode, group, unknown_group } = control;
    let warn = |what: &str| log.report(&Report::NotServing { what });
    if let Some(error) = unknown_group {
        warn(&format!("{error}; no group can use the control socket until a restart"));
    }
    let without = |trouble: String| warn(&format!("{trouble}; going on without"));
    let is_named = socket.is_some();
    if let Some(warning) = socket.as_deref().and_then(untrusted_directory) {
        log.report(&Report::Problem { what: &warning });
    }
    let control = socket.and_then(|path| {
        socket::bind(&SocketOptions { path, mode, group }).map_err(|error| without(error.to_string())).ok()
    });
    let metrics = metrics.and_then(|address| {
        listen(address).map_err(|error| without(format!("metrics.listen {address}: {error}"))).ok()
    });
    let address = metrics.as_ref().and_then(|listener| listener.local_addr().ok());
    let (control, file) = control.map(BoundSocket::split).unzip();
    if control.is_none() && metrics.is_none() {
        if !is_named {
            log.report(&Report::Serving { control: None, metrics: None });
        }
        return None;
    }
    if let Err(error) = server::start(Listeners { control, metrics }, routes) {
        without(format!("control socket and metrics: {error}"));
        return None;
    }
    log.report(&Report::Serving { control: file.as_ref().map(SocketFile::path), metrics: address });
    file
}

/// Returns the warning that users other than root can replace the socket, or exchange it for a link while
/// root creates it.
fn untrusted_directory(socket: &Path) -> Option<String> {
    let place = Place::find(socket).ok()?;
    place
        .untrusted()
        .map(|untrusted| format!("control socket {}: {}", socket.display(), untrusted.elsewhere()))
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}
