//! What `plan` says, as `--json` prints it.

use flopsmeter_core::assess::{Assessment, Basis, Verdict};
use flopsmeter_core::plan::Reason;
use flopsmeter_core::run::Term;
use serde::Serialize;

use super::budget::Budget;
use super::comparison::Row;
use super::data::{Data, JobSize};
use super::estimate::{self, Estimate, PlannedFlops, PlannedParameters};
use super::expectation::{self, Expectation};
use super::headroom::Headroom;
use super::method;
use crate::args::PlanArguments;

/// Value of `schema`.
const SCHEMA: &str = "flopsmeter.plan/1";

/// The answer.
#[derive(Debug, Serialize)]
pub(super) struct Answer {
    pub(super) schema: &'static str,
    pub(super) method: &'static str,
    /// What the method was asked for: rank and targets, number of blocks.
    pub(super) method_details: String,
    /// Targets that no module of the model has; `peft` goes on with the others.
    pub(super) unmatched_targets: Vec<String>,
    pub(super) gradient_checkpointing: Option<&'static str>,
    pub(super) job: JobSize,
    /// Positions fed, padding included, as a decimal string.
    pub(super) tokens: String,
    /// Defaults that were used, as they would be typed.
    pub(super) defaults: Vec<String>,
    pub(super) params: PlannedParameters,
    pub(super) flops: PlannedFlops,
    pub(super) terms: Vec<Term>,
    pub(super) convention: Convention,
    pub(super) basis: Basis,
    /// Why the count is a range.
    pub(super) uncertainty: Vec<Reason>,
    /// The verdict at both ends of it.
    pub(super) verdicts: Verdicts,
    pub(super) headroom: Headroom,
    /// Time and energy on the GPUs that were named.
    pub(super) expected: Vec<Expectation>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) comparison: Option<Vec<Row>>,
    /// Of the modification that was named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) budget: Option<Budget>,
    pub(super) assessment: Assessment,
}

#[derive(Debug, Serialize)]
pub(super) struct Convention {
    pub(super) attention: &'static str,
}

/// Verdicts on the ends of the range.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Verdicts {
    pub(super) low: Verdict,
    pub(super) high: Verdict,
}

/// What follows from the estimate and the law together.
pub(super) struct Consequences {
    pub(super) verdicts: Verdicts,
    pub(super) headroom: Headroom,
    pub(super) expected: Vec<Expectation>,
    pub(super) comparison: Option<Vec<Row>>,
    pub(super) budget: Option<Budget>,
    pub(super) assessment: Assessment,
}

impl Answer {
    pub(super) fn new(arguments: &PlanArguments, data: Data, estimate: Estimate, then: Consequences) -> Self {
        let mut defaults = data.defaults;
        defaults.extend(method::defaults(arguments));
        defaults.extend(expectation::default(arguments));
        Self {
            schema: SCHEMA,
            method: arguments.method.name(),
            method_details: method::details(arguments.method, arguments, 0),
            gradient_checkpointing: estimate::options(arguments)
                .gradient_checkpointing
                .map(estimate::checkpointing_name),
            unmatched_targets: estimate.unmatched,
            tokens: data.job.tokens().to_string(),
            job: data.size,
            defaults,
            params: estimate.params,
            flops: estimate.flops,
            terms: estimate.terms,
            convention: Convention { attention: estimate::attention(arguments).name() },
            basis: estimate.spent.basis,
            uncertainty: estimate.range.reasons,
            verdicts: then.verdicts,
            headroom: then.headroom,
            expected: then.expected,
            comparison: then.comparison,
            budget: then.budget,
            assessment: then.assessment,
        }
    }
}
