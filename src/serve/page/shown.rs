//! How texts and times of authors are shown.
//!
//! Whatever is put into a template is escaped by it: only the templates themselves are markup.

use std::time::{Duration, SystemTime};

use maud::{Markup, Render, html};

use crate::text::{Timestamp, is_hidden};

/// A text whose control characters, and characters that do not show, are shown as escapes.
pub struct Shown<'a>(pub &'a str);

impl Render for Shown<'_> {
    fn render_to(&self, buffer: &mut String) {
        let Self(text) = self;
        let (mut before, mut start) = ('\0', 0);
        for (at, c) in text.char_indices() {
            if c != '\t' && is_hidden(before, c) {
                let escape = c.escape_default().to_string();
                html! { (text[start..at]) span.hidden { (escape) } }.render_to(buffer);
                start = at + c.len_utf8();
            }
            before = c;
        }
        html! { (text[start..]) }.render_to(buffer);
    }
}

/// A key, an author or a comment. Its direction does not change that of what is around it.
pub struct Word<'a>(pub &'a str);

impl Render for Word<'_> {
    fn render_to(&self, buffer: &mut String) {
        html! { bdi { (Shown(self.0)) } }.render_to(buffer);
    }
}

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// How long ago a commit was made. What is no time is shown as it is.
pub fn age(mtime: &str, now: SystemTime) -> Markup {
    let Some(time) = Timestamp::parse(mtime) else { return html! { (Word(mtime)) } };
    let exact = time.to_the_second();
    // A client may say any time, and its clock may be wrong.
    let age = now.duration_since(time.0).ok().map(|age| age.as_secs());
    let is_near = time.0.duration_since(now).is_ok_and(|ahead| ahead < Duration::from_secs(MINUTE));
    let text = match age {
        None if is_near => "just now".to_owned(),
        Some(..MINUTE) => "just now".to_owned(),
        Some(seconds @ ..HOUR) => format!("{} min ago", seconds / MINUTE),
        Some(seconds @ ..DAY) => format!("{} h ago", seconds / HOUR),
        Some(seconds) if seconds < 30 * DAY => match seconds / DAY {
            1 => "yesterday".to_owned(),
            days => format!("{days} days ago"),
        },
        _ => exact.chars().take(10).collect(),
    };
    html! { time datetime=(exact) title=(exact) { (text) } }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn markup_is_text_and_what_does_not_show_is_shown() {
        let shown = |text| html! { (Word(text)) }.into_string();
        assert_eq!(shown("<b>\"&'"), "<bdi>&lt;b&gt;&quot;&amp;'</bdi>");
        assert_eq!(
            shown("a\u{202e}b\tc\0"),
            "<bdi>a<span class=\"hidden\">\\u{202e}</span>b\tc<span class=\"hidden\">\\u{0}</span></bdi>"
        );
        assert_eq!(shown("\u{26a0}\u{fe0f}"), "<bdi>\u{26a0}\u{fe0f}</bdi>");
    }

    #[test]
    fn an_age_is_short() {
        let now = UNIX_EPOCH + Duration::from_secs(1_795_277_611);
        let shown = |seconds: i64| {
            let time = match seconds {
                0.. => now - Duration::from_secs(seconds.unsigned_abs()),
                _ => now + Duration::from_secs(seconds.unsigned_abs()),
            };
            let markup = age(&Timestamp(time).to_string(), now).into_string();
            let (_, rest) = markup.split_once('>').unwrap();
            rest.strip_suffix("</time>").unwrap().to_owned()
        };
        for (seconds, text) in [
            (0, "just now"),
            (-5, "just now"),
            (59, "just now"),
            (60, "1 min ago"),
            (7199, "1 h ago"),
            (86_400, "yesterday"),
            (29 * 86_400, "29 days ago"),
            (31 * 86_400, "2026-10-21"),
            (-86_400, "2026-11-22"),
        ] {
            assert_eq!(shown(seconds), text, "{seconds}");
        }
        assert_eq!(age("<i>", now).into_string(), "<bdi>&lt;i&gt;</bdi>");
    }
}
