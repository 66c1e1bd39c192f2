//! What `plan` says.

use flopsmeter_core::assess::{Assessment, Basis, Spent};
use flopsmeter_core::flops::Attention;
use flopsmeter_core::run::Term;
use flopsmeter_core::unit::Flops;
use serde::Serialize;

use super::size::JobSize;
use crate::args::{CheckpointingChoice, PlanArguments};
use crate::output::TextTable;
use crate::words;

/// Value of `schema`.
const SCHEMA: &str = "flopsmeter.plan/1";

/// The answer: what `plan --json` prints.
#[derive(Debug, Serialize)]
pub(super) struct Answer {
    pub(super) schema: &'static str,
    pub(super) method: &'static str,
    pub(super) gradient_checkpointing: Option<&'static str>,
    pub(super) job: JobSize,
    /// Positions fed, as a decimal string.
    pub(super) tokens: String,
    pub(super) params: PlannedParameters,
    pub(super) flops: PlannedFlops,
    pub(super) terms: Vec<Term>,
    pub(super) convention: Convention,
    pub(super) basis: Basis,
    pub(super) assessment: Option<Assessment>,
    #[serde(skip)]
    pub(super) spent: Spent,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct PlannedParameters {
    pub(super) total: u64,
    /// Not known without a shape, unless all are trained.
    pub(super) trainable: Option<u64>,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct PlannedFlops {
    pub(super) forward: Option<Flops>,
    pub(super) backward: Option<Flops>,
    pub(super) recompute: Option<Flops>,
    /// Model operations: forward and backward. With `lowest`, the upper end of a range.
    pub(super) training: Flops,
    /// Lower end of the range, where there is no shape to count from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) lowest: Option<Flops>,
}

#[derive(Debug, Serialize)]
pub(super) struct Convention {
    pub(super) attention: &'static str,
}

impl Answer {
    pub(super) fn new(arguments: &PlanArguments, attention: Attention, size: &JobSize, spent: Spent) -> Self {
        let checkpointing = arguments.gradient_checkpointing.map(|kind| match kind {
            CheckpointingChoice::NonReentrant => "non-reentrant",
            CheckpointingChoice::Reentrant => "reentrant",
        });
        Self {
            schema: SCHEMA,
            method: arguments.method.name(),
            gradient_checkpointing: checkpointing,
            job: *size,
            tokens: size.tokens().to_string(),
            params: PlannedParameters::default(),
            flops: PlannedFlops::default(),
            terms: Vec::new(),
            convention: Convention { attention: attention.name() },
            basis: spent.basis,
            assessment: None,
            spent,
        }
    }

    /// The answer for people; defaults that were used are said.
    pub(super) fn words(&self) -> String {
        let job = &self.job;
        let last = if job.last_sequences == 0 { String::new() } else { format!(" and one of {}", job.last_sequences) };
        let mut text = format!(
            "job        {} tokens: {} micro-batches of {} x {} positions{last} in each of {} epochs\n",
            self.tokens, job.micro_batches, job.sequences, job.seq_len, job.epochs
        );
        let trainable = self.params.trainable.map_or_else(|| "an unknown number".to_owned(), |count| count.to_string());
        text.push_str(&format!(
            "method     {}: {trainable} of {} parameters trained\n",
            self.method, self.params.total
        ));
        text.push_str(&self.operations());
        if let Some(assessment) = &self.assessment {
            text.push_str(&words::assessment(assessment));
        }
        text
    }

    fn operations(&self) -> String {
        if let Some(lowest) = self.flops.lowest {
            return format!(
                "training   between {} and {}: 6 P D and a third of it; give --config for the exact count\n",
                words::flop(Some(lowest)),
                words::flop(Some(self.flops.training))
            );
        }
        if self.terms.is_empty() {
            return format!(
                "training   {}: 6 P D, not exact; give --config for the count\n",
                words::flop(Some(self.flops.training))
            );
        }
        let mut table = TextTable::new(&["FLOP", ">forward", ">backward", ">recompute"]);
        let cells = |name: &str, forward: Flops, backward: Flops, recompute: Flops| {
            vec![name.to_owned(), forward.to_string(), backward.to_string(), recompute.to_string()]
        };
        for term in self.terms.iter().filter(|term| (term.forward + term.backward).0 > 0) {
            table.row(cells(&term.name, term.forward, term.backward, term.recompute));
        }
        let zero = Flops::ZERO;
        let sum = |value: Option<Flops>| value.unwrap_or(zero);
        table.row(cells("sum", sum(self.flops.forward), sum(self.flops.backward), sum(self.flops.recompute)));
        let recompute = if sum(self.flops.recompute).0 == 0 { "" } else { ", recomputation not counted by the law" };
        format!(
            "{}training   {} (forward + backward; attention {}{recompute})\n",
            table.render(),
            self.flops.training,
            self.convention.attention
        )
    }
}
