//! Goes back to an old version, or removes a key: one click and a comment.

use std::time::SystemTime;

use hyper::StatusCode;
use maud::{Markup, html};

use super::super::access::Who;
use super::super::api::Problem;
use super::super::namespace::{Draft, Namespace, Saved};
use super::super::reply::Reply;
use super::address;
use super::compare::between;
use super::diff::Diff;
use super::form::{Form, Signature};
use super::key::{by_line, commit};
use super::layout::{Page, see_other, send};
use super::shown::{Shown, Word};
use super::site::{self, Visit};
use crate::commits::{FullCommit, Key};
use crate::model::Commit;
use crate::settings::Right;

/// What is done to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Revert(i64),
    Remove,
}

/// Asks for the comment of a revert.
pub async fn ask_to_revert(
    visit: &Visit<'_>,
    namespace: &str,
    key: &str,
    version: &str,
) -> Result<Reply, Problem> {
    ask(visit, namespace, key, Change::Revert(site::version(version)?)).await
}

pub async fn ask_to_remove(visit: &Visit<'_>, namespace: &str, key: &str) -> Result<Reply, Problem> {
    ask(visit, namespace, key, Change::Remove).await
}

/// Reverts a key.
pub async fn revert(
    visit: &Visit<'_>,
    namespace: &str,
    key: &str,
    version: &str,
    form: &Form,
) -> Result<Reply, Problem> {
    make(visit, namespace, key, Change::Revert(site::version(version)?), form).await
}

pub async fn remove(visit: &Visit<'_>, namespace: &str, key: &str, form: &Form) -> Result<Reply, Problem> {
    make(visit, namespace, key, Change::Remove, form).await
}

async fn ask(visit: &Visit<'_>, namespace: &str, key: &str, change: Change) -> Result<Reply, Problem> {
    let subject = Subject::find(visit, namespace, key, change).await?;
    if subject.is_done() {
        return Ok(see_other(&subject.address()));
    }
    let comment = match change {
        Change::Revert(version) => format!("Revert to v{version}"),
        Change::Remove => String::new(),
    };
    Ok(subject.ask(StatusCode::OK, "", &comment, None).await)
}

async fn make(
    visit: &Visit<'_>,
    namespace: &str,
    key: &str,
    change: Change,
    form: &Form,
) -> Result<Reply, Problem> {
    let subject = Subject::find(visit, namespace, key, change).await?;
    let (author, comment) = (form.get("author"), form.get("comment"));
    let seen = form.version("base")?;
    let overtaken = "Nothing was changed: somebody else was faster. This is what would change now.";
    if seen != subject.head.header.version {
        return Ok(subject.ask(StatusCode::CONFLICT, author, comment, Some(overtaken)).await);
    }
    if subject.is_done() {
        return Ok(see_other(&subject.address()));
    }
    let signature = match Signature::read(visit.who, form) {
        Ok(signature) => signature,
        Err(problem) => {
            return Ok(subject.ask(StatusCode::BAD_REQUEST, author, comment, Some(&problem)).await);
        }
    };
    let draft = Draft {
        key: subject.key.clone(),
        version: seen.saturating_add(1),
        author: signature.author,
        comment: signature.comment,
        mtime: None,
        empty: change == Change::Remove,
        payload: subject.payload.clone(),
    };
    match subject.namespace.save(draft, visit.share).await? {
        Saved::Kept(_) => Ok(see_other(&subject.address())),
        Saved::Refused(refusal) => {
            let problem = format!("Nothing was changed.\n{refusal}");
            Ok(subject.ask(StatusCode::UNPROCESSABLE_ENTITY, author, comment, Some(&problem)).await)
        }
        Saved::Conflict(_) => {
            let subject = Subject::find(visit, &subject.namespace.name, key, change).await?;
            Ok(subject.ask(StatusCode::CONFLICT, author, comment, Some(overtaken)).await)
        }
    }
}

/// What is to be changed.
struct Subject<'a> {
    visit: &'a Visit<'a>,
    namespace: &'a Namespace,
    key: Key,
    change: Change,
    head: FullCommit,
    /// What the key has then.
    payload: Vec<u8>,
}

impl<'a> Subject<'a> {
    async fn find(visit: &'a Visit<'a>, namespace: &str, key: &str, change: Change) -> Result<Self, Problem> {
        let namespace = visit.namespace(namespace, Right::Write)?;
        let key = site::key(key)?;
        let head = commit(namespace, &key, None).await?;
        let payload = match change {
            Change::Remove => Vec::new(),
            Change::Revert(version) => {
                let FullCommit { header, payload } = commit(namespace, &key, Some(version)).await?;
                if header.empty {
                    let why = format!("v{version} removed the key; remove it once more instead");
                    return Err(Problem::Malformed(why));
                }
                payload
            }
        };
        Ok(Self { visit, namespace, key, change, head, payload })
    }

    /// Whether there is nothing to do.
    fn is_done(&self) -> bool {
        match self.change {
            Change::Revert(version) => version == self.head.header.version,
            Change::Remove => self.head.header.empty,
        }
    }

    fn address(&self) -> String {
        address::key(&self.namespace.name, self.key.as_str())
    }

    async fn ask(&self, status: StatusCode, author: &str, comment: &str, problem: Option<&str>) -> Reply {
        let diff = between(self.head.payload.clone(), self.payload.clone()).await;
        let (namespace, key) = (&*self.namespace.name, self.key.as_str());
        let who = self.visit.who;
        let question = Question {
            who,
            namespace,
            change: self.change,
            head: &self.head.header,
            author,
            comment,
            problem,
        };
        let page = Page {
            title: &format!("{} {key}", question.name()),
            path: vec![(namespace, address::keys(namespace)), (key, address::key(namespace, key))],
            user: who.name(),
            is_wide: true,
            main: question.view(&diff, self.visit.now),
        };
        send(status, &page)
    }
}

struct Question<'a> {
    who: Who<'a>,
    namespace: &'a str,
    change: Change,
    head: &'a Commit,
    author: &'a str,
    comment: &'a str,
    /// Why it was not done.
    problem: Option<&'a str>,
}

impl Question<'_> {
    fn name(&self) -> &'static str {
        match self.change {
            Change::Revert(_) => "Revert",
            Change::Remove => "Remove",
        }
    }

    fn view(&self, diff: &Diff, now: SystemTime) -> Markup {
        let (key, base) = (&self.head.key, self.head.version);
        let next = base.saturating_add(1);
        let action = match self.change {
            Change::Revert(version) => address::revert(self.namespace, key, version),
            Change::Remove => address::remove(self.namespace, key),
        };
        html! {
            h1 {
                (self.name()) " " (Word(key))
                @if let Change::Revert(version) = self.change { " to v" (version) }
            }
            @if let Some(problem) = self.problem {
                pre.problem role="alert" { @for line in problem.lines() { (Shown(line)) "\n" } }
            }
            @match self.change {
                Change::Revert(version) => {
                    p {
                "A new version v" (next) " gets the payload of v" (version) ". The history stays."
            }
                }
                Change::Remove => p { "A new version v" (next) " removes the key. The history stays." },
            }
            form method="post" action=(action) {
                input type="hidden" name="base" value=(base);
                (Signature::fields(self.who, self.author, self.comment))
                div.row {
                    button.main {
                        (self.name()) @if let Change::Revert(version) = self.change { " to v" (version) }
                    }
                    a.button.quiet href=(address::key(self.namespace, key)) { "Cancel" }
                }
            }
            h2 { "What changes" }
            (by_line(self.head, now))
            (diff.view())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn nothing_that_an_author_or_a_validator_wrote_becomes_markup() {
        let hostile = "\"'><script>alert(1)</script>";
        let head = Commit {
            key: hostile.to_owned(),
            version: 3,
            author: hostile.to_owned(),
            comment: hostile.to_owned(),
            mtime: hostile.to_owned(),
            empty: false,
        };
        for change in [Change::Revert(1), Change::Remove] {
            let question = Question {
                who: Who::Anyone,
                namespace: hostile,
                change,
                head: &head,
                author: hostile,
                comment: hostile,
                problem: Some(hostile),
            };
            let diff = Diff::new(hostile.as_bytes(), b"<script>");
            let shown = question.view(&diff, UNIX_EPOCH).into_string();
            assert!(shown.contains("&lt;script&gt;"), "{shown}");
            assert!(!shown.contains("<script") && !shown.contains("'><"), "{shown}");
        }
    }
}
