//! Versioned configuration: `twitcher serve`, with foreign clients where there are some.

mod access;
mod api;
mod faults;
mod openapi;
mod page;
mod rainer;
mod site;
