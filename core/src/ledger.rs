//! The record of everything that was measured or decided: append-only streams of entries, each chained to the one before.
//!
//! A *stream* holds the entries of one run (`run/<id>`) or of one modification (`modification/<slug>`). Each entry carries the
//! SHA-256 of its own content and of the entry before it, so a stream's [`Head`] stands for every byte of the stream.
//!
//! What a check of a stream by itself ([`verify::stream`]) proves, and what it does not:
//! - an edited, removed, inserted, repeated or moved entry **is** found, unless every later entry was recomputed as well;
//! - a stream cut off at its end is **not** found: a run without its closing entry is reported as [`verify::StreamState::Open`];
//! - a stream rewritten as a whole is **not** found: anybody can compute SHA-256.
//!
//! The last two are found once a head that was noted elsewhere (a report, a receipt, a signature) is passed as an anchor.

pub mod body;
pub mod chain;
pub mod digest;
pub mod entry;
pub mod fork;
pub mod verify;

pub use body::Body;
pub use digest::Digest;
pub use entry::{Entry, Head};

/// Name of the stream of one run.
///
/// ```
/// assert_eq!(flopsmeter_core::ledger::run_stream("0191-a"), "run/0191-a");
/// ```
pub fn run_stream(run: &str) -> String {
    format!("{RUN_PREFIX}{run}")
}

/// Name of the stream of one modification.
pub fn modification_stream(slug: &str) -> String {
    format!("{MODIFICATION_PREFIX}{slug}")
}

/// What the name of every run's stream begins with.
pub const RUN_PREFIX: &str = "run/";

/// What the name of every modification's stream begins with.
pub const MODIFICATION_PREFIX: &str = "modification/";
