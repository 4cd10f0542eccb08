//! Who may see and do what, and what other sites can make a browser do.

use super::Browser;
use crate::commits::site::Site;

/// The tokens are `secret` and `other`.
const USERS: &str = "
[[serve.users]]
name = \"gian\"
token = { sha256 = \"2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b\" }
may = [\"diary:write\"]
[[serve.users]]
name = \"eva\"
token = { sha256 = \"d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa\" }
may = [\"diary:read\"]
[serve.commits.secrets]
";

const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");

fn site_with_users() -> Site {
    let site = Site::with("", USERS);
    let headers = [("Authorization", "Bearer secret"), ("X-Rainer-Comment", "first")];
    assert_eq!(site.ask("POST", "/diary/greeting/1", &headers, b"hello\n").status, 200);
    site
}

fn log_in(browser: &Browser, token: &str) {
    browser.fill("#token", token);
    browser.click("button.main");
}

#[test]
fn a_user_logs_in_and_out_and_is_offered_what_they_may_do() {
    let (browser, site) = (Browser::take(), site_with_users());
    browser.open(&site.url("/-/key/diary/greeting"));
    browser.wait_for_text("h1", "Log in");
    log_in(&browser, "wrong");
    browser.wait_for_text(".problem", "No user has this token.");
    log_in(&browser, "secret");
    browser.wait_for_text("h1", "greeting");
    assert!(browser.url().ends_with("/-/key/diary/greeting"), "{}", browser.url());
    browser.follow("Edit");
    assert_eq!(browser.count("#author"), 0);
    browser.fill("#text", "hello world\n");
    browser.fill("#comment", "to all");
    browser.click("button.main");
    browser.wait_for_text(".history li", "gian");
    // Links of other sites lead to the page, too.
    let other = format!("http://localhost:{}", site.address.rsplit(':').next().unwrap());
    browser.open(&format!("{other}/-/login"));
    let page = site.url("/-/key/diary/greeting");
    browser.value(&format!("(location.href = {page:?}, 0)"));
    browser.wait_for_text("h1", "greeting");
    browser.click("header button");
    browser.wait_for_text("h1", "Log in");
    log_in(&browser, "other");
    browser.wait_for_text("h1", "Namespaces");
    assert_eq!(browser.count(".namespaces li"), 1, "of two");
    browser.open(&page);
    browser.wait_for_text("h1", "greeting");
    assert_eq!(browser.count("a.button, [href*=edit], [href*=revert], [href*=remove]"), 0);
    for denied in ["/-/edit/diary/greeting", "/-/edit/diary", "/-/revert/diary/greeting/1", "/-/keys/secrets"]
    {
        browser.open(&site.url(denied));
        browser.wait_for_text(".problem", "Forbidden: eva may not ");
    }
}

#[test]
fn what_is_written_outlives_the_session() {
    let (browser, site) = (Browser::take(), site_with_users());
    browser.open(&site.url("/-/edit/diary/greeting"));
    log_in(&browser, "secret");
    browser.fill("#text", "a long text\n");
    browser.fill("#comment", "of an hour");
    browser.forget_cookies();
    browser.wait_for_text("#note", "Your session has ended");
    browser.click("button.main");
    browser.wait_for_text("h1", "Your session has ended");
    browser.log_in_beside(&site.url("/-/login"), "secret");
    browser.click("main button");
    browser.wait_for_text(".history", "of an hour");
    let answer = site.ask("GET", "/diary/greeting", &[("Authorization", "Bearer secret")], b"");
    assert_eq!(answer.body, b"a long text\n");
}

#[test]
fn other_sites_can_neither_post_nor_read() {
    let site = site_with_users();
    let form = b"base=1&text=pwned&comment=pwned&author=pwned&action=save";
    let own = site.url("");
    let log_in = [FORM, ("Origin", &own)];
    let answer = site.ask("POST", "/-/login", &log_in, b"token=secret&next=//evil.example");
    assert_eq!(answer.status, 303);
    assert!(answer.head.contains("location: /\r\n"), "{}", answer.head);
    let cookie = answer.head.lines().find_map(|line| line.strip_prefix("set-cookie: ")).expect("a cookie");
    assert!(cookie.contains("httponly") && cookie.contains("samesite=strict"), "{cookie}");
    let cookie = ("Cookie", cookie.split(';').next().unwrap());
    let forms = ["/-/edit/diary/greeting", "/-/revert/diary/greeting/1", "/-/remove/diary/greeting"];
    let hostile: [&[(&str, &str)]; 5] = [
        &[],
        &[("Origin", "http://evil.example")],
        &[("Origin", "null")],
        &[("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "navigate")],
        &[("Sec-Fetch-Site", "same-site"), ("Origin", &own)],
    ];
    for headers in hostile {
        for path in forms {
            let answer = site.ask("POST", path, &[&[FORM, cookie], headers].concat(), form);
            assert_eq!(answer.status, 403, "{path} {headers:?}: {}", answer.text());
        }
        // Nor does the interface for programs take what a browser's cookie alone stands for.
        let answer = site.ask("POST", "/diary/greeting/2", &[&[cookie], headers].concat(), b"pwned");
        assert_eq!(answer.status, 403, "{headers:?}");
    }
    let answer = site.ask("GET", "/diary/greeting", &[cookie, ("Sec-Fetch-Site", "cross-site")], b"");
    assert_eq!(answer.status, 403);
    let answer = site.ask("GET", "/diary/greeting", &[cookie], b"");
    assert_eq!(answer.body, b"hello\n");
    // The session alone is enough for a form of ours.
    let answer = site.ask("POST", forms[0], &[FORM, cookie, ("Origin", &own)], form);
    assert_eq!(answer.status, 303, "{}", answer.text());
    // Without users, a name that another site has given to this host leads nowhere.
    let open = Site::start();
    for headers in hostile {
        let answer = open.ask("POST", "/-/edit/diary/greeting", &[&[FORM], headers].concat(), form);
        assert_eq!(answer.status, 403, "{headers:?}: {}", answer.text());
    }
}

#[test]
fn programs_are_told_the_status_and_people_where_to_log_in() {
    let site = site_with_users();
    let person = [("Accept", "text/html,*/*"), ("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Site", "none")];
    for path in ["/-/keys/diary?q=a%20b", "/diary/greeting"] {
        let answer = site.ask("GET", path, &[("Accept", "*/*")], b"");
        assert_eq!(answer.status, 401, "{path}");
        assert!(answer.head.contains("www-authenticate: bearer"), "{}", answer.head);
        assert_eq!(site.ask("GET", path, &person, b"").status, 303, "{path}");
    }
    let answer = site.ask("GET", "/-/keys/diary?q=a%20b", &person, b"");
    let location = "location: /-/login?next=%2f-%2fkeys%2fdiary%3fq%3da%2520b\r\n";
    assert!(answer.head.contains(location), "{}", answer.head);
    let answer = site.ask("GET", "/-/login", &person, b"");
    for header in [
        "content-security-policy: default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; \
         connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        "x-content-type-options: nosniff",
        "referrer-policy: same-origin",
        "cross-origin-resource-policy: same-origin",
        "cache-control: no-store",
    ] {
        assert!(answer.head.contains(header), "no {header} in {}", answer.head);
    }
}

// A proxy that speaks TLS says nothing, and the browser does.
#[test]
fn a_session_that_begins_over_tls_stays_there() {
    let site = site_with_users();
    for (scheme, is_secure) in [("http", false), ("https", true)] {
        let headers = [FORM, ("Origin", &*format!("{scheme}://{}", site.address))];
        let begun = site.ask("POST", "/-/login", &headers, b"token=secret");
        assert_eq!(begun.status, 303, "{}", begun.head);
        let cookie = begun.head.lines().find(|line| line.starts_with("set-cookie: ")).expect("a cookie");
        assert!(cookie.contains("httponly; samesite=strict"), "{cookie}");
        assert_eq!(cookie.contains("; secure"), is_secure, "{scheme}: {cookie}");
    }
}
