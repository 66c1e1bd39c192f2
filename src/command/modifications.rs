//! `flopsmeter modifications`: which runs make which model.

mod answer;
mod make;
mod questions;
mod reservations;
mod show;

use anyhow::bail;
use flopsmeter_core::ledger::body::{RunAssigned, RunUnassigned};
use flopsmeter_core::ledger::{Body, modification_stream};
use flopsmeter_core::lineage::{BaseReference, Modification};
use flopsmeter_meter::records::{self, Assignments};
use flopsmeter_meter::store::Ledger;
use flopsmeter_meter::store::merge::assign_forks;

use crate::args::{LedgerArguments, ModificationsCommand};
use crate::exit::ExitStatus;
use crate::output::{self, TextTable};
use crate::settings;

pub(crate) fn execute(command: ModificationsCommand) -> anyhow::Result<ExitStatus> {
    match command {
        ModificationsCommand::List { ledger, json } => list(ledger, json),
        ModificationsCommand::Show(arguments) => show::execute(arguments),
        ModificationsCommand::Create { modification, base, ledger } => make::create(&modification, &base, ledger),
        ModificationsCommand::Merge(arguments) => make::merge(arguments),
        ModificationsCommand::Assign { modification, run, ledger } => assign(&modification, &run, ledger),
        ModificationsCommand::Rebase(arguments) => make::rebase(arguments),
        ModificationsCommand::Close(arguments) => make::close(arguments),
        ModificationsCommand::Answer(arguments) => answer::execute(arguments),
        ModificationsCommand::Questions(arguments) => questions::execute(arguments),
        ModificationsCommand::Release { modification, reservation, by, ledger } => {
            reservations::release(&modification, &reservation, &by, ledger)
        }
        ModificationsCommand::Unassign { modification, run, ledger } => unassign(&modification, &run, ledger),
    }
}

fn list(ledger: LedgerArguments, json: bool) -> anyhow::Result<ExitStatus> {
    let ledger = settings::ledger_to_list(&settings::ledger_path(ledger.ledger))?;
    let modifications = records::modifications(&ledger)?;
    if json {
        output::json(&modifications)?;
        return Ok(ExitStatus::Done);
    }
    let mut table = TextTable::new(&["modification", "base model", ">runs", "created"]);
    for modification in &modifications {
        table.row(vec![
            modification.slug.clone(),
            base_name(modification),
            modification.runs.len().to_string(),
            modification.created.format("%Y-%m-%d").to_string(),
        ]);
    }
    output::data(&table.render())?;
    Ok(ExitStatus::Done)
}

/// What it is made from, as people call it.
fn base_name(modification: &Modification) -> String {
    let parents: Vec<String> = modification.parents().map(BaseReference::label).collect();
    if parents.is_empty() { "none".to_owned() } else { parents.join(" + ") }
}

/// The modification, or an error that names the ones there are.
pub(crate) fn existing(ledger: &Ledger, slug: &str) -> anyhow::Result<Modification> {
    if let Some(modification) = records::modification(ledger, slug)? {
        return Ok(modification);
    }
    let known: Vec<String> = records::modifications(ledger)?.into_iter().map(|known| known.slug).collect();
    if known.is_empty() {
        bail!(
            "there is no modification `{slug}`: none was recorded yet; `flopsmeter run --modification {slug} …` makes it"
        );
    }
    bail!("there is no modification `{slug}`; there are: {}", known.join(", "));
}

fn assign(slug: &str, run: &str, ledger: LedgerArguments) -> anyhow::Result<ExitStatus> {
    let mut ledger = Ledger::open(&settings::ledger_path(ledger.ledger))?;
    let run = ledger.resolve_run(run)?;
    let modification = existing(&ledger, slug)?;
    if let Some(other) = Assignments::read(&ledger)?.modification_of(&run) {
        bail!("run {run} counts to `{other}` already: `flopsmeter modifications unassign {other} {run}` takes it out");
    }
    if let Some(closed) = &modification.closed {
        bail!("modification `{slug}` was closed by {} on {}: no run is counted to it any more", closed.by, closed.date);
    }
    let record = records::run(&ledger, &run, &Assignments::default())?;
    let parents: Vec<&BaseReference> = modification.parents().collect();
    if let Some(theirs) =
        record.base.as_ref().filter(|theirs| !parents.is_empty() && !parents.iter().any(|ours| ours.is_same(theirs)))
    {
        bail!(
            "run {run} started from {}, modification `{slug}` from {}: a modification has one base model",
            theirs.label(),
            base_name(&modification)
        );
    }
    append(&mut ledger, slug, &Body::RunAssigned(RunAssigned { run: run.clone() }))?;
    let mut text = format!("run {run} counts to {slug}\n");
    for fork in assign_forks(&mut ledger, slug, &run, settings::now())? {
        text.push_str(&format!("run {fork}, which parted from it, counts to {slug} as well\n"));
    }
    output::data(&text)?;
    Ok(ExitStatus::Done)
}

fn unassign(slug: &str, run: &str, ledger: LedgerArguments) -> anyhow::Result<ExitStatus> {
    let mut ledger = Ledger::open(&settings::ledger_path(ledger.ledger))?;
    let run = ledger.resolve_run(run)?;
    if !existing(&ledger, slug)?.runs.contains(&run) {
        bail!("run {run} does not count to `{slug}`: `flopsmeter modifications show {slug}` lists its runs");
    }
    append(&mut ledger, slug, &Body::RunUnassigned(RunUnassigned { run: run.clone() }))?;
    output::data(&format!("run {run} no longer counts to {slug}\n"))?;
    Ok(ExitStatus::Done)
}

/// Adds an entry to the modification's own chain.
pub(super) fn append(ledger: &mut Ledger, slug: &str, body: &Body) -> anyhow::Result<()> {
    ledger.append(&modification_stream(slug), settings::now(), body.kind(), &body.to_text()?)?;
    Ok(())
}
