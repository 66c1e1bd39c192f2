//! Summaries of runs that were read before: a cache beside the ledger, no record, and no part of any evidence.
//!
//! A run of a day has some hundred thousand entries, and a closed one never gets another. Its summary is kept under the digest of its
//! last entry, which stands for all of them, and under the build that read it: whatever is changed, in the chain or in how it is
//! read, is read anew. It serves lists alone: assessments, documents, gates and `verify` read the chain. Nothing that goes wrong here is
//! more than a summary that has to be read again.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::time::Duration;

use flopsmeter_core::ledger::{Digest, Head};
use flopsmeter_core::run::RunState;
use rusqlite::{Connection, ErrorCode, OptionalExtension as _, Row, params};

use super::RunRecord;

/// Of more, those that were kept first go.
const MOST: i64 = 20_000;

/// A summary has some 3 kB; one with thousands of gaps or findings is read again, so that the file stays below 320 MB.
const LARGEST_BYTES: usize = 16_000;

/// How many are kept between two looks at whether there are too many.
const LOOK_EVERY: i64 = 1_000;

/// Another process that writes here is not waited for longer than the reading takes.
const PATIENCE: Duration = Duration::from_millis(20);

const TABLE: &str = "
    CREATE TABLE IF NOT EXISTS kept (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        head BLOB NOT NULL, -- digest of the run's last entry
        build TEXT NOT NULL, -- who read it
        record TEXT NOT NULL, -- JSON
        digest BLOB NOT NULL, -- SHA-256 of it: what a disk or a crash made of it is no record
        UNIQUE (head, build)
    ) STRICT;";

/// Where summaries are kept.
#[derive(Debug)]
pub struct Kept {
    connection: Connection,
    build: String,
}

impl Kept {
    /// Opens the file at `path`, making it and its folders where they are missing; `None` where that cannot be had. `build` names
    /// the program that reads: another one does not find what this one keeps.
    pub fn open(path: &Path, build: &str) -> Option<Self> {
        let folder = path.parent()?;
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).ok()?;
        match Self::prepared(path, build) {
            Ok(kept) => Some(kept),
            Err(rusqlite::Error::SqliteFailure(failure, _))
                if matches!(failure.code, ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) =>
            {
                fs_err::remove_file(path).ok()?;
                Self::prepared(path, build).ok()
            }
            Err(_) => None,
        }
    }

    fn prepared(path: &Path, build: &str) -> rusqlite::Result<Self> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(PATIENCE)?;
        // Losing power may lose the file, which is then made anew.
        connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF;")?;
        connection.execute_batch(TABLE)?;
        let kept = Self { connection, build: build.to_owned() };
        kept.make_room()?;
        Ok(kept)
    }

    fn make_room(&self) -> rusqlite::Result<()> {
        let newest: Option<i64> = self.connection.query_row("SELECT max(number) FROM kept", [], |row| row.get(0))?;
        let oldest_to_stay = newest.unwrap_or_default().saturating_sub(MOST);
        self.connection.execute("DELETE FROM kept WHERE number <= ?1", [oldest_to_stay]).map(drop)
    }

    /// The run whose chain ends so.
    pub(super) fn find(&self, head: &Head) -> Option<RunRecord> {
        let look = || {
            let mut statement =
                self.connection.prepare_cached("SELECT record, digest FROM kept WHERE head = ?1 AND build = ?2")?;
            let read = |row: &Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, [u8; 32]>(1)?));
            statement.query_row(params![head.digest.0, self.build], read).optional()
        };
        let (record, digest) = look().ok()??;
        let is_whole = Digest::of(record.as_bytes()).0 == digest;
        is_whole.then(|| serde_json::from_str(&record).ok()).flatten()
    }

    /// Keeps a run that gets no more entries, unless it would not come back as it is.
    pub(super) fn keep(&self, record: &RunRecord) {
        let Some(head) = record.head.as_ref().filter(|_| record.summary.state == RunState::Closed) else { return };
        let Ok(text) = serde_json::to_string(record) else { return };
        // A figure that JSON rounds would make a document depend on who looked before.
        if text.len() > LARGEST_BYTES || !serde_json::from_str::<RunRecord>(&text).is_ok_and(|back| back == *record) {
            return;
        }
        let write = || {
            let mut statement = self
                .connection
                .prepare_cached("INSERT OR REPLACE INTO kept (head, build, record, digest) VALUES (?1, ?2, ?3, ?4)")?;
            statement.execute(params![head.digest.0, self.build, text, Digest::of(text.as_bytes()).0])?;
            if self.connection.last_insert_rowid() % LOOK_EVERY == 0 { self.make_room() } else { Ok(()) }
        };
        // What is not kept is read again.
        let _kept = write();
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use flopsmeter_core::ledger::body::{RunClosed, RunOpened, SegmentClosed, SegmentOpened};
    use flopsmeter_core::ledger::{Body, run_stream};

    use super::*;
    use crate::records::{self, Assignments};
    use crate::store::Ledger;

    fn append(ledger: &mut Ledger, body: &Body) {
        let text = body.to_text().unwrap();
        ledger.append(&run_stream("r"), DateTime::UNIX_EPOCH, body.kind(), &text).unwrap();
    }

    fn read(folder: &Path, build: &str) -> RunRecord {
        let kept = Kept::open(&folder.join("cache/runs.sqlite"), build);
        let ledger = Ledger::open_to_read(&folder.join("l.sqlite")).unwrap().keeping(kept);
        records::run(&ledger, "r", &Assignments::default()).unwrap()
    }

    fn number_kept(folder: &Path) -> i64 {
        let connection = Connection::open(folder.join("cache/runs.sqlite")).unwrap();
        connection.query_row("SELECT count(*) FROM kept", [], |row| row.get(0)).unwrap()
    }

    fn ledger_of_one_run(folder: &Path) -> Ledger {
        let mut ledger = Ledger::open(&folder.join("l.sqlite")).unwrap();
        let opened = RunOpened { run: "r".to_owned(), command: vec!["train".to_owned()], ..RunOpened::default() };
        append(&mut ledger, &Body::RunOpened(opened));
        append(&mut ledger, &Body::SegmentOpened(SegmentOpened::default()));
        ledger
    }

    fn close(ledger: &mut Ledger) {
        let closed = SegmentClosed {
            segment: 0,
            ended: DateTime::UNIX_EPOCH,
            exit: None,
            cpu_time_nanoseconds: 1,
            left_running: false,
        };
        append(ledger, &Body::SegmentClosed(closed));
        append(ledger, &Body::RunClosed(RunClosed {}));
    }

    #[test]
    fn a_closed_run_is_read_once_by_each_build_and_anew_when_it_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = ledger_of_one_run(folder.path());
        let open = read(folder.path(), "1");
        assert_eq!((open.summary.state, number_kept(folder.path())), (RunState::Open, 0));

        close(&mut ledger);
        let first = read(folder.path(), "1");
        assert_eq!((first.summary.state, number_kept(folder.path())), (RunState::Closed, 1));
        assert_eq!((read(folder.path(), "1"), number_kept(folder.path())), (first, 1));
        read(folder.path(), "2");
        assert_eq!(number_kept(folder.path()), 2);

        let again = RunOpened { run: "r".to_owned(), command: vec!["other".to_owned()], ..RunOpened::default() };
        append(&mut ledger, &Body::RunOpened(again));
        assert_eq!(read(folder.path(), "1").summary.command, ["other"]);
    }

    #[test]
    fn what_is_kept_takes_the_place_of_reading() {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = ledger_of_one_run(folder.path());
        close(&mut ledger);
        read(folder.path(), "1");
        let connection = Connection::open(folder.path().join("cache/runs.sqlite")).unwrap();
        let record: String = connection.query_row("SELECT record FROM kept", [], |row| row.get(0)).unwrap();
        let other = record.replace("train", "kept");
        let put = |digest: Digest| {
            connection.execute("UPDATE kept SET record = ?1, digest = ?2", params![other, digest.0]).unwrap();
        };
        put(Digest::of(other.as_bytes()));
        assert_eq!(read(folder.path(), "1").summary.command, ["kept"]);
        put(Digest::of(record.as_bytes()));
        assert_eq!(read(folder.path(), "1").summary.command, ["train"], "a row that is not as it was written");
    }

    #[test]
    fn a_place_that_cannot_be_had_is_done_without() {
        let folder = tempfile::tempdir().unwrap();
        fs_err::write(folder.path().join("file"), "no folder").unwrap();
        assert!(Kept::open(&folder.path().join("file/runs.sqlite"), "1").is_none());
        assert!(Kept::open(folder.path(), "1").is_none());
    }

    #[test]
    fn a_file_that_is_no_database_any_more_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = ledger_of_one_run(folder.path());
        close(&mut ledger);
        fs_err::create_dir(folder.path().join("cache")).unwrap();
        fs_err::write(folder.path().join("cache/runs.sqlite"), "what a crash left of it".repeat(100)).unwrap();
        read(folder.path(), "1");
        assert_eq!(number_kept(folder.path()), 1);
    }

    #[test]
    fn what_was_kept_first_goes_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("runs.sqlite");
        let kept = Kept::open(&path, "1").unwrap();
        let many = format!(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {})
            INSERT INTO kept (head, build, record, digest) SELECT CAST(i AS BLOB), '1', '{{}}', x'00' FROM n",
            MOST + 5
        );
        kept.connection.execute_batch(&many).unwrap();
        let kept = Kept::open(&path, "1").unwrap();
        let (least, count): (i64, i64) = kept
            .connection
            .query_row("SELECT min(number), count(*) FROM kept", [], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap();
        assert_eq!((least, count), (6, MOST));
    }
}
