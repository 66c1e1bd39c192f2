//! Going on with a run that has ended or was cut, and what else a run may be told of itself.

use anyhow::Context as _;
use flopsmeter_core::run::Finding;
use flopsmeter_core::tally::Tally;
use flopsmeter_meter::records::{Assignments, RunReader};
use flopsmeter_meter::store::{Ledger, StoreProblem};

use crate::args::MeteringArguments;
use crate::exit::UsageProblem;
use crate::{judgement, settings};

/// The run that is gone on with: its full id, or why it is recorded as a run of its own.
pub(crate) type Resumed = Result<String, Finding>;

/// The run that `--resume` means. A run that is not there is a word that cannot be understood; a ledger that cannot be read is no
/// reason to keep a job from starting.
pub(crate) fn named(prefix: &str, arguments: &MeteringArguments) -> Result<Resumed, UsageProblem> {
    let path = settings::ledger_path(arguments.ledger.ledger.clone());
    match Ledger::open_to_read(&path).and_then(|ledger| ledger.resolve_run(prefix)) {
        Ok(run) => Ok(Ok(run)),
        Err(
            problem @ (StoreProblem::Absent { .. }
            | StoreProblem::UnknownRun { .. }
            | StoreProblem::AmbiguousRun { .. }),
        ) => Err(UsageProblem(format!("--resume: {problem}"))),
        Err(problem) => Ok(Err(impossible(&problem))),
    }
}

fn impossible(problem: &StoreProblem) -> Finding {
    let text = format!("{problem}; what follows is recorded as a run of its own: add it to the modification by hand");
    Finding { code: "resume-impossible".to_owned(), text }
}

/// The run to record and what is on record of it; `None` for a new one.
pub(super) fn resume(
    resumed: Option<Resumed>,
    ledger: &Result<Ledger, StoreProblem>,
    findings: &mut Vec<Finding>,
) -> Option<(String, Option<Tally>)> {
    let run = resumed?.map_err(|finding| findings.push(finding)).ok()?;
    let mut reader = RunReader::new(&run);
    let read = match ledger {
        Ok(ledger) => reader.follow(ledger).map_err(|problem| impossible(&problem)),
        Err(problem) => Err(impossible(problem)),
    };
    read.map_err(|finding| findings.push(finding)).ok()?;
    Some((run, Some(reader.into_tally())))
}

/// The modification of the run: the one that was named, or the one to which an earlier segment counts.
pub(super) fn modification_of(
    arguments: &MeteringArguments,
    resumed: Option<&str>,
    ledger: &Result<Ledger, StoreProblem>,
    findings: &mut Vec<Finding>,
) -> Option<String> {
    let named = arguments.modification.clone();
    let (Some(run), Ok(ledger)) = (resumed, ledger) else { return named };
    let assignments = Assignments::read(ledger).unwrap_or_default();
    let Some(known) = assignments.modification_of(run) else { return named };
    if let Some(named) = named.filter(|named| named != known) {
        let text = format!(
            "run {run} counts to `{known}`, not to `{named}`: it goes on there; `flopsmeter modifications unassign` takes it out"
        );
        findings.push(Finding { code: "modification-conflict".to_owned(), text });
    }
    Some(known.to_owned())
}

/// Refuses a kind of work that the rule set of today does not know.
pub(crate) fn refuse_unknown_phase(arguments: &MeteringArguments) -> anyhow::Result<()> {
    let Some(phase) = &arguments.phase else { return Ok(()) };
    let rules = judgement::law(judgement::IN_FORCE, settings::as_of(None)).context("--phase cannot be looked up")?;
    if rules.phase(phase).is_some() {
        return Ok(());
    }
    let known: Vec<&str> = rules.phases().iter().map(|row| row.name.as_str()).collect();
    let text = format!("--phase `{phase}` is no kind of work of {}; there are: {}", rules.id(), known.join(", "));
    Err(UsageProblem(text).into())
}
