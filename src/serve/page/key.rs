//! The page of a key, and that of one of its versions.

use std::time::SystemTime;

use hyper::header::HeaderMap;
use maud::{Markup, html};

use super::super::api::Problem;
use super::super::namespace::Namespace;
use super::super::reply::Reply;
use super::layout::{Page, send_live};
use super::shown::{Word, age};
use super::site::{self, Visit, field};
use super::{address, payload};
use crate::commits::{FullCommit, Key};
use crate::model::Commit;
use crate::settings::Right;

/// So much of a history is on one page.
const MAX_HISTORY: usize = 50;

/// Shows a key: its newest version, or the version `asked`, and its history.
pub async fn show(
    visit: &Visit<'_>,
    namespace: &str,
    key: &str,
    asked: Option<&str>,
    query: &[(String, String)],
    headers: &HeaderMap,
) -> Result<Reply, Problem> {
    let namespace = visit.namespace(namespace, Right::Read)?;
    let key = site::key(key)?;
    let asked = asked.map(site::version).transpose()?;
    let before = site::version(field(query, "before")).ok();
    // The head first: what is saved meanwhile is in the history, and in the next look at the page.
    let head = commit(namespace, &key, None).await?;
    let shown = match asked {
        Some(version) => commit(namespace, &key, Some(version)).await?,
        None => head.clone(),
    };
    let mut history = namespace.journal.log(&key, before, MAX_HISTORY + 1).await?;
    let has_more = history.len() > MAX_HISTORY;
    history.truncate(MAX_HISTORY);
    let view = KeyView {
        namespace: &namespace.name,
        head: &head.header,
        shown: &shown,
        is_version: asked.is_some(),
        history: &history,
        has_more,
        may_write: visit.may_write(namespace),
    };
    let title = match asked {
        Some(version) => format!("{key} v{version}"),
        None => key.to_string(),
    };
    let mut path = vec![
        (&*namespace.name, address::keys(&namespace.name)),
        (key.as_str(), address::key(&namespace.name, key.as_str())),
    ];
    let name = format!("v{}", shown.header.version);
    if asked.is_some() {
        path.push((name.as_str(), address::version(&namespace.name, key.as_str(), shown.header.version)));
    }
    let page =
        Page { title: &title, path, user: visit.who.name(), is_wide: false, main: view.view(visit.now) };
    Ok(send_live(&page, headers))
}

pub async fn commit(namespace: &Namespace, key: &Key, version: Option<i64>) -> Result<FullCommit, Problem> {
    namespace.journal.commit(key, version).await?.ok_or(Problem::NotFound)
}

/// Shows who made a commit, when and why.
pub fn by_line(commit: &Commit, now: SystemTime) -> Markup {
    html! {
        p.by {
            b { "v" (commit.version) }
            " by " (Word(&commit.author)) ", " (age(&commit.mtime, now))
            @if !commit.comment.is_empty() { ": " q { (Word(&commit.comment)) } }
        }
    }
}

struct KeyView<'a> {
    namespace: &'a str,
    head: &'a Commit,
    shown: &'a FullCommit,
    /// Whether one version is asked for, and not the newest one.
    is_version: bool,
    history: &'a [Commit],
    has_more: bool,
    may_write: bool,
}

impl KeyView<'_> {
    fn view(&self, now: SystemTime) -> Markup {
        let FullCommit { header, payload } = self.shown;
        html! {
            div.title {
                h1 { (Word(&header.key)) @if self.is_version { " v" (header.version) } }
                div.actions { (self.actions()) }
            }
            (by_line(header, now))
            @if self.is_version { (self.place()) }
            @if header.empty {
                p.notice { "This version removes the key." }
            } @else {
                p.facts {
                    (payload::facts(payload))
                    span.raw {
                        " · "
                        a href=(address::payload(self.namespace, &header.key, header.version)) { "raw" }
                    }
                }
                (payload::view(payload, &address::payload(self.namespace, &header.key, header.version)))
            }
            @if !self.is_version { (self.history(now)) }
        }
    }

    fn actions(&self) -> Markup {
        let (key, version) = (&self.shown.header.key, self.shown.header.version);
        if !self.may_write {
            return html! {};
        }
        if self.is_version {
            return html! {
                @if version != self.head.version {
                    a.button href=(address::revert(self.namespace, key, version)) { "Revert to v" (version) }
                }
            };
        }
        html! {
            @if payload::as_editable(&self.shown.payload).is_some() {
                a.button href=(address::edit(self.namespace, key)) { "Edit" }
            }
            @if !self.head.empty {
                a.button.quiet href=(address::remove(self.namespace, key)) { "Remove" }
            }
        }
    }

    /// Where a version is among the others.
    fn place(&self) -> Markup {
        let (key, version) = (&self.shown.header.key, self.shown.header.version);
        let newest = self.head.version;
        html! {
            nav.place aria-label="Versions" {
                @if version > 1 {
                    a rel="prev" href=(address::version(self.namespace, key, version - 1)) {
                            "v" (version - 1)
                        }
                }
                @if version < newest {
                    a rel="next" href=(address::version(self.namespace, key, version + 1)) {
                            "v" (version + 1)
                        }
                }
                a href=(address::diff(self.namespace, key, version - 1, version)) { "what it changed" }
                @if version < newest {
                    a href=(address::diff(self.namespace, key, version, newest)) {
                        "what has changed since"
                    }
                    a href=(address::key(self.namespace, key)) { "newest: v" (newest) }
                } @else {
                    span { "the newest version" }
                }
            }
        }
    }

    fn history(&self, now: SystemTime) -> Markup {
        let key = &self.head.key;
        html! {
            section.history aria-labelledby="history" {
                h2 #history { "History" }
                ol reversed start=[self.history.first().map(|first| first.version)] {
                    @for commit in self.history {
                        li {
                            p.by {
                                a.version href=(address::version(self.namespace, key, commit.version)) {
                                    "v" (commit.version)
                                }
                                " " span.author { (Word(&commit.author)) } " "
                                span.age { (age(&commit.mtime, now)) }
                                @if commit.empty { " " span.removal { "removed the key" } }
                            }
                            @if !commit.comment.is_empty() { p.comment { (Word(&commit.comment)) } }
                            p.links { (self.links(commit)) }
                        }
                    }
                }
                @if let (true, Some(last)) = (self.has_more, self.history.last()) {
                    p {
                        @let before = last.version.to_string();
                        a rel="next" href=(older(self.namespace, key, &before)) { "Older versions" }
                    }
                }
                @if self.head.version > 1 { (compare(self.namespace, key, self.head.version)) }
            }
        }
    }

    fn links(&self, commit: &Commit) -> Markup {
        let (key, version) = (&commit.key, commit.version);
        html! {
            a href=(address::diff(self.namespace, key, version - 1, version)) {
                "Changes" span.unseen { " of v" (version) }
            }
            @if self.may_write && version != self.head.version && !commit.empty {
                a href=(address::revert(self.namespace, key, version)) {
                    "Revert" span.unseen { " to v" (version) }
                }
            }
        }
    }
}

fn older(namespace: &str, key: &str, before: &str) -> String {
    address::with_query(&address::key(namespace, key), &[("before", before)])
}

/// The form that chooses two versions.
pub fn compare(namespace: &str, key: &str, newest: i64) -> Markup {
    html! {
        form.compare action=(address::compare(namespace, key)) {
            @for (name, label, value) in [("old", "Compare version", newest - 1), ("new", "with", newest)] {
                label {
                    (label) " "
                    input type="number" name=(name) min="1" max=(newest) value=(value) required;
                }
            }
            button { "Compare" }
        }
    }
}

#[cfg(test)]
#[path = "key_tests.rs"]
mod tests;
