//! Who writes a run. A meter holds a lock for as long as its process lives: a run whose meter was killed is told from one that is still
//! metered at once and without a clock.
//!
//! The locks of a ledger are ranges of one empty file beside it, a byte for each run. They belong to the open file, not to the process,
//! so that they hold between threads too, and the system lets go of them however the process ends.

use std::ffi::OsString;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use flopsmeter_core::ledger::Digest;
use fs_err::os::unix::fs::OpenOptionsExt as _;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};

/// The right to write one run, until it is dropped or the process ends.
#[derive(Debug)]
pub struct Writer {
    _locked: fs_err::File,
}

/// Why it cannot be had.
#[derive(Debug)]
pub enum Untaken {
    /// Another meter has it.
    Held,
    /// There are no locks here: the folder cannot be written, or its file system has none.
    Impossible(io::Error),
}

impl Writer {
    /// Takes the right to write `run` into the ledger at `ledger`, which exists.
    pub fn take(ledger: &Path, run: &str) -> Result<Self, Untaken> {
        let file = open(ledger).map_err(Untaken::Impossible)?;
        match fcntl(&file, FcntlArg::F_OFD_SETLK(&range(run))) {
            Ok(_) => Ok(Self { _locked: file }),
            Err(Errno::EAGAIN | Errno::EACCES) => Err(Untaken::Held),
            Err(problem) => Err(Untaken::Impossible(problem.into())),
        }
    }
}

/// Whether a meter is writing `run` now; `None` where that cannot be told.
pub fn is_written(ledger: &Path, run: &str) -> Option<bool> {
    let file = match fs_err::File::open(place(ledger).ok()?) {
        Ok(file) => file,
        Err(problem) => return (problem.kind() == io::ErrorKind::NotFound).then_some(false),
    };
    let mut asked = range(run);
    fcntl(&file, FcntlArg::F_OFD_GETLK(&mut asked)).ok()?;
    Some(i32::from(asked.l_type) != libc::F_UNLCK)
}

/// Beside the ledger itself, by whatever link it is named.
fn place(ledger: &Path) -> io::Result<PathBuf> {
    let mut name = OsString::from(fs_err::canonicalize(ledger)?);
    name.push("-writers");
    Ok(name.into())
}

/// Whoever may write the ledger may write this file.
fn open(ledger: &Path) -> io::Result<fs_err::File> {
    let path = place(ledger)?;
    let mode = fs_err::metadata(ledger)?.permissions().mode() & 0o666;
    match fs_err::OpenOptions::new().read(true).write(true).create_new(true).mode(mode).open(&path) {
        Ok(file) => {
            // What the process's mask took away.
            file.set_permissions(std::fs::Permissions::from_mode(mode))?;
            Ok(file)
        }
        Err(problem) if problem.kind() == io::ErrorKind::AlreadyExists => {
            fs_err::OpenOptions::new().read(true).write(true).open(&path)
        }
        Err(problem) => Err(problem),
    }
}

/// The byte of a run: that of two runs is the same once in 2^62 times, and then one of them is recorded as a run of its own.
fn range(run: &str) -> libc::flock {
    let digest = Digest::of(run.as_bytes());
    let bits = digest.0.first_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes));
    libc::flock {
        l_type: i16::try_from(libc::F_WRLCK).unwrap_or_default(),
        l_whence: i16::try_from(libc::SEEK_SET).unwrap_or_default(),
        l_start: i64::try_from(bits >> 2).unwrap_or_default(),
        l_len: 1,
        l_pid: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_has_one_writer_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = folder.path().join("ledger.sqlite");
        fs_err::write(&ledger, "").unwrap();
        assert_eq!(is_written(&ledger, "a"), Some(false));
        let writer = Writer::take(&ledger, "a").unwrap();
        assert!(matches!(Writer::take(&ledger, "a"), Err(Untaken::Held)));
        assert_eq!((is_written(&ledger, "a"), is_written(&ledger, "b")), (Some(true), Some(false)));
        let other = Writer::take(&ledger, "b").unwrap();
        drop(writer);
        assert_eq!((is_written(&ledger, "a"), is_written(&ledger, "b")), (Some(false), Some(true)));
        let link = folder.path().join("link");
        fs_err::os::unix::fs::symlink(&ledger, &link).unwrap();
        assert_eq!(is_written(&link, "b"), Some(true), "it is the same ledger");
        drop((Writer::take(&ledger, "a").unwrap(), other));
    }

    #[test]
    fn where_no_lock_can_be_had_nothing_is_claimed() {
        let nowhere = Path::new("/dev/null/ledger");
        assert!(matches!(Writer::take(nowhere, "a"), Err(Untaken::Impossible(_))));
        assert_eq!(is_written(nowhere, "a"), None);
    }
}
