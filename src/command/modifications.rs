//! `flopsmeter modifications`: which runs make which model.

mod answer;
mod questions;
mod reservations;

use anyhow::{Context as _, bail};
use flopsmeter_core::ledger::body::{ModificationCreated, RunAssigned, RunUnassigned};
use flopsmeter_core::ledger::{Body, modification_stream};
use flopsmeter_core::lineage::Modification;
use flopsmeter_meter::records::{self, Assignments};
use flopsmeter_meter::store::Ledger;

use crate::args::{LedgerArguments, ModificationsCommand};
use crate::base;
use crate::exit::ExitStatus;
use crate::output::{self, TextTable};
use crate::settings;

pub(crate) fn execute(command: ModificationsCommand) -> anyhow::Result<ExitStatus> {
    match command {
        ModificationsCommand::List { ledger, json } => list(ledger, json),
        ModificationsCommand::Show { modification, ledger, json } => show(&modification, ledger, json),
        ModificationsCommand::Create { modification, base, ledger } => create(&modification, &base, ledger),
        ModificationsCommand::Assign { modification, run, ledger } => assign(&modification, &run, ledger),
        ModificationsCommand::Answer(arguments) => answer::execute(arguments),
        ModificationsCommand::Questions(arguments) => questions::execute(arguments),
        ModificationsCommand::Release { modification, reservation, by, ledger } => {
            reservations::release(&modification, &reservation, &by, ledger)
        }
        ModificationsCommand::Unassign { modification, run, ledger } => unassign(&modification, &run, ledger),
    }
}

fn list(ledger: LedgerArguments, json: bool) -> anyhow::Result<ExitStatus> {
    let ledger = Ledger::open_to_read(&settings::ledger_path(ledger.ledger))?;
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

fn base_name(modification: &Modification) -> String {
    modification.base.as_ref().map_or_else(|| "none".to_owned(), |base| base.name().to_owned())
}

fn show(slug: &str, ledger: LedgerArguments, json: bool) -> anyhow::Result<ExitStatus> {
    let ledger = Ledger::open_to_read(&settings::ledger_path(ledger.ledger))?;
    let modification = existing(&ledger, slug)?;
    if json {
        output::json(&reservations::WithBudget::of(&ledger, &modification))?;
        return Ok(ExitStatus::Done);
    }
    let mut text = format!("modification  {slug}\nbase model    {}\n", base_name(&modification));
    for run in &modification.runs {
        let left_out = modification
            .exclusion_of(run)
            .map_or_else(String::new, |out| format!(", left out by {} on {}: {}", out.by, out.date, out.reason));
        text.push_str(&format!("run           {run}{left_out}\n"));
    }
    for (question, answer) in modification.answers.iter() {
        text.push_str(&format!(
            "answer        {}: {}, {}, {}\n",
            question.name(),
            answer.value,
            answer.by,
            answer.date
        ));
    }
    text.push_str(&reservations::words(&ledger, &modification));
    output::data(&text)?;
    Ok(ExitStatus::Done)
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

fn create(slug: &str, base: &str, ledger: LedgerArguments) -> anyhow::Result<ExitStatus> {
    let base = base::resolve(base)?.reference();
    let mut ledger = Ledger::open(&settings::ledger_path(ledger.ledger))?;
    let name = base.name().to_owned();
    let body = Body::ModificationCreated(ModificationCreated { slug: slug.to_owned(), base: Some(base) });
    let written = ledger.append_first(&modification_stream(slug), settings::now(), body.kind(), &body.to_text()?)?;
    written.with_context(|| format!("modification `{slug}` exists already: `flopsmeter modifications show {slug}`"))?;
    output::data(&format!("made modification {slug} on {name}\n"))?;
    Ok(ExitStatus::Done)
}

fn assign(slug: &str, run: &str, ledger: LedgerArguments) -> anyhow::Result<ExitStatus> {
    let mut ledger = Ledger::open(&settings::ledger_path(ledger.ledger))?;
    let run = ledger.resolve_run(run)?;
    let modification = existing(&ledger, slug)?;
    if let Some(other) = Assignments::read(&ledger)?.modification_of(&run) {
        bail!("run {run} counts to `{other}` already: `flopsmeter modifications unassign {other} {run}` takes it out");
    }
    let record = records::run(&ledger, &run, &Assignments::default())?;
    let bases = modification.base.as_ref().zip(record.base.as_ref());
    if let Some((ours, theirs)) = bases.filter(|(ours, theirs)| !ours.is_same(theirs)) {
        bail!(
            "run {run} started from {}, modification `{slug}` from {}: a modification has one base model",
            theirs.name(),
            ours.name()
        );
    }
    append(&mut ledger, slug, &Body::RunAssigned(RunAssigned { run: run.clone() }))?;
    output::data(&format!("run {run} counts to {slug}\n"))?;
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
