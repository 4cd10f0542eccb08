//! The editor, as a form that needs no JavaScript.

use std::time::SystemTime;

use maud::{Markup, html};

use super::super::access::Who;
use super::address;
use super::diff::Diff;
use super::form::Signature;
use super::key::by_line;
use super::payload::LineEnds;
use super::shown::{Shown, Word};
use crate::model::Commit;
use crate::text::{count, is_hidden};

/// A text that is being edited.
pub struct Editor<'a> {
    pub who: Who<'a>,
    pub namespace: &'a str,
    /// `None` for a new key, which is typed.
    pub key: Option<&'a str>,
    pub typed_key: &'a str,
    /// The newest version that the author has seen; 0 is none.
    pub base: i64,
    pub text: &'a str,
    pub author: &'a str,
    pub comment: &'a str,
    /// Why the text was not saved.
    pub problem: Option<&'a str>,
    /// What the author has changed so far, if they ask for it.
    pub review: Option<Diff>,
    pub conflict: Option<Overtaken<'a>>,
}

/// Somebody else has saved another version meanwhile.
pub struct Overtaken<'a> {
    pub theirs: &'a Commit,
    /// From their text to that of the author.
    pub diff: Diff,
    /// The version that the author began with.
    pub opened: i64,
    /// The text that the author wanted to save.
    pub mine: &'a str,
    /// How many places of the merged text need a decision. `None` if nothing can be merged: theirs is no
    /// text.
    pub undecided: Option<usize>,
}

impl Editor<'_> {
    pub fn title(&self) -> String {
        match self.key {
            Some(key) if self.base == 0 => format!("New key {key}"),
            Some(key) => format!("Edit {key}"),
            None => "New key".to_owned(),
        }
    }

    pub fn view(&self, now: SystemTime) -> Markup {
        let action = match self.key {
            Some(key) => address::edit(self.namespace, key),
            None => address::new_key(self.namespace),
        };
        html! {
            h1 {
                @match self.key {
                    Some(key) if self.base > 0 => { "Edit " (Word(key)) },
                    Some(key) => { "New key " (Word(key)) },
                    None => "New key",
                }
            }
            @if let Some(problem) = self.problem {
                pre.problem role="alert" { @for line in problem.lines() { (Shown(line)) "\n" } }
            }
            div #conflict {
                @if let Some(conflict) = &self.conflict { (conflict.view(now)) }
            }
            @if let Some(review) = &self.review {
                section.review aria-labelledby="review" {
                    h2 #review { "Your changes" }
                    (review.view())
                }
            }
            form #editor method="post" action=(action) data-base=(self.base) data-meta=[self.meta()] {
                // Enter in a field presses the first button.
                button.unseen name="action" value="save" tabindex="-1" aria-hidden="true" { "Save" }
                input type="hidden" name="base" value=(self.base);
                @if let Some(conflict) = &self.conflict { (conflict.choices()) }
                @if self.key.is_none() {
                    div.field {
                        label for="key" { "Key" }
                        input #key name="key" value=(self.typed_key) required autofocus maxlength="255"
                            autocomplete="off" autocapitalize="off" spellcheck="false";
                    }
                }
                (self.textarea())
                (Signature::fields(self.who, self.author, self.comment))
                div.row {
                    button.main name="action" value="save" { "Save" }
                    button name="action" value="review" formnovalidate { "Review changes" }
                    a.button.quiet href=(self.back()) { "Cancel" }
                }
            }
        }
    }

    fn textarea(&self) -> Markup {
        let rows = self.text.lines().count().clamp(8, 30);
        html! {
            div.field {
                label for="text" { "Text" }
                @for note in notes(self.text) { p.facts { (note) } }
                textarea #text name="text" rows=(rows) spellcheck="false" autocapitalize="off"
                    autocomplete="off" autofocus[self.key.is_some()] {
                    // The parser of a browser drops a newline at the beginning.
                    "\n" (self.text)
                }
            }
        }
    }

    /// Where a script sees whether somebody else is faster.
    fn meta(&self) -> Option<String> {
        self.key.map(|key| address::meta(self.namespace, key))
    }

    fn back(&self) -> String {
        match self.key {
            Some(key) if self.base > 0 => address::key(self.namespace, key),
            _ => address::keys(self.namespace),
        }
    }
}

impl Overtaken<'_> {
    fn view(&self, now: SystemTime) -> Markup {
        html! {
            section.conflict aria-labelledby="overtaken" {
                h2 #overtaken { "Somebody else was faster" }
                (by_line(self.theirs, now))
                @if self.theirs.empty { p.notice { "That version removes the key." } }
                p { "Nothing of yours was saved. This is what differs:" }
                div.sides {
                    p { "Theirs (−): v" (self.theirs.version) }
                    p { "Yours (+)" }
                }
                (self.diff.view())
            }
        }
    }

    fn choices(&self) -> Markup {
        let merged = match self.undecided {
            Some(0) => "Both, merged".to_owned(),
            Some(places) => format!("Both, merged ({} to decide)", count(places as u64, "place")),
            None => String::new(),
        };
        html! {
            input type="hidden" name="opened" value=(self.opened);
            input type="hidden" name="mine" value=(self.mine);
            fieldset.choices {
                legend { "Go on with" }
                @if !merged.is_empty() {
                    button name="action" value="merge" formnovalidate { (merged) }
                }
                button name="action" value="mine" formnovalidate { "Yours" }
                @if !merged.is_empty() {
                    button name="action" value="theirs" formnovalidate { "Theirs" }
                } @else {
                    p { "Theirs is no text. Saving yours replaces it." }
                }
            }
        }
    }
}

/// What an editor does not show of a text.
fn notes(text: &str) -> Vec<String> {
    let mut notes = Vec::new();
    if LineEnds::of(text) == LineEnds::Mixed {
        notes.push("Some lines end with CRLF. Saving makes all of them end with LF.".to_owned());
    }
    let mut before = '\0';
    let hidden = text.lines().enumerate().find_map(|(line, content)| {
        let found = content.chars().find(|c| {
            let is_hidden = !matches!(*c, '\t' | '\r') && is_hidden(before, *c);
            before = *c;
            is_hidden
        });
        found.map(|c| (line + 1, c))
    });
    if let Some((line, c)) = hidden {
        let code = u32::from(c);
        notes.push(format!("Line {line} has a character that does not show here: U+{code:04X}."));
    }
    notes
}

#[cfg(test)]
#[path = "editor_tests.rs"]
mod tests;
