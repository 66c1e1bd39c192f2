//! Where entries are kept: a SQLite file, and a spool of JSON lines for when that file cannot be had.
//!
//! What a crash can lose: everything given to [`RunRecorder::commit`] (called about once a second) is on the disk when it
//! returns. `kill -9` and loss of power both lose what was recorded since the last commit, at most; a transaction that was cut
//! is undone at the next opening, so the file stays readable. (That holds where the disk honours `fsync`.)

pub mod path;
pub mod problem;
pub mod recorder;
pub mod spool;
pub mod sqlite;

pub use problem::StoreProblem;
pub use recorder::RunRecorder;
pub use spool::Spool;
pub use sqlite::Ledger;
