//! Function actions: what runs in the process of one.

pub mod function;
pub mod library;
