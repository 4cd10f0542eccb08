//! What a half says for people: it is shortened and made printable before anybody sees it.

use super::*;

/// Shows every text of a JSON value, names of members as well.
fn texts(value: &Value, show: &mut impl FnMut(&str)) {
    match value {
        Value::String(text) => show(text),
        Value::Array(values) => values.iter().for_each(|value| texts(value, show)),
        Value::Object(members) => members.iter().for_each(|(name, value)| {
            show(name);
            texts(value, show);
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

pub(super) const FORGED: &str = "x\nFORGED 2026-11-27T00:00:00Z INFO app.twc-1 run 7 done\r\n\u{1b}[2J\
                                 \u{1b}]0;t\u{7}\u{202e}\0\u{85}\u{2028}FORGED";

#[test]
fn texts_of_a_half_forge_no_line_of_the_log() {
    let scene = Scene::new();
    let half = scene.impostor();
    let long = FORGED.repeat(MAX_TEXT / FORGED.len());
    for text in [FORGED, &long] {
        for message in [
            json!({ "Unreadable": { "id": 0, "reason": text } }),
            json!({ "Degraded": { "reason": text } }),
            down(text),
            json!({ "Refused": { "reason": text } }),
            json!({ "Connected": { "what": text, "identity": scene.sandbox.nodes.url() } }),
        ] {
            half.say(&message).expect("it is allowed");
        }
    }
    half.say(&down(&format!("the last one{FORGED}"))).expect("it is allowed");
    scene.daemon.wait_for_log(&["the last one"]);
    scene.log_is_orderly();
    // Nor do other programs get them, which read the status and may show it as it is.
    let status = scene.status();
    assert!(status.to_string().contains("the last one"), "{status}");
    texts(&status, &mut |text| {
        assert!(!text.chars().any(|c| c.is_control() || c == '\u{202e}' || c == '\u{2028}'), "{text:?}");
    });
    // Nor what it writes to its stderr before it ends.
    let stderr = fs::OpenOptions::new().write(true).open(format!("/proc/{}/fd/2", half.half.0));
    stderr.expect("its stderr").write_all(FORGED.as_bytes()).expect("write to it");
    scene.recovers(half);
    let status = scene.sandbox.operator(["status"]).finish().text();
    assert!(status.lines().all(|line| !line.starts_with("FORGED")), "{status}");
}
