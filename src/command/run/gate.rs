//! What a gate looks at before a job, whether earlier runs of the modification alone have reached its verdict, and after it, whether
//! its end was the gate's.

use flopsmeter_core::assess::Verdict;
use flopsmeter_core::gate::Gate;
use flopsmeter_core::lineage::Modification;
use flopsmeter_core::run::Exit;
use flopsmeter_core::unit::Flops;
use flopsmeter_meter::budget::Account;
use flopsmeter_meter::records::{self, Assignments};
use flopsmeter_meter::session::Stopped;
use flopsmeter_meter::store::Ledger;

use crate::args::MeteringArguments;
use crate::exit::ExitStatus;
use crate::metering::Resumed;
use crate::{judgement, lineage, metering, output, settings};

/// A verdict, and what gives it.
type Said = (Verdict, String);

/// The code to end with instead of starting the job, which was told why.
pub(super) fn refusal(
    gate: Gate,
    arguments: &MeteringArguments,
    resumed: Option<&Resumed>,
    hooks_missing: bool,
) -> Option<ExitStatus> {
    let mut all =
        look(arguments, resumed).unwrap_or_else(|problem| vec![(Verdict::Undetermined, format!("{problem:#}"))]);
    if hooks_missing {
        all.push((Verdict::Undetermined, "no trainer could be heard or asked to stop".to_owned()));
    }
    if let Some((verdict, why)) = all.iter().find(|(verdict, _)| gate.stops(*verdict)) {
        let name = verdict.name();
        output::talk(&format!("the job was not started: the gate `{gate}` stops the verdict `{name}` ({why})"));
        return ExitStatus::of_gate(*verdict);
    }
    if let Some((_, why)) = all.iter().find(|(verdict, _)| *verdict == Verdict::Undetermined) {
        output::talk(&format!("the gate `{gate}` starts the job at the verdict `undetermined` ({why})"));
    }
    None
}

/// The verdicts before the job has done anything: the law's, an organisation's own, and the law's once everything that is set aside is
/// spent.
fn look(arguments: &MeteringArguments, resumed: Option<&Resumed>) -> anyhow::Result<Vec<Said>> {
    let mut findings = Vec::new();
    let base = arguments.base.as_deref().and_then(|argument| metering::resolve(argument, &mut findings));
    if let Some(finding) = findings.pop() {
        anyhow::bail!(finding.text);
    }
    let path = settings::ledger_path(arguments.ledger.ledger.clone());
    let ledger = path.exists().then(|| Ledger::open_to_read(&path)).transpose()?;
    let (mut account, mut own_base) = (Account::default(), None);
    if let Some(ledger) = &ledger
        && let Some((slug, is_resumed)) = counted_to(arguments, resumed, ledger)?
    {
        let known = Account::read(ledger, &slug)?;
        // A run that names another base is recorded apart, and judged by itself; one that goes on stays where it is counted.
        if is_resumed || metering::conflict(&known.modification, base.as_ref()).is_none() {
            own_base = known.modification.base.clone().filter(|_| is_resumed);
            account = known;
        }
    }
    if let (Some(ledger), Some(Ok(run))) = (&ledger, resumed)
        && !account.modification.runs.contains(run)
    {
        // It counts nowhere yet; what it has done already is done.
        let record = records::run(ledger, run, &Assignments::default())?;
        account = account.and(ledger, record.summary)?;
        own_base = own_base.or(record.base);
    }
    // What goes on keeps its base, whatever the command line names.
    let base = own_base.or(base).or(account.modification.base.clone());
    let made_from = Modification { base, ..account.modification.clone() };
    let as_of = settings::as_of(None);
    let rules = judgement::rule_set(judgement::IN_FORCE, as_of, settings::house_rules(None))?;
    let behind = lineage::behind(ledger.as_ref(), &made_from, rules, as_of)?;
    let judge = judgement::judge_of(&made_from, &behind, rules, as_of);
    let spent = judgement::spent(&judge, &account);
    let reserved = judgement::to_come(&judge, &account, &behind.held);
    let before = "earlier runs and the base model give it";
    let mut said = vec![(judge.verdict(spent.clone()), before.to_owned())];
    said.extend(judge.house_verdict(spent.clone()).map(|verdict| (verdict, format!("the house rule's; {before}"))));
    if reserved.together() > Flops::ZERO {
        let (with, later) = (spent.and_more(reserved.own), judge.after(&reserved));
        let set_aside = reserved.together().scientific(3);
        let why = |whose: &str| format!("{whose}once the {set_aside} FLOP that are set aside are spent");
        said.push((later.verdict_at_least(&with), why("")));
        said.extend(later.house_verdict_at_least(&with).map(|verdict| (verdict, why("the house rule's, "))));
    }
    Ok(said)
}

/// The modification to which the run will be counted, and whether it is already, as a run that goes on.
fn counted_to(
    arguments: &MeteringArguments,
    resumed: Option<&Resumed>,
    ledger: &Ledger,
) -> anyhow::Result<Option<(String, bool)>> {
    let named = arguments.modification.clone().map(|slug| (slug, false));
    // One that cannot be gone on with is recorded as a run of its own.
    let Some(Ok(run)) = resumed else { return Ok(named) };
    let assignments = Assignments::read(ledger)?;
    Ok(assignments.modification_of(run).map(|slug| (slug.to_owned(), true)).or(named))
}

/// The verdict at which the gate ended the job; `None` where the job's end was its own. A trainer that stopped as it was told may
/// still have failed afterwards, and a job may have been over before a SIGTERM could be sent.
pub(super) fn verdict_of_end(stopped: Option<Stopped>, was_signalled: bool, exit: Exit) -> Option<Verdict> {
    match stopped? {
        Stopped::ByTrainer(verdict) => (exit == Exit::Code(0)).then_some(verdict),
        Stopped::BySignal(verdict) => was_signalled.then_some(verdict),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_end_that_is_the_gates_has_its_verdict() {
        let by_trainer = Some(Stopped::ByTrainer(Verdict::Near));
        assert_eq!(verdict_of_end(by_trainer, false, Exit::Code(0)), Some(Verdict::Near));
        assert_eq!(verdict_of_end(by_trainer, false, Exit::Code(3)), None);
        assert_eq!(verdict_of_end(by_trainer, false, Exit::Signal(9)), None);
        let by_signal = Some(Stopped::BySignal(Verdict::Exceeds));
        assert_eq!(verdict_of_end(by_signal, true, Exit::Signal(15)), Some(Verdict::Exceeds));
        assert_eq!(verdict_of_end(by_signal, true, Exit::Code(1)), Some(Verdict::Exceeds));
        assert_eq!(verdict_of_end(by_signal, false, Exit::Code(1)), None);
        assert_eq!(verdict_of_end(None, false, Exit::Code(0)), None);
    }
}
