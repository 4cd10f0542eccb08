//! What clients ask, and what they are answered.
//!
//! | request | answer |
//! |---|---|
//! | `GET /metrics` | what Prometheus reads |
//! | `GET /v1/status` | the daemon as a whole, a JSON object |
//! | `GET /v1/watches`, `?watch=NAME` | its watches, a JSON object a line |
//! | `POST /v1/trigger?watch=NAME`, `pause`, `resume`, `kill` | what came of it, a JSON object |
//! | `POST /v1/trigger?watch=NAME&force=true` | the same, also for what a guard holds |
//! | `POST /v1/reload` | the same, once the configs were read; an error if one could not be loaded |
//! | `GET /v1/history`, `?watch=NAME`, `?failed=true`, `?limit=N` | runs, newest first, a JSON object a line |
//! | `GET /v1/output?run=RUN_ID` | the last of what a run printed, as it came |
//!
//! Errors are `{"error": "..."}` with a status of 400 and above.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde::Serialize;
use serde_json::json;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::{DaemonRequest, REPLY_TIMEOUT, RUNS_PER_PAGE, ReplySender, RequestError, WATCHES_PER_PAGE};
use crate::ledger::{RunFilter, RunRecord};
use crate::metrics::{self, Metrics};
use crate::model::WatchCommand;

type Body = UnsyncBoxBody<Bytes, io::Error>;

/// How many runs `GET /v1/history` gives unless told otherwise.
pub const DEFAULT_RUNS: usize = 100;

/// A reload is answered when it is done, and a config may take 2 s. A client is not kept longer than that of any other
/// answer.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(25);

/// What may be asked on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Everything,
    /// From anywhere on the network.
    Metrics,
}

/// Answers every client from what the daemon says.
pub struct Routes {
    daemon: mpsc::Sender<DaemonRequest>,
    metrics: Arc<Metrics>,
}

/// An answer that is an error.
struct HttpError {
    status: StatusCode,
    error: String,
    /// The method that this would take.
    allow: Option<&'static str>,
}

impl From<RequestError> for HttpError {
    fn from(refusal: RequestError) -> Self {
        let (status, error) = match refusal {
            RequestError::Unknown(error) => (StatusCode::NOT_FOUND, error),
            RequestError::Ambiguous(error) | RequestError::Conflict(error) => (StatusCode::CONFLICT, error),
            RequestError::Unavailable(error) => (StatusCode::SERVICE_UNAVAILABLE, error),
        };
        Self { status, error, allow: None }
    }
}

fn bad_request(error: impl Into<String>) -> HttpError {
    HttpError { status: StatusCode::BAD_REQUEST, error: error.into(), allow: None }
}

impl Routes {
    pub fn new(daemon: mpsc::Sender<DaemonRequest>, metrics: Arc<Metrics>) -> Self {
        Self { daemon, metrics }
    }

    pub(super) async fn answer<B>(&self, request: &Request<B>, scope: Scope) -> Response<Body> {
        let (method, path) = (request.method(), request.uri().path());
        let answer = match scope {
            Scope::Everything | Scope::Metrics if path == "/metrics" => self.metrics(method).await,
            Scope::Everything => self.route(method, path, request.uri().query()).await,
            Scope::Metrics => Err(not_found()),
        };
        answer.unwrap_or_else(|HttpError { status, error, allow }| {
            let mut response = json_object(status, &json!({ "error": error }));
            response.headers_mut().extend(allow.map(|method| (ALLOW, HeaderValue::from_static(method))));
            response
        })
    }

    async fn route(
        &self,
        method: &Method,
        path: &str,
        query: Option<&str>,
    ) -> Result<Response<Body>, HttpError> {
        let resource = path.strip_prefix("/v1/").ok_or_else(not_found)?;
        if let Some(command) = WatchCommand::ALL.into_iter().find(|command| command.as_str() == resource) {
            require(method, "POST")?;
            let (command, watch) = parse_command(command, query)?;
            let done = self.ask(|reply| DaemonRequest::WatchCommand { command, watch, reply }).await??;
            return Ok(json_object(StatusCode::OK, &done));
        }
        match resource {
            "reload" => {
                require(method, "POST")?;
                Parameters::parse(query, &[])?;
                let done = ask_within(RELOAD_TIMEOUT, &self.daemon, DaemonRequest::Reload).await??;
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
                let mut parameters = Parameters::parse(query, &["watch", "failed", "limit"])?;
                let filter = RunFilter {
                    watch: parameters.take("watch"),
                    failed: parameters.parsed("failed", false)?,
                };
                let limit = parameters.parsed("limit", DEFAULT_RUNS)?;
                // The first page here, so that what is wrong is an error and not a broken answer.
                let first = history(&self.daemon, filter.clone(), None).await?;
                Ok(json_lines(self.runs(filter, first, limit)))
            }
            "output" => {
                require(method, "GET")?;
                let run = Parameters::parse(query, &["run"])?.required("run")?;
                let output = self.ask(|reply| DaemonRequest::Output { run, reply }).await??;
                Ok(respond(StatusCode::OK, "application/octet-stream", whole(output)))
            }
            _ => Err(not_found()),
        }
    }

    async fn metrics(&self, method: &Method) -> Result<Response<Body>, HttpError> {
        require(method, "GET")?;
        let gauges = self.ask(DaemonRequest::Gauges).await?;
        Ok(respond(StatusCode::OK, metrics::CONTENT_TYPE, whole(self.metrics.encode(&gauges))))
    }

    async fn ask<T>(&self, request: impl FnOnce(ReplySender<T>) -> DaemonRequest) -> Result<T, HttpError> {
        ask(&self.daemon, request).await
    }

    fn watches(&self) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        let daemon = self.daemon.clone();
        stream::unfold(Some(None), move |after| {
            let daemon = daemon.clone();
            async move {
                let after = after?;
                let page = match ask(&daemon, |reply| DaemonRequest::Watches { after, reply }).await {
                    Ok(page) => page,
                    Err(failure) => return Some((Err(io::Error::other(failure.error)), None)),
                };
                let last =
                    page.last().filter(|_| page.len() == WATCHES_PER_PAGE).map(|(number, _)| Some(*number));
                let lines: Vec<u8> = page.iter().flat_map(|(_, watch)| line(watch)).collect();
                Some((Ok(Bytes::from(lines)), last))
            }
        })
    }

    fn runs(
        &self,
        filter: RunFilter,
        first: Vec<(i64, RunRecord)>,
        limit: usize,
    ) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        let daemon = self.daemon.clone();
        stream::unfold(Some((Page::Here(first), limit)), move |rest| {
            let (daemon, filter) = (daemon.clone(), filter.clone());
            async move {
                let (page, limit) = rest?;
                let page = match page {
                    Page::Here(page) => page,
                    Page::Before(run) => match history(&daemon, filter, Some(run)).await {
                        Ok(page) => page,
                        Err(failure) => return Some((Err(io::Error::other(failure.error)), None)),
                    },
                };
                let lines: Vec<u8> = page.iter().take(limit).flat_map(|(_, run)| line(run)).collect();
                let left = limit.saturating_sub(page.len());
                let oldest = page.last().filter(|_| page.len() == RUNS_PER_PAGE && left > 0);
                Some((Ok(Bytes::from(lines)), oldest.map(|(run, _)| (Page::Before(*run), left))))
            }
        })
    }
}

/// The next runs of an answer.
enum Page {
    Here(Vec<(i64, RunRecord)>),
    /// To be asked for when the client has read what came before.
    Before(i64),
}

async fn history(
    daemon: &mpsc::Sender<DaemonRequest>,
    filter: RunFilter,
    before: Option<i64>,
) -> Result<Vec<(i64, RunRecord)>, HttpError> {
    Ok(ask(daemon, |reply| DaemonRequest::History { filter, before, reply }).await??)
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
    let (answer, answered) = oneshot::channel();
    let asked = async {
        daemon.send(request(answer)).await.map_err(|_| unavailable("the daemon has ended"))?;
        answered.await.map_err(|_| unavailable("the daemon has ended"))
    };
    timeout(limit, asked).await.map_err(|_| unavailable("the daemon does not answer"))?
}

fn not_found() -> HttpError {
    HttpError { status: StatusCode::NOT_FOUND, error: "there is nothing by this path".into(), allow: None }
}

fn require(method: &Method, required: &'static str) -> Result<(), HttpError> {
    if method == required {
        return Ok(());
    }
    let status = StatusCode::METHOD_NOT_ALLOWED;
    Err(HttpError { status, error: format!("use {required}"), allow: Some(required) })
}

/// The order in full, and to which watch it is.
fn parse_command(command: WatchCommand, query: Option<&str>) -> Result<(WatchCommand, String), HttpError> {
    match command {
        WatchCommand::Trigger { force } => {
            let mut parameters = Parameters::parse(query, &["watch", "force"])?;
            let force = parameters.parsed("force", force)?;
            Ok((WatchCommand::Trigger { force }, parameters.required("watch")?))
        }
        WatchCommand::Pause | WatchCommand::Resume | WatchCommand::Kill => {
            Ok((command, Parameters::parse(query, &["watch"])?.required("watch")?))
        }
    }
}

/// A request's parameters; unknown and repeated ones are errors.
struct Parameters(HashMap<String, String>);

impl Parameters {
    fn parse(query: Option<&str>, known: &[&str]) -> Result<Self, HttpError> {
        let mut parameters = HashMap::new();
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            if !known.contains(&&*name) {
                return Err(bad_request(format!("unknown parameter {name:?}")));
            }
            if parameters.insert(name.to_string(), value.into_owned()).is_some() {
                return Err(bad_request(format!("{name:?} is given twice")));
            }
        }
        Ok(Self(parameters))
    }

    fn take(&mut self, name: &str) -> Option<String> {
        self.0.remove(name)
    }

    fn required(mut self, name: &str) -> Result<String, HttpError> {
        self.take(name).ok_or_else(|| bad_request(format!("the parameter {name:?} is missing")))
    }

    fn parsed<T: std::str::FromStr>(&mut self, name: &str, default: T) -> Result<T, HttpError> {
        let Some(text) = self.take(name) else { return Ok(default) };
        text.parse().map_err(|_| bad_request(format!("{name:?} cannot be {text:?}")))
    }
}

fn line(value: &impl Serialize) -> Bytes {
    // Plain data with string keys always serializes.
    let mut line = serde_json::to_vec(value).unwrap_or_default();
    line.push(b'\n');
    line.into()
}

fn json_object(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    respond(status, "application/json", whole(line(value)))
}

fn json_lines(lines: impl Stream<Item = io::Result<Bytes>> + Send + 'static) -> Response<Body> {
    let body = StreamBody::new(lines.map(|piece| piece.map(Frame::data)));
    respond(StatusCode::OK, "application/x-ndjson", BodyExt::boxed_unsync(body))
}

fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

fn respond(status: StatusCode, content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
