//! `flopsmeter session`: the meter of a process that was started without the wrapper.

use std::sync::mpsc::sync_channel;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use flopsmeter_core::run::Finding;
use flopsmeter_core::sample::{Device, DeviceFacts};
use flopsmeter_meter::clock::SessionClock;
use flopsmeter_meter::device::process_tree::JobProcess;
use flopsmeter_meter::hook::server::HookServer;
use flopsmeter_meter::own_memory;
use flopsmeter_meter::parent::{Parent, detach};
use flopsmeter_meter::sampler::{Sampler, SamplerEvent, SamplerOptions};
use flopsmeter_meter::session::{HOOK_PATIENCE, JobEnd, Session, SessionStart};

use crate::args::SessionArguments;
use crate::command::run::{SAMPLER_QUEUE, gpu_request, sampling};
use crate::exit::ExitStatus;
use crate::metering::{self, Job, Prepared};
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
    let Prepared { mut start, recorder } = metering::prepare(&arguments.metering, job)?;
    hold_from_the_beginning(&mut start, &clock, parent.began(&clock));
    let process = JobProcess::default();
    process.set(parent.id());
    let (events, devices) = sync_channel::<SamplerEvent>(SAMPLER_QUEUE);
    let options = SamplerOptions { waiter: None, ..sampling(&arguments.metering, gpus, clock, process) };
    let sampler = Sampler::start(options, events)?;
    let mut narrator = Narrator::new(false);
    let mut session = Session::begin(start, recorder, clock, Some(hooks), Some(devices), &mut narrator);
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

/// The process ran before it had a meter, and may have used all of its devices: they are held from its beginning on.
fn hold_from_the_beginning(start: &mut SessionStart, clock: &SessionClock, began: Option<DateTime<Utc>>) {
    let pid = start.segment.pid;
    let Some(began) = began else {
        start.findings.push(of_unknown_beginning(pid));
        start.unbounded.push(before_the_meter(pid));
        return;
    };
    start.segment.held_from = Some(began);
    start.findings.push(unmetered(pid, began, clock.started()));
}

fn unmetered(pid: u32, began: DateTime<Utc>, metered: DateTime<Utc>) -> Finding {
    let seconds = (metered - began).num_milliseconds();
    let text = format!(
        "process {pid} runs since {} and its meter since {}: nothing was read in the {}.{:03} s before, in which it may have used its \
         devices as much as they can be, so that the ceiling charges them in full; start it with `flopsmeter run` to have all of it read",
        began.to_rfc3339_opts(SecondsFormat::Millis, true),
        metered.to_rfc3339_opts(SecondsFormat::Millis, true),
        seconds / 1000,
        seconds % 1000,
    );
    Finding { code: "job-began-unmetered".to_owned(), text }
}

fn of_unknown_beginning(pid: u32) -> Finding {
    let text = format!(
        "when process {pid} began cannot be read from /proc/{pid}/stat: what it did before its meter was started is not bounded, so that \
         the hardware ceiling is missing; start it with `flopsmeter run`"
    );
    Finding { code: "job-beginning-unknown".to_owned(), text }
}

/// What stands for the time before the meter where nobody knows how long it was.
fn before_the_meter(pid: u32) -> Device {
    let reason =
        format!("when process {pid} began is not known: what it did before its meter was started is not bounded");
    let facts = DeviceFacts::Unreadable { reason };
    Device { id: "unmetered".to_owned(), name: "whatever the job used before it was metered".to_owned(), facts }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_before_the_meter_is_named_with_its_length() {
        let at = |milliseconds| DateTime::from_timestamp_millis(milliseconds).unwrap();
        let Finding { code, text } = unmetered(7, at(1_000), at(7_040));
        assert_eq!(code, "job-began-unmetered");
        assert!(text.starts_with("process 7 runs since 1970-01-01T00:00:01.000Z and its meter since "), "{text}");
        assert!(text.contains("nothing was read in the 6.040 s before"), "{text}");
    }

    #[test]
    fn a_beginning_that_cannot_be_read_leaves_the_ceiling_missing() {
        let DeviceFacts::Unreadable { reason } = before_the_meter(7).facts else { panic!() };
        assert!(reason.starts_with("when process 7 began is not known"), "{reason}");
        assert!(of_unknown_beginning(7).text.contains("start it with `flopsmeter run`"));
    }
}
