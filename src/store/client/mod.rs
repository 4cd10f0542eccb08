//! .
pub struct Client;
