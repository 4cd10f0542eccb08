//! The servers in a store's URL.

/// Parses `HOST:PORT,HOST`, and fills in the default port. The error is the server that is neither.
pub(super) fn parse(servers: &str, default: u16) -> Result<Vec<String>, String> {
    let servers = servers.split(',').map(str::trim);
    servers.map(|server| with_port(server, default).ok_or_else(|| server.to_owned())).collect()
}

/// Returns `HOST:PORT` with the default port filled in, or `None` if this is neither.
fn with_port(server: &str, default: u16) -> Option<String> {
    let end_of_host = match server.strip_prefix('[') {
        Some(rest) => rest.find(']')? + 2,
        None => server.find(':').unwrap_or(server.len()),
    };
    let (host, port) = server.split_at(end_of_host);
    let port = match port.strip_prefix(':') {
        Some(port) => port.parse().ok().filter(|&port: &u16| port > 0)?,
        None if port.is_empty() => default,
        None => return None,
    };
    let named = !host.is_empty() && host != "[]" && !host.contains(char::is_whitespace);
    named.then(|| format!("{host}:{port}"))
}

/// Returns what to do about a server that is several.
pub(super) fn comma_hint(server: &str) -> &'static str {
    match server.contains([';', ' ', '\t', '|']) {
        true => "; write a comma between two servers",
        false => "",
    }
}

/// Returns the ports of servers that have one.
pub(super) fn ports(servers: &[String]) -> Vec<u16> {
    servers.iter().filter_map(|server| server.rsplit_once(':')?.1.parse().ok()).collect()
}
