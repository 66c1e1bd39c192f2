//! Runs and modifications read back from a ledger.

pub mod kept;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use flopsmeter_core::ledger::{Body, Head, MODIFICATION_PREFIX, modification_stream, run_stream};
use flopsmeter_core::lineage::{BaseReference, Modification};
use flopsmeter_core::run::{Finding, RunState, RunSummary};
use flopsmeter_core::tally::{Part, Tally};
use serde::{Deserialize, Serialize};

use crate::store::{Ledger, StoreProblem};

/// One run with what an assessment needs besides its summary.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// The summary, without an assessment.
    pub summary: RunSummary,
    /// The base model that was resolved when it ran.
    pub base: Option<BaseReference>,
    /// End of its chain.
    pub head: Option<Head>,
}

/// Reads one run by its full id. The modification in the summary is the one it is assigned to now.
pub fn run(ledger: &Ledger, id: &str, assignments: &Assignments) -> Result<RunRecord, StoreProblem> {
    let mut record = unassigned(ledger, id)?;
    record.summary.modification = assignments.modification_of(id).map(str::to_owned);
    Ok(record)
}

fn unassigned(ledger: &Ledger, id: &str) -> Result<RunRecord, StoreProblem> {
    if let Some(kept) = ledger.kept()
        && let Some(head) = ledger.head(&run_stream(id))?
        && let Some(record) = kept.find(&head).filter(|record| record.head.as_ref() == Some(&head))
    {
        return Ok(record);
    }
    let mut reader = RunReader::new(id);
    reader.follow(ledger)?;
    let record = RunRecord { summary: reader.summary(), base: reader.tally.base().cloned(), head: reader.head };
    if let Some(kept) = ledger.kept() {
        kept.keep(&record);
    }
    Ok(record)
}

/// Reads a run that may be going on: each time what is new of it.
#[derive(Debug)]
pub struct RunReader {
    id: String,
    tally: Tally,
    head: Option<Head>,
}

impl RunReader {
    /// Of the run with this full id; nothing is read yet.
    pub fn new(id: &str) -> Self {
        Self { id: id.to_owned(), tally: Tally::new(), head: None }
    }

    /// Reads what has come since the last time. Gives whether there was anything.
    pub fn follow(&mut self, ledger: &Ledger) -> Result<bool, StoreProblem> {
        let next = self.head.as_ref().map_or(0, |head| head.sequence.saturating_add(1));
        let before = self.head.clone();
        ledger.visit_from(&run_stream(&self.id), next, |entry| {
            self.tally.add(entry.at, &Body::read(&entry.kind, &entry.body));
            self.head = Some(entry.head());
        })?;
        Ok(self.head != before)
    }

    /// The last entry that was read.
    pub const fn head(&self) -> Option<&Head> {
        self.head.as_ref()
    }

    /// The run so far, assigned to nothing and without an assessment.
    pub fn summary(&self) -> RunSummary {
        let mut summary = self.tally.summary();
        self.id.clone_into(&mut summary.run);
        summary.modification = None;
        if summary.state == RunState::Open {
            leave_open(&mut summary);
        }
        summary
    }

    /// The same as a part of its job.
    pub fn part(&self) -> Part {
        self.tally.part(self.summary())
    }

    /// What was read, to go on with.
    pub fn into_tally(self) -> Tally {
        self.tally
    }
}

/// Runs with those of one job on several nodes taken together, as one run of several segments: only together do they tell whether all of
/// its ranks were heard.
pub fn joined(ledger: &Ledger, runs: &[RunSummary]) -> Result<Vec<RunSummary>, StoreProblem> {
    let mut joined: Vec<RunSummary> = Vec::new();
    let mut done: BTreeSet<&str> = BTreeSet::new();
    for run in runs {
        let Some(job) = run.job.as_deref() else {
            joined.push(run.clone());
            continue;
        };
        // At the place of the first of them.
        if done.insert(job) {
            let parts: Vec<&RunSummary> = runs.iter().filter(|other| other.job.as_deref() == Some(job)).collect();
            joined.push(if parts.len() > 1 { as_one(ledger, &parts)? } else { run.clone() });
        }
    }
    Ok(joined)
}

fn as_one(ledger: &Ledger, parts: &[&RunSummary]) -> Result<RunSummary, StoreProblem> {
    let mut tally = Tally::new();
    for part in parts {
        ledger.visit(&run_stream(&part.run), |entry| tally.add(entry.at, &Body::read(&entry.kind, &entry.body)))?;
    }
    let first = parts.first().map(|part| (part.run.clone(), part.modification.clone())).unwrap_or_default();
    let mut summary = RunSummary { run: first.0, modification: first.1, ..tally.summary() };
    if summary.state == RunState::Open {
        leave_open(&mut summary);
    }
    Ok(summary)
}

/// What is on record of a run without an end is a part of it: the job may be running, or have run on without a meter.
fn leave_open(summary: &mut RunSummary) {
    summary.complete = false;
    summary.ceiling.complete = false;
    let text = format!(
        "run {} has no end on record: it is still running, or its meter was killed and the rest is missing; its figures are lower bounds",
        summary.run
    );
    summary.findings.push(Finding { code: "run-open".to_owned(), text });
}

/// Reads one modification; `None` if there is none of this name.
pub fn modification(ledger: &Ledger, slug: &str) -> Result<Option<Modification>, StoreProblem> {
    let bodies: Vec<(DateTime<Utc>, Body)> = ledger.bodies(&modification_stream(slug))?;
    Ok(Modification::from_bodies(bodies.iter().map(|(at, body)| (*at, body))))
}

/// Reads all modifications, by name.
pub fn modifications(ledger: &Ledger) -> Result<Vec<Modification>, StoreProblem> {
    let mut found = Vec::new();
    for stream in ledger.streams(MODIFICATION_PREFIX)? {
        let slug = stream.strip_prefix(MODIFICATION_PREFIX).unwrap_or(&stream);
        found.extend(modification(ledger, slug)?);
    }
    Ok(found)
}

/// Which run is assigned where.
#[derive(Clone, Debug, Default)]
pub struct Assignments {
    by_run: BTreeMap<String, String>,
}

impl Assignments {
    /// Those to one modification.
    pub fn of(modification: &Modification) -> Self {
        let pair = |run: &String| (run.clone(), modification.slug.clone());
        Self { by_run: modification.runs.iter().map(pair).collect() }
    }

    /// Reads all modifications of the ledger.
    pub fn read(ledger: &Ledger) -> Result<Self, StoreProblem> {
        let pairs = |modification: Modification| {
            let slug = modification.slug;
            modification.runs.into_iter().map(move |run| (run, slug.clone()))
        };
        Ok(Self { by_run: modifications(ledger)?.into_iter().flat_map(pairs).collect() })
    }

    /// The modification a run counts to.
    pub fn modification_of(&self, run: &str) -> Option<&str> {
        self.by_run.get(run).map(String::as_str)
    }
}
