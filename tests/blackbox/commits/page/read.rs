//! Reading: keys, histories and differences, and what other people change meanwhile.

use super::Browser;
use crate::commits::site::Site;
use crate::harness::wait_until;

const OLD: &[u8] = b"{\n  \"level\": \"info\",\n  \"port\": 80\n}\n";
const NEW: &[u8] = b"{\n  \"level\": \"debug\",\n  \"port\": 80\n}\n";

fn diary() -> Site {
    let site = Site::start();
    site.save("logging", 1, "gian", "the first one", OLD);
    site.save("logging", 2, "eva", "look closer", NEW);
    site.save("timeouts", 1, "gian", "as measured", b"connect = 3\n");
    site
}

fn read_and_search(browser: &Browser, site: &Site) {
    browser.open(&site.url("/"));
    assert!(browser.text("main").contains("2 keys, 3 commits"), "{}", browser.text("main"));
    browser.follow("diary");
    assert_eq!(browser.count(".keys tbody tr"), 2);
    let row = browser.text(".keys tbody tr");
    for part in ["logging", "v2", "eva", "just now", "look closer"] {
        assert!(row.contains(part), "{part} is not in {row}");
    }
    browser.fill("#q", "MEASURED");
    browser.click(".search button");
    wait_until("the keys that were found", || browser.count(".keys tbody tr") == 1);
    assert!(browser.text(".keys tbody").contains("timeouts"));
    browser.open(&site.url("/-/keys/diary"));
    browser.follow("logging");
    assert!(browser.text(".payload").contains("\"level\": \"debug\""));
    assert_eq!(browser.count(".history li"), 2);
    assert!(browser.text(".history").contains("the first one"));
    browser.click(".history li:nth-child(1) .links a");
    assert!(browser.url().ends_with("/-/diff/diary/logging/1/2"), "{}", browser.url());
    assert_eq!([browser.text(".old mark"), browser.text(".new mark")], ["info", "debug"]);
    browser.follow("logging");
    browser.follow("v1");
    assert!(browser.text(".payload").contains("\"level\": \"info\""));
    browser.follow("newest: v2");
    browser.fill(".compare [name=old]", "1");
    browser.click(".compare button");
    assert!(browser.url().ends_with("/-/diff/diary/logging/1/2"), "{}", browser.url());
}

#[test]
fn a_person_reads_searches_and_compares() {
    let (browser, site) = (Browser::take(), diary());
    read_and_search(&browser, &site);
    // The sides of a difference are beside each other, and below each other on a phone.
    let place = |side: &str, edge: &str| {
        let expression = format!("document.querySelector('.changed.{side}').getBoundingClientRect().{edge}");
        browser.value(&expression).as_f64().expect("a place")
    };
    assert!(place("new", "left") > place("old", "left") && place("new", "top") == place("old", "top"));
    browser.set_width(360);
    assert!(place("new", "left") == place("old", "left") && place("new", "top") > place("old", "top"));
}

#[test]
fn reading_needs_no_javascript() {
    let (browser, site) = (Browser::take(), diary());
    browser.set_scripts(false);
    read_and_search(&browser, &site);
}

#[test]
fn a_search_shows_what_it_finds_while_it_is_typed() {
    let (browser, site) = (Browser::take(), diary());
    browser.open(&site.url("/-/keys/diary"));
    browser.add("#q", "logg");
    wait_until("the keys that were found", || browser.count(".keys tbody tr") == 1);
    assert!(browser.url().ends_with("?q=logg"), "{}", browser.url());
    browser.add("#q", "<nothing>");
    browser.wait_for_text("main .none", "No key, author or comment has this text.");
}

#[test]
fn a_page_shows_what_others_change_without_being_loaded_again() {
    let (browser, site) = (Browser::take(), diary());
    browser.open(&site.url("/-/key/diary/logging"));
    browser.value("window.isStillThere = true");
    browser.value("document.querySelector('.compare [name=old]').focus()");
    browser.fill(".compare [name=old]", "7");
    site.save("logging", 3, "gian", "quiet again", b"{\n  \"level\": \"warning\"\n}\n");
    browser.wait_for_text(".payload", "warning");
    assert_eq!(browser.count(".history li"), 3);
    assert!(browser.text(".history li").contains("quiet again"));
    // What somebody types, and where they are, stays.
    assert_eq!(browser.value("document.activeElement.name"), "old");
    assert_eq!(browser.value("document.activeElement.value"), "7");
    assert_eq!(browser.value("window.isStillThere"), true);
    browser.open(&site.url("/-/keys/diary"));
    site.save("sessions", 1, "eva", "new", b"1");
    browser.wait_for_text(".keys", "sessions");
}

#[test]
fn nothing_that_an_author_wrote_becomes_markup() {
    let (browser, site) = (Browser::take(), Site::start());
    let hostile = "<img src=x onerror=pwned=1>\"'><script>pwned=1</script>";
    let key = "%3Cimg%20src=x%20onerror=pwned=1%3E%22'%3E%3Cscript%3Epwned=1%3C%2Fscript%3E";
    let key = key.replace("%2F", "");
    site.save(&key, 1, hostile, hostile, hostile.as_bytes());
    site.save(&key, 2, "a\u{202e}b", hostile, format!("</pre></textarea>{hostile}").as_bytes());
    for page in [
        "/-/keys/diary".to_owned(),
        "/-/keys/diary?q=%22%3E%3Cscript%3Epwned=1%3C/script%3E".to_owned(),
        format!("/-/key/diary/{key}"),
        format!("/-/key/diary/{key}/1"),
        format!("/-/diff/diary/{key}/1/2"),
        format!("/-/edit/diary/{key}"),
        format!("/-/revert/diary/{key}/1"),
        format!("/-/remove/diary/{key}"),
    ] {
        browser.open(&site.url(&page));
        assert_eq!(browser.value("typeof pwned"), "undefined", "{page}");
        assert_eq!(browser.count("main img, main script, body > script"), 0, "{page}");
        assert_eq!(browser.count("main"), 1, "{page}");
    }
    browser.open(&site.url(&format!("/-/key/diary/{key}")));
    assert!(browser.text(".payload").contains("<script>pwned=1</script>"));
    assert!(browser.text(".by").contains("a\\u{202e}b"), "{}", browser.text(".by"));
    // A script that stands in the page would not run either.
    browser.value("document.body.append(Object.assign(document.createElement('script'), {text: 'pwned=1'}))");
    assert_eq!(browser.value("typeof pwned"), "undefined");
}

#[test]
fn a_payload_that_is_no_text_or_large_is_shown_as_such() {
    let (browser, site) = (Browser::take(), Site::start());
    site.save("binary", 1, "gian", "bytes", b"\x7fELF\0\xff");
    site.save("large", 1, "gian", "lines", "a line\n".repeat(100_000).as_bytes());
    browser.open(&site.url("/-/key/diary/binary"));
    assert!(browser.text("main").contains("binary, 6 bytes"), "{}", browser.text("main"));
    assert!(browser.text(".payload").contains("7f 45 4c 46 00 ff"));
    browser.open(&site.url("/-/edit/diary/binary"));
    assert!(browser.text("main").contains("cannot be edited in a browser"));
    browser.open(&site.url("/-/key/diary/large"));
    assert_eq!(browser.count(".payload .line"), 2000);
    browser.follow("See the whole payload");
    assert_eq!(browser.value("document.body.innerText.length"), 700_000);
}
