//! `flopsmeter session`: the meter of a process that was started without the wrapper.

use std::sync::mpsc::sync_channel;
use std::time::Duration;

use flopsmeter_meter::clock::SessionClock;
use flopsmeter_meter::device::process_tree::JobProcess;
use flopsmeter_meter::hook::server::HookServer;
use flopsmeter_meter::own_memory;
use flopsmeter_meter::parent::{Parent, detach};
use flopsmeter_meter::sampler::{Sampler, SamplerEvent, SamplerOptions};
use flopsmeter_meter::session::{HOOK_PATIENCE, JobEnd, Session};

use crate::args::SessionArguments;
use crate::command::run::{SAMPLER_QUEUE, gpu_request, sampling};
use crate::exit::ExitStatus;
use crate::metering::{self, Job};
use crate::narrator::Narrator;
use crate::{output, settings};

pub(crate) fn execute(arguments: &SessionArguments) -> anyhow::Result<ExitStatus> {
    own_memory::share_one_heap();
    let gpus = gpu_request(arguments.metering.gpus.as_ref())?;
    metering::refuse_unknown_phase(&arguments.metering)?;
    let alerts = metering::alerts(&arguments.metering)?;
    let parent = Parent::watch(arguments.parent)?;
    detach()?;
    let clock = SessionClock::start();
    let (server, hooks) = HookServer::start(&metering::socket_folders())?;
    // The one line that the Python package waits for.
    output::data(&format!("{}\n", server.path().display()))?;
    let command = parent.command_line();
    let progress_period = Some(Duration::from_mins(1));
    let job = Job {
        run: settings::new_run_id(),
        resumed: None,
        command,
        pid: parent.id(),
        progress_period,
        alerts,
        gate: None,
    };
    let prepared = metering::prepare(&arguments.metering, job)?;
    let process = JobProcess::default();
    process.set(parent.id());
    let (events, devices) = sync_channel::<SamplerEvent>(SAMPLER_QUEUE);
    let options = SamplerOptions { waiter: None, ..sampling(&arguments.metering, gpus, clock, process) };
    let sampler = Sampler::start(options, events)?;
    let mut narrator = Narrator::new(false);
    let mut session =
        Session::begin(prepared.start, prepared.recorder, clock, Some(hooks), Some(devices), &mut narrator);
    server.gather(clock);
    while !parent.has_ended_within(session.pause()) {
        session.pump();
    }
    let at = clock.now();
    server.stop(HOOK_PATIENCE);
    let last = sampler.stop(None);
    session.absorb(last.unsent);
    let end = JobEnd { at, exit: None, cpu_time_nanoseconds: 0, left_running: last.left_running };
    let closing = session.end(end);
    narrator.end(&closing.summary);
    Ok(ExitStatus::Done)
}
