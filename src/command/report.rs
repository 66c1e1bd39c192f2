//! `flopsmeter report`: writes documents; whatever is missing stands in them.

use flopsmeter_core::assess::Origin;
use flopsmeter_core::registry::Base;
use flopsmeter_meter::store::Ledger;
use flopsmeter_reporter::Format;
use flopsmeter_reporter::{BaseDescription, ThresholdInput, Wording, compose, write};

use crate::args::{ReportArguments, ReportCommand};
use crate::command::modifications::existing;
use crate::exit::{ExitStatus, UsageProblem};
use crate::{base, judgement, output, settings};

pub(crate) fn execute(command: ReportCommand) -> anyhow::Result<ExitStatus> {
    match command {
        ReportCommand::Threshold(arguments) => threshold(arguments),
    }
}

fn threshold(arguments: ReportArguments) -> anyhow::Result<ExitStatus> {
    let formats = formats(&arguments.format)?;
    let ledger = Ledger::open_to_read(&settings::ledger_path(arguments.ledger.ledger))?;
    let modification = existing(&ledger, &arguments.modification)?;
    let judgement = judgement::of_modification(&ledger, &modification, &arguments.rules)?;
    let input = ThresholdInput {
        modification: modification.slug,
        organisation: None,
        base: judgement.base.as_ref().map(describe).transpose()?,
        runs: judgement.runs.into_iter().map(|record| record.summary).collect(),
        assessment: judgement.assessment,
        generated: settings::now(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let document = compose(&input, &Wording::embedded("en")?)?;
    for format in formats {
        let path = write(&document, format, &arguments.out)?;
        output::data(&format!("{}\n", path.display()))?;
    }
    Ok(ExitStatus::Done)
}

fn formats(names: &[String]) -> anyhow::Result<Vec<Format>> {
    let parse = |name: &String| Format::parse(name).map_err(|problem| UsageProblem(problem.to_string()).into());
    names.iter().map(parse).collect()
}

fn describe(base: &Base<'_>) -> anyhow::Result<BaseDescription> {
    let (origin, notes) = match base {
        Base::Registry(model) => {
            let notes = model.notes.iter().chain(&model.unknown_reason).cloned();
            (model.origin(), notes.chain(base::registry()?.attribution().iter().cloned()).collect())
        }
        Base::Declared(declared) => (declared.origin(), Vec::new()),
        Base::Composed(composed) => (Origin::Computed { from: composed.from.clone() }, Vec::new()),
        Base::Unresolved { name, .. } => {
            let next_step = format!("declare the compute of {name} in a base file and name that file with --base");
            (Origin::Missing { next_step }, Vec::new())
        }
    };
    Ok(BaseDescription { name: base.name().to_owned(), flop: base.flop(), origin, notes })
}
