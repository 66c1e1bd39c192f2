//! `flopsmeter ledger`: what concerns the ledger as a whole.

use std::path::{Path, PathBuf};

use flopsmeter_meter::store::{Ledger, recorder};

use crate::args::{LedgerArguments, LedgerCommand};
use crate::exit::ExitStatus;
use crate::{output, settings};

pub(crate) fn execute(command: LedgerCommand) -> anyhow::Result<ExitStatus> {
    match command {
        LedgerCommand::Merge { spools, ledger } => merge(spools, ledger),
    }
}

fn merge(spools: Vec<PathBuf>, ledger: LedgerArguments) -> anyhow::Result<ExitStatus> {
    let spools = if spools.is_empty() { left_behind() } else { spools };
    if spools.is_empty() {
        output::data("there is nothing to merge\n")?;
        return Ok(ExitStatus::Done);
    }
    let mut ledger = Ledger::open(&settings::ledger_path(ledger.ledger))?;
    for spool in spools {
        let entries = recorder::merge(&mut ledger, &spool)?;
        // Only what is safe in the ledger is taken away, and its name says what became of it.
        fs_err::rename(&spool, spool.with_extension("merged"))?;
        output::data(&format!("{}: {entries} entries merged\n", spool.display()))?;
    }
    Ok(ExitStatus::Done)
}

/// Spools in the default folders.
pub(crate) fn left_behind() -> Vec<PathBuf> {
    let files = |folder: PathBuf| fs_err::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_spool = |path: &PathBuf| Path::new(path).extension().is_some_and(|extension| extension == "jsonl");
    let mut found: Vec<PathBuf> = settings::spool_folders().into_iter().flat_map(files).filter(is_spool).collect();
    found.sort();
    found
}
