//! How long a sequence may be where a table has one row for each position.

use super::quantity::Stream;

/// A table of positions: a longer sequence finds no row in it, and PyTorch stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PositionTable {
    /// Whose positions.
    pub stream: Stream,
    /// The key of the configuration that says how many.
    pub key: &'static str,
    /// The longest sequence.
    pub most: u64,
}

impl PositionTable {
    /// For the line of text that a model reads.
    pub(super) const fn of_text(key: &'static str, most: u64) -> Self {
        Self { stream: Stream::Text, key, most }
    }
}
