//! The page that shows what has changed from one version to another.

use hyper::header::HeaderMap;
use maud::html;

use super::super::api::Problem;
use super::super::namespace::Namespace;
use super::super::reply::Reply;
use super::address;
use super::diff::Diff;
use super::key::{by_line, commit, compare};
use super::layout::{Page, see_other, send_live};
use super::shown::Word;
use super::site::{self, Visit, field};
use crate::commits::{FullCommit, Key};
use crate::settings::Right;

/// Sends the visitor on to the two versions that they have chosen.
pub fn choose(namespace: &str, key: &str, query: &[(String, String)]) -> Result<Reply, Problem> {
    let (old, new) = (site::version(field(query, "old"))?, site::version(field(query, "new"))?);
    Ok(see_other(&address::diff(namespace, key, old, new)))
}

/// Shows two versions side by side.
pub async fn show(
    visit: &Visit<'_>,
    namespace: &str,
    key: &str,
    versions: [&str; 2],
    headers: &HeaderMap,
) -> Result<Reply, Problem> {
    let namespace = visit.namespace(namespace, Right::Read)?;
    let key = site::key(key)?;
    let (old, new) = (site::version(versions[0])?, site::version(versions[1])?);
    let newest = commit(namespace, &key, None).await?.header.version;
    let (before, after) = (side(namespace, &key, old).await?, side(namespace, &key, new).await?);
    let diff = between(payload(before.as_ref()), payload(after.as_ref())).await;
    let title = format!("{key} v{old} to v{new}");
    let (space, name) = (&*namespace.name, key.as_str());
    let has_payload = before.as_ref().is_some_and(|before| !before.header.empty);
    let may_revert = visit.may_write(namespace) && has_payload && old != newest;
    let main = html! {
        div.title {
            h1 { (Word(name)) " v" (old) " → v" (new) }
            div.actions {
                @if may_revert {
                    a.button.quiet href=(address::revert(space, name, old)) { "Revert to v" (old) }
                }
            }
        }
        div.sides {
            @for side in [&before, &after] {
                @match side {
                    Some(commit) => (by_line(&commit.header, visit.now)),
                    None => p.by { "Before the first version" },
                }
            }
        }
        (diff.view())
        @if newest > 1 { (compare(space, name, newest)) }
    };
    let path = vec![(space, address::keys(space)), (name, address::key(space, name))];
    let page = Page { title: &title, path, user: visit.who.name(), is_wide: true, main };
    Ok(send_live(&page, headers))
}

/// Compares two payloads, away from the thread that serves everybody.
pub async fn between(old: Vec<u8>, new: Vec<u8>) -> Diff {
    let compared = tokio::task::spawn_blocking(move || Diff::new(&old, &new)).await;
    compared.unwrap_or_else(|error| Diff::Binary(format!("They cannot be compared: {error}.")))
}

async fn side(namespace: &Namespace, key: &Key, version: i64) -> Result<Option<FullCommit>, Problem> {
    match version {
        0 => Ok(None),
        version => commit(namespace, key, Some(version)).await.map(Some),
    }
}

fn payload(commit: Option<&FullCommit>) -> Vec<u8> {
    commit.map(|commit| commit.payload.clone()).unwrap_or_default()
}
