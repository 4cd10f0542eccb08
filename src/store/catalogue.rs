//! The catalogue of the typed tables that a store has.

/// The entries of a catalogue, as they were at one moment.
pub struct Catalogue {
    /// The slot and the entry of each table, in the order of the slots.
    pub entries: Vec<(u16, Vec<u8>)>,
    /// The revision of the latest change to an entry that is there.
    pub(super) latest: i64,
}
