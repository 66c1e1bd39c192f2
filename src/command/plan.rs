//! `flopsmeter plan`: what a job will cost and where that puts it, before it runs.

mod answer;
mod budget;
mod comparison;
mod data;
mod estimate;
mod expectation;
mod headroom;
mod method;
mod model;
mod words;

use flopsmeter_core::assess::{Assessment, Spent};
use flopsmeter_core::judge::Judge;
use flopsmeter_core::lineage::Modification;
use flopsmeter_meter::store::Ledger;

use crate::args::PlanArguments;
use crate::command::modifications::existing;
use crate::exit::{ExitStatus, UsageProblem};
use crate::{base, judgement, lineage, output, settings};
use answer::{Answer, Consequences};
use budget::Book;
use data::Data;
use estimate::Estimate;
use headroom::Headroom;

pub(crate) fn execute(arguments: &PlanArguments) -> anyhow::Result<ExitStatus> {
    data::refuse_contradictions(arguments)?;
    let method = method::method(arguments)?;
    let fleets = expectation::fleets(arguments)?;
    let named = arguments.base.as_deref().map(base::reference).transpose()?;
    let mut book = Book::open(arguments, named.clone())?;
    let alone = || Modification { base: named, ..Modification::default() };
    let made_from = book.as_ref().map_or_else(alone, Book::made_from);
    let model = model::read(arguments)?;
    if let Some(model) = &model {
        method::refuse_missing_blocks(arguments, model.shape.layers())?;
    }
    let data = Data::of(arguments, model.as_ref())?;
    let judge = judge(arguments, &made_from, book.as_mut())?;
    let estimate = match &model {
        Some(model) => {
            let (options, attention) = (estimate::options(arguments), estimate::attention(arguments));
            Estimate::of_products(model, &method, &options, attention, &data)?
        }
        None => Estimate::of_parameters(arguments, &judge, &data)?,
    };
    let assessment = assess(&judge, &estimate);
    let comparison = match &model {
        Some(model) if arguments.compare => Some(comparison::rows(model, arguments, &data, &judge)),
        None if arguments.compare => return Err(no_comparison().into()),
        _ => None,
    };
    let budgeted = book.map(|book| book.plan(arguments, &judge, &estimate)).transpose()?;
    let (budget, by_budget) = budgeted.unzip();
    let verdict = assessment.verdict;
    let house = assessment.house.as_ref().map(|house| house.verdict);
    let consequences = Consequences {
        verdicts: verdicts(&judge, &estimate),
        headroom: Headroom::find(&judge, &estimate, &data),
        expected: expectation::rows(&fleets, arguments, estimate.flops.executed),
        comparison,
        budget,
        assessment,
    };
    let answer = Answer::new(arguments, data, estimate, consequences);
    if arguments.json {
        output::json(&answer)?;
    } else {
        output::data(&words::answer(&answer, output::width()))?;
    }
    match by_budget {
        // It was told why.
        Some(refused) if refused != ExitStatus::Done => Ok(refused),
        _ => Ok(judgement::at_gate(arguments.gate, verdict, house, "plan")),
    }
}

/// The judge of what is made from that, which has its place in `book` where it is a modification's.
fn judge(arguments: &PlanArguments, made_from: &Modification, book: Option<&mut Book>) -> anyhow::Result<Judge> {
    let as_of = settings::as_of(arguments.as_of);
    let rules = judgement::rule_set(judgement::IN_FORCE, as_of, settings::house_rules(None))?;
    let path = settings::ledger_path(arguments.budget.ledger.ledger.clone());
    let is_of_ledger = made_from.parent_slugs().next().is_some();
    let ledger = is_of_ledger.then(|| Ledger::open_to_read(&path)).transpose()?;
    if let Some(ledger) = &ledger {
        made_from.parent_slugs().try_for_each(|slug| existing(ledger, slug).map(drop))?;
    }
    let behind = lineage::behind(ledger.as_ref(), made_from, rules, as_of)?;
    let judge = judgement::judge_of(made_from, &behind, rules, as_of);
    if let Some(book) = book {
        book.take_behind(behind.held);
    }
    Ok(judge)
}

fn no_comparison() -> UsageProblem {
    let text = "--compare counts products, which parameters alone do not tell; give the model's shape with --config";
    UsageProblem(text.to_owned())
}

/// Where the law puts what was estimated; another count of the same work may raise `below` to `near`.
fn assess(judge: &Judge, estimate: &Estimate) -> Assessment {
    let mut assessment = judge.assess_spent(estimate.spent.clone(), Vec::new());
    if estimate.flops.lowest.is_some() {
        // The verdict weighs both ends of the range; neither of them is what the job will spend.
        (assessment.training_compute, assessment.cumulative_compute) = (None, None);
        (assessment.ratio, assessment.share_of_line_percent) = (None, None);
    }
    assessment
}

/// The verdicts at both ends of the range.
fn verdicts(judge: &Judge, estimate: &Estimate) -> answer::Verdicts {
    let at = |amount| judge.verdict(Spent::counted(amount, estimate.spent.basis));
    answer::Verdicts { low: at(estimate.range.low), high: at(estimate.range.high) }
}
