//! Who a commit is by, and why it is made.

use std::fs;

use nix::unistd::{Uid, User, getuid};

use crate::cli::shared::exit::UsageError;
use crate::model::Commit;

/// Who saves. A server with users knows by the token, and takes this only from those who may impersonate.
#[derive(Debug, clap::Args)]
pub struct AuthorArgs {
    /// The author, for servers without users [default: the login name]
    #[arg(long, value_name = "NAME", value_parser = author)]
    author: Option<String>,
}

impl AuthorArgs {
    /// Returns the author. To be called while this process is its user's.
    pub fn name(&self) -> Result<String, UsageError> {
        match &self.author {
            Some(author) => Ok(author.clone()),
            None => author(&login_name())
                .map_err(|why| UsageError(format!("the login name: {why}; give --author"))),
        }
    }
}

fn author(text: &str) -> Result<String, String> {
    one_line(text, "an author", Commit::MAX_AUTHOR)
}

/// Parses a comment.
pub fn comment(text: &str) -> Result<String, String> {
    one_line(text, "a comment", Commit::MAX_COMMENT)
}

fn one_line(text: &str, what: &str, max: usize) -> Result<String, String> {
    let text = text.trim();
    match text {
        "" => Err(format!("{what} is not empty")),
        _ if text.len() > max => Err(format!("{what} has at most {max} bytes, and this one {}", text.len())),
        _ if text.chars().any(char::is_control) => {
            Err(format!("{what} is one line, without control characters"))
        }
        _ => Ok(text.to_owned()),
    }
}

/// Returns the name of the user who logged in, also behind a sudo.
fn login_name() -> String {
    let login = fs::read_to_string("/proc/self/loginuid").ok();
    // The highest number means that nobody has logged in.
    let login = login.and_then(|text| text.trim().parse().ok()).filter(|uid| *uid != u32::MAX);
    let uid = login.map_or_else(getuid, Uid::from_raw);
    match User::from_uid(uid) {
        Ok(Some(user)) => user.name,
        Ok(None) | Err(_) => format!("uid {uid}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authors_and_comments_are_one_line_each() {
        assert_eq!(comment("  rofl ü\n").as_deref(), Ok("rofl ü"));
        for wrong in ["", " ", "a\nb", "a\u{1b}b", "a\u{85}b", &"x".repeat(4097)] {
            assert!(comment(wrong).is_err(), "{wrong}");
        }
        assert!(author(&"x".repeat(256)).is_err());
        assert!(!login_name().is_empty());
    }
}
