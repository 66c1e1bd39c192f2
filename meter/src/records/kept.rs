//! Summaries of runs that were read before: a cache beside the ledger, no record, and no part of any evidence.
//!
//! A run of a day has some hundred thousand entries, and a closed one never gets another. Its summary is kept under the digest of its
//! last entry, which stands for all of them, and under the build that read it: whatever is changed, in the chain or in how it is
//! read, is read anew. `verify` never looks here. Nothing that goes wrong here is more than a summary that has to be read again.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::time::Duration;

use flopsmeter_core::ledger::Head;
use flopsmeter_core::run::RunState;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::RunRecord;

/// Some 3 kB each; of more, those that were kept first go.
const MOST: i64 = 20_000;

/// Another process that writes here is not waited for longer than the reading takes.
const PATIENCE: Duration = Duration::from_millis(20);

const TABLE: &str = "
    CREATE TABLE IF NOT EXISTS kept (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        head BLOB NOT NULL, -- digest of the run's last entry
        build TEXT NOT NULL, -- who read it
        record TEXT NOT NULL, -- JSON
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
        let connection = Connection::open(path).ok()?;
        connection.busy_timeout(PATIENCE).ok()?;
        // Losing power may lose the file, which is then made anew.
        connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF;").ok()?;
        connection.execute_batch(TABLE).ok()?;
        let kept = Self { connection, build: build.to_owned() };
        kept.make_room().ok()?;
        Some(kept)
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
                self.connection.prepare_cached("SELECT record FROM kept WHERE head = ?1 AND build = ?2")?;
            statement.query_row(params![head.digest.0, self.build], |row| row.get::<_, String>(0)).optional()
        };
        serde_json::from_str(&look().ok()??).ok()
    }

    /// Keeps a run that gets no more entries, unless it would not come back as it is.
    pub(super) fn keep(&self, record: &RunRecord) {
        let Some(head) = record.head.as_ref().filter(|_| record.summary.state == RunState::Closed) else { return };
        let Ok(text) = serde_json::to_string(record) else { return };
        // A figure that JSON rounds would make a document depend on who looked before.
        if !serde_json::from_str::<RunRecord>(&text).is_ok_and(|back| back == *record) {
            return;
        }
        let write = || {
            let mut statement = self
                .connection
                .prepare_cached("INSERT OR IGNORE INTO kept (head, build, record) VALUES (?1, ?2, ?3)")?;
            statement.execute(params![head.digest.0, self.build, text])
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
        connection.execute("UPDATE kept SET record = replace(record, 'train', 'kept')", []).unwrap();
        assert_eq!(read(folder.path(), "1").summary.command, ["kept"]);
        connection.execute("UPDATE kept SET record = 'no JSON'", []).unwrap();
        assert_eq!(read(folder.path(), "1").summary.command, ["train"]);
    }

    #[test]
    fn a_place_that_cannot_be_had_is_done_without() {
        let folder = tempfile::tempdir().unwrap();
        fs_err::write(folder.path().join("file"), "no database, and no folder").unwrap();
        assert!(Kept::open(&folder.path().join("file"), "1").is_none());
        assert!(Kept::open(&folder.path().join("file/runs.sqlite"), "1").is_none());
    }

    #[test]
    fn what_was_kept_first_goes_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("runs.sqlite");
        let kept = Kept::open(&path, "1").unwrap();
        let many = format!(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {})
            INSERT INTO kept (head, build, record) SELECT CAST(i AS BLOB), '1', '{{}}' FROM n",
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
