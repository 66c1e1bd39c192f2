//! What `run` and `session` share: everything a session starts with, gathered so that no fault of ours keeps a job from running.

mod membership;
mod resume;

use std::path::{Path, PathBuf};

use flopsmeter_core::alert::Levels;
use flopsmeter_core::judge::Judge;
use flopsmeter_core::ledger::body::{RunOpened, SegmentOpened};
use flopsmeter_core::lineage::{BaseReference, Modification};
use flopsmeter_core::run::{Finding, RunSummary};
use flopsmeter_core::tally::{DEVICES_REPLAYED, Tally};
use flopsmeter_meter::alert::config::{COMMAND_PATIENCE, ConfigProblem};
use flopsmeter_meter::alert::{AlertConfig, Dispatcher, Sender, Sink};
use flopsmeter_meter::daemon::StatusReporter;
use flopsmeter_meter::device::elsewhere;
use flopsmeter_meter::session::{GateOrder, SessionStart, Siblings, Watched};
use flopsmeter_meter::store::{Ledger, RunRecorder};

use crate::args::{DeviceChoice, MeteringArguments};
use crate::base;
use crate::exit::UsageProblem;
use crate::lineage::{self, Behind};
use crate::{judgement, settings};

use membership::{Member, join};
pub(crate) use membership::{conflict, unfollowable};
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
            held_from: None,
        },
        earlier,
        unbounded: elsewhere::of_command(&job_command).into_iter().collect(),
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
        DeviceChoice::Kept(file) => {
            let text = format!(
                "what the driver says is not recorded ({} holds something already, which is kept); name another file or move that one away",
                file.display()
            );
            Some(Finding { code: "trace-not-recorded".to_owned(), text })
        }
        DeviceChoice::Nvml | DeviceChoice::Cpu => None,
    }
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
