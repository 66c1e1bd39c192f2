//! `flopsmeter ledger`: what concerns the ledger as a whole.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use flopsmeter_meter::store::merge::{self, Merged};
use flopsmeter_meter::store::spool::{self, Writing};
use flopsmeter_meter::store::{Ledger, StoreProblem};

use crate::args::{LedgerArguments, LedgerCommand};
use crate::exit::ExitStatus;
use crate::{output, settings};

pub(crate) fn execute(command: LedgerCommand) -> anyhow::Result<ExitStatus> {
    match command {
        LedgerCommand::Merge { spools, ledger } => merge(spools, ledger),
    }
}

fn merge(spools: Vec<PathBuf>, ledger: LedgerArguments) -> anyhow::Result<ExitStatus> {
    let path = settings::ledger_path(ledger.ledger);
    let spools = if spools.is_empty() { [grown(&path), left_behind()].concat() } else { spools };
    if spools.is_empty() {
        output::data("there is nothing to merge\n")?;
        return Ok(ExitStatus::Done);
    }
    let mut ledger = Ledger::open(&path)?;
    let mut failed = None;
    for spool in spools {
        let merged = bring_in(&mut ledger, &spool).with_context(|| format!("{} is not merged", spool.display()));
        match merged {
            // A fork that was there already.
            Ok(merged) if spool::is_merged(&spool) && merged.entries == 0 => {}
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

/// Brings in a spool. Only what is safe in the ledger, and written no more, is taken away, and its name says what became of it.
pub(crate) fn bring_in(ledger: &mut Ledger, spool: &Path) -> Result<Merged, StoreProblem> {
    let merged = merge::bring_in(ledger, spool, settings::now())?;
    if merged.writing == Writing::Over && !spool::is_merged(spool) {
        let renamed = fs_err::rename(spool, spool::merged_name(spool));
        renamed.map_err(|cause| StoreProblem::Spool { path: spool.to_owned(), cause })?;
    }
    Ok(merged)
}

fn told(Merged { entries, fork, writing }: &Merged) -> String {
    let fork = fork.as_ref().map_or_else(String::new, |fork| format!("; {}", fork.finding().text));
    let more = match writing {
        Writing::Seen => "; a meter is still writing it, and merges the rest when its job ends",
        Writing::Possible { .. } => {
            "; it was written just now and its run has no end there: the file is kept, merge it again in some minutes"
        }
        Writing::Over => "",
    };
    format!("{entries} entries merged{fork}{more}")
}

/// Files of the default folders that were merged and have more than the ledger at `path` has of their runs: their meters lived on.
fn grown(path: &Path) -> Vec<PathBuf> {
    let Ok(ledger) = Ledger::open_to_read(path) else { return Vec::new() };
    let has_grown = |path: &PathBuf| merge::has_grown(&ledger, path).unwrap_or(false);
    spools().into_iter().filter(|path| spool::is_merged(path)).filter(has_grown).collect()
}

/// Spools in the default folders that are not merged, those of one run in the order in which they were made.
pub(crate) fn left_behind() -> Vec<PathBuf> {
    spools().into_iter().filter(|path| !spool::is_merged(path)).collect()
}

/// All files of one run, merged or not.
pub(crate) fn of_run(run: &str) -> Vec<PathBuf> {
    let name = spool::file_name(run);
    spools().into_iter().filter(|path| spool::run_of(path).is_some_and(|(of, _)| of == name)).collect()
}

fn spools() -> Vec<PathBuf> {
    let files = |folder: PathBuf| fs_err::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let files = settings::spool_folders().into_iter().flat_map(files);
    let mut found: Vec<PathBuf> = files.filter(|path| spool::run_of(path).is_some()).collect();
    found.sort_by(|left, right| spool::run_of(left).cmp(&spool::run_of(right)));
    found
}
