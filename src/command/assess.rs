//! `flopsmeter assess`: where the law puts a modification.

use flopsmeter_meter::store::Ledger;

use crate::args::AssessArguments;
use crate::command::modifications::existing;
use crate::exit::ExitStatus;
use crate::{judgement, output, settings, words};

pub(crate) fn execute(arguments: AssessArguments) -> anyhow::Result<ExitStatus> {
    let ledger = Ledger::open_to_read(&settings::ledger_path(arguments.ledger.ledger))?;
    let modification = existing(&ledger, &arguments.modification)?;
    let judgement = judgement::of_modification(&ledger, &modification, &arguments.rules)?;
    if arguments.json {
        output::json(&judgement.assessment)?;
    } else {
        output::data(&words::assessment(&judgement.assessment))?;
    }
    Ok(ExitStatus::Done)
}
