//! The process of a function action, `twitcher act`.

pub mod function;
pub mod library;
mod value;
mod write_file;
