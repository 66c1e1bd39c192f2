//! What a gate looks at before a job, whether earlier runs of the modification alone have reached its verdict, and after it, whether
//! its end was the gate's.

use flopsmeter_core::assess::{Basis, Spent, Verdict};
use flopsmeter_core::gate::Gate;
use flopsmeter_core::lineage::Modification;
use flopsmeter_core::run::{Exit, RunSummary};
use flopsmeter_core::unit::Flops;
use flopsmeter_meter::records::{self, Assignments};
use flopsmeter_meter::session::Stopped;
use flopsmeter_meter::store::{Ledger, StoreProblem};

use crate::args::MeteringArguments;
use crate::base::{self, ResolvedBase};
use crate::exit::ExitStatus;
use crate::{judgement, metering, output, settings};

/// The code to end with instead of starting the job, which was told why.
pub(super) fn refusal(gate: Gate, arguments: &MeteringArguments, hooks_missing: bool) -> Option<ExitStatus> {
    let (verdict, why) = match look(arguments) {
        Ok(_) if hooks_missing => (Verdict::Undetermined, "no trainer could be heard or asked to stop".to_owned()),
        Ok(verdict) => (verdict, "earlier runs and the base model give it".to_owned()),
        Err(problem) => (Verdict::Undetermined, format!("{problem:#}")),
    };
    let (name, status) = match verdict {
        Verdict::Below => return None,
        Verdict::Near => ("near", ExitStatus::GateNear),
        Verdict::Exceeds => ("exceeds", ExitStatus::GateExceeds),
        Verdict::Undetermined => ("undetermined", ExitStatus::GateUndetermined),
    };
    if gate.stops(verdict) {
        output::talk(&format!("the job was not started: the gate `{gate}` stops the verdict `{name}` ({why})"));
        return Some(status);
    }
    if verdict == Verdict::Undetermined {
        output::talk(&format!("the gate `{gate}` starts the job at the verdict `undetermined` ({why})"));
    }
    None
}

/// The verdict before the job has done anything.
fn look(arguments: &MeteringArguments) -> anyhow::Result<Verdict> {
    let mut findings = Vec::new();
    let base = arguments.base.as_deref().and_then(|argument| metering::resolve(argument, &mut findings));
    if let Some(finding) = findings.pop() {
        anyhow::bail!(finding.text);
    }
    let path = settings::ledger_path(arguments.ledger.ledger.clone());
    let mut modification = Modification::default();
    let mut runs = Vec::new();
    if let Some(slug) = &arguments.modification
        && path.exists()
    {
        let ledger = Ledger::open_to_read(&path)?;
        if let Some(known) = records::modification(&ledger, slug)? {
            // A run that names another base is recorded apart, and judged by itself.
            if metering::conflict(&known, base.as_ref().map(ResolvedBase::reference).as_ref()).is_none() {
                runs = summaries(&ledger, &known)?;
                modification = known;
            }
        }
    }
    let base = match (base, &modification.base) {
        (Some(base), _) => Some(base.base),
        (None, Some(bound)) => Some(base::recorded(bound)?),
        (None, None) => None,
    };
    let judge = judgement::judge(base, modification.answers, judgement::IN_FORCE, settings::as_of(None))?;
    if runs.is_empty() {
        return Ok(judge.verdict(Spent::counted(Flops::ZERO, Basis::Operations)));
    }
    Ok(judge.assess(&runs, Vec::new()).verdict)
}

/// Runs that are left out by a declaration are no part of what `assess` judges either.
fn summaries(ledger: &Ledger, modification: &Modification) -> Result<Vec<RunSummary>, StoreProblem> {
    let read = |run: &String| Ok(records::run(ledger, run, &Assignments::default())?.summary);
    modification.runs.iter().filter(|run| modification.exclusion_of(run).is_none()).map(read).collect()
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
