//! Writing: edits, conflicts, reverts and removals.

use super::Browser;
use super::browser::{CONTROL, END, ENTER};
use crate::commits::site::Site;
use crate::harness::set_mode;

const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");

/// Saves what the editor has.
fn sign_and_save(browser: &Browser, comment: &str) {
    browser.fill("#author", "gian");
    browser.fill("#comment", comment);
    browser.click("button.main");
}

#[test]
fn a_person_writes_a_new_key_and_edits_it() {
    let (browser, site) = (Browser::take(), Site::start());
    browser.open(&site.url("/-/keys/diary"));
    browser.follow("New key");
    browser.fill("#key", "a/b");
    browser.fill("#text", "\none\n");
    sign_and_save(&browser, "the first one");
    browser.wait_for_text(".problem", "Nothing was saved: the key \"a/b\" has a slash");
    assert_eq!(browser.value("document.getElementById('text').value"), "\none\n");
    browser.fill("#key", "greeting <1>");
    sign_and_save(&browser, "the first one");
    browser.wait_for_text("h1", "greeting <1>");
    assert_eq!(site.payload("greeting%20%3C1%3E"), b"\none\n");
    browser.follow("Edit");
    browser.press_with(CONTROL, END);
    browser.add("#text", "two");
    // The browser remembers who this is.
    assert_eq!(browser.value("document.getElementById('author').value"), "gian");
    browser.click("button[value=review]:not(.unseen)");
    assert_eq!(browser.text(".review ins"), "two (no newline at the end)");
    sign_and_save(&browser, "another line");
    browser.wait_for_text(".history", "another line");
    assert_eq!(site.payload("greeting%20%3C1%3E"), b"\none\ntwo");
    // Saving what is there already is a mistake.
    browser.follow("Edit");
    sign_and_save(&browser, "nothing");
    browser.wait_for_text(".problem", "the text is the same as in v2");
}

#[test]
fn lines_end_as_they_did_before() {
    let (browser, site) = (Browser::take(), Site::start());
    site.save("hosts", 1, "gian", "from Windows", b"a\r\nb\r\n");
    browser.open(&site.url("/-/edit/diary/hosts"));
    browser.fill("#text", "a\nc\n");
    sign_and_save(&browser, "c");
    browser.wait_for_text(".history", "c");
    assert_eq!(site.payload("hosts"), b"a\r\nc\r\n");
}

#[test]
fn the_editor_says_at_once_that_somebody_else_was_faster_and_shows_both() {
    let (browser, site) = (Browser::take(), Site::start());
    site.save("list", 1, "gian", "three", b"one\ntwo\nthree\n");
    browser.open(&site.url("/-/edit/diary/list"));
    browser.fill("#text", "one\ntwo\nthree\nfour\n");
    site.save("list", 2, "eva", "zero, too", b"zero\none\ntwo\nthree\n");
    browser.wait_for_text("#note", "Somebody else was faster: v2 by eva");
    browser.wait_for_text("#conflict", "zero, too");
    assert_eq!([browser.text("#conflict del"), browser.text("#conflict ins")], ["zero", "four"]);
    assert_eq!(browser.value("document.getElementById('text').value"), "one\ntwo\nthree\nfour\n");
    // Saving in spite of it saves nothing, and merges what can be merged.
    sign_and_save(&browser, "four");
    browser.wait_for_text("h2", "Somebody else was faster");
    assert_eq!(site.payload("list"), b"zero\none\ntwo\nthree\n");
    assert_eq!(browser.value("document.getElementById('text').value"), "zero\none\ntwo\nthree\nfour\n");
    browser.click("[value=mine]");
    assert_eq!(browser.value("document.getElementById('text').value"), "one\ntwo\nthree\nfour\n");
    browser.click("[value=theirs]");
    assert_eq!(browser.value("document.getElementById('text').value"), "zero\none\ntwo\nthree\n");
    browser.click("[value=merge]");
    assert_eq!(browser.value("document.getElementById('comment').value"), "four");
    browser.click("button.main");
    browser.wait_for_text(".history", "four");
    assert_eq!(site.payload("list"), b"zero\none\ntwo\nthree\nfour\n");
}

#[test]
fn a_conflict_without_javascript_shows_both_where_they_meet() {
    let (browser, site) = (Browser::take(), Site::start());
    browser.set_scripts(false);
    site.save("size", 1, "gian", "small", b"1\n");
    browser.open(&site.url("/-/edit/diary/size"));
    browser.fill("#text", "3\n");
    site.save("size", 2, "eva", "larger", b"2\n");
    sign_and_save(&browser, "the largest");
    browser.wait_for_text(".choices", "1 place to decide");
    let merged = "<<<<<<< yours\n3\n=======\n2\n>>>>>>> v2 by eva\n";
    assert_eq!(browser.value("document.getElementById('text').value"), merged);
    browser.click("[value=mine]");
    browser.click("button.main");
    browser.wait_for_text(".history", "the largest");
    assert_eq!(site.payload("size"), b"3\n");
}

#[test]
fn a_revert_is_one_click_and_a_comment() {
    let (browser, site) = (Browser::take(), Site::start());
    site.save("port", 1, "gian", "as always", b"80\n");
    site.save("port", 2, "eva", "try this", b"8080\n");
    browser.open(&site.url("/-/key/diary/port"));
    browser.click(".history li:nth-child(2) .links a[href*=revert]");
    assert_eq!([browser.text("del"), browser.text("ins")], ["8080", "80"]);
    browser.fill("#author", "gian");
    browser.add("#comment", ": it was right");
    // Somebody changes it meanwhile.
    site.save("port", 3, "eva", "or this", b"8081\n");
    browser.click("button.main");
    browser.wait_for_text(".problem", "somebody else was faster");
    assert_eq!(site.payload("port"), b"8081\n");
    browser.click("button.main");
    browser.wait_for_text(".history", "Revert to v1: it was right");
    assert_eq!(site.payload("port"), b"80\n");
    // A removal, too, and back again.
    browser.follow("Remove");
    sign_and_save(&browser, "not needed");
    browser.wait_for_text(".notice", "This version removes the key");
    browser.open(&site.url("/-/keys/diary"));
    browser.wait_for_text("main", "There are no keys yet");
    browser.click("[name=all]");
    browser.wait_for_text(".keys", "v5 removed");
    browser.follow("port");
    browser.click(".history li:nth-child(2) .links a[href*=revert]");
    sign_and_save(&browser, "needed");
    browser.wait_for_text(".history", "needed");
    assert_eq!(site.payload("port"), b"80\n");
}

#[test]
fn a_refusal_of_the_validator_is_shown_and_the_text_stays() {
    let browser = Browser::take();
    let validator = "#!/bin/sh\nif grep -q bad; then echo '<b>bad</b> is bad' >&2; exit 1; fi\n";
    let site = Site::start();
    let program = site.sandbox.executable("validator", validator);
    set_mode(site.sandbox.root(), 0o755);
    let site = Site::with(&format!("validate = [\"{}\"]", program.display()), "");
    browser.open(&site.url("/-/edit/diary"));
    browser.fill("#key", "word");
    browser.fill("#text", "bad\n");
    sign_and_save(&browser, "a word");
    browser.wait_for_text(".problem", "<b>bad</b> is bad");
    assert_eq!(browser.value("document.getElementById('text').value"), "bad\n");
    assert_eq!(browser.value("document.getElementById('key').value"), "word");
    browser.fill("#text", "good\n");
    browser.click("button.main");
    browser.wait_for_text("h1", "word");
    assert_eq!(site.payload("word"), b"good\n");
}

#[test]
fn the_keyboard_alone_is_enough() {
    let (browser, site) = (Browser::take(), Site::start());
    site.save("greeting", 1, "gian", "first", b"hello");
    browser.open(&site.url("/"));
    browser.tab_to(".skip");
    assert_eq!(browser.value("document.activeElement.getBoundingClientRect().width > 50"), true);
    browser.press(ENTER);
    assert_eq!(browser.value("document.activeElement.id"), "main");
    browser.tab_to(".namespaces a");
    let outline = browser.value("getComputedStyle(document.activeElement).outlineStyle");
    assert_eq!(outline, "solid", "the focus is seen");
    browser.press(ENTER);
    browser.wait_for_text("h1", "diary");
    browser.tab_to("#q");
    browser.press("greet");
    browser.press(ENTER);
    browser.tab_to(".keys a");
    browser.press(ENTER);
    browser.wait_for_text("h1", "greeting");
    browser.tab_to("a[href*='/-/edit/']");
    browser.press(ENTER);
    browser.wait_for_text("h1", "Edit greeting");
    assert_eq!(browser.value("document.activeElement.id"), "text");
    browser.press_with(CONTROL, END);
    browser.press(" world");
    browser.tab_to("#author");
    browser.press("gian");
    browser.tab_to("#comment");
    browser.press("to all");
    browser.press(ENTER);
    browser.wait_for_text(".history", "to all");
    assert_eq!(site.payload("greeting"), b"hello world");
}

#[test]
fn a_key_whose_newest_commit_cannot_be_read_goes_on_in_the_editor() {
    let site = Site::start();
    site.save("greeting", 1, "gian", "first", b"hello");
    let journal = rusqlite::Connection::open(site.sandbox.path("commits.db")).unwrap();
    journal.execute("UPDATE diary SET mtime = 'today'", []).unwrap();
    let shown = site.ask("GET", "/-/key/diary/greeting", &[], b"");
    assert_eq!(shown.status, 500);
    assert!(shown.text().contains("twitcher commits save greeting --version 2"), "{}", shown.text());
    let editor = site.ask("GET", "/-/edit/diary/greeting", &[], b"");
    assert_eq!(editor.status, 200, "{}", editor.text());
    assert!(editor.text().contains("commit 1 of greeting cannot be read"), "{}", editor.text());
    let own = site.url("");
    let form = b"base=1&text=mended&comment=mends&author=gian&action=save";
    let saved = site.ask("POST", "/-/edit/diary/greeting", &[FORM, ("Origin", &own)], form);
    assert_eq!(saved.status, 303, "{}", saved.text());
    assert_eq!(site.payload("greeting"), b"mended");
    // A time that is none in UTC is a text like any other.
    let late = [("X-Rainer-Author", "gian"), ("X-Rainer-Modified-Time", "9999-12-31T23:59:59-01:00")];
    assert_eq!(site.ask("POST", "/diary/greeting/3", &late, b"late").status, 200);
    let shown = site.ask("GET", "/-/key/diary/greeting", &[], b"");
    assert!(shown.status == 200 && shown.text().contains("9999-12-31T23:59:59-01:00"), "{}", shown.text());
}

#[test]
fn a_text_that_cannot_be_saved_now_is_given_back() {
    let site = Site::start();
    site.save("greeting", 1, "gian", "first", b"hello");
    let (there, away) = (site.sandbox.path("commits.db"), site.sandbox.path("away.db"));
    std::fs::rename(&there, &away).unwrap();
    let own = site.url("");
    let form = b"base=1&text=precious&mine=mine+too&opened=1&comment=why&author=gian&action=";
    for (action, text) in [("save", "precious"), ("review", "precious"), ("merge", "mine too")] {
        let form = [form, action.as_bytes()].concat();
        let kept = site.ask("POST", "/-/edit/diary/greeting", &[FORM, ("Origin", &own)], &form);
        assert_eq!(kept.status, 503, "{}", kept.text());
        assert!(kept.text().contains(&format!("{text}</textarea>")), "{action}: {}", kept.text());
        assert!(kept.text().contains("The journal is not available"), "{}", kept.text());
    }
    std::fs::rename(&away, &there).unwrap();
    assert_eq!(site.payload("greeting"), b"hello");
}
