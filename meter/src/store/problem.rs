//! What can go wrong with a store, each with its next step.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

/// A ledger or spool that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreProblem {
    /// Written by a later version.
    #[error(
        "the ledger {} has schema {found}, this flopsmeter knows up to {known}: update flopsmeter, or name another ledger with --ledger",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: i64,
        /// The latest schema this version knows.
        known: i64,
    },
    /// Some other file.
    #[error("{} is no flopsmeter ledger: name another file with --ledger", path.display())]
    NotALedger {
        /// The file.
        path: PathBuf,
    },
    /// No file there, where one was to be read.
    #[error("there is no ledger {}: name it with --ledger, or record a run first", path.display())]
    Absent {
        /// The file.
        path: PathBuf,
    },
    /// It or its folder cannot be written or made.
    #[error("the ledger {} cannot be written ({cause}): check its folder's permissions, or name another with --ledger", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: String,
    },
    /// No space.
    #[error("no space is left for the ledger {}: free some, or name another ledger with --ledger", path.display())]
    DiskFull {
        /// The file.
        path: PathBuf,
    },
    /// Held by another process for longer than is waited for.
    #[error("the ledger {} is locked by another process: end what holds it, or name another with --ledger", path.display())]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// The file is broken.
    #[error("the ledger {} is damaged ({cause}): keep a copy, and restore it from a backup", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        cause: String,
    },
    /// Entries that do not continue what is there: somebody else writes to the same stream.
    #[error("`{stream}` in the ledger {} has entries from another writer: give this run another id", path.display())]
    Conflict {
        /// The file.
        path: PathBuf,
        /// The stream.
        stream: String,
    },
    /// Entries of which those before are not there.
    #[error(
        "entries {from} to {until} of `{stream}` are not in the ledger {}: merge first what has them, or name the ledger that has them with --ledger",
        path.display()
    )]
    Hole {
        /// The file.
        path: PathBuf,
        /// The stream.
        stream: String,
        /// The first that is not there.
        from: u64,
        /// The last before those that were to be written.
        until: u64,
    },
    /// A spool that is not as it was written.
    #[error(
        "the spool {} was changed since it was written: its entry {sequence} does not fit its digest or the entry before it; restore the file \
         from a backup",
        path.display()
    )]
    SpoolChanged {
        /// The file.
        path: PathBuf,
        /// The entry.
        sequence: u64,
    },
    /// No such run.
    #[error("no run in the ledger {} begins with `{prefix}`: `flopsmeter runs list` shows them", path.display())]
    UnknownRun {
        /// The file.
        path: PathBuf,
        /// What was asked for.
        prefix: String,
    },
    /// More than one such run.
    #[error("`{prefix}` is the beginning of {} runs ({}): give more of its id", candidates.len(), some(candidates))]
    AmbiguousRun {
        /// What was asked for.
        prefix: String,
        /// The runs that match.
        candidates: Vec<String>,
    },
    /// Anything else SQLite says.
    #[error("the ledger {} failed ({source}): name another with --ledger if it fails again", path.display())]
    Failed {
        /// The file.
        path: PathBuf,
        /// What it said.
        source: rusqlite::Error,
    },
    /// A spool file that cannot be made, written or read.
    #[error("the spool {} cannot be used ({cause})", path.display())]
    Spool {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
}

impl StoreProblem {
    /// A stable short name, for the code of a finding.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Newer { .. } => "ledger-newer",
            Self::NotALedger { .. } => "ledger-not-one",
            Self::Absent { .. } => "ledger-absent",
            Self::Unwritable { .. } => "ledger-unwritable",
            Self::DiskFull { .. } => "ledger-disk-full",
            Self::Locked { .. } => "ledger-locked",
            Self::Damaged { .. } => "ledger-damaged",
            Self::Conflict { .. } => "ledger-conflict",
            Self::Hole { .. } => "ledger-hole",
            Self::SpoolChanged { .. } => "spool-changed",
            Self::UnknownRun { .. } => "run-unknown",
            Self::AmbiguousRun { .. } => "run-ambiguous",
            Self::Failed { .. } => "ledger-failed",
            Self::Spool { .. } => "spool-failed",
        }
    }

    /// What an error of SQLite on the file at `path` means.
    pub(crate) fn of_sqlite(path: &Path, source: rusqlite::Error) -> Self {
        let path = path.to_owned();
        let Some(code) = source.sqlite_error_code() else { return Self::Failed { path, source } };
        match code {
            ErrorCode::NotADatabase => Self::NotALedger { path },
            ErrorCode::DiskFull => Self::DiskFull { path },
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed => {
                Self::Locked { path }
            }
            ErrorCode::DatabaseCorrupt => Self::Damaged { path, cause: source.to_string() },
            ErrorCode::ReadOnly
            | ErrorCode::CannotOpen
            | ErrorCode::PermissionDenied
            | ErrorCode::SystemIoFailure
            | ErrorCode::NoLargeFileSupport => Self::Unwritable { path, cause: source.to_string() },
            _ => Self::Failed { path, source },
        }
    }
}

/// The first few, so that a message stays readable.
fn some(candidates: &[String]) -> String {
    const SHOWN: usize = 5;
    let mut text = candidates.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    if candidates.len() > SHOWN {
        text.push_str(", …");
    }
    text
}
