//! Forms, as browsers send them, and the fields that all changes have.

use hyper::Request;
use hyper::body::Body;
use hyper::header::CONTENT_TYPE;
use maud::{Markup, html};

use super::super::access::Who;
use super::super::api::{Problem, has_control};
use super::super::body;
use super::super::memory::{FREE, Share};
use super::site::field;
use crate::model::Commit;

/// The largest form. It has an edited text twice, where two people have changed it, and three to six bytes
/// for some of its characters.
pub const MAX_FORM: usize = 4 << 20;

/// The largest form of somebody whose session has ended. It has an edited text once.
pub const MAX_FORM_OF_STRANGERS: usize = 1 << 20;

/// The largest form with a token.
pub const MAX_LOGIN: usize = 8 << 10;

/// What is made of a form, in times its size: its fields, the text with other ends of its lines, what is
/// saved of it, and the page that has it once more.
const COPIES: usize = 5;

/// What it is compared with: the newest commit and the one that its author has seen, each twice.
const COMMITS: usize = 4 * Commit::MAX_PAYLOAD;

const URL_ENCODED: &str = "application/x-www-form-urlencoded";

/// The fields of a form.
pub struct Form(pub Vec<(String, String)>);

impl Form {
    /// Reads a form of so many bytes at most.
    pub async fn read<B>(request: Request<B>, most: usize, share: &Share) -> Result<Self, Problem>
    where
        B: Body + Unpin,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let content_type = content_type.and_then(|value| value.split(';').next()).unwrap_or_default();
        if !content_type.trim().eq_ignore_ascii_case(URL_ENCODED) {
            return Err(Problem::Malformed(format!("a form is sent as {URL_ENCODED}")));
        }
        let body = body::read(request.into_body(), most, share).await?;
        if most > MAX_LOGIN {
            share.resize(FREE + COPIES * body.len() + COMMITS).await?;
        }
        Ok(Self(form_urlencoded::parse(&body).into_owned().collect()))
    }

    /// Returns a field; empty without one.
    pub fn get(&self, name: &str) -> &str {
        field(&self.0, name)
    }

    /// Returns the version that the form was opened at: 0 is none.
    pub fn version(&self, name: &str) -> Result<i64, Problem> {
        let wrong = || Problem::Malformed(format!("the field {name} is no version"));
        self.get(name).parse().ok().filter(|version| *version >= 0).ok_or_else(wrong)
    }
}

/// Who makes a change, and why.
pub struct Signature {
    pub author: String,
    pub comment: String,
}

impl Signature {
    /// Reads it from a form. An error is what its author has to mend.
    pub fn read(who: Who<'_>, form: &Form) -> Result<Self, String> {
        let author = who.name().unwrap_or_else(|| form.get("author").trim()).to_owned();
        let comment = form.get("comment").trim().to_owned();
        for (name, value, most) in
            [("author", &author, Commit::MAX_AUTHOR), ("comment", &comment, Commit::MAX_COMMENT)]
        {
            if value.is_empty() {
                return Err(format!("Nothing was saved: the {name} is missing."));
            }
            if value.len() > most {
                return Err(format!("Nothing was saved: the {name} is too long; {most} bytes is the most."));
            }
            if has_control(value) {
                return Err(format!("Nothing was saved: the {name} has a control character."));
            }
        }
        Ok(Self { author, comment })
    }

    /// Returns the fields of a form for it. Users are known; anybody else names themselves.
    pub fn fields(who: Who<'_>, author: &str, comment: &str) -> Markup {
        html! {
            @if who.name().is_none() {
                div.field {
                    label for="author" { "Your name" }
                    input #author name="author" value=(author) required autocomplete="name"
                        maxlength=(Commit::MAX_AUTHOR);
                }
            }
            div.field {
                label for="comment" { "Comment: why is this changed?" }
                input #comment name="comment" value=(comment) required autocomplete="off"
                    maxlength=(Commit::MAX_COMMENT);
            }
        }
    }
}
