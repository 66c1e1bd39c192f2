//! Assessments of what the ledger holds.

use anyhow::Context as _;
use chrono::NaiveDate;
use flopsmeter_core::assess::{Answers, Assessment, InputDigest};
use flopsmeter_core::judge::Judge;
use flopsmeter_core::lineage::{BaseReference, Modification};
use flopsmeter_core::registry::Base;
use flopsmeter_core::rules::RuleSet;
use flopsmeter_meter::records::{self, Assignments, RunRecord};
use flopsmeter_meter::store::Ledger;

use crate::args::RulesArguments;
use crate::base;
use crate::settings;

/// Name that stands for the rule set in force.
pub(crate) const IN_FORCE: &str = "eu-gpai";

/// A modification with its runs and where the law puts it.
pub(crate) struct Judgement {
    pub(crate) base: Option<Base<'static>>,
    pub(crate) runs: Vec<RunRecord>,
    pub(crate) assessment: Assessment,
}

/// A judge for a day.
pub(crate) fn judge(
    base: Option<Base<'static>>,
    answers: Answers,
    rules: &str,
    as_of: NaiveDate,
) -> anyhow::Result<Judge> {
    let rules = if rules == IN_FORCE { RuleSet::in_force(as_of)? } else { RuleSet::embedded(rules)? };
    Ok(Judge { base, rules, as_of, answers })
}

/// One run by itself.
pub(crate) fn of_run(record: &RunRecord, as_of: NaiveDate) -> anyhow::Result<Assessment> {
    let base = record.base.as_ref().map(base::recorded).transpose()?;
    Ok(judge(base, Answers::default(), IN_FORCE, as_of)?.assess([&record.summary], heads([record])))
}

/// All runs of a modification together.
pub(crate) fn of_modification(
    ledger: &Ledger,
    modification: &Modification,
    rules: &RulesArguments,
) -> anyhow::Result<Judgement> {
    let assignments = Assignments::read(ledger)?;
    let read =
        |run: &String| records::run(ledger, run, &assignments).with_context(|| format!("run {run} cannot be read"));
    let runs: Vec<RunRecord> = modification.runs.iter().map(read).collect::<anyhow::Result<_>>()?;
    let reference = base_of(modification, &runs);
    let base = reference.map(base::recorded).transpose()?;
    let judge = judge(base.clone(), modification.answers.clone(), &rules.rules, settings::as_of(rules.as_of))?;
    let assessment = judge.assess(runs.iter().map(|record| &record.summary), heads(&runs));
    Ok(Judgement { base, runs, assessment })
}

/// The base a modification was bound to; where it was made without one, the one its runs resolved.
pub(crate) fn base_of<'a>(modification: &'a Modification, runs: &'a [RunRecord]) -> Option<&'a BaseReference> {
    modification.base.as_ref().or_else(|| runs.iter().find_map(|record| record.base.as_ref()))
}

fn heads<'r>(records: impl IntoIterator<Item = &'r RunRecord>) -> Vec<InputDigest> {
    let head = |record: &RunRecord| {
        let digest = record.head.as_ref()?.digest.to_string();
        Some(InputDigest { name: format!("run/{}", record.summary.run), digest })
    };
    records.into_iter().filter_map(head).collect()
}
