//! What all pages have around their content, and how they are sent.

use hyper::StatusCode;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use maud::{DOCTYPE, Markup, html};

use super::super::reply::{Reply, full, reply};
use super::address;
use super::assets::{ICON, SCRIPT, STYLE};
use super::shown::Word;
use crate::text::StableHash;

/// Nothing of another host, nothing that stands in the page itself, and no page around ours.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; \
     connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// A page.
pub struct Page<'a> {
    pub title: &'a str,
    /// The pages above it: their names and addresses.
    pub path: Vec<(&'a str, String)>,
    /// The name of the user who looks at it.
    pub user: Option<&'a str>,
    pub is_wide: bool,
    pub main: Markup,
}

/// Sends a page.
pub fn send(status: StatusCode, page: &Page<'_>) -> Reply {
    finish(status, render(page, None))
}

/// Sends a page that a browser renews while it shows it. `headers` are those of the request: a page that has
/// not changed since is not sent again.
pub fn send_live(page: &Page<'_>, headers: &HeaderMap) -> Reply {
    let mut state = StableHash::default();
    state.add(&page.main.0);
    state.add(page.title);
    let state = format!("\"{}\"", state.finish());
    if headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == state.as_bytes()) {
        return finish(StatusCode::NOT_MODIFIED, html! {});
    }
    finish(StatusCode::OK, render(page, Some(&state)))
}

/// Sends somebody to another page of this server.
pub fn see_other(address: &str) -> Reply {
    let mut reply = finish(StatusCode::SEE_OTHER, html! {});
    let address = HeaderValue::from_str(address).unwrap_or(HeaderValue::from_static("/"));
    reply.headers_mut().insert(header::LOCATION, address);
    reply
}

/// Has a browser ask again for the page it is at. Then the request comes from a page of ours.
pub fn ask_again() -> Reply {
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head { meta charset="utf-8"; meta http-equiv="refresh" content="0"; title { "Commits" } }
            body { p { a href="" { "Continue" } } }
        }
    };
    finish(StatusCode::OK, markup)
}

fn finish(status: StatusCode, markup: Markup) -> Reply {
    let mut reply = reply(status, "text/html; charset=UTF-8", full(markup.into_string()));
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        // Forms tell us where they come from; other sites learn nothing.
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ] {
        reply.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    reply
}

fn render(page: &Page<'_>, state: Option<&str>) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (page.title) " · Commits" }
                link rel="stylesheet" href=(STYLE.address());
                link rel="icon" href=(ICON.address()) type="image/svg+xml";
                script src=(SCRIPT.address()) defer {}
            }
            body {
                a.skip href="#main" { "Skip to the content" }
                header {
                    nav aria-label="Path" {
                        ol {
                            li { a href="/" { "Commits" } }
                            @for (name, address) in &page.path {
                                li { a href=(address) { (Word(name)) } }
                            }
                        }
                    }
                    @if let Some(user) = page.user {
                        form method="post" action=(address::LOG_OUT) {
                            span.user { (Word(user)) }
                            button.quiet { "Log out" }
                        }
                    }
                }
                main #main tabindex="-1" .wide[page.is_wide] data-state=[state] { (page.main) }
                p #note role="status" aria-live="polite" {}
            }
        }
    }
}
