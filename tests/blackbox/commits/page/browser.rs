//! A Chromium, driven over the protocol of WebDriver.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::ports::free_port;
use crate::harness::{Guarded, wait_for, wait_until};

pub const TAB: &str = "\u{e004}";
pub const ENTER: &str = "\u{e007}";
pub const END: &str = "\u{e010}";
pub const CONTROL: &str = "\u{e009}";

/// The name under which the protocol has the id of an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// Nothing of this reaches the network, and nothing asks.
const ARGUMENTS: [&str; 11] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--lang=en-US",
];

/// A window of the browser.
pub struct Browser {
    port: u16,
    session: String,
}

struct Shared {
    browser: Mutex<Browser>,
    // The shell behind it removes the directory.
    _driver: Guarded,
}

impl Browser {
    /// The browser of all tests: with an empty page, without cookies, 1280 pixels wide, light.
    #[track_caller]
    pub fn take() -> MutexGuard<'static, Self> {
        static SHARED: OnceLock<Shared> = OnceLock::new();
        let shared = SHARED.get_or_init(|| {
            let home = TempDir::with_prefix("twitcher-browser-").expect("create a directory").keep();
            let (driver, port) = (Guarded::default(), free_port());
            let home_option = home.as_os_str().to_owned();
            let port_option = format!("--port={port}");
            // Both end with the first process of their world, whatever else the driver has started.
            let words = ["unshare", "--pid", "--fork", "--kill-child=KILL", "--mount-proc", "env"];
            let mut words: Vec<&OsStr> = words.into_iter().map(OsStr::new).collect();
            let mut variable = OsStr::new("HOME=").to_owned();
            variable.push(&home_option);
            words.extend([&*variable, OsStr::new("chromedriver"), OsStr::new(&port_option)]);
            driver.start(&home, &words);
            wait_until("chromedriver", || TcpStream::connect(("127.0.0.1", port)).is_ok());
            let mut arguments: Vec<String> = ARGUMENTS.map(str::to_owned).to_vec();
            arguments.push(format!("--user-data-dir={}", home.join("profile").display()));
            let options = json!({ "args": arguments });
            let wanted = json!({ "capabilities": { "alwaysMatch": { "goog:chromeOptions": options } } });
            let mut browser = Self { port, session: String::new() };
            let begun = browser.request("POST", "/session", Some(&wanted)).expect("a session");
            browser.session = begun["sessionId"].as_str().expect("a session").to_owned();
            Shared { browser: Mutex::new(browser), _driver: driver }
        });
        let browser = shared.browser.lock().unwrap_or_else(PoisonError::into_inner);
        // What a failed test has left in an editor would ask whether to leave it.
        browser.set_scripts(true);
        browser.open("about:blank");
        browser.forget_cookies();
        browser.set_width(1280);
        browser.set_scheme("light");
        browser
    }

    #[track_caller]
    pub fn open(&self, url: &str) {
        self.post("/url", json!({ "url": url }));
    }

    pub fn url(&self) -> String {
        self.get("/url").as_str().unwrap_or_default().to_owned()
    }

    /// Sets the width of what is shown, in pixels.
    pub fn set_width(&self, width: u32) {
        let metrics = json!({ "width": width, "height": 800, "deviceScaleFactor": 1, "mobile": false });
        self.command("Emulation.setDeviceMetricsOverride", metrics);
    }

    /// Prefers `light` or `dark`.
    pub fn set_scheme(&self, scheme: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.command("Emulation.setEmulatedMedia", json!({ "media": "", "features": features }));
    }

    /// Shows pages as they are printed for somebody who prefers dark ones.
    pub fn set_paper(&self) {
        let features = json!([{ "name": "prefers-color-scheme", "value": "dark" }]);
        self.command("Emulation.setEmulatedMedia", json!({ "media": "print", "features": features }));
    }

    pub fn forget_cookies(&self) {
        self.command("Network.clearBrowserCookies", json!({}));
    }

    /// Logs in in another tab.
    pub fn log_in_beside(&self, url: &str, token: &str) {
        let here = self.get("/window");
        let tab = self.post("/window/new", json!({ "type": "tab" }));
        self.post("/window", json!({ "handle": tab["handle"] }));
        self.open(url);
        self.fill("#token", token);
        self.click("button.main");
        self.wait_for_text("h1", "Namespaces");
        self.request("DELETE", &format!("/session/{}/window", self.session), None).expect("close a tab");
        self.post("/window", json!({ "handle": here }));
    }

    /// Says whether pages may run scripts.
    pub fn set_scripts(&self, enabled: bool) {
        self.command("Emulation.setScriptExecutionDisabled", json!({ "value": !enabled }));
    }

    /// Evaluates an expression in the page, and not as a script of the page.
    #[track_caller]
    pub fn value(&self, expression: &str) -> Value {
        self.post("/execute/sync", json!({ "script": format!("return ({expression});"), "args": [] }))
    }

    /// Returns the text of the first element, as people see it, or nothing if there is none.
    pub fn text(&self, selector: &str) -> String {
        let expression = format!("(document.querySelector({selector:?}) || {{}}).innerText || ''");
        self.value(&expression).as_str().unwrap_or_default().to_owned()
    }

    pub fn count(&self, selector: &str) -> u64 {
        self.value(&format!("document.querySelectorAll({selector:?}).length")).as_u64().unwrap_or(0)
    }

    /// Waits until the first such element has this text.
    #[track_caller]
    pub fn wait_for_text(&self, selector: &str, text: &str) {
        let mut last = String::new();
        let found = crate::harness::poll(Duration::from_secs(30), || {
            last = self.text(selector);
            last.contains(text).then_some(())
        });
        assert!(found.is_some(), "{selector} has no {text:?}, but {last:?}, at {}", self.url());
    }

    /// Clicks on an element, as with a mouse. If that leads to another page, it is loaded then.
    #[track_caller]
    pub fn click(&self, selector: &str) {
        let element = self.element("css selector", selector);
        self.post(&format!("/element/{element}/click"), json!({}));
    }

    /// Clicks on the first link with exactly this text.
    #[track_caller]
    pub fn follow(&self, text: &str) {
        let element = self.element("link text", text);
        self.post(&format!("/element/{element}/click"), json!({}));
    }

    /// Replaces the text of a field, as with a keyboard.
    #[track_caller]
    pub fn fill(&self, selector: &str, text: &str) {
        let element = self.element("css selector", selector);
        self.post(&format!("/element/{element}/clear"), json!({}));
        self.post(&format!("/element/{element}/value"), json!({ "text": text }));
    }

    /// Types into a field, behind what it has.
    #[track_caller]
    pub fn add(&self, selector: &str, text: &str) {
        let element = self.element("css selector", selector);
        self.post(&format!("/element/{element}/value"), json!({ "text": text }));
    }

    /// Presses keys, wherever the focus is.
    #[track_caller]
    pub fn press(&self, keys: &str) {
        let strokes = keys.chars().flat_map(|key| {
            ["keyDown", "keyUp"].map(|kind| json!({ "type": kind, "value": key.to_string() }))
        });
        self.act(strokes.collect());
    }

    /// Presses a key while another one is held.
    #[track_caller]
    pub fn press_with(&self, held: &str, key: &str) {
        let stroke = |kind: &str, key: &str| json!({ "type": kind, "value": key });
        let strokes = [("keyDown", held), ("keyDown", key), ("keyUp", key), ("keyUp", held)];
        self.act(strokes.map(|(kind, key)| stroke(kind, key)).to_vec());
    }

    /// Presses Tab until the focus is on such an element.
    #[track_caller]
    pub fn tab_to(&self, selector: &str) {
        for _ in 0..60 {
            self.press(TAB);
            if self.value(&format!("document.activeElement.matches({selector:?})")) == true {
                return;
            }
        }
        panic!("Tab does not lead to {selector} at {}", self.url());
    }

    fn act(&self, strokes: Vec<Value>) {
        let keyboard = json!({ "type": "key", "id": "keyboard", "actions": strokes });
        self.post("/actions", json!({ "actions": [keyboard] }));
    }

    #[track_caller]
    fn element(&self, using: &str, value: &str) -> String {
        let wanted = json!({ "using": using, "value": value });
        let what = format!("{value} at {}", self.url());
        wait_for(&what, || {
            let path = format!("/session/{}/element", self.session);
            let found = self.request("POST", &path, Some(&wanted)).ok()?;
            found[ELEMENT].as_str().map(str::to_owned)
        })
    }

    /// Gives a command to the browser that the protocol does not know.
    #[track_caller]
    fn command(&self, name: &str, parameters: Value) {
        self.post("/goog/cdp/execute", json!({ "cmd": name, "params": parameters }));
    }

    #[track_caller]
    fn get(&self, path: &str) -> Value {
        let path = format!("/session/{}{path}", self.session);
        self.request("GET", &path, None).unwrap_or_else(|error| panic!("GET {path}: {error}"))
    }

    #[track_caller]
    fn post(&self, path: &str, body: Value) -> Value {
        let path = format!("/session/{}{path}", self.session);
        let replied = self.request("POST", &path, Some(&body));
        replied.unwrap_or_else(|error| panic!("POST {path} {body}: {error}"))
    }

    /// Sends a request to the driver. Returns the value of its reply, or the error.
    fn request(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, Value> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            self.port,
            body.len()
        );
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("connect to chromedriver");
        stream.set_read_timeout(Some(Duration::from_secs(120))).expect("set a timeout");
        stream.write_all(request.as_bytes()).expect("ask chromedriver");
        let mut reply = BufReader::new(stream);
        let (mut line, mut status, mut length) = (String::new(), 0, 0);
        while reply.read_line(&mut line).expect("a reply of chromedriver") > 2 {
            if let Some((_, rest)) = line.split_once("HTTP/1.1 ") {
                status = rest.split(' ').next().and_then(|code| code.parse().ok()).unwrap_or(0);
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            }
            line.clear();
        }
        let mut body = vec![0; length];
        reply.read_exact(&mut body).expect("the rest of a reply");
        let value: Value = serde_json::from_slice(&body).expect("JSON of chromedriver");
        if status == 200 { Ok(value["value"].clone()) } else { Err(value["value"].clone()) }
    }
}
