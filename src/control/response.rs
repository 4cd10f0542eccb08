//! Responses: JSON, plain bytes and errors.

use std::io;

use bytes::Bytes;
use futures_util::stream::{Stream, StreamExt};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Response, StatusCode};
use serde::Serialize;
use serde_json::json;

use super::request::RequestError;

pub(super) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// An error reply.
pub(super) struct HttpError {
    status: StatusCode,
    error: String,
    /// The method that the path allows, if the request used another.
    allow: Option<&'static str>,
}

impl HttpError {
    pub(super) fn into_response(self) -> Response<Body> {
        let mut response = json_object(self.status, &json!({ "error": self.error }));
        response.headers_mut().extend(self.allow.map(|method| (ALLOW, HeaderValue::from_static(method))));
        response
    }
}

/// An error in the middle of a reply ends the reply.
impl From<HttpError> for io::Error {
    fn from(error: HttpError) -> Self {
        io::Error::other(error.error)
    }
}

impl From<RequestError> for HttpError {
    fn from(error: RequestError) -> Self {
        let (status, error) = match error {
            RequestError::Unknown(error) => (StatusCode::NOT_FOUND, error),
            RequestError::Ambiguous(error) | RequestError::Conflict(error) => (StatusCode::CONFLICT, error),
            RequestError::Unavailable(error) => (StatusCode::SERVICE_UNAVAILABLE, error),
        };
        Self { status, error, allow: None }
    }
}

pub(super) fn bad_request(error: impl Into<String>) -> HttpError {
    HttpError { status: StatusCode::BAD_REQUEST, error: error.into(), allow: None }
}

pub(super) fn not_found() -> HttpError {
    HttpError { status: StatusCode::NOT_FOUND, error: "there is nothing at this path".into(), allow: None }
}

/// Refuses methods other than `required`.
pub(super) fn require(method: &Method, required: &'static str) -> Result<(), HttpError> {
    if method == required {
        return Ok(());
    }
    let status = StatusCode::METHOD_NOT_ALLOWED;
    Err(HttpError { status, error: format!("use {required}"), allow: Some(required) })
}

/// Encodes a value as one line of JSON.
pub(super) fn line(value: &impl Serialize) -> Bytes {
    // Serializing plain data with string keys cannot fail.
    let mut line = serde_json::to_vec(value).unwrap_or_default();
    line.push(b'\n');
    line.into()
}

pub(super) fn json_object(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    respond(status, "application/json", whole(line(value)))
}

/// Makes a reply whose pieces are made while the client reads.
pub(super) fn json_lines(lines: impl Stream<Item = io::Result<Bytes>> + Send + 'static) -> Response<Body> {
    let body = StreamBody::new(lines.map(|piece| piece.map(Frame::data)));
    respond(StatusCode::OK, "application/x-ndjson", BodyExt::boxed_unsync(body))
}

/// Makes a complete body.
pub(super) fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

pub(super) fn respond(status: StatusCode, content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
