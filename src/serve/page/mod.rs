//! The page for people.
//!
//! The server renders every page; a browser needs no script to read, to search and to save. The script
//! renews what is shown while it changes, and says at once when somebody else saves what is being edited.
//!
//! Two rules keep it safe. A text gets into a page only through a template, which escapes it: there is no
//! other way to write markup. And a form is taken only from a page of ours: all browsers since 2020 say with
//! each form which page has sent it.
//!
//! * `overview` has the namespaces and their keys, `key` a key with its history, `compare` two versions.
//! * `edit` saves what `editor` shows; `change` reverts and removes; `login` begins and ends sessions.
//! * `diff` compares payloads line by line, and `words` lines word by word. `payload` and `shown` make what
//!   authors wrote visible.
//! * `layout` is around all pages, `address` where they are, `assets` the files that they need, and `told`
//!   what people are told of a problem.

mod address;
mod assets;
mod change;
mod compare;
mod diff;
mod edit;
mod editor;
mod form;
mod key;
mod layout;
mod login;
mod overview;
mod payload;
mod shown;
mod site;
mod told;
mod words;

use std::sync::Arc;
use std::time::SystemTime;

use hyper::Request;
use hyper::body::Body;
use hyper::header::HeaderMap;
use maud::html;

use super::access::{Denied, Who, require_own_page};
use super::api::Problem;
use super::body::size;
use super::memory::Share;
use super::reply::Reply;
use form::{Form, MAX_FORM, MAX_FORM_OF_STRANGERS, MAX_LOGIN};
use layout::Page;
pub use site::Site;
use site::{Visit, field};

/// What a page takes while it is made: two payloads, how they differ, and its markup.
const PAGE: usize = 8 << 20;

/// Shows a page.
pub async fn show<B>(
    site: Site<'_>,
    who: Result<Who<'_>, Denied>,
    segments: &[String],
    query: &[(String, String)],
    request: &Request<B>,
    share: &Arc<Share>,
) -> Reply {
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    if let Some(asset) = segments.first().filter(|_| segments.len() == 1).and_then(|name| assets::send(name))
    {
        return asset;
    }
    let who = match (who, &*segments) {
        (Err(Denied::Unknown), ["login"]) => return login::form(field(query, "next"), false),
        (Ok(who), _) => who,
        (Err(error), _) => return denied(error, request),
    };
    let visit = Visit { site, who, share, now: SystemTime::now() };
    let page = || page(&visit, &segments, query, request.headers());
    let work = match &*segments {
        // Its commits may have to be counted first, which can take long, and little comes of it.
        [] => 0,
        _ => PAGE,
    };
    let shown = share.make(work, page, size).await;
    shown.unwrap_or_else(|problem| trouble(problem, who.name()))
}

/// Makes a page.
async fn page(
    visit: &Visit<'_>,
    segments: &[&str],
    query: &[(String, String)],
    headers: &HeaderMap,
) -> Result<Reply, Problem> {
    match segments {
        [] => overview::namespaces(visit, headers).await,
        ["login" | "logout"] => Ok(layout::see_other("/")),
        ["keys", namespace] => overview::keys(visit, namespace, query, headers).await,
        ["key", namespace, key] => key::show(visit, namespace, key, None, query, headers).await,
        ["key", namespace, key, version] => {
            key::show(visit, namespace, key, Some(*version), query, headers).await
        }
        ["diff", namespace, key] => compare::choose(namespace, key, query),
        ["diff", namespace, key, old, new] => {
            compare::show(visit, namespace, key, [*old, *new], headers).await
        }
        ["edit", namespace] => edit::open(visit, namespace, None).await,
        ["edit", namespace, key] => edit::open(visit, namespace, Some(*key)).await,
        ["revert", namespace, key, version] => change::ask_to_revert(visit, namespace, key, version).await,
        ["remove", namespace, key] => change::ask_to_remove(visit, namespace, key).await,
        _ => Err(Problem::NotFound),
    }
}

/// Takes a form.
pub async fn take<B>(
    site: Site<'_>,
    who: Result<Who<'_>, Denied>,
    segments: &[String],
    request: Request<B>,
    share: &Arc<Share>,
) -> Reply
where
    B: Body + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let name = who.as_ref().ok().and_then(Who::name).map(str::to_owned);
    let name = name.as_deref();
    let (path, headers) = (request.uri().path().to_owned(), request.headers().clone());
    if let Err(denied) = require_own_page(&headers) {
        return trouble(Problem::Denied(denied), name);
    }
    if let Err(denied @ Denied::Forbidden(_)) = who {
        return trouble(Problem::Denied(denied), name);
    }
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let most = match (&who, &*segments) {
        (_, ["login" | "logout"]) => MAX_LOGIN,
        (Ok(_), _) => MAX_FORM,
        (Err(_), _) => MAX_FORM_OF_STRANGERS,
    };
    let form = match Form::read(request, most, share).await {
        Ok(form) => form,
        Err(problem) => return trouble(problem, name),
    };
    let who = match (who, &*segments) {
        (_, ["login"]) => return login::log_in(site, &headers, &form),
        (_, ["logout"]) => return login::log_out(site, &headers),
        (Ok(who), _) => who,
        (Err(_), _) => return login::send_again(&path, &form),
    };
    let visit = Visit { site, who, share, now: SystemTime::now() };
    let taken = match &*segments {
        ["edit", namespace] => edit::take(&visit, namespace, None, &form).await,
        ["edit", namespace, key] => edit::take(&visit, namespace, Some(*key), &form).await,
        ["revert", namespace, key, version] => change::revert(&visit, namespace, key, version, &form).await,
        ["remove", namespace, key] => change::remove(&visit, namespace, key, &form).await,
        _ => Err(Problem::NotFound),
    };
    taken.unwrap_or_else(|problem| trouble(problem, who.name()))
}

/// Answers somebody who may not ask: a person is sent to where they log in, a program gets the status.
pub fn denied<B>(denied: Denied, request: &Request<B>) -> Reply {
    match denied {
        Denied::Unknown if login::is_navigation(request) => login::first(request),
        Denied::Forbidden(_) if login::is_navigation(request) => trouble(Problem::Denied(denied), None),
        denied => Problem::Denied(denied).reply(),
    }
}

/// Shows why there is nothing to see.
fn trouble(problem: Problem, user: Option<&str>) -> Reply {
    let (status, title, why) = told::of(problem);
    let main = html! {
        h1 { (title) }
        p.problem { (shown::Shown(&why)) }
        p { a href="/" { "All namespaces" } }
    };
    layout::send(status, &Page { title, path: vec![], user, is_wide: false, main })
}
