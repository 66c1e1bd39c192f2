//! Reading streams of the ledger.

use chrono::{DateTime, Utc};
use flopsmeter_core::ledger::{Body, Digest, Entry, Head, RUN_PREFIX, run_stream};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{Ledger, signed};
use crate::store::problem::StoreProblem;

impl Ledger {
    /// The last entry of a stream.
    pub fn head(&self, stream: &str) -> Result<Option<Head>, StoreProblem> {
        head_of(&self.connection, stream).map_err(|source| self.problem(source))
    }

    /// Digest of the entry of this number in a stream.
    pub fn digest_at(&self, stream: &str, sequence: u64) -> Result<Option<Digest>, StoreProblem> {
        let read = || {
            self.connection
                .prepare_cached("SELECT digest FROM entry WHERE stream = ?1 AND sequence = ?2")?
                .query_row(params![stream, signed(sequence)], |row| row.get(0).map(Digest))
                .optional()
        };
        read().map_err(|source| self.problem(source))
    }

    /// Names of all streams that begin with `prefix`, in byte order.
    pub fn streams(&self, prefix: &str) -> Result<Vec<String>, StoreProblem> {
        // Steps from name to name by the primary key; a plain DISTINCT would read every entry.
        const NAMES: &str = "
            WITH RECURSIVE name(stream) AS (
                SELECT min(stream) FROM entry WHERE stream >= ?1
                UNION ALL
                SELECT (SELECT min(stream) FROM entry WHERE stream > name.stream) FROM name WHERE stream IS NOT NULL
            )
            SELECT stream FROM name WHERE stream IS NOT NULL";
        let read = || {
            let mut statement = self.connection.prepare_cached(NAMES)?;
            let mut rows = statement.query([prefix])?;
            let mut names = Vec::new();
            while let Some(row) = rows.next()? {
                let name: String = row.get(0)?;
                if !name.starts_with(prefix) {
                    break;
                }
                names.push(name);
            }
            Ok(names)
        };
        read().map_err(|source| self.problem(source))
    }

    /// All entries of a stream, in order.
    pub fn entries(&self, stream: &str) -> Result<Vec<Entry>, StoreProblem> {
        let mut entries = Vec::new();
        self.visit(stream, |entry| entries.push(entry))?;
        Ok(entries)
    }

    /// Passes every entry of a stream to `visit`, in order, one at a time.
    pub fn visit(&self, stream: &str, visit: impl FnMut(Entry)) -> Result<(), StoreProblem> {
        self.visit_from(stream, 0, visit)
    }

    /// The same from the entry with this sequence number on.
    pub fn visit_from(&self, stream: &str, first: u64, mut visit: impl FnMut(Entry)) -> Result<(), StoreProblem> {
        const ENTRIES: &str = "
            SELECT sequence, at, kind, body, previous, digest FROM entry WHERE stream = ?1 AND sequence >= ?2 ORDER BY sequence";
        let mut read = || {
            let mut statement = self.connection.prepare_cached(ENTRIES)?;
            let mut rows = statement.query(params![stream, signed(first)])?;
            while let Some(row) = rows.next()? {
                visit(entry_of(stream, row)?);
            }
            Ok(())
        };
        read().map_err(|source| match source {
            // Values that no version of ours writes: somebody changed the file by hand.
            rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::InvalidColumnType(..) => {
                StoreProblem::Damaged { path: self.path.clone(), cause: format!("in `{stream}`: {source}") }
            }
            source => self.problem(source),
        })
    }

    /// All entries of a stream as [`Body`]s with their times.
    pub fn bodies(&self, stream: &str) -> Result<Vec<(DateTime<Utc>, Body)>, StoreProblem> {
        let mut bodies = Vec::new();
        self.visit(stream, |entry| bodies.push((entry.at, Body::read(&entry.kind, &entry.body))))?;
        Ok(bodies)
    }

    /// The one run whose id is `prefix` or begins with it.
    pub fn resolve_run(&self, prefix: &str) -> Result<String, StoreProblem> {
        let streams = self.streams(&run_stream(prefix))?;
        let mut candidates: Vec<String> =
            streams.iter().filter_map(|stream| stream.strip_prefix(RUN_PREFIX)).map(str::to_owned).collect();
        if candidates.iter().any(|candidate| candidate == prefix) {
            return Ok(prefix.to_owned());
        }
        match candidates.len() {
            1 => Ok(candidates.remove(0)),
            0 => Err(StoreProblem::UnknownRun { path: self.path.clone(), prefix: prefix.to_owned() }),
            _ => Err(StoreProblem::AmbiguousRun { prefix: prefix.to_owned(), candidates }),
        }
    }
}

pub(super) fn head_of(connection: &Connection, stream: &str) -> rusqlite::Result<Option<Head>> {
    connection
        .prepare_cached("SELECT sequence, digest FROM entry WHERE stream = ?1 ORDER BY sequence DESC LIMIT 1")?
        .query_row([stream], |row| Ok(Head { sequence: unsigned(row, 0)?, digest: Digest(row.get(1)?) }))
        .optional()
}

fn entry_of(stream: &str, row: &Row<'_>) -> rusqlite::Result<Entry> {
    let micros: i64 = row.get(1)?;
    let at = DateTime::from_timestamp_micros(micros).ok_or(rusqlite::Error::IntegralValueOutOfRange(1, micros))?;
    Ok(Entry {
        stream: stream.to_owned(),
        sequence: unsigned(row, 0)?,
        at,
        kind: row.get(2)?,
        body: row.get(3)?,
        previous: Digest(row.get(4)?),
        digest: Digest(row.get(5)?),
    })
}

fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let value: i64 = row.get(column)?;
    u64::try_from(value).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, value))
}
