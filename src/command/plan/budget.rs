//! The budget of the modification that a job is planned for: what is spent and set aside of it, and setting the plan aside.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use chrono::NaiveDate;
use flopsmeter_core::assess::Verdict;
use flopsmeter_core::budget::Balance;
use flopsmeter_core::gate::Gate;
use flopsmeter_core::judge::Judge;
use flopsmeter_core::ledger::body::Reserved;
use flopsmeter_core::lineage::{BaseReference, Modification};
use flopsmeter_core::unit::Flops;
use flopsmeter_meter::budget::{self, Account, Setting};
use flopsmeter_meter::store::Ledger;
use serde::Serialize;

use super::estimate::Estimate;
use crate::args::PlanArguments;
use crate::exit::{ExitStatus, UsageProblem};
use crate::{judgement, metering, output, settings};

/// The modification as it stands before the plan.
pub(super) struct Book {
    slug: String,
    path: PathBuf,
    account: Account,
    named: Option<BaseReference>,
    /// What is set aside behind the modification.
    held: BTreeMap<String, Flops>,
}

/// What `plan` says of a budget.
#[derive(Debug, Serialize)]
pub(super) struct Budget {
    pub(super) modification: String,
    pub(super) base: Option<String>,
    /// With what this plan has set aside, if it has.
    #[serde(flatten)]
    pub(super) balance: Balance,
    pub(super) plan: Planned,
    /// What was set aside.
    pub(super) reservation: Option<Reserved>,
}

/// The plan against the budget.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Planned {
    /// What is set aside for it: the high end of its range.
    pub(super) flop: Flops,
    /// Its best guess.
    pub(super) best: Flops,
    /// The verdict once what is spent, what was set aside before and this plan are spent together.
    pub(super) verdict: Verdict,
    /// The house rule's, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) house_verdict: Option<Verdict>,
}

impl Book {
    /// Reads the modification that is named, if one is.
    pub(super) fn open(arguments: &PlanArguments, named: Option<BaseReference>) -> anyhow::Result<Option<Self>> {
        let Some(slug) = arguments.budget.modification.clone() else { return Ok(None) };
        refuse_past(arguments.budget.reserve_until)?;
        let path = settings::ledger_path(arguments.budget.ledger.ledger.clone());
        let account =
            if path.exists() { Account::read(&Ledger::open_to_read(&path)?, &slug)? } else { Account::default() };
        if let Some((theirs, ours)) =
            account.modification.base.as_ref().zip(named.as_ref()).filter(|(theirs, ours)| !ours.is_same(theirs))
        {
            bail!(
                "modification `{slug}` is bound to base model {}, the plan names {}: give the other base its own --modification",
                theirs.label(),
                ours.label()
            );
        }
        Ok(Some(Self { slug, path, account, named, held: BTreeMap::new() }))
    }

    /// The modification on its base model: the one that was named, else the one it is bound to.
    pub(super) fn made_from(&self) -> Modification {
        let base = self.named.clone().or_else(|| self.account.modification.base.clone());
        Modification { slug: self.slug.clone(), base, ..self.account.modification.clone() }
    }

    /// What it is made from, as people call it.
    fn base(&self) -> Option<String> {
        self.made_from().base.as_ref().map(BaseReference::label)
    }

    /// Takes what is set aside behind it.
    pub(super) fn take_behind(&mut self, held: BTreeMap<String, Flops>) {
        self.held = held;
    }

    /// How the plan stands against the budget, and what of it was set aside where that was asked for; with the status to end with
    /// where the gate refuses it.
    pub(super) fn plan(
        mut self,
        arguments: &PlanArguments,
        judge: &Judge,
        estimate: &Estimate,
    ) -> anyhow::Result<(Budget, ExitStatus)> {
        let planned = self.planned(judge, &self.account, estimate);
        let (mut reservation, mut status) = (None, ExitStatus::Done);
        if arguments.budget.reserve {
            match self.reserve(arguments, judge, estimate)? {
                Ok(reserved) => reservation = Some(reserved),
                Err(refused) => status = refused,
            }
            if self.path.exists() {
                self.account = Account::read(&Ledger::open_to_read(&self.path)?, &self.slug)?;
            }
        } else {
            status = judgement::at_gate(
                arguments.gate,
                planned.verdict,
                planned.house_verdict,
                "plan and what is set aside",
            );
        }
        let base = self.base();
        let budget = Budget {
            modification: self.slug,
            base,
            balance: judgement::balance(judge, &self.account, &self.held),
            plan: planned,
            reservation,
        };
        Ok((budget, status))
    }

    /// Sets the plan aside unless that would cross the line, or come to what the gate stops.
    fn reserve(
        &self,
        arguments: &PlanArguments,
        judge: &Judge,
        estimate: &Estimate,
    ) -> anyhow::Result<Result<Reserved, ExitStatus>> {
        let gate = arguments.gate.unwrap_or(Gate::EXCEEDS);
        let reserved = Reserved {
            reservation: settings::new_run_id(),
            flop: estimate.range.high,
            best: estimate.range.best,
            base: self.base(),
            expected: expected(arguments),
            by: arguments.budget.by.clone(),
            until: arguments.budget.reserve_until,
        };
        let mut ledger = Ledger::open(&self.path)?;
        let reference = self.named.clone();
        let objection = |account: &Account| {
            if let Some(conflict) = metering::conflict(&account.modification, reference.as_ref()) {
                return Some(Err(conflict.text));
            }
            let then = self.planned(judge, account, estimate);
            let stops = |verdict: &Verdict| gate.stops(*verdict);
            let stopped = Some(then.verdict).filter(stops).or_else(|| then.house_verdict.filter(stops))?;
            Some(Ok((stopped, judgement::balance(judge, account, &self.held))))
        };
        let set = budget::reserve(&mut ledger, &self.slug, reference.as_ref(), settings::now(), &reserved, objection)?;
        match set {
            Setting::Held => Ok(Ok(reserved)),
            Setting::Refused(Err(conflict)) => bail!(conflict),
            Setting::Unfollowable(problem) => bail!(problem),
            Setting::Refused(Ok((verdict, balance))) => {
                output::talk(&format!(
                    "nothing was set aside: with {}, this plan's {} FLOP (its high end) would make the verdict `{}`, which the gate \
                     `{gate}` stops; plan less, or give back what is not needed by `flopsmeter modifications release`",
                    crate::words::budget::balance(&balance),
                    reserved.flop.scientific(3),
                    verdict.name()
                ));
                Ok(Err(ExitStatus::of_gate(verdict).context("a gate stopped a verdict that none stops")?))
            }
        }
    }

    /// The plan on top of an account, and of what is set aside behind it.
    fn planned(&self, judge: &Judge, account: &Account, estimate: &Estimate) -> Planned {
        let (flop, best) = (estimate.range.high, estimate.range.best);
        let reserved = judgement::to_come(judge, account, &self.held);
        let then = judgement::spent(judge, account).and_more(reserved.own + flop);
        let later = judge.after(&reserved);
        Planned {
            flop,
            best,
            verdict: later.verdict_at_least(&then),
            house_verdict: later.house_verdict_at_least(&then),
        }
    }
}

/// The job, as people recognise it.
fn expected(arguments: &PlanArguments) -> String {
    let tokens = arguments.tokens.map_or_else(String::new, |tokens| format!(", {} tokens", tokens.0));
    let lengths =
        arguments.lengths.as_ref().map_or_else(String::new, |file| format!(", lengths of {}", file.display()));
    let epochs = if arguments.epochs == 1 { String::new() } else { format!(", {} epochs", arguments.epochs) };
    format!("{}{tokens}{lengths}{epochs}", arguments.method.name())
}

fn refuse_past(until: Option<NaiveDate>) -> Result<(), UsageProblem> {
    let today = settings::now().date_naive();
    match until {
        Some(until) if until < today => Err(UsageProblem(format!(
            "`--reserve-until` {until} is over: it is the last day on which the compute is held"
        ))),
        _ => Ok(()),
    }
}
