//! Assessments of what the ledger holds.

use std::path::PathBuf;

use anyhow::Context as _;
use chrono::NaiveDate;
use flopsmeter_core::assess::{Answers, Assessment, Basis, ExcludedRun, InputDigest, Spent, Verdict};
use flopsmeter_core::budget::Balance;
use flopsmeter_core::gate::Gate;
use flopsmeter_core::judge::Judge;
use flopsmeter_core::lineage::{BaseReference, Modification};
use flopsmeter_core::registry::Base;
use flopsmeter_core::rules::RuleSet;
use flopsmeter_core::run::RunSummary;
use flopsmeter_core::unit::Flops;
use flopsmeter_meter::budget::Account;
use flopsmeter_meter::records::{self, Assignments, RunRecord};
use flopsmeter_meter::store::Ledger;

use crate::args::RulesArguments;
use crate::exit::ExitStatus;
use crate::{base, input, output, settings};

/// Name that stands for the rule set in force.
pub(crate) const IN_FORCE: &str = "eu-gpai";

/// A modification with its runs and where the law puts it.
pub(crate) struct Judgement {
    pub(crate) base: Option<Base<'static>>,
    /// Its runs but those that somebody left out; the assessment names these.
    pub(crate) runs: Vec<RunRecord>,
    pub(crate) rules: &'static RuleSet,
    pub(crate) assessment: Assessment,
    /// What of its line is spent, reserved and left.
    pub(crate) balance: Balance,
}

/// A judge for a day.
pub(crate) fn judge(
    base: Option<Base<'static>>,
    answers: Answers,
    rules: &str,
    as_of: NaiveDate,
) -> anyhow::Result<Judge> {
    Ok(Judge { base, rules: rule_set(rules, as_of, settings::house_rules(None))?, as_of, answers })
}

const HOUSE_RULES_FORM: &str =
    "name a TOML file with name, declared_by, date, says and `[[line]]` rows, or leave out the house rules";

/// The law of a day, with the house rules of a file beside it.
pub(crate) fn rule_set(id: &str, as_of: NaiveDate, house: Option<PathBuf>) -> anyhow::Result<&'static RuleSet> {
    let law = law(id, as_of)?;
    let Some(path) = house else { return Ok(law) };
    let text = input::text(&path, "file of house rules", HOUSE_RULES_FORM)?;
    let with =
        law.with_house(&text).with_context(|| format!("the house rules {} cannot be applied", path.display()))?;
    // A command reads one or two sets, and needs them until it ends.
    Ok(Box::leak(Box::new(with)))
}

/// The law of a day, without anybody's house rules.
pub(crate) fn law(id: &str, as_of: NaiveDate) -> anyhow::Result<&'static RuleSet> {
    Ok(if id == IN_FORCE { RuleSet::in_force(as_of)? } else { RuleSet::embedded(id)? })
}

/// How a command ends at its gate: stopped by the law's verdict on `what` or, where that passes, by a house rule's.
pub(crate) fn at_gate(gate: Option<Gate>, verdict: Verdict, house: Option<Verdict>, what: &str) -> ExitStatus {
    let stops = |verdict: &Verdict| gate.is_some_and(|gate| gate.stops(*verdict));
    let by_law = Some(verdict).filter(stops).map(|verdict| (verdict, "its verdict"));
    let stopped = by_law.or_else(|| Some((house.filter(stops)?, "the house rule's verdict")));
    let Some((verdict, whose)) = stopped else { return ExitStatus::Done };
    let Some(status) = ExitStatus::of_gate(verdict) else { return ExitStatus::Done };
    output::talk(&format!("the gate does not let this {what} pass: {whose} is {}", verdict.name()));
    status
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
    let as_of = settings::as_of(rules.as_of);
    let rules = rule_set(&rules.rules, as_of, settings::house_rules(rules.house_rules.clone()))?;
    under(ledger, modification, rules, as_of)
}

/// The same under a rule set that was read already.
pub(crate) fn under(
    ledger: &Ledger,
    modification: &Modification,
    rules: &'static RuleSet,
    as_of: NaiveDate,
) -> anyhow::Result<Judgement> {
    let assignments = Assignments::of(modification);
    let read =
        |run: &String| records::run(ledger, run, &assignments).with_context(|| format!("run {run} cannot be read"));
    let runs: Vec<RunRecord> = modification.runs.iter().map(read).collect::<anyhow::Result<_>>()?;
    let reference = base_of(modification, &runs);
    let base = reference.map(base::recorded).transpose()?;
    let judge = Judge { base: base.clone(), rules, as_of, answers: modification.answers.clone() };
    let heads = heads(&runs);
    let (left_out, runs): (Vec<RunRecord>, Vec<RunRecord>) =
        runs.into_iter().partition(|record| modification.exclusion_of(&record.summary.run).is_some());
    let out = |record: &RunRecord| {
        let declared = modification.exclusion_of(&record.summary.run)?;
        Some(ExcludedRun::of(rules, declared, &record.summary))
    };
    let excluded = left_out.iter().filter_map(out).collect();
    let summaries: Vec<RunSummary> = runs.iter().map(|record| record.summary.clone()).collect();
    let assessment = judge.assess_without(&records::joined(ledger, &summaries)?, excluded, heads);
    let balance = balance(&judge, &Account { modification: modification.clone(), runs: summaries });
    Ok(Judgement { base, runs, rules, assessment, balance })
}

/// What the runs of an account have spent: nothing where there are none.
pub(crate) fn spent(judge: &Judge, account: &Account) -> Spent {
    if account.runs.is_empty() {
        return Spent::counted(Flops::ZERO, Basis::Operations);
    }
    Spent::of_runs(judge.rules, &account.runs)
}

/// What of a modification's line is spent, reserved and left.
pub(crate) fn balance(judge: &Judge, account: &Account) -> Balance {
    Balance::of(judge, &spent(judge, account), account.reserved(judge.rules, judge.as_of))
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
