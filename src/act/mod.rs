//! What runs in the process of a function action.

pub mod function;
pub mod library;
