//! Turns the entries of a run, in their order, into its summary.
//!
//! The session feeds it while the job runs, and every later reading of the ledger feeds it the same entries: what was shown
//! and what an auditor computes cannot differ.

mod completeness;
mod launched;
mod model;
mod part;
mod phase;
mod segments;
mod share;
mod summary;
#[cfg(test)]
mod tests;
mod trace;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use crate::facts::{HookMessage, Progress};
use crate::ledger::body::{Body, RunForked};
use crate::lineage::BaseReference;
use crate::run::{Alert, Exit, Finding, ModelSummary, RunFlops};
use crate::sample::{Device, DeviceFacts};
use crate::unit::Flops;

use completeness::{Spoken, is_hole, missing_ranks};
use model::CountedModel;
use phase::PhaseTotals;
use segments::{Segments, launches};

pub use part::Part;

/// Finding of a run whose spool takes nothing more.
pub const SPOOL_FULL: &str = "spool-full";

/// Finding of a run whose GPUs were played from a trace: its ceiling is no proof.
pub const DEVICES_REPLAYED: &str = "devices-replayed";

/// Finding of a run whose entries were to be another's.
pub const RUN_FORKED: &str = "run-forked";

/// What is told once where processes outlive a segment.
const LEFT_RUNNING: &str =
    "processes of the job outlived it: what they did after its end is in no figure; let the job wait for them";

/// A hook's connection within a segment (counted from 1, in the order of opening).
type ConnectionKey = (usize, u32);

/// The run so far.
#[derive(Debug, Default)]
pub struct Tally {
    run: String,
    modification: Option<String>,
    job: Option<String>,
    phase: Option<String>,
    base: Option<BaseReference>,
    command: Vec<String>,
    started: Option<DateTime<Utc>>,
    ended: Option<DateTime<Utc>>,
    exit: Option<Exit>,
    segments: Segments,
    models: BTreeMap<(ConnectionKey, u32), CountedModel>,
    /// Models that were fed before they were described anew.
    former_models: Vec<ModelSummary>,
    connections: BTreeMap<ConnectionKey, Connection>,
    phases: BTreeMap<crate::facts::Phase, PhaseTotals>,
    /// Executed operations with attention over visible pairs only.
    executed_visible: Flops,
    uncounted_passes: u64,
    /// Something said that operations may be missing.
    holes: bool,
    /// Processes of the job outlived it.
    left_running: bool,
    findings: Vec<Finding>,
    alerts: Vec<Alert>,
}

/// What is known of one hook.
#[derive(Debug, Default)]
struct Connection {
    rank: u32,
    world_size: u32,
    progress: Option<Progress>,
    /// Model operations of the run when this hook first spoke.
    before: Flops,
    ended: bool,
    lost: bool,
}

impl Tally {
    /// An empty tally.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next entry.
    pub fn add(&mut self, at: DateTime<Utc>, body: &Body) {
        match body {
            Body::RunOpened(opened) => {
                self.run.clone_from(&opened.run);
                self.modification.clone_from(&opened.modification);
                self.job.clone_from(&opened.job);
                self.phase.clone_from(&opened.phase);
                self.command.clone_from(&opened.command);
                self.started.get_or_insert(at);
            }
            Body::SegmentOpened(opened) => self.segments.open(at, opened),
            Body::BaseBound(bound) => self.base = Some(bound.base.clone()),
            Body::DevicesSeen(seen) => {
                if let Some(ceiling) = self.segments.latest() {
                    ceiling.announce(seen.devices.clone());
                }
            }
            Body::LaunchSeen(seen) => self.segments.see_launch(seen),
            Body::Samples(batch) => {
                if let Some(ceiling) = self.segments.latest() {
                    for sample in &batch.samples {
                        ceiling.add(sample);
                    }
                }
            }
            Body::Hook(hook) => self.hear((self.segments.opened(), hook.connection), &hook.message),
            Body::HookLost(lost) => {
                // A connection that was refused has said nothing; what it would have said is missing all the same.
                self.holes = true;
                if let Some(connection) = self.connections.get_mut(&(self.segments.opened(), lost.connection)) {
                    connection.lost = true;
                }
            }
            Body::Finding(finding) => {
                // Whatever a hook has told after that is on no record.
                self.holes |= finding.code == SPOOL_FULL;
                self.find(&finding.code, &finding.text);
            }
            Body::RunForked(forked) => self.find(RUN_FORKED, &said_of_fork(forked)),
            Body::Alert(alert) => self.alerts.push(alert.clone()),
            Body::SegmentClosed(closed) => {
                self.segments.close(closed);
                self.exit = closed.exit;
                // Nodes end in any order, and the job with the last of them.
                self.ended = self.ended.max(Some(closed.ended));
                if closed.left_running {
                    self.left_running = true;
                    self.find("left-running", LEFT_RUNNING);
                }
            }
            Body::Unread { kind, cause, .. } => self.doubt(kind, cause.as_deref()),
            _ => {}
        }
    }

    /// Whatever such an entry tells of is in no figure.
    fn doubt(&mut self, kind: &str, cause: Option<&str>) {
        let cause = cause.unwrap_or("this version of flopsmeter does not know its kind");
        let text = format!(
            "an entry `{kind}` of the record cannot be read ({cause}): what it tells of is in no figure; read the ledger with the version that wrote it, or a later one"
        );
        self.holes = true;
        let facts = DeviceFacts::Unreadable { reason: text.clone() };
        self.segments.doubt(Device { id: "entries:unread".to_owned(), name: "entries".to_owned(), facts });
        self.find("entry-unread", &text);
    }

    fn hear(&mut self, key: ConnectionKey, message: &HookMessage) {
        let before = self.training();
        let connection = self.connections.entry(key).or_default();
        match message {
            HookMessage::Hello { process, .. } => {
                (connection.rank, connection.world_size) = (process.rank, process.world_size);
                connection.before = before;
            }
            HookMessage::Progress(progress) => connection.progress = Some(*progress),
            HookMessage::Goodbye => connection.ended = true,
            HookMessage::Finding(finding) => {
                self.holes |= is_hole(&finding.code);
                self.find(&finding.code, &finding.text);
            }
            HookMessage::Model(facts) => {
                let (model, findings) = CountedModel::new(facts);
                for finding in findings {
                    self.find(&finding.code, &finding.text);
                }
                let former = self.models.insert((key, facts.model), model).filter(CountedModel::was_fed);
                if let Some(former) = former {
                    // What was fed to it stays in the sums, so what they lack stays lacking.
                    self.holes |= !former.is_whole();
                    self.former_models.push(former.into_summary());
                }
            }
            HookMessage::Traced(step) => {
                let model = self.models.get(&(key, step.model));
                let found = model.and_then(|it| trace::compare(&it.summary().class_name, &step.trace, it.cost()));
                if let Some(finding) = found {
                    self.holes |= finding.code == trace::MORE_WAS_DONE;
                    self.find(&finding.code, &finding.text);
                }
            }
            HookMessage::Fed(fed) => {
                if let Some(model) = self.models.get_mut(&(key, fed.model)) {
                    model.feed();
                }
                let model = self.models.get(&(key, fed.model));
                let (cost, parallel) = (model.and_then(CountedModel::cost), model.and_then(CountedModel::parallel));
                let least_cost = model.and_then(CountedModel::least_cost);
                for passes in fed.passes.iter().filter_map(|passes| share::own(parallel, passes)) {
                    let totals = self.phases.entry(passes.phase).or_default();
                    if let Some(cost) = least_cost {
                        let least = cost.count(&passes);
                        self.executed_visible += least.forward + least.backward + least.recompute;
                    }
                    if !totals.add(&passes, cost) {
                        self.uncounted_passes = self.uncounted_passes.saturating_add(passes.count);
                    }
                }
            }
        }
    }

    /// The same finding is kept once: a hook in each of many ranks says the same.
    fn find(&mut self, code: &str, text: &str) {
        let finding = Finding { code: code.to_owned(), text: text.to_owned() };
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }

    /// The base model that was resolved when the job ran.
    pub const fn base(&self) -> Option<&BaseReference> {
        self.base.as_ref()
    }

    /// Where the job stands by the trainer that is furthest from its end, and the model operations from before it began. Trainers
    /// that have ended are left out: a job may run one after the other.
    pub fn progress(&self) -> Option<(Progress, Flops)> {
        let stands = self.running().filter_map(|connection| Some((connection.progress?, connection.before)));
        stands.min_by_key(|(progress, _)| progress.step)
    }

    /// The step of the rank that is furthest ahead, of trainers that have not ended.
    pub fn furthest_step(&self) -> Option<u64> {
        self.running().filter_map(|connection| Some(connection.progress?.step)).max()
    }

    /// Whether a trainer that told of steps was lost, so that it may go on unheard.
    pub fn has_lost_trainer(&self) -> bool {
        self.of_this_segment().any(|connection| connection.lost && connection.progress.is_some())
    }

    /// The last step of the trainer that came last, whether it has ended or not.
    pub fn last_step(&self) -> Option<u64> {
        self.of_this_segment().filter_map(|connection| connection.progress).last().map(|progress| progress.step)
    }

    /// Ranks whose trainers tell of steps, and how many there are by what their launcher told them; both of trainers that have not
    /// ended.
    pub fn ranks(&self) -> (u64, u64) {
        let telling: Vec<&Connection> = self.running().filter(|connection| connection.progress.is_some()).collect();
        let ranks: BTreeSet<u32> = telling.iter().map(|connection| connection.rank).collect();
        let all = telling.iter().map(|connection| u64::from(connection.world_size)).max().unwrap_or(0);
        (u64::try_from(ranks.len()).unwrap_or(u64::MAX), all)
    }

    /// Hooks of the segment that was opened last: those of an earlier one are over, whether or not they could say so.
    fn of_this_segment(&self) -> impl Iterator<Item = &Connection> {
        let last = self.segments.opened();
        self.connections.iter().filter(move |(key, _)| key.0 == last).map(|(_, connection)| connection)
    }

    fn running(&self) -> impl Iterator<Item = &Connection> {
        self.of_this_segment().filter(|connection| !connection.ended && !connection.lost)
    }

    /// Segments that were opened: the number of the next one.
    pub fn segments(&self) -> u32 {
        u32::try_from(self.segments.opened()).unwrap_or(u32::MAX)
    }

    /// Operations so far, `None` while nothing could be counted.
    pub fn flops(&self) -> Option<RunFlops> {
        if self.phases.values().all(|totals| totals.counted_passes == 0) {
            return None;
        }
        let mut flops = RunFlops::default();
        for totals in self.phases.values() {
            let training = totals.training;
            flops.forward += training.forward;
            flops.backward += training.backward;
            flops.recompute += training.recompute;
            flops.executed += training.forward + training.backward + training.recompute + totals.without_gradient;
        }
        flops.training = flops.forward + flops.backward;
        Some(flops)
    }

    /// Whether everything that was fed was counted and every hook that ended said so. Which node began or ended first does not
    /// matter; a rank is missing when all segments that were opened have ended and none of them heard it.
    pub fn is_complete(&self) -> bool {
        !self.models.is_empty()
            && self.lacks_nothing_of_its_own()
            && !self.segments.any_open_but_latest()
            && self.ranks_missing() == 0
    }

    /// Whether everything that was fed here was counted, and every hook that ended here said so.
    fn lacks_nothing_of_its_own(&self) -> bool {
        let cut = |(key, connection): (&ConnectionKey, &Connection)| {
            connection.lost || (!connection.ended && self.segments.has_ended(key.0))
        };
        self.uncounted_passes == 0
            && !self.holes
            && self.models.values().all(CountedModel::is_whole)
            && !self.connections.iter().any(cut)
    }

    /// Ranks that never spoke; none while a segment is open, for they may yet.
    fn ranks_missing(&self) -> u64 {
        if self.segments.any_open() { 0 } else { self.silent_ranks() }
    }

    /// Ranks that have not spoken, whether or not they still can.
    fn silent_ranks(&self) -> u64 {
        let launches = launches(&self.segments.spans());
        let launch = |opened: usize| opened.checked_sub(1).and_then(|index| launches.get(index)).copied().unwrap_or(0);
        let spoken = self.connections.iter().map(|(key, connection)| Spoken {
            launch: launch(key.0),
            segment: key.0,
            rank: connection.rank,
            world_size: connection.world_size,
        });
        missing_ranks(spoken)
    }

    /// Operations of the passes that train, the legal basis; zero while nothing was counted.
    pub fn training(&self) -> Flops {
        self.flops().map_or(Flops::ZERO, |flops| flops.training)
    }
}

fn said_of_fork(forked: &RunForked) -> String {
    let RunForked { run, sequence, .. } = forked;
    format!(
        "two meters wrote run {run} at the same time from its entry {sequence} on: what one of them recorded is there, and this run is what \
         the other did; both count"
    )
}
