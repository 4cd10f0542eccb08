//! The pages that lead to a key: the namespaces, and the keys of one.

use std::time::SystemTime;

use hyper::header::HeaderMap;
use maud::{Markup, html};

use super::super::api::Problem;
use super::super::reply::Reply;
use super::super::route::boolean;
use super::address;
use super::layout::{Page, send_live};
use super::shown::{Shown, Word, age};
use super::site::{Visit, field};
use crate::commits::{JournalError, Key, Page as Part, Size};
use crate::model::Commit;
use crate::settings::Right;
use crate::text::count;

/// So many keys are on one page.
const MAX_KEYS: usize = 200;

/// How many heads are read from the journal at once.
const PART: usize = 1000;

/// Shows the namespaces that the visitor may read.
pub async fn namespaces(visit: &Visit<'_>, headers: &HeaderMap) -> Result<Reply, Problem> {
    let mut found = Vec::new();
    let mine = visit.site.namespaces.values().filter(|found| visit.who.may(&found.name, Right::Read));
    for namespace in mine {
        found.push((&*namespace.name, namespace.journal.size().await));
    }
    let page = Page {
        title: "Namespaces",
        path: vec![],
        user: visit.who.name(),
        is_wide: false,
        main: namespaces_view(&found),
    };
    Ok(send_live(&page, headers))
}

fn namespaces_view(namespaces: &[(&str, Result<Size, JournalError>)]) -> Markup {
    html! {
        h1 { "Namespaces" }
        @if namespaces.is_empty() {
            p { "You may read none. Ask whoever runs this server for a right to one." }
        }
        ul.namespaces {
            @for (name, size) in namespaces {
                li {
                    a href=(address::keys(name)) { (Word(name)) }
                    @match size {
                        Ok(size) => span.facts {
                            (count(size.keys, "key")) ", " (count(size.commits, "commit"))
                        }
                        Err(error) => span.facts { (Shown(&error.to_string())) }
                    }
                }
            }
        }
    }
}

/// Which keys are asked for.
struct Search<'a> {
    text: &'a str,
    /// Also the keys that were removed.
    all: bool,
    after: Option<Key>,
}

impl Search<'_> {
    /// Whether a head is looked for: by its key, author or comment, in capitals or small letters.
    fn finds(&self, head: &Commit) -> bool {
        let text = self.text.to_lowercase();
        [&head.key, &head.author, &head.comment].iter().any(|field| field.to_lowercase().contains(&text))
    }
}

/// Shows the keys of a namespace.
pub async fn keys(
    visit: &Visit<'_>,
    namespace: &str,
    query: &[(String, String)],
    headers: &HeaderMap,
) -> Result<Reply, Problem> {
    let namespace = visit.namespace(namespace, Right::Read)?;
    let search = Search {
        text: field(query, "q").trim(),
        all: boolean(field(query, "all")).unwrap_or(false),
        after: Key::parse(field(query, "after")).ok(),
    };
    let mut heads = Vec::new();
    let mut part = Part {
        after: search.after.clone(),
        limit: PART,
        bytes: 0,
        with_removed: search.all,
        with_payloads: false,
    };
    let has_more = loop {
        let found = namespace.journal.heads(&part).await?;
        part.after = found.commits.last().and_then(|head| Key::parse(&head.header.key).ok());
        let found_more = found.has_more && part.after.is_some();
        let matching = found.commits.into_iter().map(|head| head.header).filter(|head| search.finds(head));
        heads.extend(matching.take(MAX_KEYS + 1 - heads.len()));
        if heads.len() > MAX_KEYS || !found_more {
            break heads.len() > MAX_KEYS;
        }
    };
    heads.truncate(MAX_KEYS);
    let keys = Keys {
        namespace: &namespace.name,
        search: &search,
        heads: &heads,
        has_more,
        may_write: visit.may_write(namespace),
    };
    let page = Page {
        title: &namespace.name,
        path: vec![(&*namespace.name, address::keys(&namespace.name))],
        user: visit.who.name(),
        is_wide: false,
        main: keys.view(visit.now),
    };
    Ok(send_live(&page, headers))
}

struct Keys<'a> {
    namespace: &'a str,
    search: &'a Search<'a>,
    heads: &'a [Commit],
    has_more: bool,
    may_write: bool,
}

impl Keys<'_> {
    fn view(&self, now: SystemTime) -> Markup {
        let Search { text, all, .. } = self.search;
        html! {
            div.title {
                h1 { (Word(self.namespace)) }
                @if self.may_write { a.button href=(address::new_key(self.namespace)) { "New key" } }
            }
            form.search role="search" action=(address::keys(self.namespace)) {
                label for="q" { "Search keys, authors and comments" }
                div.row {
                    input #q type="search" name="q" value=(text) autocomplete="off" spellcheck="false";
                    label.check {
                        input type="checkbox" name="all" value="yes" checked[*all]; " removed keys, too"
                    }
                    button { "Search" }
                }
            }
            @if self.heads.is_empty() {
                p.none { (self.none()) }
            } @else {
                (self.table(now))
            }
            @if self.has_more { p { a rel="next" href=(self.next()) { "More keys" } } }
        }
    }

    fn none(&self) -> &'static str {
        match (self.search.text.is_empty(), &self.search.after) {
            (true, None) => "There are no keys yet.",
            (true, Some(_)) => "There are no more keys.",
            (false, _) => "No key, author or comment has this text.",
        }
    }

    // A narrow page shows rows as blocks, and then only the roles say that this is a table.
    fn table(&self, now: SystemTime) -> Markup {
        html! {
            table.keys role="table" {
                thead role="rowgroup" {
                    tr role="row" {
                        @for name in ["Key", "Version", "Author", "Age", "Comment"] {
                            th role="columnheader" scope="col" { (name) }
                        }
                    }
                }
                tbody role="rowgroup" {
                    @for head in self.heads {
                        tr role="row" .removed[head.empty] {
                            td.key role="cell" {
                                a href=(address::key(self.namespace, &head.key)) { (Word(&head.key)) }
                            }
                            td.version role="cell" { "v" (head.version) @if head.empty { " removed" } }
                            td.author role="cell" { (Word(&head.author)) }
                            td.age role="cell" { (age(&head.mtime, now)) }
                            td.comment role="cell" { (Word(&head.comment)) }
                        }
                    }
                }
            }
        }
    }

    fn next(&self) -> String {
        let after = self.heads.last().map_or("", |head| &head.key);
        let all = if self.search.all { "yes" } else { "" };
        let query = [("q", self.search.text), ("all", all), ("after", after)];
        address::with_query(&address::keys(self.namespace), &query)
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    const HOSTILE: &str = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>\u{202e}";

    #[test]
    fn nothing_that_an_author_wrote_becomes_markup() {
        let head = Commit {
            key: HOSTILE.to_owned(),
            version: 1,
            author: HOSTILE.to_owned(),
            comment: HOSTILE.to_owned(),
            mtime: HOSTILE.to_owned(),
            empty: false,
        };
        let search = Search { text: HOSTILE, all: true, after: None };
        assert!(search.finds(&head));
        let heads = [head];
        let keys =
            Keys { namespace: HOSTILE, search: &search, heads: &heads, has_more: true, may_write: true };
        let shown = keys.view(UNIX_EPOCH).into_string();
        assert!(shown.matches("&lt;script&gt;").count() >= 5, "{shown}");
        for markup in ["<script", "<img", "'><"] {
            assert!(!shown.contains(markup), "{markup} in {shown}");
        }
        // Only the field of the search has what was typed into it.
        assert_eq!(shown.matches('\u{202e}').count(), 1, "{shown}");
    }

    #[test]
    fn a_search_looks_at_key_author_and_comment() {
        let head = Commit {
            key: "Web/timeouts".to_owned(),
            version: 1,
            author: "Gian".to_owned(),
            comment: "Später".to_owned(),
            mtime: String::new(),
            empty: false,
        };
        for (text, found) in [("", true), ("web", true), ("GIAN", true), ("SPÄT", true), ("v1", false)] {
            assert_eq!(Search { text, all: false, after: None }.finds(&head), found, "{text}");
        }
    }
}
