//! `flopsmeter assess`: where the law puts a modification.

use flopsmeter_core::assess::{Assessment, diff};
use flopsmeter_core::budget::Balance;
use flopsmeter_core::lineage::Modification;
use flopsmeter_meter::store::Ledger;
use serde::Serialize;

use crate::args::{AssessArguments, RulesArguments};
use crate::command::modifications::existing;
use crate::exit::ExitStatus;
use crate::{judgement, output, settings, words};

/// An assessment of what was done, and beside it what may still be done: what is set aside is no part of the verdict.
#[derive(Serialize)]
struct Assessed<'a> {
    #[serde(flatten)]
    assessment: &'a Assessment,
    budget: &'a Balance,
}

pub(crate) fn execute(arguments: AssessArguments) -> anyhow::Result<ExitStatus> {
    let ledger = Ledger::open_to_read(&settings::ledger_path(arguments.ledger.ledger))?;
    let modification = existing(&ledger, &arguments.modification)?;
    if let Some(other) = arguments.diff {
        return compare(&ledger, &modification, &arguments.rules, other, arguments.json);
    }
    let judgement = judgement::of_modification(&ledger, &modification, &arguments.rules)?;
    if arguments.json {
        output::json(&Assessed { assessment: &judgement.assessment, budget: &judgement.balance })?;
    } else {
        let budget = output::labelled("budget", words::law::LABEL, &words::budget::balance(&judgement.balance));
        output::data(&(words::law::in_full(&judgement.assessment) + &budget))?;
    }
    let house = judgement.assessment.house.as_ref().map(|house| house.verdict);
    Ok(judgement::at_gate(arguments.gate, judgement.assessment.verdict, house, "modification"))
}

/// The same facts under two rule sets, as of the same day.
fn compare(
    ledger: &Ledger,
    modification: &Modification,
    rules: &RulesArguments,
    other: String,
    json: bool,
) -> anyhow::Result<ExitStatus> {
    let under = |id: String| {
        let rules = RulesArguments { rules: id, as_of: rules.as_of, house_rules: rules.house_rules.clone() };
        judgement::of_modification(ledger, modification, &rules)
    };
    let (from, to) = (under(rules.rules.clone())?, under(other)?);
    let diff = diff((from.assessment, from.rules), (to.assessment, to.rules));
    if json {
        output::json(&diff)?;
    } else {
        output::data(&words::law::diff(&diff))?;
    }
    Ok(ExitStatus::Done)
}
