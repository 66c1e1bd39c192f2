//! Assessments of what the ledger holds.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context as _;
use chrono::NaiveDate;
use flopsmeter_core::assess::{Answers, Assessment, Basis, CumulationReading, Reckoning, Spent, Verdict};
use flopsmeter_core::budget::{Balance, ToCome};
use flopsmeter_core::gate::Gate;
use flopsmeter_core::judge::Judge;
use flopsmeter_core::ledger::body::ModificationRebased;
use flopsmeter_core::lineage::{BaseReference, Modification};
use flopsmeter_core::registry::Base;
use flopsmeter_core::rules::RuleSet;
use flopsmeter_core::run::{Finding, RunSummary};
use flopsmeter_core::unit::Flops;
use flopsmeter_meter::budget::Account;
use flopsmeter_meter::records::{self, Assignments, RunRecord};
use flopsmeter_meter::store::Ledger;

use crate::args::RulesArguments;
use crate::exit::ExitStatus;
use crate::lineage::{self, Behind};
use crate::{input, output, settings};

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

/// A judge for a day, of what is made from one model.
pub(crate) fn judge(
    base: Option<Base<'static>>,
    answers: Answers,
    rules: &str,
    as_of: NaiveDate,
) -> anyhow::Result<Judge> {
    let ancestry = lineage::of_base(base.as_ref())?;
    let rules = rule_set(rules, as_of, settings::house_rules(None))?;
    Ok(Judge { base, rules, as_of, answers, ancestry })
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

/// The judge of what is made from `modification`'s base, as far as that is behind it.
pub(crate) fn judge_of(
    modification: &Modification,
    behind: &Behind,
    rules: &'static RuleSet,
    as_of: NaiveDate,
) -> Judge {
    let Behind { base, ancestry, .. } = behind;
    Judge { base: base.clone(), rules, as_of, answers: modification.answers.clone(), ancestry: ancestry.clone() }
}

/// One run by itself, on what it was made from.
pub(crate) fn of_run(ledger: &Ledger, record: &RunRecord, as_of: NaiveDate) -> anyhow::Result<Assessment> {
    let modification = Modification { base: record.base.clone(), ..Modification::default() };
    let rules = rule_set(IN_FORCE, as_of, settings::house_rules(None))?;
    let behind = lineage::behind(Some(ledger), &modification, rules, as_of)?;
    let heads = [lineage::heads([record]), behind.run_heads.clone()].concat();
    Ok(judge_of(&modification, &behind, rules, as_of).assess([&record.summary], heads))
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
    let based = Modification { base: base_of(modification, &runs).cloned(), ..modification.clone() };
    let behind = lineage::behind(Some(ledger), &based, rules, as_of)?;
    let judge = judge_of(&based, &behind, rules, as_of);
    let (counted, excluded) = lineage::split(modification, &runs, rules);
    let summaries: Vec<RunSummary> = counted.iter().map(|record| record.summary.clone()).collect();
    let jobs = records::joined(ledger, &summaries)?;
    let spent = Spent::of_modification(rules, &jobs, excluded.clone(), based.merge.is_some());
    let heads = [lineage::heads(&runs), behind.run_heads].concat();
    let mut assessment = judge.assess_without(&jobs, excluded, heads);
    let account = Account { modification: modification.clone(), runs: summaries, jobs };
    assessment.inputs.lineage = behind.heads;
    assessment.findings.extend(modification.rebased.last().map(rebased));
    let followed = assessment.cumulation.iter().find(|reading| reading.followed);
    let base = followed_base(&judge, &spent, followed);
    let balance = balance(&judge, &account, &behind.held);
    let mut runs: Vec<RunRecord> = counted.into_iter().cloned().collect();
    if followed.is_some_and(|reading| !reading.code.starts_with("chain-")) {
        runs.extend(behind.runs);
    }
    Ok(Judgement { base, runs, rules, assessment, balance })
}

/// What a reader has to know of a modification whose base was declared anew.
fn rebased(ModificationRebased { base, reason, by, date }: &ModificationRebased) -> Finding {
    let label = base.label();
    let text = format!(
        "That this is made from {label} was declared by {by} on {date}, in place of what was recorded before: {reason}"
    );
    Finding { code: "base-rebased".to_owned(), text }
}

/// What the runs of an account have spent: nothing where there are none.
pub(crate) fn spent(judge: &Judge, account: &Account) -> Spent {
    if account.runs.is_empty() {
        return Spent::counted(Flops::ZERO, Basis::Operations);
    }
    Spent::of_runs(judge.rules, &account.jobs)
}

/// What is set aside for runs of a modification, and what is `held` behind it.
pub(crate) fn to_come(judge: &Judge, account: &Account, held: &BTreeMap<String, Flops>) -> ToCome {
    ToCome { own: account.reserved(judge.rules, judge.as_of), behind: held.clone() }
}

/// What of a modification's line is spent, reserved and left; `held` is what is set aside behind it.
pub(crate) fn balance(judge: &Judge, account: &Account, held: &BTreeMap<String, Flops>) -> Balance {
    Balance::of(judge, &spent(judge, account), &to_come(judge, account, held))
}

/// The base a modification was bound to; where it was made without one, the one its runs resolved.
pub(crate) fn base_of<'a>(modification: &'a Modification, runs: &'a [RunRecord]) -> Option<&'a BaseReference> {
    modification.base.as_ref().or_else(|| runs.iter().find_map(|record| record.base.as_ref()))
}

/// The model that was taken for the original by the reading that is followed.
fn followed_base(judge: &Judge, spent: &Spent, followed: Option<&CumulationReading>) -> Option<Base<'static>> {
    let mut ways = judge.reckon(spent, None).into_iter();
    let is_followed = |way: &Reckoning| {
        let name = way.base.as_ref().map(Base::name);
        followed.is_none_or(|reading| reading.code == way.key.name() && reading.base.as_deref() == name)
    };
    ways.find(is_followed)?.base
}
