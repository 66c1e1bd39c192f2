//! What stands behind a modification, read from the ledger.

use std::collections::BTreeMap;

use anyhow::Context as _;
use chrono::NaiveDate;
use flopsmeter_core::assess::{ExcludedRun, InputDigest, Spent};
use flopsmeter_core::budget::held;
use flopsmeter_core::ledger::modification_stream;
use flopsmeter_core::lineage::{Ancestry, LineageProblem, Modification, Modifications};
use flopsmeter_core::registry::Base;
use flopsmeter_core::rules::RuleSet;
use flopsmeter_core::run::RunSummary;
use flopsmeter_core::unit::Flops;
use flopsmeter_meter::records::{self, Assignments, RunRecord};
use flopsmeter_meter::store::{Ledger, StoreProblem};

use crate::base;

/// The model that a modification was made from, and what stands behind that.
#[derive(Default)]
pub(crate) struct Behind {
    /// Where the modification is made from one model as it is.
    pub(crate) base: Option<Base<'static>>,
    /// Where more is behind it.
    pub(crate) ancestry: Option<Ancestry>,
    /// The runs of the modifications on the way, but those that somebody left out.
    pub(crate) runs: Vec<RunRecord>,
    /// Heads of all of their runs.
    pub(crate) run_heads: Vec<InputDigest>,
    /// What is set aside for the modifications on the way and not spent yet, by their names.
    pub(crate) held: BTreeMap<String, Flops>,
    /// Heads of the modifications on the way.
    pub(crate) heads: Vec<InputDigest>,
}

/// Why a lineage cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BehindProblem {
    #[error(transparent)]
    Lineage(#[from] LineageProblem),
    #[error(transparent)]
    Store(#[from] StoreProblem),
}

/// What stands behind a base by its own file or by the registry.
pub(crate) fn of_base(base: Option<&Base<'static>>) -> anyhow::Result<Option<Ancestry>> {
    let Some(base) = base else { return Ok(None) };
    Ok(Ancestry::of_base(base, base::registry()?))
}

/// Everything behind `modification` on a day, whose base may be one that its entries do not tell. Without a ledger only what its base
/// tells.
pub(crate) fn behind(
    ledger: Option<&Ledger>,
    modification: &Modification,
    rules: &RuleSet,
    day: NaiveDate,
) -> anyhow::Result<Behind> {
    if modification.merge.is_none() && modification.parent_slugs().next().is_none() {
        let base = modification.base.as_ref().map(base::recorded).transpose()?;
        return Ok(Behind { ancestry: of_base(base.as_ref())?, base, ..Behind::default() });
    }
    let ledger = ledger.context("what it is made from stands in the ledger, which cannot be read")?;
    let mut behind = Behind::default();
    let spent_of = |of: &Modification| -> Result<Spent, BehindProblem> {
        if let Some(head) = ledger.head(&modification_stream(&of.slug))? {
            let name = modification_stream(&of.slug);
            behind.heads.push(InputDigest { name, digest: head.digest.to_string() });
        }
        let (spent, runs) = spent(ledger, of, rules)?;
        behind.run_heads.extend(heads(&runs));
        let find = |id: &str| runs.iter().map(|record| &record.summary).find(|run| run.run == id);
        let set_aside = held(&of.reservations, rules, find, day, None);
        if set_aside > Flops::ZERO {
            behind.held.insert(of.slug.clone(), set_aside);
        }
        behind.runs.extend(runs.into_iter().filter(|record| of.exclusion_of(&record.summary.run).is_none()));
        Ok(spent)
    };
    let ancestry = Ancestry::trace(modification, &all(ledger)?, base::registry()?, spent_of)?;
    Ok(Behind { ancestry: Some(ancestry), ..behind })
}

/// All modifications of a ledger, by name.
pub(crate) fn all(ledger: &Ledger) -> Result<Modifications, StoreProblem> {
    let by_name = |modification: Modification| (modification.slug.clone(), modification);
    Ok(records::modifications(ledger)?.into_iter().map(by_name).collect())
}

/// What a modification spent by itself, with its runs.
pub(crate) fn spent(
    ledger: &Ledger,
    modification: &Modification,
    rules: &RuleSet,
) -> Result<(Spent, Vec<RunRecord>), StoreProblem> {
    let read = |run: &String| records::run(ledger, run, &Assignments::default());
    let runs: Vec<RunRecord> = modification.runs.iter().map(read).collect::<Result<_, _>>()?;
    let (counted, excluded) = split(modification, &runs, rules);
    let summaries: Vec<RunSummary> = counted.into_iter().map(|record| record.summary.clone()).collect();
    let jobs = records::joined(ledger, &summaries)?;
    let spent = Spent::of_modification(rules, &jobs, excluded, modification.merge.is_some());
    Ok((spent, runs))
}

/// Ends of the runs' chains.
pub(crate) fn heads<'r>(records: impl IntoIterator<Item = &'r RunRecord>) -> Vec<InputDigest> {
    let head = |record: &RunRecord| {
        let digest = record.head.as_ref()?.digest.to_string();
        Some(InputDigest { name: format!("run/{}", record.summary.run), digest })
    };
    records.into_iter().filter_map(head).collect()
}

/// The runs that count, and those that somebody left out.
pub(crate) fn split<'r>(
    modification: &Modification,
    runs: &'r [RunRecord],
    rules: &RuleSet,
) -> (Vec<&'r RunRecord>, Vec<ExcludedRun>) {
    let exclusion = |record: &RunRecord| modification.exclusion_of(&record.summary.run);
    let (left_out, counted): (Vec<_>, Vec<_>) = runs.iter().partition(|record| exclusion(record).is_some());
    let out = |record: &RunRecord| Some(ExcludedRun::of(rules, exclusion(record)?, &record.summary));
    (counted, left_out.into_iter().filter_map(out).collect())
}
