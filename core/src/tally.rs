//! Turns the entries of a run, in their order, into its summary.
//!
//! The session feeds it while the job runs, and every later reading of the ledger feeds it the same entries: what was shown
//! and what an auditor computes cannot differ.

mod completeness;
mod model;
mod phase;
mod share;
#[cfg(test)]
mod tests;
mod trace;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::ceiling::CeilingMeter;
use crate::facts::{HookMessage, Progress};
use crate::ledger::body::Body;
use crate::lineage::BaseReference;
use crate::run::{
    Alert, Ceiling, Exit, Finding, Gap, ModelSummary, RUN_SCHEMA, RunFlops, RunState, RunSummary, RunTokens,
};
use crate::unit::{Flops, Joules};

use completeness::{is_hole, missing_ranks};
use model::CountedModel;
use phase::PhaseTotals;

/// A hook's connection within a segment.
type ConnectionKey = (usize, u32);

/// The run so far.
#[derive(Debug, Default)]
pub struct Tally {
    run: String,
    modification: Option<String>,
    base: Option<BaseReference>,
    command: Vec<String>,
    started: Option<DateTime<Utc>>,
    ended: Option<DateTime<Utc>>,
    exit: Option<Exit>,
    segments: usize,
    open_segments: usize,
    models: BTreeMap<(ConnectionKey, u32), CountedModel>,
    connections: BTreeMap<ConnectionKey, Connection>,
    phases: BTreeMap<crate::facts::Phase, PhaseTotals>,
    uncounted_passes: u64,
    /// Something said that operations may be missing.
    holes: bool,
    /// Processes of the job outlived it.
    left_running: bool,
    /// Start and devices of each segment.
    ceilings: Vec<(DateTime<Utc>, CeilingMeter)>,
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
                self.command.clone_from(&opened.command);
                self.started.get_or_insert(at);
            }
            Body::SegmentOpened(_) => {
                self.segments += 1;
                self.open_segments += 1;
                let mut ceiling = CeilingMeter::new(Vec::new());
                ceiling.hold(at, at);
                self.ceilings.push((at, ceiling));
            }
            Body::BaseBound(bound) => self.base = Some(bound.base.clone()),
            Body::DevicesSeen(seen) => {
                if let Some((_, ceiling)) = self.ceilings.last_mut() {
                    ceiling.announce(seen.devices.clone());
                }
            }
            Body::Samples(batch) => {
                if let Some((_, ceiling)) = self.ceilings.last_mut() {
                    for sample in &batch.samples {
                        ceiling.add(sample);
                    }
                }
            }
            Body::Hook(hook) => self.hear((self.segments, hook.connection), &hook.message),
            Body::HookLost(lost) => {
                // A connection that was refused has said nothing; what it would have said is missing all the same.
                self.holes = true;
                if let Some(connection) = self.connections.get_mut(&(self.segments, lost.connection)) {
                    connection.lost = true;
                }
            }
            Body::Finding(finding) => self.find(&finding.code, &finding.text),
            Body::Alert(alert) => self.alerts.push(alert.clone()),
            Body::SegmentClosed(closed) => {
                self.open_segments = self.open_segments.saturating_sub(1);
                self.exit = closed.exit;
                self.ended = Some(closed.ended);
                self.left_running |= closed.left_running;
                self.look_back();
                if let Some((started, ceiling)) = self.ceilings.last_mut() {
                    ceiling.hold(*started, closed.ended);
                }
            }
            _ => {}
        }
    }

    /// What can be said of a segment only when it has ended.
    fn look_back(&mut self) {
        if self.left_running {
            let text = "processes of the job outlived it: what they did after its end is in no figure; let the job wait for them";
            self.find("left-running", text);
        }
        let missing = missing_ranks(&self.connections.values());
        if missing > 0 {
            self.holes = true;
            let text = format!(
                "{missing} ranks of the launcher told nothing to this meter, so their operations are missing: install the Python \
                 package for each of them; ranks on other nodes are metered there"
            );
            self.find("ranks-missing", &text);
        }
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
                self.models.insert((key, facts.model), model);
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
                let model = self.models.get(&(key, fed.model));
                let (cost, parallel) = (model.and_then(CountedModel::cost), model.and_then(CountedModel::parallel));
                for passes in fed.passes.iter().filter_map(|passes| share::own(parallel, passes)) {
                    let totals = self.phases.entry(passes.phase).or_default();
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
        let running = self.connections.values().filter(|connection| !connection.ended && !connection.lost);
        let stands = running.filter_map(|connection| Some((connection.progress?, connection.before)));
        stands.min_by_key(|(progress, _)| progress.step)
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

    /// Whether everything that was fed was counted and every hook that ended said so.
    pub fn is_complete(&self) -> bool {
        let cut = |connection: &Connection| connection.lost || (self.open_segments == 0 && !connection.ended);
        !self.models.is_empty()
            && self.uncounted_passes == 0
            && !self.holes
            && self.models.values().all(CountedModel::is_whole)
            && !self.connections.values().any(cut)
    }

    /// What the hardware could have done at most, so far.
    pub fn ceiling(&self) -> Ceiling {
        let mut parts = self.ceilings.iter().map(|(_, ceiling)| ceiling.ceiling());
        let Some(first) = parts.next() else { return Ceiling::default() };
        let mut ceiling = parts.fold(first, |mut sum, part| {
            sum.flop = sum.flop.zip(part.flop).map(|(left, right)| left + right);
            sum.complete &= part.complete;
            if sum.layer != part.layer {
                sum.layer = Some("mixed".to_owned());
            }
            sum.devices.extend(part.devices);
            sum
        });
        ceiling.complete &= !self.left_running;
        ceiling
    }

    /// Gaps of all devices so far.
    pub fn gaps(&self) -> Vec<Gap> {
        self.ceilings.iter().flat_map(|(_, ceiling)| ceiling.gaps()).collect()
    }

    fn energy(&self) -> Option<Joules> {
        let parts: Option<Vec<Joules>> = self.ceilings.iter().map(|(_, ceiling)| ceiling.energy()).collect();
        parts.filter(|parts| !parts.is_empty()).map(|parts| parts.into_iter().sum())
    }

    /// The summary so far, without an assessment.
    pub fn summary(&self) -> RunSummary {
        let mut models: Vec<ModelSummary> = Vec::new();
        for model in self.models.values() {
            if !models.contains(model.summary()) {
                models.push(model.summary().clone());
            }
        }
        RunSummary {
            schema: RUN_SCHEMA.to_owned(),
            run: self.run.clone(),
            modification: self.modification.clone(),
            state: if self.open_segments > 0 || self.ended.is_none() { RunState::Open } else { RunState::Closed },
            started: self.started.unwrap_or_default(),
            ended: self.ended.filter(|_| self.open_segments == 0),
            command: self.command.clone(),
            exit: self.exit,
            flops: self.flops(),
            complete: self.is_complete(),
            tokens: self.training_tokens(),
            phases: self.phases.iter().map(|(phase, totals)| totals.summary(*phase)).collect(),
            models,
            ceiling: self.ceiling(),
            energy_joules: self.energy(),
            gaps: self.gaps(),
            findings: self.findings.clone(),
            alerts: self.alerts.clone(),
            assessment: None,
        }
    }

    fn training_tokens(&self) -> RunTokens {
        self.phases.get(&crate::facts::Phase::Training).map_or_else(
            // Nobody told of any: that is no zero that was measured.
            RunTokens::default,
            |totals| totals.tokens,
        )
    }

    /// Operations of the passes that train, the legal basis; zero while nothing was counted.
    pub fn training(&self) -> Flops {
        self.flops().map_or(Flops::ZERO, |flops| flops.training)
    }
}
