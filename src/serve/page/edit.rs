//! Edits a text, and saves it if nobody else was faster.

use hyper::StatusCode;
use tokio::task::spawn_blocking;

use super::super::api::Problem;
use super::super::namespace::{Draft, Namespace, Saved};
use super::super::reply::Reply;
use super::address;
use super::compare::between;
use super::editor::{Editor, Overtaken};
use super::form::{Form, Signature};
use super::layout::{Page, see_other, send};
use super::payload::{LineEnds, as_editable, as_text, facts};
use super::site::{self, Visit};
use super::told;
use crate::commits::{FullCommit, JournalError, Key};
use crate::model::Commit;
use crate::settings::Right;
use crate::text::{Merged, merge};

/// Opens the editor with the newest version of a key, or for a new one.
pub async fn open(visit: &Visit<'_>, namespace: &str, key: Option<&str>) -> Result<Reply, Problem> {
    let namespace = visit.namespace(namespace, Right::Write)?;
    let key = key.map(site::key).transpose()?;
    let Newest { version: base, commit: head, problem } = match &key {
        Some(key) => newest(namespace, key).await?,
        None => Newest::NONE,
    };
    let payload = head.as_ref().map_or(&[][..], |head| &head.payload);
    let text = as_editable(payload).ok_or_else(|| {
        let facts = facts(payload);
        Problem::Malformed(format!(
            "This payload cannot be edited in a browser ({facts}). Save another one with \
             `twitcher commits save`."
        ))
    })?;
    let editor = Editor {
        who: visit.who,
        namespace: &namespace.name,
        key: key.as_ref().map(Key::as_str),
        typed_key: "",
        base,
        text,
        author: "",
        comment: "",
        problem: problem.as_deref(),
        review: None,
        conflict: None,
    };
    Ok(show(visit, StatusCode::OK, &editor))
}

/// Does what a button of the editor asks for.
pub async fn take(
    visit: &Visit<'_>,
    namespace: &str,
    key: Option<&str>,
    form: &Form,
) -> Result<Reply, Problem> {
    let namespace = visit.namespace(namespace, Right::Write)?;
    let base = form.version("base")?;
    let edit = Edit { visit, namespace, key, form, base };
    // A key that is typed can be mistaken.
    let parsed = match Key::parse(key.unwrap_or_else(|| form.get("key").trim())) {
        Ok(key) => key,
        Err(error) => {
            let problem = format!("Nothing was saved: {error}.");
            return Ok(edit.again(StatusCode::BAD_REQUEST, form.get("text"), Some(&problem)));
        }
    };
    match edit.take(&parsed).await {
        Err(problem @ (Problem::TooLarge | Problem::Unavailable(_))) => edit.give_back(problem),
        taken => taken,
    }
}

/// The newest version of a key; 0 is none.
struct Newest {
    version: i64,
    commit: Option<FullCommit>,
    /// Why there is no commit, although there is a version.
    problem: Option<String>,
}

impl Newest {
    const NONE: Self = Self { version: 0, commit: None, problem: None };
}

/// Reads the newest version of a key. One that cannot be read is followed by the next one like any other.
async fn newest(namespace: &Namespace, key: &Key) -> Result<Newest, Problem> {
    match namespace.journal.commit(key, None).await {
        Ok(commit) => {
            let version = commit.as_ref().map_or(0, |commit| commit.header.version);
            Ok(Newest { version, commit, problem: None })
        }
        Err(JournalError::Corrupt(corrupt)) => {
            let problem = format!("{corrupt}.\nThe text that is saved here is the next version.");
            Ok(Newest { version: corrupt.version, commit: None, problem: Some(problem) })
        }
        Err(error) => Err(error.into()),
    }
}

/// A text that was sent.
struct Edit<'a> {
    visit: &'a Visit<'a>,
    namespace: &'a Namespace,
    key: Option<&'a str>,
    form: &'a Form,
    base: i64,
}

impl Edit<'_> {
    async fn take(&self, key: &Key) -> Result<Reply, Problem> {
        let Newest { version, commit: head, problem: _ } = newest(self.namespace, key).await?;
        let action = self.form.get("action");
        if let Some(head) = head.as_ref().filter(|_| self.is_choice()) {
            return self.overtaken(key, head, action).await;
        }
        let seen = match self.namespace.journal.commit(key, Some(self.base)).await {
            Err(JournalError::Corrupt(_)) => None,
            seen => seen?,
        };
        let seen_text = seen.as_ref().and_then(|seen| as_text(&seen.payload)).unwrap_or_default();
        let text = LineEnds::of(seen_text).restore(self.form.get("text"));
        match head {
            Some(head) if version != self.base => return self.overtaken(key, &head, action).await,
            None if version != self.base => return Err(Problem::NotFound),
            _ => {}
        }
        if action == "review" {
            let seen = seen.map(|seen| seen.payload).unwrap_or_default();
            let review = Some(between(seen, text.clone().into_bytes()).await);
            let editor = Editor { review, ..self.editor(&text) };
            return Ok(show(self.visit, StatusCode::OK, &editor));
        }
        let Signature { author, comment } = match Signature::read(self.visit.who, self.form) {
            Ok(signature) => signature,
            Err(problem) => return Ok(self.again(StatusCode::BAD_REQUEST, &text, Some(&problem))),
        };
        if text.len() > Commit::MAX_PAYLOAD {
            return Err(Problem::TooLarge);
        }
        if seen.is_some_and(|seen| !seen.header.empty && seen.payload == text.as_bytes()) {
            let problem = format!("Nothing was saved: the text is the same as in v{version}.");
            return Ok(self.again(StatusCode::BAD_REQUEST, &text, Some(&problem)));
        }
        let payload = text.clone().into_bytes();
        let draft = Draft {
            key: key.clone(),
            version: version.saturating_add(1),
            author,
            comment,
            mtime: None,
            empty: false,
            payload,
        };
        match self.namespace.save(draft, self.visit.share).await? {
            Saved::Kept(_) => Ok(see_other(&address::key(&self.namespace.name, key.as_str()))),
            Saved::Refused(refusal) => {
                let problem = format!("Nothing was saved.\n{refusal}");
                Ok(self.again(StatusCode::UNPROCESSABLE_ENTITY, &text, Some(&problem)))
            }
            Saved::Conflict(_) => {
                let head = self.namespace.journal.commit(key, None).await?.ok_or(Problem::NotFound)?;
                self.overtaken(key, &head, action).await
            }
        }
    }

    /// Shows what somebody else has saved meanwhile, beside what the author wants to save.
    async fn overtaken(&self, key: &Key, head: &FullCommit, action: &str) -> Result<Reply, Problem> {
        let (opened, mine) = self.own()?;
        let base = match opened {
            0 => None,
            opened => self.namespace.journal.commit(key, Some(opened)).await?,
        };
        let base_text = base.as_ref().and_then(|base| as_text(&base.payload)).unwrap_or_default();
        let mine = LineEnds::of(base_text).restore(mine);
        let theirs = as_text(&head.payload);
        let their_name = format!("v{} by {}", head.header.version, head.header.author);
        let merged = match theirs {
            Some(theirs) => merged([base_text, &mine, theirs].map(str::to_owned), their_name).await,
            None => None,
        };
        let text: &str = match (action, &merged, theirs) {
            ("theirs", _, Some(theirs)) => theirs,
            ("mine", _, _) | (_, None, _) => &mine,
            (_, Some(Merged { text, .. }), _) => text,
        };
        let diff = between(head.payload.clone(), mine.clone().into_bytes()).await;
        let conflict = Overtaken {
            theirs: &head.header,
            diff,
            opened,
            mine: &mine,
            undecided: merged.as_ref().map(|merged| merged.conflicts),
        };
        let status = if self.is_choice() { StatusCode::OK } else { StatusCode::CONFLICT };
        let key = Some(key.as_str());
        let Commit { version: base, .. } = head.header;
        let editor = Editor { key, base, conflict: Some(conflict), ..self.editor(text) };
        Ok(show(self.visit, status, &editor))
    }

    /// Whether the author chooses between their text and that of somebody else.
    fn is_choice(&self) -> bool {
        matches!(self.form.get("action"), "mine" | "theirs" | "merge")
    }

    /// The version that the author began with, and the text that they want to save. What they choose between
    /// stays the same while they choose.
    fn own(&self) -> Result<(i64, &str), Problem> {
        Ok(match self.is_choice() {
            true => (self.form.version("opened")?, self.form.get("mine")),
            false => (self.base, self.form.get("text")),
        })
    }

    /// Shows the author's text with the reason why nothing can be done with it now. It may be the only copy.
    fn give_back(&self, problem: Problem) -> Result<Reply, Problem> {
        let (base, text) = self.own()?;
        let (status, title, why) = told::of(problem);
        let problem = format!("{title}.\n{why}");
        let editor = Editor { base, problem: Some(&problem), ..self.editor(text) };
        Ok(show(self.visit, status, &editor))
    }

    /// Shows the editor once more, with the author's text.
    fn again(&self, status: StatusCode, text: &str, problem: Option<&str>) -> Reply {
        show(self.visit, status, &Editor { problem, ..self.editor(text) })
    }

    fn editor<'a>(&'a self, text: &'a str) -> Editor<'a> {
        Editor {
            who: self.visit.who,
            namespace: &self.namespace.name,
            key: self.key,
            typed_key: self.form.get("key"),
            base: self.base,
            text,
            author: self.form.get("author"),
            comment: self.form.get("comment"),
            problem: None,
            review: None,
            conflict: None,
        }
    }
}

/// Merges two texts, away from the thread that serves everybody.
async fn merged([base, mine, theirs]: [String; 3], their_name: String) -> Option<Merged> {
    let merged = spawn_blocking(move || merge(&base, &mine, &theirs, ["yours", &their_name]));
    merged.await.ok()
}

fn show(visit: &Visit<'_>, status: StatusCode, editor: &Editor<'_>) -> Reply {
    let mut path = vec![(editor.namespace, address::keys(editor.namespace))];
    if let Some(key) = editor.key.filter(|_| editor.base > 0) {
        path.push((key, address::key(editor.namespace, key)));
    }
    let page = Page {
        title: &editor.title(),
        path,
        user: visit.who.name(),
        is_wide: true,
        main: editor.view(visit.now),
    };
    send(status, &page)
}
