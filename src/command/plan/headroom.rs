//! How much may still be spent, and how much data that is.

use flopsmeter_core::assess::{Basis, Reading, Spent, Verdict};
use flopsmeter_core::judge::Judge;
use flopsmeter_core::plan::Edges;
use flopsmeter_core::unit::Flops;
use serde::Serialize;

use super::data::Data;
use super::estimate::{Estimate, Extent};

/// What is left until the verdict changes; both are `null` where no amount changes it, as without a base.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Headroom {
    /// Until it is no longer `below`.
    pub(super) near: Option<Until>,
    /// Until it is `exceeds`.
    pub(super) exceeds: Option<Until>,
}

/// What is left until one verdict.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Until {
    /// The verdict from there on.
    pub(super) verdict: Verdict,
    /// The smallest amount with it.
    pub(super) flop: Flops,
    /// The reading that raises the verdict there, where the count of operations alone does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) by: Option<String>,
    /// That without what the plan spends; 0 once it is spent.
    pub(super) flop_left: Flops,
    /// Micro-batches from the start of the job on until the amount is reached; not known without a shape.
    #[serde(serialize_with = "optional_text")]
    pub(super) micro_batches: Option<u128>,
    /// Tokens that are fed by then.
    #[serde(serialize_with = "optional_text")]
    pub(super) tokens: Option<u128>,
    /// Tokens that may still be added to the plan; 0 once it feeds as many.
    #[serde(serialize_with = "optional_text")]
    pub(super) tokens_left: Option<u128>,
}

#[expect(clippy::ref_option, reason = "serde passes the field by reference")]
fn optional_text<S: serde::Serializer>(value: &Option<u128>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}

/// Where the verdict changes, for any plan on this base.
pub(super) fn edges(judge: &Judge, basis: Basis) -> Edges {
    Edges::find(|amount| judge.verdict(Spent::counted(amount, basis)))
}

impl Headroom {
    pub(super) fn find(judge: &Judge, estimate: &Estimate, data: &Data) -> Self {
        // Another basis of counting may say `near` first.
        let edges = Edges::find(|amount| judge.verdict(estimate.spent_at(data, amount)));
        let until = |flop: Flops, verdict: Verdict| {
            let by = raised_by(judge, &estimate.spent_at(data, flop));
            Until { by, ..Until::of(flop, verdict, estimate, data) }
        };
        Self {
            near: edges.near.map(|edge| until(edge.flop, edge.verdict)),
            exceeds: edges.exceeds.map(|flop| until(flop, Verdict::Exceeds)),
        }
    }
}

/// The reading that makes `near` of what is `below` by the count of operations alone.
fn raised_by(judge: &Judge, spent: &Spent) -> Option<String> {
    let assessment = judge.assess_spent(spent.clone(), Vec::new());
    let amount = spent.training.unwrap_or_default();
    let is_raised = judge.verdict(Spent::counted(amount, spent.basis)) == Verdict::Below;
    let raises = |reading: &&Reading| reading.verdict != Verdict::Below;
    let raising = is_raised.then(|| assessment.readings.iter().find(raises)).flatten();
    raising.filter(|_| assessment.verdict != Verdict::Below).map(|reading| reading.code.clone())
}

impl Until {
    fn of(flop: Flops, verdict: Verdict, estimate: &Estimate, data: &Data) -> Self {
        let extent = estimate.reach(data, flop);
        let tokens = extent.map(|Extent { tokens, .. }| tokens);
        Self {
            verdict,
            flop,
            by: None,
            flop_left: Flops(flop.0.saturating_sub(estimate.flops.training.0)),
            micro_batches: extent.and_then(|extent| extent.micro_batches),
            tokens,
            tokens_left: tokens.map(|tokens| tokens.saturating_sub(data.job.tokens())),
        }
    }
}
