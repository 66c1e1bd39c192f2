//! `flopsmeter modifications answer`: what somebody declares, checked as a whole before any of it is recorded.

use anyhow::bail;
use flopsmeter_core::assess::{Answer, AnswerKey, Answers, Declaration, DeclarationProblem, contradictions};
use flopsmeter_core::ledger::Body;
use flopsmeter_core::ledger::body::Answered;
use flopsmeter_core::lineage::Modification;
use flopsmeter_core::rules::RuleSet;
use flopsmeter_meter::store::Ledger;

use super::{append, existing};
use crate::args::AnswerArguments;
use crate::exit::{ExitStatus, UsageProblem};
use crate::{base, input, output, settings};

const FORM: &str = "name a TOML file with `by`, `date` and a table `[answers]`";

pub(super) fn execute(arguments: AnswerArguments) -> anyhow::Result<ExitStatus> {
    let today = settings::now().date_naive();
    let rules = RuleSet::in_force(today)?;
    let declaration = Declaration { rules, by: arguments.by, date: arguments.date, today };
    let mut given = declaration.of_words(&arguments.answers).map_err(|problem| UsageProblem(problem.to_string()))?;
    if let Some(path) = &arguments.file {
        let text = input::text(path, "file of answers", FORM)?;
        let in_file = |problem: DeclarationProblem| UsageProblem(format!("{}: {problem}", path.display()));
        given.extend(declaration.of_file(&text).map_err(in_file)?);
    }
    let slug = &arguments.modification;
    let mut ledger = Ledger::open(&settings::ledger_path(arguments.ledger.ledger))?;
    refuse_contradictions(rules, &existing(&ledger, slug)?, &given)?;
    let mut words = String::new();
    for (question, answer) in given {
        words.push_str(&format!("{slug}: {} is answered {} by {}\n", question.name(), answer.value, answer.by));
        append(&mut ledger, slug, &Body::Answered(Answered { question, answer }))?;
    }
    output::data(&words)?;
    Ok(ExitStatus::Done)
}

/// What is on record and what is given must be able to be true together.
fn refuse_contradictions(
    rules: &RuleSet,
    modification: &Modification,
    given: &[(AnswerKey, Answer)],
) -> anyhow::Result<()> {
    let mut answers: Answers = modification.answers.clone();
    for (key, answer) in given {
        answers.declare(*key, answer.clone());
    }
    let base = modification.base.as_ref().map(base::recorded).transpose()?;
    let known = contradictions(rules, base.as_ref(), &modification.answers);
    let found = contradictions(rules, base.as_ref(), &answers);
    // One that is on record already is no reason to refuse what may correct it.
    let Some(new) = found.into_iter().find(|found| !known.contains(found)) else { return Ok(()) };
    let place = new.citation.map_or_else(String::new, |place| format!(" ({}, {})", place.instrument, place.place));
    bail!(
        "the answers to {} cannot all be true: {}{place}; nothing was recorded: correct one of them",
        new.keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(" and "),
        new.says
    );
}
