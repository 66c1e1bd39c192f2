//! `flopsmeter ledger`: what concerns the ledger as a whole.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use flopsmeter_meter::store::merge::{self, Merged};
use flopsmeter_meter::store::{Ledger, StoreProblem, spool};

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
    let mut failed = None;
    for spool in spools {
        let merged = bring_in(&mut ledger, &spool).with_context(|| format!("{} is not merged", spool.display()));
        match merged {
            Ok(merged) => output::data(&format!("{}: {}\n", spool.display(), told(&merged)))?,
            // One that cannot be merged keeps nobody else's records out.
            Err(problem) => {
                if let Some(earlier) = failed.replace(problem) {
                    output::talk(&format!("{earlier:#}"));
                }
            }
        }
    }
    failed.map_or(Ok(ExitStatus::Done), Err)
}

/// Brings in a spool. Only what is safe in the ledger is taken away, and its name says what became of it.
pub(crate) fn bring_in(ledger: &mut Ledger, spool: &Path) -> Result<Merged, StoreProblem> {
    let merged = merge::bring_in(ledger, spool, settings::now())?;
    if !merged.is_written {
        let renamed = fs_err::rename(spool, spool.with_extension("merged"));
        renamed.map_err(|cause| StoreProblem::Spool { path: spool.to_owned(), cause })?;
    }
    Ok(merged)
}

fn told(Merged { entries, fork, is_written }: &Merged) -> String {
    let fork = fork.as_ref().map_or_else(String::new, |fork| format!("; {}", fork.finding().text));
    let more = if *is_written { "; a meter is still writing it, and merges the rest when its job ends" } else { "" };
    format!("{entries} entries merged{fork}{more}")
}

/// Spools in the default folders, those of one run in the order in which they were made.
pub(crate) fn left_behind() -> Vec<PathBuf> {
    let files = |folder: PathBuf| fs_err::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let files = settings::spool_folders().into_iter().flat_map(files);
    let mut found: Vec<PathBuf> = files.filter(|path| spool::run_of(path).is_some()).collect();
    found.sort_by(|left, right| spool::run_of(left).cmp(&spool::run_of(right)));
    found
}

/// Those of one run.
pub(crate) fn left_behind_of(run: &str) -> Vec<PathBuf> {
    let name = spool::file_name(run);
    left_behind().into_iter().filter(|path| spool::run_of(path).is_some_and(|(of, _)| of == name)).collect()
}
