//! The one owner of a run while it happens: takes what hooks and devices say, records it, keeps the sum, and says when a line is crossed.

mod announcements;
mod company;
mod following;
mod gate;
mod gathered;
mod held;
mod intake;
mod levels;
mod line;
mod report;
mod siblings;

use std::collections::BTreeSet;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use chrono::{DateTime, Utc};
use flopsmeter_core::alert::Levels;
use flopsmeter_core::budget::Reservation;
use flopsmeter_core::judge::Judge;
use flopsmeter_core::ledger::Body;
use flopsmeter_core::ledger::body::{BaseBound, DevicesSeen, RunClosed, RunOpened, SegmentClosed, SegmentOpened};
use flopsmeter_core::lineage::BaseReference;
use flopsmeter_core::run::{Exit, Finding, RunSummary};
use flopsmeter_core::sample::Device;
use flopsmeter_core::tally::{Part, Tally};

use crate::alert::{Dispatcher, FINISH_PATIENCE};
use crate::clock::{SessionClock, recorded};
use crate::daemon::{RunStatus, StatusReporter, ledger_name};
use crate::hook::server::HookEvent;
use crate::own_memory;
use crate::sampler::SamplerEvent;
use crate::store::RunRecorder;
use crate::store::recorder::Finished;

use company::Company;
use following::{Following, job_of};
use gate::GateKeeper;
use gathered::Gathered;
use held::Held;
use line::LineWatch;

pub use gate::{GateAct, GateOrder, Stopped};
pub use report::{Listener, ProgressReport};
pub use siblings::{Siblings, Watched};

/// From one [`Session::pump`] to the next. Each wakes a processor and brings what has come to the disk, once a second.
const PERIOD: Duration = Duration::from_secs(1);

/// Behind the whole second of the session at which devices and hooks are read: by then they have answered.
const AFTER_READING: Duration = Duration::from_millis(100);

/// By then everything has been done once that is done again and again.
const SETTLED: Duration = Duration::from_secs(5);

/// Where a gate is to decide in time.
const GATED_PERIOD: Duration = Duration::from_millis(500);

/// Records are on the disk after this time at the latest, and what was counted meanwhile is held against the line: at every pump but
/// those that are made for a gate.
const COMMIT_PERIOD: Duration = Duration::from_millis(800);
const LOOKS_APART: Duration = Duration::from_millis(800);

/// Different findings of one session that are told and recorded; a job that makes more of them says nothing new.
const MAXIMUM_FINDINGS: usize = 256;

/// How long the last messages of hooks are waited for after the job's end.
pub const HOOK_PATIENCE: Duration = Duration::from_millis(500);

/// What a session starts with.
#[derive(Debug)]
pub struct SessionStart {
    /// The run's first entry; it stands there already where an earlier segment is gone on with.
    pub run: RunOpened,
    /// What is on record of the run's earlier segments.
    pub earlier: Option<Tally>,
    /// The base model that was resolved.
    pub base: Option<BaseReference>,
    /// The segment's first entry.
    pub segment: SegmentOpened,
    /// What stands for work that nothing here bounds: it leaves the ceiling missing.
    pub unbounded: Vec<Device>,
    /// What went wrong before the session.
    pub findings: Vec<Finding>,
    /// Reads the other runs of the modification and those behind it; `None` without any.
    pub siblings: Option<Siblings>,
    /// What was set aside for this run.
    pub reservation: Option<Reservation>,
    /// Who assesses.
    pub judge: Judge,
    /// The levels at which something is said.
    pub levels: Levels,
    /// Where alerts go besides.
    pub sinks: Dispatcher,
    /// What stops the job, if anything is to.
    pub gate: Option<GateOrder>,
    /// Time between two progress reports; `None` for no reports.
    pub progress_period: Option<Duration>,
    /// Tells the daemon of this machine, if there is one, how the run stands.
    pub status: StatusReporter,
}

/// How a job ended.
#[derive(Clone, Copy, Debug)]
pub struct JobEnd {
    /// When its end was seen: devices are held until then, whatever we still do afterwards.
    pub at: DateTime<Utc>,
    /// Its exit, where that could be seen.
    pub exit: Option<Exit>,
    /// Processor time of its processes, in nanoseconds.
    pub cpu_time_nanoseconds: u64,
    /// Whether processes of it are still running.
    pub left_running: bool,
}

/// A run that has ended.
#[derive(Debug)]
pub struct Closing {
    /// The summary with its assessment.
    pub summary: RunSummary,
    /// What became of its records.
    pub finished: Finished,
    /// How a gate ended the job, if one did.
    pub stopped: Option<Stopped>,
}

/// A run while it happens.
pub struct Session<'listener> {
    recorder: RunRecorder,
    ledger: String,
    tally: Tally,
    clock: SessionClock,
    judge: Judge,
    siblings: Option<Siblings>,
    others: Vec<RunSummary>,
    /// Runs of this one's job on other nodes.
    beside: Vec<Part>,
    company: Company,
    following: Following,
    /// An organisation's own lines, watched beside the law's.
    house: Option<(Judge, LineWatch)>,
    reservation: Option<Reservation>,
    hooks: Option<Receiver<HookEvent>>,
    devices: Option<Receiver<SamplerEvent>>,
    listener: &'listener mut dyn Listener,
    segment: u32,
    found: BTreeSet<Finding>,
    gathered: Gathered,
    line: LineWatch,
    sinks: Dispatcher,
    gate: Option<GateKeeper>,
    of_gate: Option<Finding>,
    fed: bool,
    held: Held,
    looked: Option<Duration>,
    committed: Duration,
    settled: bool,
    progress_period: Option<Duration>,
    progress_told: Duration,
    status: StatusReporter,
}

impl<'listener> Session<'listener> {
    /// Records the beginning. `clock` was started just before the job was.
    pub fn begin(
        start: SessionStart,
        recorder: RunRecorder,
        clock: SessionClock,
        hooks: Option<Receiver<HookEvent>>,
        devices: Option<Receiver<SamplerEvent>>,
        listener: &'listener mut dyn Listener,
    ) -> Self {
        let house = start.judge.by_house();
        let is_new = start.earlier.is_none();
        let mut session = Self {
            ledger: ledger_name(recorder.ledger_path()),
            recorder,
            tally: start.earlier.unwrap_or_default(),
            clock,
            judge: start.judge,
            siblings: start.siblings,
            others: Vec::new(),
            beside: Vec::new(),
            company: Company::default(),
            following: Following::of(&start.run),
            house: house
                .map(|judge| (judge, LineWatch::new(start.levels.clone(), &start.run).telling(start.sinks.sinks()))),
            reservation: start.reservation,
            hooks,
            devices,
            listener,
            segment: start.segment.segment,
            found: BTreeSet::new(),
            gathered: Gathered::default(),
            line: LineWatch::new(start.levels, &start.run).telling(start.sinks.sinks()),
            sinks: start.sinks,
            gate: start.gate.map(GateKeeper::new),
            of_gate: None,
            fed: true,
            held: Held::default(),
            looked: None,
            committed: Duration::ZERO,
            settled: false,
            progress_period: start.progress_period,
            progress_told: Duration::ZERO,
            status: start.status,
        };
        let at = clock.started();
        if is_new {
            session.enter(at, &Body::RunOpened(start.run));
        }
        if let Some(base) = start.base.filter(|_| session.tally.base().is_none()) {
            session.enter(at, &Body::BaseBound(BaseBound { base }));
        }
        session.enter(at, &Body::SegmentOpened(start.segment));
        if !start.unbounded.is_empty() {
            session.enter(at, &Body::DevicesSeen(DevicesSeen { devices: start.unbounded }));
        }
        for finding in start.findings {
            session.find(finding);
        }
        session.commit();
        session
    }

    /// How long to wait before the next [`Self::pump`].
    pub fn pause(&self) -> Duration {
        if self.gate.is_some() { GATED_PERIOD } else { until_next_pump(self.clock.elapsed()) }
    }

    /// Takes what has come, and does what is due. Call it after each [`Self::pause`].
    pub fn pump(&mut self) {
        self.take_hook_events();
        self.take_device_events();
        self.take_others();
        if let Some(finding) = self.of_gate.take() {
            self.find(finding);
            self.commit();
        }
        let outcomes = self.sinks.outcomes();
        self.note_outcomes(outcomes);
        let elapsed = self.clock.elapsed();
        if self.looked.is_none_or(|looked| elapsed.saturating_sub(looked) >= LOOKS_APART) {
            self.looked = Some(elapsed);
            self.follow_others(elapsed);
            self.watch_the_line(false);
        }
        if elapsed.saturating_sub(self.committed) >= COMMIT_PERIOD {
            self.commit();
        }
        self.status.report(elapsed, || {
            let summary = self.tally.summary();
            let job = job_of(&self.tally, &self.beside, summary.clone());
            let assessment = self.judge.assess(self.others.iter().chain([&job]), Vec::new());
            let reserved = Some(self.company.reserved().together()).filter(|reserved| reserved.0 > 0);
            let forecast = self.line.foreseen();
            RunStatus { reserved, forecast, ..RunStatus::of(&summary, &assessment, &self.ledger) }
        });
        if self.progress_period.is_some_and(|period| elapsed.saturating_sub(self.progress_told) >= period) {
            self.progress_told = elapsed;
            let report = self.progress_report();
            self.listener.progress(&report);
        }
        if !self.settled && elapsed >= SETTLED {
            self.settled = true;
            own_memory::give_back();
        }
    }

    /// Takes what has come, and gives what the gate decides: it is for the caller to do at once, because ranks run on meanwhile.
    /// Nothing is written before the next [`Self::pump`].
    pub fn take_act(&mut self) -> Option<GateAct> {
        self.gate.as_ref()?;
        self.take_hook_events();
        self.take_others();
        self.keep_gate()
    }

    /// Records the end and returns the run's summary with its assessment. The hooks' server and the sampler were told to stop:
    /// their channels end, and until then they are read.
    pub fn end(mut self, end: JobEnd) -> Closing {
        self.drain();
        self.take_others();
        self.watch_the_line(true);
        let outcomes = self.sinks.finish(FINISH_PATIENCE);
        self.note_outcomes(outcomes);
        if let Some(finding) = self.of_gate.take() {
            self.find(finding);
        }
        let last_step = self.tally.last_step();
        let stopped = self.gate.as_mut().and_then(|gate| {
            gate.note_end(last_step);
            gate.stopped()
        });
        self.settle_reservation();
        let at = self.clock.now();
        let JobEnd { at: ended, exit, cpu_time_nanoseconds, left_running } = end;
        let closed = SegmentClosed { segment: self.segment, ended, exit, cpu_time_nanoseconds, left_running };
        self.enter(at, &Body::SegmentClosed(closed));
        self.enter(at, &Body::RunClosed(RunClosed {}));
        let job = job_of(&self.tally, &self.beside, self.tally.summary());
        let finished = self.recorder.finish(at);
        for finding in &finished.findings {
            self.listener.finding(finding);
        }
        let mut summary = self.tally.summary();
        let assessment = self.judge.assess(self.others.iter().chain([&job]), Vec::new());
        self.status.report_last(|| RunStatus::of(&summary, &assessment, &self.ledger));
        summary.assessment = Some(assessment);
        summary.tag_phases(self.judge.rules);
        Closing { summary, finished, stopped }
    }

    /// The tally is told the date that is on record: what is shown now is what the ledger gives later.
    fn enter(&mut self, at: DateTime<Utc>, body: &Body) {
        let at = recorded(at);
        self.recorder.record(at, body);
        self.tally.add(at, body);
    }

    /// Records a finding and tells it, once: hundreds of ranks may say the same, and a worker may be respawned for ever.
    fn find(&mut self, finding: Finding) {
        if self.found.len() >= MAXIMUM_FINDINGS || !self.found.insert(finding.clone()) {
            return;
        }
        self.listener.finding(&finding);
        self.enter(self.clock.now(), &Body::Finding(finding));
    }

    fn commit(&mut self) {
        self.committed = self.clock.elapsed();
        // The recorder has put these into the chain itself, where that is still possible.
        for finding in self.recorder.commit(self.clock.now()) {
            self.listener.finding(&finding);
            self.tally.add(recorded(self.clock.now()), &Body::Finding(finding));
        }
    }
}

fn until_next_pump(elapsed: Duration) -> Duration {
    let passed = (elapsed + PERIOD).saturating_sub(AFTER_READING);
    PERIOD.saturating_sub(Duration::from_nanos(passed.subsec_nanos().into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_written_once_a_second_just_after_the_readings() {
        let until = |milliseconds| until_next_pump(Duration::from_millis(milliseconds)).as_millis();
        assert_eq!([0, 50, 100, 101, 999, 7099, 7200].map(until), [100, 50, 1000, 999, 101, 1, 900]);
        assert!(COMMIT_PERIOD < PERIOD && LOOKS_APART < PERIOD, "a pump that comes a little early is not passed over");
    }
}
