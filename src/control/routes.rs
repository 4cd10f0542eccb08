//! The requests of the control socket, and the replies to them.
//!
//! | request | reply |
//! |---|---|
//! | `GET /metrics` | the metrics in Prometheus' text format |
//! | `GET /v1/status` | the daemon as a whole, a JSON object |
//! | `GET /v1/watches`, `?watch=NAME` | all watches or one, a JSON object per line |
//! | `POST /v1/trigger?watch=NAME`, `pause`, `resume`, `kill` | what the command did, a JSON object |
//! | `POST /v1/pause?watch=NAME&for=2h&why=TEXT` | likewise, with the end of the pause and its reason |
//! | `POST /v1/trigger?watch=NAME&force=true` | likewise, also for what a guard holds |
//! | `POST /v1/reload` | likewise, once the configs were read; an error if one could not be loaded |
//! | `GET /v1/history`, `?watch=NAME`, `?failed=true`, `?limit=N` | runs, newest first, an object per line |
//! | `GET /v1/history?since=TIME`, `?until=TIME` | likewise, those that started then or later, or before |
//! | `GET /v1/members`, `?service=NAME`, `?since=TIME` | announcements and withdrawals, likewise |
//! | `GET /v1/cached?store=URL&node=PATH` | the last data of a node that is followed; see [`super::cached`] |
//! | `GET /v1/output?run=RUN_ID` | the last bytes that a run printed |
//! | `GET /v1/output?run=RUN_ID&from=N` | those after the first N bytes, also while it runs |
//!
//! An error is `{"error": "..."}` with a status of 400 or above.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, Stream};
use hyper::header::{HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde::Serialize;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::{Instant, timeout};

use super::cached::Cached;
use super::parameters::Parameters;
use super::peer::Names;
use super::request::{
    DaemonRequest, MAX_PAUSE, MAX_WHY_BYTES, Order, OutputPiece, REPLY_TIMEOUT, RUNS_PER_PAGE, ReplySender,
    RequestError, WATCHES_PER_PAGE,
};
use super::response::{Body, HttpError, json_lines, json_object, line, not_found, require, respond, whole};
use crate::cache::CacheReader;
use crate::ledger::{MemberFilter, MemberRecord, RunFilter, RunRecord};
use crate::metrics::{self, Gauges, Metrics};
use crate::model::WatchCommand;

/// How many runs `GET /v1/history` returns without `limit`.
pub const DEFAULT_RUNS: usize = 100;

/// How long a client waits for a reload, which replies when all configs were read. One config may take 2 s,
/// so this is longer than [`REPLY_TIMEOUT`], but shorter than the connection's own deadline of 30 s.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(25);

/// The fields in the head of a reply with a part of a run's output: the run's id, how many bytes came before
/// the part, and whether the run has not ended.
pub const RUN: &str = "twitcher-run";
pub const FROM: &str = "twitcher-from";
pub const RUNNING: &str = "twitcher-running";

/// How often the gauges are collected in a second; further replies in that second have the last ones. A pass
/// over ten thousand watches takes the loop some milliseconds, and anybody who reaches the address of the
/// metrics can ask without a pause.
const MAX_COLLECTIONS_A_SECOND: u32 = 10;

/// The requests that a connection may make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All requests, from a client that may use the control socket.
    Everything,
    /// Only the metrics, from any client on the network.
    Metrics,
}

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    pub scope: Scope,
    /// The number of its user, from the credentials that the kernel keeps of the connection.
    pub uid: Option<u32>,
}

/// Answers requests, most of them with replies from the daemon's loop.
pub struct Routes {
    daemon: mpsc::Sender<DaemonRequest>,
    metrics: Arc<Metrics>,
    gauges: Mutex<Collected>,
    names: Names,
    cached: Cached,
}

/// The last gauges, and how often they were collected.
#[derive(Default)]
struct Collected {
    /// With the time when the loop was asked for them.
    last: Option<(Instant, Arc<Gauges>)>,
    /// The beginning of a second, and how often the loop was asked since.
    second: Option<(Instant, u32)>,
}

impl Collected {
    /// Returns the last gauges if they may answer a request that came at `asked`: the loop was asked for them
    /// later, or it was asked often enough for this second.
    fn share(&mut self, asked: Instant, now: Instant) -> Option<Arc<Gauges>> {
        let second = self.second.filter(|(start, _)| now.duration_since(*start) < Duration::from_secs(1));
        let (start, collections) = second.unwrap_or((now, 0));
        self.second = Some((start, collections));
        let (at, gauges) = self.last.as_ref()?;
        (*at >= asked || collections >= MAX_COLLECTIONS_A_SECOND).then(|| Arc::clone(gauges))
    }

    fn add(&mut self, at: Instant, gauges: Arc<Gauges>) {
        self.last = Some((at, gauges));
        if let Some((_, collections)) = &mut self.second {
            *collections += 1;
        }
    }
}

impl Routes {
    /// Without a cache, no node is found in it.
    pub fn new(
        daemon: mpsc::Sender<DaemonRequest>,
        metrics: Arc<Metrics>,
        cache: Option<CacheReader>,
    ) -> Self {
        let (gauges, names) = (Mutex::default(), Names::default());
        Self { daemon, metrics, gauges, names, cached: Cached::new(cache) }
    }

    pub(super) async fn answer<B>(&self, request: &Request<B>, client: Client) -> Response<Body> {
        let (method, path) = (request.method(), request.uri().path());
        let answer = match client.scope {
            Scope::Everything | Scope::Metrics if path == "/metrics" => self.metrics(method).await,
            Scope::Everything => self.route(method, path, request.uri().query(), client.uid).await,
            Scope::Metrics => Err(not_found()),
        };
        answer.unwrap_or_else(HttpError::into_response)
    }

    async fn route(
        &self,
        method: &Method,
        path: &str,
        query: Option<&str>,
        uid: Option<u32>,
    ) -> Result<Response<Body>, HttpError> {
        let resource = path.strip_prefix("/v1/").ok_or_else(not_found)?;
        if let Some(command) = WatchCommand::ALL.into_iter().find(|command| command.as_str() == resource) {
            require(method, "POST")?;
            let mut order = parse_order(command, query)?;
            order.by = self.operator(uid).await;
            let done = self.ask(|reply| DaemonRequest::WatchCommand { order, reply }).await??;
            return Ok(json_object(StatusCode::OK, &done));
        }
        match resource {
            "reload" => {
                require(method, "POST")?;
                Parameters::parse(query, &[])?;
                let by = self.operator(uid).await;
                let request = |reply| DaemonRequest::Reload { by, reply };
                let done = ask_within(RELOAD_TIMEOUT, &self.daemon, request).await??;
                Ok(json_object(StatusCode::OK, &done))
            }
            "status" => {
                require(method, "GET")?;
                Parameters::parse(query, &[])?;
                Ok(json_object(StatusCode::OK, &self.ask(DaemonRequest::Daemon).await?))
            }
            "watches" => {
                require(method, "GET")?;
                match Parameters::parse(query, &["watch"])?.take("watch") {
                    Some(named) => {
                        let watch = self.ask(|reply| DaemonRequest::Watch { named, reply }).await??;
                        Ok(json_lines(stream::iter([Ok(line(&watch))])))
                    }
                    None => Ok(json_lines(self.watches())),
                }
            }
            "history" => {
                require(method, "GET")?;
                let mut parameters =
                    Parameters::parse(query, &["watch", "failed", "since", "until", "limit"])?;
                let filter = RunFilter {
                    watch: parameters.take("watch"),
                    failed: parameters.parsed("failed", false)?,
                    since: parameters.time("since")?,
                    until: parameters.time("until")?,
                };
                let limit = parameters.parsed("limit", DEFAULT_RUNS)?;
                // An error of the first page can still become an error reply.
                let first = history(self.daemon.clone(), filter.clone(), None).await?;
                let daemon = self.daemon.clone();
                let next = move |run| history(daemon.clone(), filter.clone(), Some(run));
                Ok(json_lines(records(first, limit, next)))
            }
            "members" => {
                require(method, "GET")?;
                let mut parameters = Parameters::parse(query, &["service", "since", "until", "limit"])?;
                let filter = MemberFilter {
                    service: parameters.take("service"),
                    since: parameters.time("since")?,
                    until: parameters.time("until")?,
                };
                let limit = parameters.parsed("limit", DEFAULT_RUNS)?;
                let first = member_history(self.daemon.clone(), filter.clone(), None).await?;
                let daemon = self.daemon.clone();
                let next = move |number| member_history(daemon.clone(), filter.clone(), Some(number));
                Ok(json_lines(records(first, limit, next)))
            }
            "cached" => {
                require(method, "GET")?;
                let mut parameters = Parameters::parse(query, &["store", "node"])?;
                let store = parameters.required("store")?;
                self.cached.answer(store, &parameters.required("node")?).await
            }
            "output" => {
                require(method, "GET")?;
                let mut parameters = Parameters::parse(query, &["run", "from"])?;
                let from = parameters.optional("from")?;
                let run = parameters.required("run")?;
                if let Some(from) = from {
                    let found = self.ask(|reply| DaemonRequest::OutputSince { run, from, reply }).await??;
                    return Ok(output_piece(found));
                }
                let output = self.ask(|reply| DaemonRequest::Output { run, reply }).await??;
                Ok(respond(StatusCode::OK, "application/octet-stream", whole(output)))
            }
            _ => Err(not_found()),
        }
    }

    /// Returns the name of the user who asks, if the kernel knows it.
    async fn operator(&self, uid: Option<u32>) -> Option<String> {
        Some(self.names.of(uid?).await)
    }

    async fn metrics(&self, method: &Method) -> Result<Response<Body>, HttpError> {
        require(method, "GET")?;
        let gauges = self.gauges().await?;
        Ok(respond(StatusCode::OK, metrics::CONTENT_TYPE, whole(self.metrics.encode(&gauges))))
    }

    /// Asks the loop for the gauges, but not too often. Clients that wait at the same time share a reply.
    async fn gauges(&self) -> Result<Arc<Gauges>, HttpError> {
        let asked = Instant::now();
        let mut collected = self.gauges.lock().await;
        let at = Instant::now();
        if let Some(gauges) = collected.share(asked, at) {
            return Ok(gauges);
        }
        let gauges = Arc::new(self.ask(DaemonRequest::Gauges).await?);
        collected.add(at, Arc::clone(&gauges));
        Ok(gauges)
    }

    async fn ask<T>(&self, request: impl FnOnce(ReplySender<T>) -> DaemonRequest) -> Result<T, HttpError> {
        ask(&self.daemon, request).await
    }

    /// Streams all watches, a page per piece. The stream asks for a page once the client has read the one
    /// before.
    fn watches(&self) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        let daemon = self.daemon.clone();
        stream::unfold(Some(None), move |after| {
            let daemon = daemon.clone();
            async move {
                let after = after?;
                let page = match ask(&daemon, |reply| DaemonRequest::Watches { after, reply }).await {
                    Ok(page) => page,
                    Err(error) => return Some((Err(error.into()), None)),
                };
                let last =
                    page.last().filter(|_| page.len() == WATCHES_PER_PAGE).map(|(number, _)| Some(*number));
                let lines: Vec<u8> = page.iter().flat_map(|(_, watch)| line(watch)).collect();
                Some((Ok(Bytes::from(lines)), last))
            }
        })
    }
}

/// Streams at most `limit` records, a page per piece, beginning with the page `first`. `next` asks for the
/// page before a record, once the client has read those so far.
fn records<T, F>(
    first: Vec<(i64, T)>,
    limit: usize,
    next: impl Fn(i64) -> F + Send + 'static,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static
where
    T: Serialize + Send + 'static,
    F: Future<Output = Result<Vec<(i64, T)>, HttpError>> + Send,
{
    stream::unfold(Some((Page::Here(first), limit, next)), async move |rest| {
        let (page, limit, next) = rest?;
        let page = match page {
            Page::Here(page) => page,
            Page::Before(record) => match next(record).await {
                Ok(page) => page,
                Err(error) => return Some((Err(error.into()), None)),
            },
        };
        let lines: Vec<u8> = page.iter().take(limit).flat_map(|(_, record)| line(record)).collect();
        let left = limit.saturating_sub(page.len());
        let oldest =
            page.last().filter(|_| page.len() == RUNS_PER_PAGE && left > 0).map(|(number, _)| *number);
        Some((Ok(Bytes::from(lines)), oldest.map(|number| (Page::Before(number), left, next))))
    })
}

/// The next page of records.
enum Page<T> {
    Here(Vec<(i64, T)>),
    /// The page before this record, which is read once the client has read the records so far.
    Before(i64),
}

async fn history(
    daemon: mpsc::Sender<DaemonRequest>,
    filter: RunFilter,
    before: Option<i64>,
) -> Result<Vec<(i64, RunRecord)>, HttpError> {
    Ok(ask(&daemon, |reply| DaemonRequest::History { filter, before, reply }).await??)
}

async fn member_history(
    daemon: mpsc::Sender<DaemonRequest>,
    filter: MemberFilter,
    before: Option<i64>,
) -> Result<Vec<(i64, MemberRecord)>, HttpError> {
    Ok(ask(&daemon, |reply| DaemonRequest::MemberHistory { filter, before, reply }).await??)
}

async fn ask<T>(
    daemon: &mpsc::Sender<DaemonRequest>,
    request: impl FnOnce(ReplySender<T>) -> DaemonRequest,
) -> Result<T, HttpError> {
    ask_within(REPLY_TIMEOUT, daemon, request).await
}

async fn ask_within<T>(
    limit: Duration,
    daemon: &mpsc::Sender<DaemonRequest>,
    request: impl FnOnce(ReplySender<T>) -> DaemonRequest,
) -> Result<T, HttpError> {
    let unavailable = |error: &str| HttpError::from(RequestError::Unavailable(error.into()));
    let (sender, reply) = oneshot::channel();
    let replied = async {
        daemon.send(request(sender)).await.map_err(|_| unavailable("the daemon has ended"))?;
        reply.await.map_err(|_| unavailable("the daemon has ended"))
    };
    timeout(limit, replied).await.map_err(|_| unavailable("the daemon does not answer"))?
}

/// Makes the reply with a part of a run's output. Its head says what part it is.
fn output_piece(found: OutputPiece) -> Response<Body> {
    let OutputPiece { run, piece, is_running } = found;
    let mut response = respond(StatusCode::OK, "application/octet-stream", whole(piece.bytes));
    let values = [(RUN, run), (FROM, piece.from.to_string()), (RUNNING, is_running.to_string())];
    let values = values.into_iter().filter_map(|(name, value)| {
        Some((HeaderName::from_static(name), HeaderValue::from_str(&value).ok()?))
    });
    response.headers_mut().extend(values);
    response
}

/// Returns the complete command. Only the connection says who gives it.
fn parse_order(command: WatchCommand, query: Option<&str>) -> Result<Order, HttpError> {
    let mut order = Order { command, watch: String::new(), by: None, length: None, why: None };
    let mut parameters = match command {
        WatchCommand::Trigger { force } => {
            let mut parameters = Parameters::parse(query, &["watch", "force"])?;
            order.command = WatchCommand::Trigger { force: parameters.parsed("force", force)? };
            parameters
        }
        WatchCommand::Pause => {
            let mut parameters = Parameters::parse(query, &["watch", "for", "why"])?;
            order.length = parameters.span("for", MAX_PAUSE)?;
            order.why = parameters.text("why", MAX_WHY_BYTES)?;
            parameters
        }
        WatchCommand::Resume | WatchCommand::Kill => Parameters::parse(query, &["watch"])?,
    };
    order.watch = parameters.required("watch")?;
    Ok(order)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gauges_are_as_new_as_the_request_unless_they_were_collected_too_often() {
        let (start, step) = (Instant::now(), Duration::from_millis(1));
        let mut collected = Collected::default();
        for number in 0..MAX_COLLECTIONS_A_SECOND {
            let now = start + step * number;
            assert!(collected.share(now, now).is_none(), "{number}");
            collected.add(now, Arc::default());
            assert!(collected.share(now, now + step).is_some(), "one that waited shares them");
        }
        let soon = start + Duration::from_millis(999);
        assert!(collected.share(soon, soon).is_some());
        let later = start + Duration::from_secs(1);
        assert!(collected.share(later, later).is_none());
    }
}
