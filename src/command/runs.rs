//! `flopsmeter runs`: what was recorded, run by run.

use flopsmeter_core::ledger::RUN_PREFIX;
use flopsmeter_core::rules::RuleSet;
use flopsmeter_core::run::{RunState, RunSummary};
use flopsmeter_meter::records::{self, Assignments};
use flopsmeter_meter::store::Ledger;

use crate::args::{LedgerArguments, RunsCommand};
use crate::exit::ExitStatus;
use crate::judgement;
use crate::output::{self, TextTable};
use crate::settings;
use crate::words;

pub(crate) fn execute(command: RunsCommand) -> anyhow::Result<ExitStatus> {
    match command {
        RunsCommand::List { ledger, json } => list(ledger, json),
        RunsCommand::Show { run, ledger, json } => show(&run, ledger, json),
    }
}

fn list(ledger: LedgerArguments, json: bool) -> anyhow::Result<ExitStatus> {
    let ledger = Ledger::open_to_read(&settings::ledger_path(ledger.ledger))?;
    let assignments = Assignments::read(&ledger)?;
    let mut runs: Vec<RunSummary> = Vec::new();
    for stream in ledger.streams(RUN_PREFIX)? {
        let id = stream.strip_prefix(RUN_PREFIX).unwrap_or(&stream);
        runs.push(records::run(&ledger, id, &assignments)?.summary);
    }
    if json {
        output::json(&runs)?;
        return Ok(ExitStatus::Done);
    }
    let mut table = TextTable::new(&["run", "started", "state", "modification", ">training FLOP", "command"]);
    for run in &runs {
        table.row(vec![
            run.run.clone(),
            run.started.format("%Y-%m-%d %H:%M:%S").to_string(),
            if run.state == RunState::Open { "open".to_owned() } else { "closed".to_owned() },
            run.modification.clone().unwrap_or_else(|| "-".to_owned()),
            run.flops.map_or_else(|| "-".to_owned(), |flops| flops.training.scientific(3)),
            run.command.join(" "),
        ]);
    }
    output::data(&table.render())?;
    Ok(ExitStatus::Done)
}

fn show(run: &str, ledger: LedgerArguments, json: bool) -> anyhow::Result<ExitStatus> {
    let ledger = Ledger::open_to_read(&settings::ledger_path(ledger.ledger))?;
    let id = ledger.resolve_run(run)?;
    let record = records::run(&ledger, &id, &Assignments::read(&ledger)?)?;
    let mut summary = record.summary.clone();
    let as_of = settings::as_of(None);
    summary.assessment = Some(judgement::of_run(&record, as_of)?);
    summary.tag_phases(RuleSet::in_force(as_of)?);
    if json {
        output::json(&summary)?;
    } else {
        output::data(&words::run(&summary))?;
    }
    Ok(ExitStatus::Done)
}
