//! .
pub mod spec;
