//! Going on with a run that has ended or was cut, and what else a run may be told of itself.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use chrono::{DateTime, TimeDelta, Utc};
use flopsmeter_core::ledger::body::RUN_CLOSED;
use flopsmeter_core::ledger::run_stream;
use flopsmeter_core::lineage::BaseReference;
use flopsmeter_core::run::Finding;
use flopsmeter_core::tally::Tally;
use flopsmeter_meter::records::{Assignments, RunReader};
use flopsmeter_meter::store::spool::{self, Writing};
use flopsmeter_meter::store::writer::Untaken;
use flopsmeter_meter::store::{Ledger, StoreProblem, Writer, merge};

use crate::args::MeteringArguments;
use crate::command::ledger::{bring_in, left_behind, of_run};
use crate::exit::UsageProblem;
use crate::{judgement, settings};

/// Where it cannot be seen who writes a run: one that was written so lately is taken to be written still. The devices of a run are read
/// once a second.
const LATELY: TimeDelta = TimeDelta::minutes(1);

/// As much of a run is merged before it goes on: the job runs unmetered meanwhile, and its exit would wait. An hour of eight GPUs.
const MERGED_AT_ONCE_BYTES: u64 = 8 << 20;

const RESUME_IMPOSSIBLE: &str = "resume-impossible";

/// The run that is gone on with: its full id, or why it is recorded as a run of its own.
pub(crate) type Resumed = Result<String, Finding>;

/// The run that `--resume` means. A run that is not there is a word that cannot be understood; a ledger that cannot be read is no
/// reason to keep a job from starting.
pub(crate) fn named(prefix: &str, arguments: &MeteringArguments) -> Result<Resumed, UsageProblem> {
    let path = settings::ledger_path(arguments.ledger.ledger.clone());
    match Ledger::open_to_read(&path).and_then(|ledger| ledger.resolve_run(prefix)) {
        Ok(run) => Ok(Ok(run)),
        Err(problem @ (StoreProblem::Absent { .. } | StoreProblem::UnknownRun { .. })) => {
            left_whole(prefix).map(Ok).ok_or_else(|| UsageProblem(format!("--resume: {problem}")))
        }
        Err(problem @ StoreProblem::AmbiguousRun { .. }) => Err(UsageProblem(format!("--resume: {problem}"))),
        Err(problem) => Ok(Err(impossible(&format!("{problem}; what follows is recorded as a run of its own")))),
    }
}

/// The one run that begins so and is in a spool as a whole: its ledger could never be written.
fn left_whole(prefix: &str) -> Option<String> {
    let spools = left_behind();
    let runs = spools.iter().filter_map(|path| spool::run_of(path)).filter(|(run, _)| run.starts_with(prefix));
    let mut runs: Vec<&str> = runs.map(|(run, _)| run).collect();
    runs.dedup();
    let [run] = runs.as_slice() else { return None };
    Some((*run).to_owned())
}

fn impossible(text: &str) -> Finding {
    let text = format!("{text}: add it to the modification by hand");
    Finding { code: RESUME_IMPOSSIBLE.to_owned(), text }
}

/// What a job is recorded as.
#[derive(Default)]
pub(super) struct Recorded {
    /// The run.
    pub(super) run: String,
    /// What is on record of it; `None` for a new one.
    pub(super) earlier: Option<Tally>,
    /// Who writes it.
    pub(super) writer: Option<Writer>,
    /// The run that was to be gone on with, where that cannot be.
    former: Option<Former>,
}

/// A run that is not gone on with.
struct Former {
    run: String,
    cause: String,
    base: Option<BaseReference>,
}

/// The run to record, which is `new` where none is gone on with.
pub(super) fn take_up(
    resumed: Option<Resumed>,
    new: String,
    ledger: &mut Result<Ledger, StoreProblem>,
    findings: &mut Vec<Finding>,
) -> Recorded {
    let former = match resumed {
        None => None,
        Some(Err(finding)) => {
            findings.push(finding);
            None
        }
        Some(Ok(run)) => match go_on(&run, ledger, findings) {
            Ok((tally, writer)) => return Recorded { run, earlier: Some(tally), writer, former: None },
            Err(cause) => {
                let base = ledger.as_ref().ok().and_then(|ledger| read(&run, ledger).ok()?.base().cloned());
                Some(Former { run, cause, base })
            }
        },
    };
    let writer = ledger.as_ref().ok().and_then(|ledger| Writer::take(ledger.path(), &new).ok());
    Recorded { run: new, earlier: None, writer, former }
}

/// What is on record of a run, once nobody else writes it and all that is left of it here is in the ledger; or why it stays as it is.
fn go_on(
    run: &str,
    ledger: &mut Result<Ledger, StoreProblem>,
    findings: &mut Vec<Finding>,
) -> Result<(Tally, Option<Writer>), String> {
    let ledger = ledger.as_mut().map_err(|problem| problem.to_string())?;
    let is_written = || "another meter writes it now".to_owned();
    let writer = match Writer::take(ledger.path(), run) {
        Ok(writer) => Some(writer),
        Err(Untaken::Held) => return Err(is_written()),
        Err(Untaken::Impossible(_)) if was_written_lately(run, ledger, settings::now()) => return Err(is_written()),
        Err(Untaken::Impossible(_)) => None,
    };
    let spools = of_run(run);
    for spool in &spools {
        let writing = spool::writing(spool, settings::now()).map_err(|problem| problem.to_string())?;
        if matches!(writing, Writing::Seen | Writing::Possible { has_locks: false }) {
            return Err(is_written());
        }
    }
    for spool in waiting(spools, ledger).map_err(|problem| problem.to_string())? {
        let merged = bring_in(ledger, &spool).map_err(|problem| format!("a part of it cannot be merged: {problem}"))?;
        let is_news = merged.entries > 0 || !spool::is_merged(&spool);
        findings.extend(merged.fork.filter(|_| is_news).map(|fork| fork.finding()));
    }
    let tally = read(run, ledger).map_err(|problem| problem.to_string())?;
    Ok((tally, writer))
}

/// Those of the files of a run that have what the ledger has not.
fn waiting(files: Vec<PathBuf>, ledger: &Ledger) -> anyhow::Result<Vec<PathBuf>> {
    let (mut spools, mut bytes) = (Vec::new(), 0_u64);
    for spool in files {
        if merge::is_known(ledger, &spool)? {
            continue;
        }
        let length = fs_err::metadata(&spool)?.len();
        // A fork that was merged is never known, and nothing of it is to come first.
        if spool::is_merged(&spool) && (length > MERGED_AT_ONCE_BYTES || !merge::has_grown(ledger, &spool)?) {
            continue;
        }
        bytes = bytes.saturating_add(length);
        spools.push(spool);
    }
    if bytes > MERGED_AT_ONCE_BYTES {
        bail!(
            "{} MiB of it are not merged, which takes too long while a job runs: `flopsmeter ledger merge` does it between two jobs",
            bytes >> 20
        );
    }
    Ok(spools)
}

fn was_written_lately(run: &str, ledger: &Ledger, now: DateTime<Utc>) -> bool {
    let Ok(Some(head)) = ledger.head(&run_stream(run)) else { return false };
    let mut last = None;
    let read = ledger.visit_from(&run_stream(run), head.sequence, |entry| last = Some((entry.at, entry.kind)));
    read.is_ok() && last.is_some_and(|(at, kind)| kind != RUN_CLOSED && now - at < LATELY)
}

fn read(run: &str, ledger: &Ledger) -> Result<Tally, StoreProblem> {
    let mut reader = RunReader::new(run);
    reader.follow(ledger)?;
    Ok(reader.into_tally())
}

impl Recorded {
    /// The modification of the run: the one to which an earlier segment counts, or the one that was named.
    pub(super) fn modification(
        &self,
        named: Option<String>,
        ledger: &Result<Ledger, StoreProblem>,
        findings: &mut Vec<Finding>,
    ) -> Option<String> {
        let assignments = || ledger.as_ref().ok().and_then(|ledger| Assignments::read(ledger).ok()).unwrap_or_default();
        if let Some(former) = &self.former {
            let slug = named.or_else(|| assignments().modification_of(&former.run).map(str::to_owned));
            findings.push(self.instead_of(former, slug.as_deref()));
            return slug;
        }
        let (run, Some(_)) = (&self.run, &self.earlier) else { return named };
        let assignments = assignments();
        let Some(known) = assignments.modification_of(run) else { return named };
        if let Some(named) = named.filter(|named| named != known) {
            let text = format!(
                "run {run} counts to `{known}`, not to `{named}`: it goes on there; `flopsmeter modifications unassign` takes it out"
            );
            findings.push(Finding { code: "modification-conflict".to_owned(), text });
        }
        Some(known.to_owned())
    }

    fn instead_of(&self, former: &Former, slug: Option<&str>) -> Finding {
        let Former { run, cause, .. } = former;
        let text = format!("run {run} cannot be gone on with: {cause}; what follows is recorded as run {}", self.run);
        match slug {
            Some(slug) => Finding { code: RESUME_IMPOSSIBLE.to_owned(), text: format!("{text} of `{slug}`") },
            None => impossible(&text),
        }
    }

    /// The base model of the run: a run has one, so that a segment of it is held against what the first one was.
    pub(super) fn base(&self, named: Option<BaseReference>, findings: &mut Vec<Finding>) -> Option<BaseReference> {
        if let Some(former) = &self.former {
            return named.or_else(|| former.base.clone());
        }
        let Some(own) = self.earlier.as_ref().and_then(Tally::base) else { return named };
        if let Some(named) = named.filter(|named| !named.is_same(own)) {
            let text = format!(
                "run {} is of base model {}, --base names {}: it goes on with its own; give the other base a run of its own",
                self.run,
                own.label(),
                named.label()
            );
            findings.push(Finding { code: "base-conflict".to_owned(), text });
        }
        Some(own.clone())
    }
}

/// Refuses a kind of work that the rule set of today does not know.
pub(crate) fn refuse_unknown_phase(arguments: &MeteringArguments) -> anyhow::Result<()> {
    let Some(phase) = &arguments.phase else { return Ok(()) };
    let rules = judgement::law(judgement::IN_FORCE, settings::as_of(None)).context("--phase cannot be looked up")?;
    if rules.phase(phase).is_some() {
        return Ok(());
    }
    let known: Vec<&str> = rules.phases().iter().map(|row| row.name.as_str()).collect();
    let text = format!("--phase `{phase}` is no kind of work of {}; there are: {}", rules.id(), known.join(", "));
    Err(UsageProblem(text).into())
}
