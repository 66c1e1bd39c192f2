//! `flopsmeter run`: the job runs as if unwrapped, and is metered.

mod gate;

use std::ffi::OsString;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use chrono::{DateTime, Utc};
use flopsmeter_core::facts::MeterMessage;
use flopsmeter_core::run::Finding;
use flopsmeter_meter::claim::GpuRequest;
use flopsmeter_meter::clock::SessionClock;
use flopsmeter_meter::device::process_tree::JobProcess;
use flopsmeter_meter::hook::SOCKET_VARIABLE;
use flopsmeter_meter::hook::server::{HookEvent, HookServer};
use flopsmeter_meter::own_memory;
use flopsmeter_meter::sampler::{Sampler, SamplerEvent, SamplerOptions};
use flopsmeter_meter::session::{Closing, GateAct, GateOrder, HOOK_PATIENCE, JobEnd, Session};
use flopsmeter_meter::wrap::child::replace_with;
use flopsmeter_meter::wrap::signals::let_go_of_streams;
use flopsmeter_meter::wrap::{Child, Ended, Signals, SpawnProblem};

use crate::args::{DeviceChoice, MeteringArguments, RunArguments};
use crate::exit::{ExitStatus, UsageProblem};
use crate::metering::{self, AlertSettings, Job, Prepared, Resumed};
use crate::narrator::Narrator;
use crate::{output, rehearsal, settings};

/// Events of the sampler that may wait.
pub(crate) const SAMPLER_QUEUE: usize = 256;

pub(crate) fn execute(arguments: &RunArguments) -> anyhow::Result<ExitStatus> {
    own_memory::share_one_heap();
    // A `--gpus` that names nothing is a usage error: it has to be told before the job starts.
    let gpus = gpu_request(arguments.metering.gpus.as_ref())?;
    metering::refuse_unknown_phase(&arguments.metering)?;
    let resumed = arguments.resume.as_deref().map(|run| metering::named(run, &arguments.metering)).transpose()?;
    let alerts = metering::alerts(&arguments.metering)?;
    let signals = match Signals::take() {
        Ok(signals) => signals,
        Err(problem) if arguments.require_meter => return Ok(refuse(&problem)),
        Err(problem) => {
            output::talk(&problem.to_string());
            return Ok(not_started(&replace_with(&arguments.command)));
        }
    };
    let mut findings = Vec::new();
    let hooks = start_hooks(&mut findings);
    // With `--require-meter` everything is tried before the job; without, nothing stands between the user and the first step.
    if arguments.require_meter
        && let Some(problem) = obstacle(arguments, &gpus, &findings)
    {
        return Ok(refuse(&problem));
    }
    if let Some(gate) = arguments.gate
        && let Some(status) = gate::refusal(gate, &arguments.metering, resumed.as_ref(), hooks.is_none())
    {
        return Ok(status);
    }
    let clock = SessionClock::start();
    let child = match Child::spawn(signals, &arguments.command, &environment(hooks.as_ref())) {
        Ok(child) => child,
        Err(problem @ SpawnProblem::NoThread { .. }) if !arguments.require_meter => {
            output::talk(&format!("{problem}; the job runs without a meter"));
            return Ok(not_started(&replace_with(&arguments.command)));
        }
        Err(problem) => return Ok(not_started(&problem)),
    };
    // A writer into the job's input must see it close as if we were not there.
    let _best_effort = let_go_of_streams();
    match prepare(arguments, alerts, resumed, child.id(), findings) {
        Ok(prepared) => Ok(meter(arguments, prepared, gpus, clock, hooks, &child)),
        Err(problem) => {
            output::talk(&format!("the job runs on without a meter: {problem:#}"));
            Ok(ExitStatus::External(child.wait().exit))
        }
    }
}

type Hooks = (HookServer, Receiver<HookEvent>);

fn start_hooks(findings: &mut Vec<Finding>) -> Option<Hooks> {
    let started = HookServer::start(&metering::socket_folders());
    started
        .map_err(|problem| findings.push(Finding { code: "hooks-missing".to_owned(), text: problem.to_string() }))
        .ok()
}

fn environment(hooks: Option<&Hooks>) -> Vec<(OsString, OsString)> {
    let socket = |(server, _): &Hooks| (OsString::from(SOCKET_VARIABLE), server.path().as_os_str().to_owned());
    hooks.map(socket).into_iter().collect()
}

pub(crate) fn gpu_request(list: Option<&String>) -> anyhow::Result<GpuRequest> {
    let Some(list) = list else { return Ok(GpuRequest::Unsaid) };
    list.parse().map_err(|problem| UsageProblem(format!("--gpus {problem}")).into())
}

fn prepare(
    arguments: &RunArguments,
    alerts: AlertSettings,
    resumed: Option<Resumed>,
    pid: u32,
    findings: Vec<Finding>,
) -> anyhow::Result<Prepared> {
    let command = arguments.command.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let progress_period = (!arguments.quiet).then_some(arguments.progress);
    let gate = arguments.gate.map(|gate| GateOrder { gate, grace: arguments.gate_grace });
    let job = Job { run: settings::new_run_id(), resumed, command, pid, progress_period, alerts, gate };
    let mut prepared = metering::prepare(&arguments.metering, job)?;
    prepared.start.findings.extend(findings);
    Ok(prepared)
}

/// What keeps a job from starting under `--require-meter`.
fn obstacle(arguments: &RunArguments, gpus: &GpuRequest, findings: &[Finding]) -> Option<String> {
    if let Some(finding) = findings.first() {
        return Some(finding.text.clone());
    }
    let sampling = sampling(&arguments.metering, gpus.clone(), SessionClock::start(), JobProcess::default());
    rehearsal::obstacle(&arguments.metering, sampling)
}

/// What is read of which devices.
pub(crate) fn sampling(
    arguments: &MeteringArguments,
    gpus: GpuRequest,
    clock: SessionClock,
    job: JobProcess,
) -> SamplerOptions {
    SamplerOptions {
        gpus,
        environment: settings::gpu_environment(),
        launch_environment: settings::launch_environment(),
        reader: match &arguments.device {
            DeviceChoice::Cpu => None,
            DeviceChoice::Nvml | DeviceChoice::Kept(_) => Some(settings::nvml_reader(&[])),
            DeviceChoice::Record(file) => Some(settings::nvml_reader(&["--record".as_ref(), file.as_os_str()])),
            DeviceChoice::Replay(file) => {
                Some(settings::nvml_reader(&["--replay".as_ref(), file.as_os_str()]).of_trace())
            }
        },
        nvml_library: settings::nvml_library(),
        // A recording is made where the driver is asked, and a replay asks nobody.
        daemons: if arguments.device == DeviceChoice::Nvml { settings::daemon_sockets() } else { Vec::new() },
        ..SamplerOptions::new(clock, job)
    }
}

fn refuse(problem: &impl std::fmt::Display) -> ExitStatus {
    output::talk(&format!("the job was not started, because --require-meter was given and {problem}"));
    ExitStatus::MeteringFailed
}

fn not_started(problem: &SpawnProblem) -> ExitStatus {
    output::talk(&problem.to_string());
    match problem {
        SpawnProblem::NotFound { .. } => ExitStatus::NotFound,
        SpawnProblem::Empty => ExitStatus::Usage,
        SpawnProblem::NoThread { .. } => ExitStatus::MeteringFailed,
        _ => ExitStatus::NotExecutable,
    }
}

/// Owns the run from the job's start to its end.
fn meter(
    arguments: &RunArguments,
    prepared: Prepared,
    gpus: GpuRequest,
    clock: SessionClock,
    hooks: Option<Hooks>,
    child: &Child,
) -> ExitStatus {
    let job = JobProcess::default();
    job.set(child.id());
    let (events, devices) = sync_channel::<SamplerEvent>(SAMPLER_QUEUE);
    let sampler = Sampler::start(sampling(&arguments.metering, gpus, clock, job), events);
    let mut narrator = Narrator::new(arguments.quiet);
    let (server, hook_events) = hooks.unzip();
    let mut start = prepared.start;
    if let Err(cause) = &sampler {
        let text =
            format!("no device is read ({cause}): the ceiling is missing; check the limit on processes (ulimit -u)");
        start.findings.push(Finding { code: "sampler-missing".to_owned(), text });
    }
    let mut session = Session::begin(start, prepared.recorder, clock, hook_events, Some(devices), &mut narrator);
    // A gate is to hear each rank as soon as it speaks; who only counts hears all of them at once.
    if let Some(server) = server.as_ref().filter(|_| arguments.gate.is_none()) {
        server.gather(clock);
    }
    let mut was_signalled = false;
    let ended = loop {
        if let Some(ended) = child.wait_timeout(session.pause()) {
            break ended;
        }
        // Before anything is written: the ranks run on while a disk is waited for.
        if let Some(act) = session.take_act() {
            was_signalled |= perform(act, server.as_ref(), child);
        }
        session.pump();
    };
    let ended_at = clock.now();
    if let Some(server) = &server {
        server.stop(HOOK_PATIENCE);
    }
    if let Ok(sampler) = sampler {
        let spent = Duration::from_nanos(ended.children_cpu_time_nanoseconds);
        session.absorb(sampler.stop(Some(spent)).unsent);
    }
    let Closing { summary, stopped, .. } = session.end(job_end(ended_at, &ended));
    narrator.end(&summary);
    if let Some(path) = &arguments.summary
        && let Err(problem) = metering::write_summary(path, &summary)
    {
        output::talk(&format!(
            "the summary could not be written: {problem:#}; `flopsmeter runs show {}` has it",
            summary.run
        ));
    }
    gate::verdict_of_end(stopped, was_signalled, ended.exit)
        .and_then(ExitStatus::of_gate)
        .unwrap_or(ExitStatus::External(ended.exit))
}

/// Does what the gate has decided; gives whether SIGTERM was sent. Never more than that: a job that does not heed it has its reasons.
fn perform(act: GateAct, server: Option<&HookServer>, child: &Child) -> bool {
    match (act, server) {
        (GateAct::StopAfter(after_step), Some(server)) => {
            // One small number: it fits a frame.
            let _fits = server.tell(&MeterMessage::Stop { after_step });
            false
        }
        (GateAct::StopAfter(_) | GateAct::Terminate, _) => child
            .terminate()
            .map_err(|problem| output::talk(&format!("the gate could not end the job: {problem}")))
            .is_ok(),
    }
}

fn job_end(at: DateTime<Utc>, ended: &Ended) -> JobEnd {
    JobEnd {
        at,
        exit: Some(ended.exit),
        cpu_time_nanoseconds: ended.children_cpu_time_nanoseconds,
        left_running: ended.left_running,
    }
}
