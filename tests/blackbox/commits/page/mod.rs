//! The page for people, in a real Chromium. All tests share one browser, so one of them runs at a time.

mod browser;
mod edit;
mod look;
mod read;
mod users;

pub use browser::Browser;
