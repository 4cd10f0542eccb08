//! `twitcher serve`, and what uses it.

mod page;
mod site;
