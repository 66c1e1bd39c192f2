//! What `run` and `session` share: everything a session starts with, gathered so that no fault of ours keeps a job from running.

mod resume;

use std::path::{Path, PathBuf};

use flopsmeter_core::alert::Levels;
use flopsmeter_core::budget::Reservation;
use flopsmeter_core::judge::Judge;
use flopsmeter_core::ledger::body::{BaseBound, ModificationCreated, RunAssigned, RunOpened, SegmentOpened};
use flopsmeter_core::ledger::{Body, modification_stream, run_stream};
use flopsmeter_core::lineage::{BaseReference, LineageProblem, MODIFICATION_SCHEME, Modification, check};
use flopsmeter_core::run::{Finding, RunSummary};
use flopsmeter_core::tally::{DEVICES_REPLAYED, Tally};
use flopsmeter_meter::alert::config::{COMMAND_PATIENCE, ConfigProblem};
use flopsmeter_meter::alert::{AlertConfig, Dispatcher, Sender, Sink};
use flopsmeter_meter::binding::bind;
use flopsmeter_meter::budget::{self, Spender};
use flopsmeter_meter::daemon::StatusReporter;
use flopsmeter_meter::device::elsewhere;
use flopsmeter_meter::records;
use flopsmeter_meter::session::{GateOrder, SessionStart, Siblings, Watched};
use flopsmeter_meter::store::merge::assign_forks;
use flopsmeter_meter::store::{Ledger, RunRecorder, StoreProblem};

use crate::args::{DeviceChoice, MeteringArguments};
use crate::base;
use crate::exit::UsageProblem;
use crate::lineage::{self, Behind};
use crate::{judgement, settings};

use resume::{Recorded, take_up};
pub(crate) use resume::{Resumed, named, refuse_unknown_phase};

/// A session's beginning and where it is recorded.
pub(crate) struct Prepared {
    pub(crate) start: SessionStart,
    pub(crate) recorder: RunRecorder,
}

/// What is metered.
pub(crate) struct Job {
    /// Id of the run, where it is a new one.
    pub(crate) run: String,
    /// The run that it goes on with, or why it cannot.
    pub(crate) resumed: Option<Resumed>,
    /// The command as it was given.
    pub(crate) command: Vec<String>,
    /// Its process id; 0 before it is started.
    pub(crate) pid: u32,
    /// Time between progress reports.
    pub(crate) progress_period: Option<std::time::Duration>,
    /// When something is said of the line.
    pub(crate) alerts: AlertSettings,
    /// What stops it.
    pub(crate) gate: Option<GateOrder>,
}

/// When something is said of the line.
#[derive(Clone, Debug, Default)]
pub(crate) struct AlertSettings {
    /// The levels.
    pub(crate) levels: Levels,
    /// Where alerts go besides standard error and the ledger.
    pub(crate) sinks: Vec<Sink>,
    /// What of the settings cannot be used.
    pub(crate) findings: Vec<Finding>,
}

/// The argument's word, else the environment's, else the file's. A word of the command line that cannot be understood has to be told
/// before the job starts; one of the environment, or a secret that is not there, was not said of this job and is no reason to stop it.
pub(crate) fn alerts(arguments: &MeteringArguments) -> anyhow::Result<AlertSettings> {
    let mut findings = Vec::new();
    let mut unreadable = |text: String| findings.push(Finding { code: "alerts-unreadable".to_owned(), text });
    let named = arguments.alerts.clone().or_else(settings::alerts_file);
    let config = match named.as_deref().map(settings::alert_config).transpose() {
        Ok(config) => config.unwrap_or_default(),
        Err(problem) if arguments.alerts.is_some() && !matches!(problem, ConfigProblem::Secret { .. }) => {
            return Err(UsageProblem(problem.to_string()).into());
        }
        Err(problem) => {
            unreadable(format!("{problem}; the job runs, and no alert goes to a sink of that file"));
            AlertConfig::default()
        }
    };
    let of_environment = settings::alert_levels().unwrap_or_else(|problem| {
        unreadable(format!("{problem}; the job runs, and that variable is passed over"));
        None
    });
    let levels = arguments.alert_at.clone().or(of_environment).or(config.levels);
    let command = settings::alert_command(arguments.alert_command.clone());
    let command = command.map(|command| Sink::Command { command, patience: COMMAND_PATIENCE });
    let sinks = config.sinks.into_iter().chain(command).collect();
    Ok(AlertSettings { levels: levels.unwrap_or_default(), sinks, findings })
}

/// Gathers everything. What goes wrong becomes a finding.
pub(crate) fn prepare(arguments: &MeteringArguments, job: Job) -> anyhow::Result<Prepared> {
    let mut findings: Vec<Finding> = trace_finding(&arguments.device).into_iter().collect();
    findings.extend(job.alerts.findings);
    let job_command = job.command.clone();
    let path = settings::ledger_path(arguments.ledger.ledger.clone());
    let mut ledger = Ledger::open(&path);
    let taken = take_up(job.resumed, job.run, &mut ledger, &mut findings);
    let slug = taken.modification(arguments.modification.clone(), &ledger, &mut findings);
    let named = arguments.base.as_deref().and_then(|argument| resolve(argument, &mut findings));
    let reference = taken.base(named, &mut findings);
    let Recorded { run, earlier, writer, .. } = taken;
    let job = Job { run, resumed: None, alerts: AlertSettings { findings: Vec::new(), ..job.alerts }, ..job };
    let recorder = RunRecorder::begin(ledger, &path, &job.run, settings::spool_folders(), settings::now());
    let mut recorder = recorder.held_by(writer);
    let member = Member { run: &job.run, job: arguments.job.as_deref(), wanted: arguments.reservation.as_deref() };
    let membership = slug.as_deref().map(|slug| join(&mut recorder, slug, reference.as_ref(), member));
    let membership = membership.unwrap_or_default();
    findings.extend(membership.findings);
    // A run that names another base is judged by that one, whatever its modification is bound to.
    let base = reference.clone().or(membership.modification.base.clone());
    let made_from = Modification { base, ..membership.modification };
    let judge = judge(recorder.ledger().map(|ledger| &*ledger), &made_from, &mut findings)?;
    let siblings = recorder.ledger().and_then(|ledger| watch(ledger, member, &made_from, &judge));
    let sender = Sender {
        run: job.run.clone(),
        modification: slug.clone().filter(|_| membership.joined),
        host: settings::host(),
    };
    let start = SessionStart {
        run: RunOpened {
            run: job.run,
            command: job.command,
            host: settings::host(),
            base: arguments.base.clone(),
            modification: slug.filter(|_| membership.joined),
            phase: arguments.phase.clone(),
            job: arguments.job.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            folder: settings::working_folder(),
        },
        base: made_from.base,
        segment: SegmentOpened {
            segment: earlier.as_ref().map_or(0, Tally::segments),
            host: settings::host(),
            boot: settings::boot_id(),
            pid: job.pid,
            claim: arguments.gpus.clone(),
        },
        earlier,
        elsewhere: elsewhere::of_command(&job_command),
        findings,
        siblings,
        reservation: membership.reservation,
        judge,
        levels: job.alerts.levels,
        sinks: Dispatcher::new(job.alerts.sinks, sender),
        gate: job.gate,
        progress_period: job.progress_period,
        status: StatusReporter::new(settings::daemon_sockets()),
    };
    Ok(Prepared { start, recorder })
}

/// The base model that `--base` names; a miss becomes a finding.
pub(crate) fn resolve(argument: &str, findings: &mut Vec<Finding>) -> Option<BaseReference> {
    base::reference(argument)
        .map_err(|problem| {
            let text = format!(
                "the base model `{argument}` is not known: {problem:#}; the verdict stays undetermined until it is"
            );
            findings.push(Finding { code: "base-unknown".to_owned(), text });
        })
        .ok()
}

/// The judge of today. House rules that cannot be applied are no reason to leave the job without the law's verdict; what cannot be read of
/// what is behind it leaves the verdict open.
fn judge(ledger: Option<&Ledger>, modification: &Modification, findings: &mut Vec<Finding>) -> anyhow::Result<Judge> {
    let as_of = settings::as_of(None);
    let house = settings::house_rules(None);
    let rules = judgement::rule_set(judgement::IN_FORCE, as_of, house).or_else(|problem| {
        let text = format!("{problem:#}; the law's own lines are applied, and no stricter ones");
        findings.push(Finding { code: "house-rules-unreadable".to_owned(), text });
        judgement::law(judgement::IN_FORCE, as_of)
    })?;
    let behind = lineage::behind(ledger, modification, rules, as_of).unwrap_or_else(|problem| {
        let text = format!("what this run starts from cannot be read: {problem:#}; the verdict stays undetermined");
        findings.push(Finding { code: "base-unreadable".to_owned(), text });
        Behind::default()
    });
    Ok(judgement::judge_of(modification, &behind, rules, as_of))
}

/// A run's place in its modification.
#[derive(Default)]
struct Membership {
    joined: bool,
    /// The modification as it was found; nothing of it where the run did not join.
    modification: Modification,
    reservation: Option<Reservation>,
    findings: Vec<Finding>,
}

/// A run that is to belong to a modification.
#[derive(Clone, Copy)]
struct Member<'a> {
    run: &'a str,
    /// The job that it is a part of.
    job: Option<&'a str>,
    /// The reservation that it is to spend.
    wanted: Option<&'a str>,
}

/// Makes the modification where it is new and assigns the run, unless the two have different base models.
fn join(recorder: &mut RunRecorder, slug: &str, base: Option<&BaseReference>, member: Member<'_>) -> Membership {
    let run = member.run;
    let Some(ledger) = recorder.ledger() else {
        let text =
            format!("run {run} could not be assigned to `{slug}` while the ledger cannot be written; assign it later");
        let findings = vec![Finding { code: "modification-unassigned".to_owned(), text }];
        return Membership { findings, ..Membership::default() };
    };
    try_join(ledger, slug, base, member).unwrap_or_else(|problem| {
        let text = format!("run {run} could not be assigned to `{slug}` ({problem}); assign it later");
        let findings = vec![Finding { code: "modification-unassigned".to_owned(), text }];
        Membership { findings, ..Membership::default() }
    })
}

fn try_join(
    ledger: &mut Ledger,
    slug: &str,
    base: Option<&BaseReference>,
    member: Member<'_>,
) -> anyhow::Result<Membership> {
    if let Some(finding) = unfollowable(ledger, slug, base)? {
        return Ok(Membership { findings: vec![finding], ..Membership::default() });
    }
    let created = Body::ModificationCreated(ModificationCreated { slug: slug.to_owned(), base: base.cloned() });
    // Looked at again as it is written: another process may have closed a circle meanwhile.
    if let Err(problem) = bind(ledger, slug, settings::now(), &created)? {
        return Ok(Membership { findings: vec![circular(&problem)], ..Membership::default() });
    }
    let mut modification = records::modification(ledger, slug)?.unwrap_or_default();
    let may_be_bound = modification.merge.is_none() && modification.closed.is_none();
    if let (Some(base), None) = (base.filter(|_| may_be_bound), &modification.base) {
        let bound = Body::BaseBound(BaseBound { base: base.clone() });
        if let Err(problem) = bind(ledger, slug, settings::now(), &bound)? {
            return Ok(Membership { findings: vec![circular(&problem)], ..Membership::default() });
        }
        // Read again: of two runs that bind it at the same time, the first one counts.
        modification = records::modification(ledger, slug)?.unwrap_or_default();
    }
    let counts_already = modification.runs.iter().any(|known| known == member.run);
    if let Some(conflict) = conflict(&modification, base).filter(|_| !counts_already) {
        return Ok(Membership { findings: vec![conflict], ..Membership::default() });
    }
    if !counts_already {
        let assigned = Body::RunAssigned(RunAssigned { run: member.run.to_owned() });
        ledger.append(&modification_stream(slug), settings::now(), assigned.kind(), &assigned.to_text()?)?;
    }
    let (reservation, mut findings) = take_reservation(ledger, &modification, member);
    // A new run has none, and no time is spent on looking.
    if !counts_already && ledger.head(&run_stream(member.run))?.is_some() {
        findings.extend(with_its_forks(ledger, slug, member.run)?);
    }
    findings.extend(after_closing(&modification, member.run));
    Ok(Membership { joined: true, modification, reservation, findings })
}

/// What is said of the forks of a run that is counted to a modification from now on: they are the same work.
fn with_its_forks(ledger: &mut Ledger, slug: &str, run: &str) -> Result<Option<Finding>, StoreProblem> {
    let forks = assign_forks(ledger, slug, run, settings::now())?;
    let text = format!("what parted from run {run} counts to `{slug}` as well: {}", forks.join(", "));
    Ok((!forks.is_empty()).then(|| Finding { code: "fork-assigned".to_owned(), text }))
}

/// Follows what else is spent on what the run makes: by other runs of the modification, and behind it.
fn watch(ledger: &Ledger, member: Member<'_>, made_from: &Modification, judge: &Judge) -> Option<Siblings> {
    let is_alone = made_from.slug.is_empty() && made_from.parent_slugs().next().is_none();
    if is_alone {
        return None;
    }
    let registry = base::registry().ok()?;
    let (ledger, modification) = (ledger.path().to_owned(), made_from.clone());
    let (run, job) = (member.run.to_owned(), member.job.map(str::to_owned));
    Siblings::watch(Watched { ledger, run, job, modification, rules: judge.rules, registry })
}

/// What was set aside and is this run's from now on. A reservation that was named and cannot be had is a finding: the job runs, and what
/// it spends is free room's.
fn take_reservation(
    ledger: &mut Ledger,
    modification: &Modification,
    Member { run, job, wanted }: Member<'_>,
) -> (Option<Reservation>, Vec<Finding>) {
    // Most modifications have none, and a job's start writes nothing that says so.
    if modification.reservations.is_empty() && wanted.is_none() {
        return (None, Vec::new());
    }
    let cause = match budget::take(ledger, &modification.slug, Spender { run, job }, wanted, settings::now()) {
        Ok(Ok(taken)) => return (taken, Vec::new()),
        Ok(Err(problem)) => problem.to_string(),
        Err(problem) => problem.to_string(),
    };
    let text = format!("run {run} spends no reservation: {cause}");
    (None, vec![Finding { code: "reservation-not-taken".to_owned(), text }])
}

/// What has to be said of a modification that would be made from one that is not there, or from itself.
pub(crate) fn unfollowable(
    ledger: &Ledger,
    slug: &str,
    base: Option<&BaseReference>,
) -> anyhow::Result<Option<Finding>> {
    let Some(base) = base.filter(|base| base.slug().is_some()) else { return Ok(None) };
    let all = lineage::all(ledger)?;
    let known = all.get(slug).cloned().unwrap_or_default();
    let base = known.base.or_else(|| Some(base.clone()));
    let bound = Modification { slug: slug.to_owned(), base, merge: known.merge, ..Modification::default() };
    Ok(check(&bound, &all).err().map(|problem| circular(&problem)))
}

fn circular(problem: &LineageProblem) -> Finding {
    let text = format!("{problem}; the run is recorded unassigned");
    Finding { code: "modification-conflict".to_owned(), text }
}

/// What has to be said of a trace: one that is played may be anybody's, and one that cannot be written is not there later.
fn trace_finding(device: &DeviceChoice) -> Option<Finding> {
    match device {
        DeviceChoice::Replay(file) => {
            let text = format!(
                "the GPUs' readings are played from the trace {}, not read on this machine: the ceiling proves nothing of this job; \
                 leave out --device to read this machine's",
                file.display()
            );
            Some(Finding { code: DEVICES_REPLAYED.to_owned(), text })
        }
        DeviceChoice::Record(file) => {
            let problem = fs_err::OpenOptions::new().create(true).append(true).open(file).err()?;
            let text = format!("what the driver says is not recorded ({problem}); name a file that can be written");
            Some(Finding { code: "trace-not-recorded".to_owned(), text })
        }
        DeviceChoice::Nvml | DeviceChoice::Cpu => None,
    }
}

/// A modification has one base model, and none but the runs before it was closed: what is said of a run that does not belong to it.
pub(crate) fn conflict(modification: &Modification, base: Option<&BaseReference>) -> Option<Finding> {
    if let Some(closed) = &modification.closed {
        let slug = &modification.slug;
        let text = format!(
            "modification `{slug}` was closed by {} on {}: the run is recorded unassigned; a run that goes on from it is a modification of its own, with --base {MODIFICATION_SCHEME}{slug}",
            closed.by, closed.date
        );
        return Some(Finding { code: "modification-conflict".to_owned(), text });
    }
    if let (Some(_), Some(base)) = (&modification.merge, base) {
        let text = format!(
            "modification `{}` is a merge, this run names {} as its base: the run is recorded unassigned; a run that trains the merged weights further names no --base, or is a modification of its own with --base {MODIFICATION_SCHEME}{}",
            modification.slug,
            base.label(),
            modification.slug
        );
        return Some(Finding { code: "modification-conflict".to_owned(), text });
    }
    let (theirs, ours) = modification.base.as_ref().zip(base).filter(|(theirs, ours)| !ours.is_same(theirs))?;
    let text = format!(
        "modification `{}` is bound to base model {}, this run names {}: the run is recorded unassigned; give the other \
         base its own --modification",
        modification.slug,
        theirs.label(),
        ours.label()
    );
    Some(Finding { code: "modification-conflict".to_owned(), text })
}

/// What is said of a run that goes on after its modification was closed: what it does is done to the same model, whatever was declared.
fn after_closing(modification: &Modification, run: &str) -> Option<Finding> {
    let (slug, closed) = (&modification.slug, modification.closed.as_ref()?);
    let text = format!(
        "modification `{slug}` was closed by {} on {}, and run {run}, which counts to it, goes on: what it does from now on counts to \
         `{slug}` as well, whose documents are to be made anew; training that makes another model of it is a run of its own, with \
         --base {MODIFICATION_SCHEME}{slug} and without --resume",
        closed.by, closed.date
    );
    Some(Finding { code: "modification-closed".to_owned(), text })
}

/// Writes the summary of a run as JSON.
pub(crate) fn write_summary(path: &Path, summary: &RunSummary) -> anyhow::Result<()> {
    let mut text = serde_json::to_string_pretty(summary)?;
    text.push('\n');
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs_err::create_dir_all(folder)?;
    }
    fs_err::write(path, text)?;
    Ok(())
}

/// Folders in which a socket may be made, the preferred one first.
pub(crate) fn socket_folders() -> Vec<PathBuf> {
    let mut folders = vec![std::env::temp_dir(), PathBuf::from("/tmp")];
    folders.extend(settings::runtime_folder());
    folders.dedup();
    folders
}
