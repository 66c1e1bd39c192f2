//! What the entries so far come to, for those who read it.

use super::launched::Unmetered;
use super::model::CountedModel;
use super::{DEVICES_REPLAYED, Tally};
use crate::run::{
    Ceiling, EnergySum, Finding, Gap, ModelSummary, RUN_SCHEMA, Reconciliation, RunState, RunSummary, RunTokens,
};

/// What is told where a run has a later part than one that has no end on record.
const SEGMENT_OPEN: &str = "another part of this run has no end on record: it goes on, or its meter was killed and what it had not recorded is missing; the figures are lower bounds";

impl Tally {
    /// What was found, and what can be said only of all segments together.
    pub(super) fn findings(&self) -> Vec<Finding> {
        let mut findings = self.findings.clone();
        findings.extend(self.segments.findings());
        if self.segments.any_open_but_latest() {
            findings.push(Finding { code: "segment-open".to_owned(), text: SEGMENT_OPEN.to_owned() });
        }
        let missing = self.ranks_missing();
        if missing > 0 {
            let text = format!(
                "{missing} ranks of the launcher told nothing to this meter, so their operations are missing: install the Python \
                 package for each of them; ranks on other nodes are metered there"
            );
            findings.push(Finding { code: "ranks-missing".to_owned(), text });
        }
        // While a segment is open, processes that have not been seen may be yet.
        if !self.segments.any_open() {
            findings.extend(self.segments.unmetered().iter().map(Unmetered::finding));
        }
        findings
    }

    /// What the hardware could have done at most, so far. A rank that has not spoken computes on devices that nobody may have
    /// read: another node's; so does what was launched and is on no node that is on record. Of a part that goes on, or whose meter was killed, nobody has read the end here.
    pub fn ceiling(&self) -> Ceiling {
        let mut ceiling = self.segments.ceiling();
        ceiling.complete &= self.silent_ranks() == 0 && !self.segments.any_open_but_latest();
        ceiling.complete &= self.segments.unmetered().is_empty();
        ceiling.complete &= !self.left_running && !self.findings.iter().any(|finding| finding.code == DEVICES_REPLAYED);
        ceiling
    }

    /// Gaps of all devices so far.
    pub fn gaps(&self) -> Vec<Gap> {
        self.segments.gaps()
    }

    /// The summary so far, without an assessment.
    pub fn summary(&self) -> RunSummary {
        let mut models: Vec<ModelSummary> = Vec::new();
        for model in self.former_models.iter().chain(self.models.values().map(CountedModel::summary)) {
            if !models.contains(model) {
                models.push(model.clone());
            }
        }
        let (sums, ceiling) = (self.sums(), self.ceiling());
        let reconciliation = sums.flops.map(|flops| Reconciliation::of(&flops, self.executed_visible, &ceiling));
        let mut findings = self.findings();
        // While a run is open, what was counted may be ahead of what was read of the devices.
        if let Some(sides) = reconciliation.as_ref().filter(|_| sums.state == RunState::Closed) {
            findings.extend(sides.findings(&ceiling, sums.complete));
        }
        let mut summary = RunSummary {
            models,
            ceiling,
            reconciliation,
            energy_joules: self.segments.energy(),
            gaps: self.gaps(),
            findings,
            alerts: self.alerts.clone(),
            ..sums
        };
        let boards = EnergySum::of_boards([&summary]);
        if boards.exact().is_none() {
            summary.energy_bounds = summary.energy_joules.take().map(|_| boards.bounds);
        }
        summary
    }

    /// The summary as far as it is held against a line once a second: nothing of devices, models, findings and alerts, and no ceiling.
    pub fn sums(&self) -> RunSummary {
        let closed = !self.segments.any_open() && self.ended.is_some();
        RunSummary {
            schema: RUN_SCHEMA.to_owned(),
            run: self.run.clone(),
            modification: self.modification.clone(),
            job: self.job.clone(),
            phase: self.phase.clone(),
            state: if closed { RunState::Closed } else { RunState::Open },
            started: self.started.unwrap_or_default(),
            ended: self.ended.filter(|_| !self.segments.any_open()),
            command: self.command.clone(),
            exit: self.exit,
            flops: self.flops(),
            complete: self.is_complete(),
            tokens: self.training_tokens(),
            phases: self.phases.iter().map(|(phase, totals)| totals.summary(*phase)).collect(),
            models: Vec::new(),
            ceiling: Ceiling::default(),
            reconciliation: None,
            energy_joules: None,
            energy_bounds: None,
            gaps: Vec::new(),
            findings: Vec::new(),
            alerts: Vec::new(),
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
}
