//! What is wrong where a server does not do what it is asked, and what to do about it.

use hyper::StatusCode;
use hyper::header::LOCATION;

use super::client::{Answer, Client};
use crate::settings::TokenOrigin;
use crate::text::shortened;

/// The longest text of a server that is shown, in characters.
const MAX_SHOWN: usize = 4000;

/// What Rainer's server and ours say of a key that they do not have. Everything else that is not found is an
/// address that they do not have.
const NO_KEY: &str = "Key not found";

/// Whether the server has the namespace, but not the key or the version.
pub fn is_missing_key(answer: &Answer) -> bool {
    answer.status == StatusCode::NOT_FOUND && said(answer) == NO_KEY
}

/// Words an answer that is an error.
pub fn refusal(client: &Client, answer: &Answer) -> String {
    let url = &client.url;
    let said = said(answer);
    let said = shortened(&said, MAX_SHOWN);
    let status = answer.status;
    match status {
        StatusCode::UNAUTHORIZED => format!("{url}: {}", unauthorized(&client.token_origin)),
        StatusCode::FORBIDDEN => format!("{url}: {said}; see `may` of [[serve.users]] on the server"),
        StatusCode::NOT_FOUND => {
            format!("{url}: the server has no such address ({said}); is the namespace's name right?")
        }
        StatusCode::UNPROCESSABLE_ENTITY => {
            format!("{url}: the payload was refused, and nothing was saved:\n{said}")
        }
        StatusCode::PAYLOAD_TOO_LARGE => format!("{url}: {said}; nothing was saved"),
        _ if status.is_redirection() => {
            let to = answer.headers.get(LOCATION).map(|to| String::from_utf8_lossy(to.as_bytes()));
            let to = to.map_or(String::new(), |to| format!(" to {}", shortened(&to, 200)));
            format!(
                "{url}: the server redirects{to}, where nothing is sent; if that is right, give it as URL"
            )
        }
        _ if status.is_success() => {
            format!("{url}: the server answers {status}, which is not understood; {NO_SERVER}")
        }
        _ => format!("{url}: {status}: {said}"),
    }
}

const NO_SERVER: &str = "is this a server of commits?";

/// Words an answer that is no error, and not what a server of commits answers either.
pub fn nonsense(client: &Client, what: &str) -> String {
    format!("{}: {what}; {NO_SERVER}", client.url)
}

fn unauthorized(origin: &TokenOrigin) -> String {
    match origin {
        TokenOrigin::Nowhere => {
            "the server wants a token; give it in TWITCHER_TOKEN, or as token of [commits] in twitcher.toml"
                .to_owned()
        }
        TokenOrigin::Variable => "the server does not know the token in TWITCHER_TOKEN".to_owned(),
        TokenOrigin::File => "the server does not know the token of [commits] in twitcher.toml".to_owned(),
        TokenOrigin::AnotherServer(url) => format!(
            "the server wants a token; that of [commits] in twitcher.toml is for {url} and was not sent \
             here; give this server's in TWITCHER_TOKEN"
        ),
    }
}

/// Returns the text of an error. What is no text is not shown.
fn said(answer: &Answer) -> String {
    match std::str::from_utf8(&answer.body) {
        Ok(text) => text.trim().to_owned(),
        Err(_) => format!("{} bytes that are no text", answer.body.len()),
    }
}
