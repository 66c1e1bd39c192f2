//! The tables, and telling a ledger from any other file.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, TransactionBehavior};

use crate::clock;
use crate::store::problem::StoreProblem;

/// `PRAGMA user_version` of this schema. A later one may add tables; it never changes what is in this one.
pub(super) const SCHEMA: i64 = 1;

/// `PRAGMA application_id`, "FLOP": tells our files from other programs' databases.
const APPLICATION: i64 = 0x464C_4F50;

/// Pages that a writer keeps in memory, in KiB: it adds at the ends of two trees, for as long as its job runs, which takes a dozen of
/// them. SQLite's own limit is eight times as much, and is filled.
const CACHE_KIBIBYTES: i64 = 256;

/// Rows can be large, so this is an ordinary rowid table (WITHOUT ROWID would keep bodies in the key's tree). The triggers stop
/// slips, not attackers; those are what the chain is for.
const TABLES: &str = "
    CREATE TABLE entry (
        stream TEXT NOT NULL,
        sequence INTEGER NOT NULL CHECK (sequence >= 0),
        at INTEGER NOT NULL, -- microseconds since 1970, UTC
        kind TEXT NOT NULL,
        body TEXT NOT NULL, -- JSON; these very bytes are hashed
        previous BLOB NOT NULL CHECK (length(previous) = 32),
        digest BLOB NOT NULL CHECK (length(digest) = 32),
        PRIMARY KEY (stream, sequence)
    ) STRICT;
    CREATE TRIGGER entry_is_not_updated BEFORE UPDATE ON entry
        BEGIN SELECT raise(ABORT, 'the ledger is append-only'); END;
    CREATE TRIGGER entry_is_not_deleted BEFORE DELETE ON entry
        BEGIN SELECT raise(ABORT, 'the ledger is append-only'); END;";

/// Makes sure that the file is a ledger of this schema, and sets how it is written.
pub(super) fn prepare(connection: &mut Connection, path: &Path) -> Result<(), StoreProblem> {
    let problem = |source| StoreProblem::of_sqlite(path, source);
    if identify(connection).map_err(problem)? == File::Empty {
        create(connection).map_err(problem)?;
    }
    connection.pragma_update(None, "cache_size", -CACHE_KIBIBYTES).map_err(problem)?;
    check(connection, path)
}

/// How long somebody else may take to make a ledger of a file that he has just made.
const BIRTH: Duration = Duration::from_millis(500);
const LOOKS_APART: Duration = Duration::from_millis(10);

/// The same as [`check`], of a file that another process may be making into a ledger right now.
pub(super) fn check_born(connection: &Connection, path: &Path) -> Result<(), StoreProblem> {
    let began = clock::monotonic();
    while clock::monotonic().saturating_duration_since(began) < BIRTH
        && identify(connection).map_err(|source| StoreProblem::of_sqlite(path, source))? == File::Empty
    {
        std::thread::sleep(LOOKS_APART);
    }
    check(connection, path)
}

/// Refuses what is no ledger of a known schema.
pub(super) fn check(connection: &Connection, path: &Path) -> Result<(), StoreProblem> {
    match identify(connection).map_err(|source| StoreProblem::of_sqlite(path, source))? {
        File::Ledger(SCHEMA) => Ok(()),
        File::Ledger(found) => Err(StoreProblem::Newer { path: path.to_owned(), found, known: SCHEMA }),
        File::Empty | File::Other => Err(StoreProblem::NotALedger { path: path.to_owned() }),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum File {
    Empty,
    Ledger(i64),
    Other,
}

fn identify(connection: &Connection) -> rusqlite::Result<File> {
    // All three of one moment: another process may be making the tables. Within a transaction they are already.
    let moment = connection.is_autocommit().then(|| connection.unchecked_transaction()).transpose()?;
    let found = identify_now(connection)?;
    drop(moment);
    Ok(found)
}

fn identify_now(connection: &Connection) -> rusqlite::Result<File> {
    let number = |query| connection.query_row(query, [], |row| row.get::<_, i64>(0));
    let application = number("PRAGMA application_id")?;
    let schema = number("PRAGMA user_version")?;
    let objects = number("SELECT count(*) FROM sqlite_schema")?;
    Ok(match (application, schema, objects) {
        (0, 0, 0) => File::Empty,
        (APPLICATION, 1.., _) => File::Ledger(schema),
        _ => File::Other,
    })
}

fn create(connection: &mut Connection) -> rusqlite::Result<()> {
    // Before the first transaction, because a change of mode needs the file alone. The answer is the mode in force; a file
    // system that cannot do WAL keeps the rollback journal, which is as safe and only slower.
    let began = clock::monotonic();
    while let Err(problem) = connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())) {
        // SQLite does not wait for others here, whatever patience it was told to have.
        if problem.sqlite_error_code() != Some(ErrorCode::DatabaseBusy)
            || clock::monotonic().saturating_duration_since(began) >= BIRTH
        {
            return Err(problem);
        }
        std::thread::sleep(LOOKS_APART);
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Another process may have been faster.
    if identify(&transaction)? == File::Empty {
        transaction.execute_batch(TABLES)?;
        transaction.pragma_update(None, "application_id", APPLICATION)?;
        transaction.pragma_update(None, "user_version", SCHEMA)?;
    }
    transaction.commit()
}
