//! How the page looks, as far as a program can tell.

use super::Browser;
use crate::commits::site::Site;

#[test]
fn a_phone_needs_no_scrolling_sideways_in_dark_and_light() {
    let (browser, site) = (Browser::take(), Site::start());
    let long = "x".repeat(200);
    let payload = format!("{long}\n\ttab {long}\n");
    site.save(&long, 1, &long, &long, payload.as_bytes());
    site.save(&long, 2, "gian", "a comment of a few words", payload.replace("tab", "other").as_bytes());
    site.save("binary", 1, "gian", "bytes", &[0xff; 600]);
    browser.set_width(360);
    for scheme in ["light", "dark"] {
        browser.set_scheme(scheme);
        for page in [
            "/".to_owned(),
            "/-/keys/diary".to_owned(),
            format!("/-/key/diary/{long}"),
            format!("/-/key/diary/{long}/1"),
            "/-/key/diary/binary".to_owned(),
            format!("/-/diff/diary/{long}/1/2"),
            format!("/-/edit/diary/{long}"),
            "/-/edit/diary".to_owned(),
            format!("/-/revert/diary/{long}/1"),
            format!("/-/remove/diary/{long}"),
            "/-/nothing".to_owned(),
        ] {
            browser.open(&site.url(&page));
            let width = browser.value("document.scrollingElement.scrollWidth").as_u64();
            assert!(width.is_some_and(|width| width <= 360), "{page} is {width:?} wide");
            let contrast = browser.value(CONTRAST).as_f64().expect("a number");
            assert!(contrast >= 7.0, "text and ground of {page} have a contrast of {contrast} in {scheme}");
        }
        let ground = browser.value("getComputedStyle(document.body).backgroundColor");
        let expected = if scheme == "dark" { "rgb(22, 22, 20)" } else { "rgb(255, 255, 255)" };
        assert_eq!(ground, expected);
    }
}

#[test]
fn paper_is_white_and_has_no_buttons() {
    let (browser, site) = (Browser::take(), Site::start());
    site.save("port", 1, "gian", "as always", b"80\n");
    site.save("port", 2, "eva", "try this", b"8080\n");
    browser.set_paper();
    for page in ["/-/keys/diary", "/-/key/diary/port", "/-/key/diary/port/1", "/-/diff/diary/port/1/2"] {
        browser.open(&site.url(page));
        assert_eq!(browser.value("getComputedStyle(document.body).backgroundColor"), "rgb(255, 255, 255)");
        let buttons = "button, .button, input, .links a, .raw";
        let shown = format!(
            "[...document.querySelectorAll({buttons:?})].filter((it) => it.checkVisibility()).length"
        );
        assert_eq!(browser.value(&shown), 0, "{page}");
        assert!(browser.text("h1").starts_with("port") || page == "/-/keys/diary", "{page}");
    }
    let time = browser.value("getComputedStyle(document.querySelector('time'), '::after').content");
    // Versions of the browser tell it in one of two ways.
    let is_date = |text: &str| text.starts_with("\"20") || text == "attr(datetime)";
    assert!(time.as_str().is_some_and(is_date), "{time}");
    // What has changed is still told by colour.
    let changed = browser.value("getComputedStyle(document.querySelector('.old.changed')).backgroundColor");
    assert_eq!(changed, "rgb(253, 236, 235)");
}

/// The contrast of text and ground, as the guidelines for accessible pages define it.
const CONTRAST: &str = "(() => {
    const style = getComputedStyle(document.body);
    const light = (colour) => {
        const parts = colour.match(/\\d+/g).slice(0, 3).map((part) => part / 255);
        const [red, green, blue] = parts.map((part) =>
            part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
    };
    const [low, high] = [light(style.color), light(style.backgroundColor)].sort((one, two) => one - two);
    return (high + 0.05) / (low + 0.05);
})()";
