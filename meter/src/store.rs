//! Where entries are kept: a SQLite file, and a spool of JSON lines for when that file cannot be had.
//!
//! What a crash can lose: [`RunRecorder::commit`] (called about once a second) returns when everything recorded before is on the disk.
//! `kill -9` and loss of power both lose what was recorded since the last commit, at most; a transaction that was cut is undone at
//! the next opening, so the file stays readable. (That holds where the disk honours `fsync`.) The one exception is a run that ends
//! within half a second: it is left to the system's own writing back, so loss of power within the next half minute may lose it.

pub mod merge;
pub mod path;
pub mod problem;
pub mod recorder;
pub mod spool;
pub mod sqlite;
pub mod writer;

pub use problem::StoreProblem;
pub use recorder::RunRecorder;
pub use spool::Spool;
pub use sqlite::{Durability, Ledger, Streams};
pub use writer::Writer;
