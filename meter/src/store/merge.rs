//! Bringing what was recorded in a spool into a ledger. Nothing of it is ever lost: what a ledger cannot take as the end of its run,
//! because another meter wrote that run meanwhile, becomes a run of its own.

use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, Utc};
use flopsmeter_core::ledger::body::{self, RunAssigned};
use flopsmeter_core::ledger::fork::{self, Stem};
use flopsmeter_core::ledger::{Body, Entry, RUN_PREFIX, modification_stream};
use flopsmeter_core::run::Finding;
use flopsmeter_core::tally::RUN_FORKED;

use super::problem::StoreProblem;
use super::spool::{self, Writing};
use super::sqlite::Ledger;
use crate::records::Assignments;

/// As much is written in one transaction.
const PART_BYTES: usize = 1 << 20;

/// Time for others between two of them: SQLite asks again up to every tenth of a second.
const BETWEEN_PARTS: Duration = Duration::from_millis(20);

/// What became of a spool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merged {
    /// Entries that were new to the ledger.
    pub entries: usize,
    /// The run that they are now, where they could not be what they were recorded as.
    pub fork: Option<Forked>,
    /// Whether more may come.
    pub writing: Writing,
}

/// A run that was made of a part of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forked {
    /// Its id.
    pub run: String,
    /// The run that it is of.
    pub of: String,
    /// The first place for which there were two entries.
    pub sequence: u64,
    /// The modification that it counts to: that of the other run, unless somebody has taken it out since.
    pub modification: Option<String>,
}

impl Forked {
    /// What is to be said of it.
    pub fn finding(&self) -> Finding {
        let Self { run, of, sequence, .. } = self;
        let counted = self.modification.as_ref().map_or_else(
            || "assign it to a modification if its work belongs to one".to_owned(),
            |slug| format!("it counts to `{slug}`"),
        );
        let text = format!(
            "two meters wrote run {of} at the same time from its entry {sequence} on: what was left in a spool is run {run} now, {counted}"
        );
        Finding { code: RUN_FORKED.to_owned(), text }
    }
}

/// Brings the entries of the spool at `path` into `ledger`; may be repeated.
pub fn bring_in(ledger: &mut Ledger, path: &Path, at: DateTime<Utc>) -> Result<Merged, StoreProblem> {
    // Asked first: what is written after the reading is seen by the next one.
    let writing = spool::writing(path, at)?;
    if is_known(ledger, path)? {
        return Ok(Merged { entries: 0, fork: None, writing });
    }
    let (entries, fork) = bring_in_entries(ledger, path, &spool::read(path)?.entries, at)?;
    Ok(Merged { entries, fork, writing })
}

/// Whether the last entry of the spool at `path` is in `ledger`, and so, by its chain, all before it.
pub fn is_known(ledger: &Ledger, path: &Path) -> Result<bool, StoreProblem> {
    let Some(last) = spool::last(path)?.filter(Entry::is_intact) else { return Ok(false) };
    Ok(ledger.digest_at(&last.stream, last.sequence)? == Some(last.digest))
}

/// Whether `ledger` has a part of the run that the spool at `path` is of, and not its last entry: it was written on after it was merged,
/// or is a fork.
pub fn has_grown(ledger: &Ledger, path: &Path) -> Result<bool, StoreProblem> {
    let Some(last) = spool::last(path)? else { return Ok(false) };
    Ok(ledger.head(&last.stream)?.is_some() && !is_known(ledger, path)?)
}

/// Brings in what was read of the spool at `path`. Returns how many entries were new, and the run that they are now where they could not be
/// what they were recorded as.
pub(super) fn bring_in_entries(
    ledger: &mut Ledger,
    path: &Path,
    entries: &[Entry],
    at: DateTime<Utc>,
) -> Result<(usize, Option<Forked>), StoreProblem> {
    if let Some(sequence) = fork::first_flaw(entries) {
        return Err(StoreProblem::SpoolChanged { path: path.to_owned(), sequence });
    }
    match write_in_parts(ledger, entries) {
        Ok(entries) => Ok((entries, None)),
        Err(StoreProblem::Conflict { stream, .. }) => {
            let (entries, fork) = as_own_run(ledger, &stream, entries, at)?;
            Ok((entries, Some(fork)))
        }
        Err(problem) => Err(problem),
    }
}

/// Writes entries with time for others in between: meters wait two seconds for the ledger, and then leave it for a spool. What is written
/// by then stays; the same entries, brought in again, come to the same.
fn write_in_parts(ledger: &mut Ledger, entries: &[Entry]) -> Result<usize, StoreProblem> {
    let (mut written, mut rest) = (0, entries);
    while !rest.is_empty() {
        let mut bytes = 0_usize;
        let fits = |entry: &&Entry| {
            bytes = bytes.saturating_add(entry.body.len());
            bytes <= PART_BYTES
        };
        let (part, others) = rest.split_at(rest.iter().take_while(fits).count().max(1));
        written += ledger.write(part)?;
        rest = others;
        if !rest.is_empty() {
            std::thread::sleep(BETWEEN_PARTS);
        }
    }
    Ok(written)
}

fn as_own_run(
    ledger: &mut Ledger,
    stream: &str,
    entries: &[Entry],
    at: DateTime<Utc>,
) -> Result<(usize, Forked), StoreProblem> {
    let conflict = || StoreProblem::Conflict { path: ledger.path().to_owned(), stream: stream.to_owned() };
    let own = beyond(ledger, stream, entries)?;
    let sequence = own.first().map_or(0, |first| first.sequence);
    let mut stem = Stem::default();
    ledger.visit(stream, |entry| {
        if entry.sequence < sequence {
            stem.read(entry);
        }
    })?;
    let fork = stem.grow(own).ok_or_else(conflict)?;
    let written = write_in_parts(ledger, &fork.entries)?;
    if let Some(slug) = Assignments::read(ledger)?.modification_of(&fork.of) {
        assign(ledger, slug, &fork.run, at)?;
    }
    let modification = Assignments::read(ledger)?.modification_of(&fork.run).map(str::to_owned);
    Ok((written, Forked { run: fork.run, of: fork.of, sequence, modification }))
}

/// The entries from the first on that the ledger does not have.
fn beyond<'entries>(
    ledger: &Ledger,
    stream: &str,
    entries: &'entries [Entry],
) -> Result<&'entries [Entry], StoreProblem> {
    let mut known = 0;
    for entry in entries {
        if ledger.digest_at(stream, entry.sequence)? != Some(entry.digest) {
            break;
        }
        known += 1;
    }
    let own = entries.get(known..).unwrap_or_default();
    let next = ledger.head(stream)?.map_or(0, |head| head.sequence.saturating_add(1));
    match own.first() {
        Some(first) if first.sequence > next && stream.starts_with(RUN_PREFIX) => Err(StoreProblem::Hole {
            path: ledger.path().to_owned(),
            stream: stream.to_owned(),
            from: next,
            until: first.sequence.saturating_sub(1),
        }),
        _ => Ok(own),
    }
}

/// Counts to modification `slug` the runs that parted from `run`, and from those in turn, that count nowhere and were not taken out of it
/// by hand: they are the same work. Returns them.
pub fn assign_forks(
    ledger: &mut Ledger,
    slug: &str,
    run: &str,
    at: DateTime<Utc>,
) -> Result<Vec<String>, StoreProblem> {
    let mut forks = forks_of(ledger, run)?;
    if forks.is_empty() {
        return Ok(forks);
    }
    let assignments = Assignments::read(ledger)?;
    forks.retain(|fork| assignments.modification_of(fork).is_none());
    let mut counted = Vec::new();
    for fork in forks {
        if assign(ledger, slug, &fork, at)? {
            counted.push(fork);
        }
    }
    Ok(counted)
}

fn forks_of(ledger: &Ledger, run: &str) -> Result<Vec<String>, StoreProblem> {
    let mut parted: Vec<(String, String)> = Vec::new();
    for stream in ledger.streams(RUN_PREFIX)? {
        let Some(fork) = stream.strip_prefix(RUN_PREFIX).filter(|run| fork::is_fork(run)) else { continue };
        ledger.visit(&stream, |entry| {
            if entry.kind == body::RUN_FORKED
                && let Body::RunForked(forked) = Body::read(&entry.kind, &entry.body)
            {
                parted.push((forked.run, fork.to_owned()));
            }
        })?;
    }
    let (mut forks, mut looked_at) = (vec![run.to_owned()], 0);
    while let Some(of) = forks.get(looked_at).cloned() {
        looked_at += 1;
        let further = parted.iter().filter(|(parent, _)| *parent == of).map(|(_, fork)| fork.clone());
        let further: Vec<String> = further.filter(|fork| !forks.contains(fork)).collect();
        forks.extend(further);
    }
    Ok(forks.split_off(1))
}

/// Counts a run to a modification, unless it was once: somebody may have taken it out since. Says whether it did.
fn assign(ledger: &mut Ledger, slug: &str, run: &str, at: DateTime<Utc>) -> Result<bool, StoreProblem> {
    let assigned = Body::RunAssigned(RunAssigned { run: run.to_owned() });
    let entry = ledger.append_decided(&modification_stream(slug), at, |bodies| {
        let is_new = !bodies.contains(&assigned);
        is_new.then(|| Some((assigned.kind().to_owned(), assigned.to_text().ok()?))).flatten()
    });
    entry.map(|entry| entry.is_some())
}
