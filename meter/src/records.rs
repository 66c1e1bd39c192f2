//! Runs and modifications read back from a ledger.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use flopsmeter_core::ledger::{Body, Head, MODIFICATION_PREFIX, modification_stream, run_stream};
use flopsmeter_core::lineage::{BaseReference, Modification};
use flopsmeter_core::run::{Finding, RunState, RunSummary};
use flopsmeter_core::tally::Tally;

use crate::store::{Ledger, StoreProblem};

/// One run with what an assessment needs besides its summary.
#[derive(Clone, Debug)]
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
    let mut tally = Tally::new();
    let mut head = None;
    ledger.visit(&run_stream(id), |entry| {
        tally.add(entry.at, &Body::read(&entry.kind, &entry.body));
        head = Some(entry.head());
    })?;
    let mut summary = tally.summary();
    id.clone_into(&mut summary.run);
    if summary.state == RunState::Open {
        leave_open(&mut summary);
    }
    summary.modification = assignments.modification_of(id).map(str::to_owned);
    Ok(RunRecord { summary, base: tally.base().cloned(), head })
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
