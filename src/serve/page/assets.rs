//! The files that a page consists of, besides itself.

use std::sync::LazyLock;

use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, HeaderValue};

use super::super::reply::{Reply, full, reply};
use crate::text::StableHash;

pub static STYLE: Asset = Asset::new("page.css", "text/css; charset=UTF-8", include_str!("page.css"), || {
    hash(include_str!("page.css"))
});
pub static SCRIPT: Asset =
    Asset::new("page.js", "text/javascript; charset=UTF-8", include_str!("page.js"), || {
        hash(include_str!("page.js"))
    });
pub static ICON: Asset =
    Asset::new("icon.svg", "image/svg+xml", include_str!("icon.svg"), || hash(include_str!("icon.svg")));

/// A file of the program.
pub struct Asset {
    name: &'static str,
    content_type: &'static str,
    text: &'static str,
    hash: LazyLock<String>,
}

impl Asset {
    const fn new(
        name: &'static str,
        content_type: &'static str,
        text: &'static str,
        hash: fn() -> String,
    ) -> Self {
        Self { name, content_type, text, hash: LazyLock::new(hash) }
    }

    /// Another version of the file has another address, so browsers may keep each.
    pub fn address(&self) -> String {
        format!("/-/{}?{}", self.name, *self.hash)
    }
}

/// Sends a file, which everybody may see.
pub fn send(name: &str) -> Option<Reply> {
    let asset = [&STYLE, &SCRIPT, &ICON].into_iter().find(|asset| asset.name == name)?;
    let mut reply = reply(StatusCode::OK, asset.content_type, full(asset.text));
    let forever = HeaderValue::from_static("max-age=31536000, immutable");
    reply.headers_mut().insert(CACHE_CONTROL, forever);
    Some(reply)
}

fn hash(text: &str) -> String {
    let mut hash = StableHash::default();
    hash.add(text);
    format!("{:x}", hash.fold())
}
