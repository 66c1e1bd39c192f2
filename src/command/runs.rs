//! `flopsmeter runs`: what was recorded, run by run.

use anyhow::bail;
use chrono::NaiveDate;
use flopsmeter_core::ledger::body::{RunExcluded, RunIncluded};
use flopsmeter_core::ledger::{Body, RUN_PREFIX};
use flopsmeter_core::lineage::Modification;
use flopsmeter_core::rules::RuleSet;
use flopsmeter_core::run::{RunState, RunSummary};
use flopsmeter_meter::records::{self, Assignments};
use flopsmeter_meter::store::Ledger;
use serde::Serialize;

use crate::args::{Declarer, LedgerArguments, RunDeclaration, RunsCommand};
use crate::command::modifications::{append, existing};
use crate::exit::{ExitStatus, UsageProblem};
use crate::judgement;
use crate::output::{self, TextTable};
use crate::settings;
use crate::words;

/// A run as it is listed.
#[derive(Serialize)]
struct Listed<'a> {
    #[serde(flatten)]
    run: &'a RunSummary,
    /// The declaration that leaves it out of the sums, if there is one.
    excluded: Option<&'a RunExcluded>,
}

pub(crate) fn execute(command: RunsCommand) -> anyhow::Result<ExitStatus> {
    match command {
        RunsCommand::List { ledger, json } => list(ledger, json),
        RunsCommand::Show { run, ledger, json } => show(&run, ledger, json),
        RunsCommand::Exclude { run, declaration, ledger } => exclude(&run, declaration, ledger),
        RunsCommand::Include { run, declaration, ledger } => include(&run, declaration, ledger),
    }
}

fn list(ledger: LedgerArguments, json: bool) -> anyhow::Result<ExitStatus> {
    let ledger = settings::ledger_to_list(&settings::ledger_path(ledger.ledger))?;
    let assignments = Assignments::read(&ledger)?;
    let mut runs: Vec<RunSummary> = Vec::new();
    for stream in ledger.streams(RUN_PREFIX)? {
        let id = stream.strip_prefix(RUN_PREFIX).unwrap_or(&stream);
        runs.push(records::run(&ledger, id, &assignments)?.summary);
    }
    let modifications = records::modifications(&ledger)?;
    let left_out = |run: &RunSummary| modifications.iter().find_map(|known| known.exclusion_of(&run.run));
    if json {
        let listed: Vec<Listed<'_>> = runs.iter().map(|run| Listed { run, excluded: left_out(run) }).collect();
        output::json(&listed)?;
        return Ok(ExitStatus::Done);
    }
    let mut table = TextTable::new(&["run", "started", "state", "modification", ">training FLOP", "command"]);
    for run in &runs {
        table.row(vec![
            run.run.clone(),
            run.started.format("%Y-%m-%d %H:%M:%S").to_string(),
            format!(
                "{}{}",
                if run.state == RunState::Open { "open" } else { "closed" },
                if left_out(run).is_some() { ", left out" } else { "" }
            ),
            run.modification.clone().unwrap_or_else(|| "-".to_owned()),
            run.flops.map_or_else(|| "-".to_owned(), |flops| flops.training.scientific(3)),
            run.command.join(" "),
        ]);
    }
    output::data(&table.render())?;
    Ok(ExitStatus::Done)
}

/// Leaves a run out of the sums of the modification it counts to.
fn exclude(run: &str, declaration: RunDeclaration, ledger: LedgerArguments) -> anyhow::Result<ExitStatus> {
    let RunDeclaration { reason, declarer: Declarer { by, date } } = declaration;
    let date = declared_on(date)?;
    let mut ledger = Ledger::open(&settings::ledger_path(ledger.ledger))?;
    let (run, modification) = counted(&ledger, run)?;
    if let Some(out) = modification.exclusion_of(&run) {
        bail!(
            "run {run} is left out already, by {} on {}: `flopsmeter runs include` counts it again",
            out.by,
            out.date
        );
    }
    let words = format!("run {run} stands in no sum of {}, as {by} declares\n", modification.slug);
    let body = Body::RunExcluded(RunExcluded { run, reason, by, date });
    append(&mut ledger, &modification.slug, &body)?;
    output::data(&words)?;
    Ok(ExitStatus::Done)
}

/// Counts it again.
fn include(run: &str, declaration: RunDeclaration, ledger: LedgerArguments) -> anyhow::Result<ExitStatus> {
    let RunDeclaration { reason, declarer: Declarer { by, date } } = declaration;
    let date = declared_on(date)?;
    let mut ledger = Ledger::open(&settings::ledger_path(ledger.ledger))?;
    let (run, modification) = counted(&ledger, run)?;
    if modification.exclusion_of(&run).is_none() {
        bail!(
            "run {run} is counted already: `flopsmeter modifications show {}` lists what is left out",
            modification.slug
        );
    }
    let words = format!("run {run} is counted to {} again, as {by} declares\n", modification.slug);
    append(&mut ledger, &modification.slug, &Body::RunIncluded(RunIncluded { run, reason, by, date }))?;
    output::data(&words)?;
    Ok(ExitStatus::Done)
}

/// The run's full id and the modification it counts to.
fn counted(ledger: &Ledger, run: &str) -> anyhow::Result<(String, Modification)> {
    let run = ledger.resolve_run(run)?;
    let assignments = Assignments::read(ledger)?;
    let Some(slug) = assignments.modification_of(&run) else {
        bail!(
            "run {run} counts to no modification, so there is no sum to leave it out of: `flopsmeter modifications assign` adds it to one"
        );
    };
    Ok((run, existing(ledger, slug)?))
}

/// Nobody has declared anything on a day to come.
pub(super) fn declared_on(date: Option<NaiveDate>) -> anyhow::Result<NaiveDate> {
    let today = settings::now().date_naive();
    match date {
        Some(date) if date > today => {
            Err(UsageProblem(format!("`--date` {date} is still to come: it is the day on which somebody said so"))
                .into())
        }
        date => Ok(date.unwrap_or(today)),
    }
}

fn show(run: &str, ledger: LedgerArguments, json: bool) -> anyhow::Result<ExitStatus> {
    let ledger = settings::ledger_to_list(&settings::ledger_path(ledger.ledger))?;
    let id = ledger.resolve_run(run)?;
    let record = records::run(&ledger, &id, &Assignments::read(&ledger)?)?;
    let mut summary = record.summary.clone();
    let as_of = settings::as_of(None);
    summary.assessment = Some(judgement::of_run(&ledger, &record, as_of)?);
    summary.tag_phases(RuleSet::in_force(as_of)?);
    if json {
        output::json(&summary)?;
    } else {
        output::data(&words::run(&summary))?;
    }
    Ok(ExitStatus::Done)
}
