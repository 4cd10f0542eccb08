//! Logging in and out.

use hyper::header::{HeaderMap, HeaderValue, ORIGIN, SET_COOKIE};
use hyper::{Request, StatusCode};
use maud::html;

use super::super::reply::Reply;
use super::address;
use super::form::Form;
use super::layout::{Page, ask_again, see_other, send};
use super::site::Site;

/// Whether a person looks at an address in a browser. Programs do not ask for HTML.
pub fn is_navigation<B>(request: &Request<B>) -> bool {
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let is_navigation = header("sec-fetch-mode").is_none_or(|mode| mode == "navigate");
    let is_read = matches!(*request.method(), hyper::Method::GET | hyper::Method::HEAD);
    is_read && is_navigation && header("accept").is_some_and(|accept| accept.contains("text/html"))
}

/// Sends somebody who is unknown to where they log in.
pub fn first<B>(request: &Request<B>) -> Reply {
    // A browser keeps the session's cookie to itself where a link of another site is followed. Asked again by
    // our own page, it sends the cookie.
    let is_link = |value: &HeaderValue| ["cross-site", "same-site"].iter().any(|site| *value == *site);
    if request.headers().get("sec-fetch-site").is_some_and(is_link) {
        return ask_again();
    }
    let next = request.uri().path_and_query().map_or("/", |next| next.as_str());
    see_other(&address::log_in(next))
}

/// Shows the form. `next` is where to go then.
pub fn form(next: &str, has_failed: bool) -> Reply {
    let main = html! {
        h1 { "Log in" }
        @if has_failed { p.problem role="alert" { "No user has this token." } }
        form method="post" action=(address::LOG_IN) {
            input type="hidden" name="next" value=(next);
            div.field {
                label for="token" { "Token" }
                input #token type="password" name="token" required autofocus
                    autocomplete="current-password";
            }
            div.row { button.main { "Log in" } }
        }
    };
    let status = if has_failed { StatusCode::FORBIDDEN } else { StatusCode::OK };
    send(status, &Page { title: "Log in", path: vec![], user: None, is_wide: false, main })
}

pub fn log_in(site: Site<'_>, headers: &HeaderMap, form: &Form) -> Reply {
    let next = form.get("next");
    // Behind a proxy that speaks TLS, the browser says so.
    let is_secure = headers.get(ORIGIN).is_some_and(|origin| origin.as_bytes().starts_with(b"https://"));
    match site.access.log_in(form.get("token").trim(), site.is_secure || is_secure) {
        Some(cookie) => with_cookie(see_other(if address::is_own(next) { next } else { "/" }), &cookie),
        None => self::form(next, true),
    }
}

pub fn log_out(site: Site<'_>, headers: &HeaderMap) -> Reply {
    with_cookie(see_other(address::LOG_IN), &site.access.log_out(headers))
}

/// Keeps what was sent by somebody whose session has ended meanwhile.
pub fn send_again(path: &str, form: &Form) -> Reply {
    let main = html! {
        h1 { "Your session has ended" }
        p { "Nothing was saved, and what you wrote is still here." }
        form method="post" action=(path) {
            @for (name, value) in &form.0 { input type="hidden" name=(name) value=(value); }
            ol {
                li { a href=(address::LOG_IN) target="_blank" { "Log in" } " (in another tab)" }
                li { "Come back here, and " button { "send it again" } }
            }
        }
    };
    let page = Page { title: "Your session has ended", path: vec![], user: None, is_wide: false, main };
    send(StatusCode::FORBIDDEN, &page)
}

fn with_cookie(mut reply: Reply, cookie: &str) -> Reply {
    if let Ok(cookie) = HeaderValue::from_str(cookie) {
        reply.headers_mut().insert(SET_COOKIE, cookie);
    }
    reply
}
