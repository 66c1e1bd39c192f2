//! The ledger in one SQLite file.

mod read;
mod schema;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, Utc};
use flopsmeter_core::ledger::{Body, Digest, Entry, Head, chain};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Row, Transaction, TransactionBehavior, params};

use super::problem::StoreProblem;
use crate::records::kept::Kept;
use read::head_of;

/// How long another process's transaction (milliseconds, as a rule) is waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// When what was written is on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// When the writing call returns: neither `kill -9` nor loss of power loses it.
    AtOnce,
    /// When the system gets to it (Linux: within some 30 seconds). `kill -9` loses nothing; loss of power may lose the last writes,
    /// whole ones, and leaves the file sound.
    InTime,
}

/// What short runs may leave in the log: an eighth of what SQLite itself lets it grow to (a thousand pages).
const LONG_LOG_BYTES: u64 = 512 << 10;

/// An open ledger. Everything that is written is on the disk when the writing call returns, see [`Ledger::set_durability`].
#[derive(Debug)]
pub struct Ledger {
    connection: Connection,
    path: PathBuf,
    kept: Option<Kept>,
}

impl Ledger {
    /// Opens the ledger at `path`, making it and its folders (for this user alone) where they are missing.
    pub fn open(path: &Path) -> Result<Self, StoreProblem> {
        Self::open_patiently(path, PATIENCE)
    }

    /// The same, waiting up to `patience` for other processes, in every call.
    pub fn open_patiently(path: &Path, patience: Duration) -> Result<Self, StoreProblem> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
            made.map_err(|cause| StoreProblem::Unwritable { path: path.to_owned(), cause: cause.to_string() })?;
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        let mut connection = connect(path, flags, patience)?;
        schema::prepare(&mut connection, path)?;
        let ledger = Self { connection, path: path.to_owned(), kept: None };
        ledger.set_durability(Durability::AtOnce)?;
        Ok(ledger)
    }

    /// Opens a ledger that must exist, for reading alone; works on read-only media too.
    pub fn open_to_read(path: &Path) -> Result<Self, StoreProblem> {
        if !path.exists() {
            return Err(StoreProblem::Absent { path: path.to_owned() });
        }
        if path.is_dir() {
            return Err(StoreProblem::NotALedger { path: path.to_owned() });
        }
        let opened = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY, PATIENCE);
        let checked = opened.and_then(|connection| schema::check_born(&connection, path).map(|()| connection));
        let connection = match checked {
            // SQLite wants to lay the files of its log beside it, which a read-only medium does not let it.
            Err(StoreProblem::Unwritable { .. }) if log_is_empty(path) => connect_immutable(path)?,
            checked => checked?,
        };
        Ok(Self { connection, path: path.to_owned(), kept: None })
    }

    /// Says when writes from now on (and earlier ones that are not yet) are to be on the disk.
    ///
    /// Waiting for a disk takes milliseconds, several times over when a ledger is closed and its write-ahead log is folded into the
    /// file. With [`Durability::InTime`] the log is left beside the file (`-wal`; the next one who opens the ledger has it).
    pub fn set_durability(&self, durability: Durability) -> Result<(), StoreProblem> {
        let at_once = durability == Durability::AtOnce;
        let set = || {
            self.connection.pragma_update(None, "synchronous", if at_once { "FULL" } else { "NORMAL" })?;
            self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, !at_once).map(drop)
        };
        set().map_err(|source| self.problem(source))
    }

    /// Has a log that was left beside the file folded into it on closing once it is long: whoever opens the ledger next would have
    /// to read all of it first.
    pub fn fold_long_log(&self) -> Result<(), StoreProblem> {
        if log_bytes(&self.path) < LONG_LOG_BYTES {
            return Ok(());
        }
        self.set_durability(Durability::AtOnce)
    }

    /// Finds out whether it can be written, without writing.
    pub fn check_writable(&mut self) -> Result<(), StoreProblem> {
        self.transact(|_| Ok(()))
    }

    /// The same, reading from `kept` what was read before.
    #[must_use]
    pub fn keeping(self, kept: Option<Kept>) -> Self {
        Self { kept, ..self }
    }

    /// What was read before, where that is kept.
    pub(crate) const fn kept(&self) -> Option<&Kept> {
        self.kept.as_ref()
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes entries that were chained already, in one transaction: all or none.
    ///
    /// Entries that are there already are passed over, so writing twice does no harm. Entries that contradict what is there, or
    /// that leave a hole, are refused ([`StoreProblem::Conflict`]). Returns how many were new.
    pub fn write(&mut self, entries: &[Entry]) -> Result<usize, StoreProblem> {
        if entries.is_empty() {
            return Ok(0);
        }
        self.transact(|transaction| {
            let mut written = 0;
            let mut last: Option<&Entry> = None;
            for entry in entries {
                let head = match last.filter(|last| last.stream == entry.stream) {
                    Some(last) => Some(last.head()),
                    None => head_of(transaction, &entry.stream)?,
                };
                match place_of(transaction, entry, head.as_ref())? {
                    Place::Next => insert(transaction, entry)?,
                    Place::There => continue,
                    Place::Taken => return Err(Refusal::Conflict(entry.stream.clone())),
                }
                written += 1;
                last = Some(entry);
            }
            Ok(written)
        })
    }

    /// Appends one entry after whatever is there, in its own transaction; several processes may do this to one stream at once.
    pub fn append(&mut self, stream: &str, at: DateTime<Utc>, kind: &str, body: &str) -> Result<Entry, StoreProblem> {
        self.transact(|transaction| {
            let entry = chain::append(head_of(transaction, stream)?.as_ref(), stream, at, kind, body);
            insert(transaction, &entry)?;
            Ok(entry)
        })
    }

    /// Appends the first entry of a stream; `None` if somebody else was first.
    pub fn append_first(
        &mut self,
        stream: &str,
        at: DateTime<Utc>,
        kind: &str,
        body: &str,
    ) -> Result<Option<Entry>, StoreProblem> {
        self.transact(|transaction| {
            if head_of(transaction, stream)?.is_some() {
                return Ok(None);
            }
            let entry = chain::append(None, stream, at, kind, body);
            insert(transaction, &entry)?;
            Ok(Some(entry))
        })
    }

    /// Appends what `decide` makes of the stream as it is; nobody else writes between its looking and its writing.
    pub fn append_decided(
        &mut self,
        stream: &str,
        at: DateTime<Utc>,
        decide: impl FnOnce(&[Body]) -> Option<(String, String)>,
    ) -> Result<Option<Entry>, StoreProblem> {
        self.append_seeing(stream, at, |streams| Ok(decide(&streams.bodies(stream)?)))
    }

    /// The same where what is decided hangs on other streams as well: nobody writes to those either, between the looking and the writing.
    pub fn append_seeing(
        &mut self,
        stream: &str,
        at: DateTime<Utc>,
        decide: impl FnOnce(&Streams<'_>) -> Result<Option<(String, String)>, StoreProblem>,
    ) -> Result<Option<Entry>, StoreProblem> {
        let path = self.path.clone();
        self.transact(|transaction| {
            let streams = Streams { connection: transaction, path: &path };
            let Some((kind, body)) = decide(&streams).map_err(Refusal::Problem)? else { return Ok(None) };
            let entry = chain::append(head_of(transaction, stream)?.as_ref(), stream, at, kind, body);
            insert(transaction, &entry)?;
            Ok(Some(entry))
        })
    }

    /// One transaction that holds the write lock from its start, so that what it reads stays true until it has written.
    /// Nothing of it remains if `work` fails.
    fn transact<T>(&mut self, work: impl FnOnce(&Transaction<'_>) -> Result<T, Refusal>) -> Result<T, StoreProblem> {
        let connection = &mut self.connection;
        let run = || {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let done = work(&transaction)?;
            transaction.commit()?;
            Ok(done)
        };
        run().map_err(|refusal| match refusal {
            Refusal::Conflict(stream) => StoreProblem::Conflict { path: self.path.clone(), stream },
            Refusal::Sqlite(source) => StoreProblem::of_sqlite(&self.path, source),
            Refusal::Problem(problem) => problem,
        })
    }

    fn problem(&self, source: rusqlite::Error) -> StoreProblem {
        StoreProblem::of_sqlite(&self.path, source)
    }
}

/// Why a transaction was given up.
enum Refusal {
    /// The stream has other entries.
    Conflict(String),
    /// SQLite failed.
    Sqlite(rusqlite::Error),
    /// What is written depends on something that cannot be read.
    Problem(StoreProblem),
}

/// The streams of a ledger that nobody else writes to at present.
#[derive(Debug)]
pub struct Streams<'l> {
    connection: &'l Connection,
    path: &'l Path,
}

impl Streams<'_> {
    /// What the entries of a stream say, in their order.
    pub fn bodies(&self, stream: &str) -> Result<Vec<Body>, StoreProblem> {
        const BODIES: &str = "SELECT kind, body FROM entry WHERE stream = ?1 ORDER BY sequence";
        let body = |row: &Row<'_>| {
            let (kind, body): (String, String) = (row.get(0)?, row.get(1)?);
            Ok(Body::read(&kind, &body))
        };
        let read = || -> rusqlite::Result<Vec<Body>> {
            self.connection.prepare_cached(BODIES)?.query_map([stream], body)?.collect()
        };
        read().map_err(|source| StoreProblem::of_sqlite(self.path, source))
    }
}

impl From<rusqlite::Error> for Refusal {
    fn from(source: rusqlite::Error) -> Self {
        Self::Sqlite(source)
    }
}

/// Where an entry stands relative to what is there.
enum Place {
    /// It continues the stream.
    Next,
    /// It is there already.
    There,
    /// Another entry has its place, or there is a hole before it.
    Taken,
}

fn place_of(connection: &Connection, entry: &Entry, head: Option<&Head>) -> rusqlite::Result<Place> {
    let (next, previous) = head.map_or((0, Digest::NONE), |head| (head.sequence.saturating_add(1), head.digest));
    if entry.sequence >= next {
        let continues = entry.sequence == next && entry.previous == previous;
        return Ok(if continues { Place::Next } else { Place::Taken });
    }
    let there: Option<[u8; 32]> = connection
        .prepare_cached("SELECT digest FROM entry WHERE stream = ?1 AND sequence = ?2")?
        .query_row(params![entry.stream, signed(entry.sequence)], |row| row.get(0))
        .optional()?;
    Ok(if there == Some(entry.digest.0) { Place::There } else { Place::Taken })
}

fn insert(connection: &Connection, entry: &Entry) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO entry (stream, sequence, at, kind, body, previous, digest) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            entry.stream,
            signed(entry.sequence),
            entry.at.timestamp_micros(),
            entry.kind,
            entry.body,
            entry.previous.0,
            entry.digest.0,
        ])
        .map(drop)
}

/// SQLite's integers are signed; a stream of 2^63 entries does not come to be.
fn signed(sequence: u64) -> i64 {
    i64::try_from(sequence).unwrap_or(i64::MAX)
}

/// Whether everything is in the file itself, so that it can be read without its log.
fn log_is_empty(path: &Path) -> bool {
    log_bytes(path) == 0
}

/// SQLite lays it beside the file itself, wherever the path is a link to it.
fn log_bytes(path: &Path) -> u64 {
    let mut log = fs_err::canonicalize(path).unwrap_or_else(|_| path.to_owned()).into_os_string();
    log.push("-wal");
    fs_err::metadata(log).map_or(0, |log| log.len())
}

/// Opens a file that nobody changes, without locks and log.
fn connect_immutable(path: &Path) -> Result<Connection, StoreProblem> {
    let mut address = OsString::from("file:");
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'%' | b'?' | b'#' => address.push(format!("%{byte:02x}")),
            _ => address.push(OsStr::from_bytes(&[*byte])),
        }
    }
    address.push("?immutable=1");
    let connection =
        connect(Path::new(&address), OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI, PATIENCE)?;
    schema::check(&connection, path)?;
    Ok(connection)
}

fn connect(path: &Path, flags: OpenFlags, patience: Duration) -> Result<Connection, StoreProblem> {
    // Without the URI flag a path is a path, whatever characters it has.
    let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)
        .map_err(|source| StoreProblem::of_sqlite(path, source))?;
    let set = || {
        connection.busy_timeout(patience)?;
        // Else SQLite plans a statement anew whenever another value is bound to it, which takes longer than what it then does.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)
    };
    set().map_err(|source| StoreProblem::of_sqlite(path, source))?;
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_and_leaves_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(&folder.path().join("l.sqlite")).unwrap();
        let first = ledger.append("run/a", DateTime::UNIX_EPOCH, "k", "{}").unwrap();
        // What SQLite reports when a write finds no space, brought about by its own limit.
        ledger.connection.pragma_update(None, "max_page_count", 20).unwrap();
        let full = ledger.append("run/a", DateTime::UNIX_EPOCH, "k", &"x".repeat(1 << 20));
        assert!(matches!(full, Err(StoreProblem::DiskFull { .. })), "{full:?}");
        assert_eq!(ledger.entries("run/a").unwrap(), [first]);
    }

    #[test]
    fn the_log_of_a_ledger_is_found_behind_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("l.sqlite"), folder.path().join("elsewhere"));
        drop(Ledger::open(&path).unwrap());
        fs_err::os::unix::fs::symlink(&path, &link).unwrap();
        let mut ledger = Ledger::open(&link).unwrap();
        ledger.append("run/a", DateTime::UNIX_EPOCH, "k", "{}").unwrap();
        assert!(log_bytes(&link) > 0);
        assert_eq!(log_bytes(&link), log_bytes(&path));
    }

    #[test]
    fn a_file_that_nobody_changes_is_read_without_its_log() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("100% #1? ä.sqlite");
        let entry = Ledger::open(&path).unwrap().append("run/a", DateTime::UNIX_EPOCH, "k", "{}").unwrap();
        assert!(log_is_empty(&path));
        let ledger = Ledger { connection: connect_immutable(&path).unwrap(), path, kept: None };
        assert_eq!(ledger.entries("run/a").unwrap(), [entry]);
        assert_eq!(fs_err::read_dir(folder.path()).unwrap().count(), 1, "a file was laid beside the ledger");
    }
}
