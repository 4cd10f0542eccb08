//! The process of a function action, `twitcher act`.

pub mod function;
pub mod library;
mod write_file;
