//! How much is trained on.

use flopsmeter_core::flops::{Batch, Cost, Count};
use serde::Serialize;

use crate::args::PlanArguments;
use crate::exit::UsageProblem;

/// Passes of a job: whole micro-batches and, where it does not come out even, a last smaller one in each epoch.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct JobSize {
    /// Positions of each sequence.
    pub(super) seq_len: u64,
    /// Sequences of a micro-batch.
    pub(super) sequences: u64,
    /// Whole micro-batches of each epoch.
    pub(super) micro_batches: u64,
    /// Sequences of the last one, 0 if there is none.
    pub(super) last_sequences: u64,
    /// Epochs.
    pub(super) epochs: u64,
}

impl JobSize {
    pub(super) fn of(arguments: &PlanArguments) -> Result<Self, UsageProblem> {
        let (seq_len, sequences, epochs) = (arguments.seq_len, arguments.sequences, arguments.epochs);
        for (flag, value) in [("--seq-len", seq_len), ("--sequences", sequences), ("--epochs", epochs)] {
            if value == 0 {
                return Err(UsageProblem(format!("{flag} 0 trains on nothing; give at least 1")));
            }
        }
        let Some(tokens) = arguments.tokens else {
            return Ok(Self { seq_len, sequences, micro_batches: 1, last_sequences: 0, epochs });
        };
        if tokens.0 == 0 {
            return Err(UsageProblem("--tokens 0 trains on nothing; give at least 1".to_owned()));
        }
        let all = tokens.0.div_ceil(seq_len);
        Ok(Self { seq_len, sequences, micro_batches: all / sequences, last_sequences: all % sequences, epochs })
    }

    /// Operations of the whole job.
    pub(super) fn count(&self, cost: &Cost) -> Count {
        let whole = cost.pass(true, &Batch::text(self.sequences, self.seq_len)).times(self.micro_batches);
        let last = if self.last_sequences == 0 {
            Count::default()
        } else {
            cost.pass(true, &Batch::text(self.last_sequences, self.seq_len))
        };
        (whole + last).times(self.epochs)
    }

    /// Positions that are fed, over all epochs.
    pub(super) fn tokens(&self) -> u128 {
        let wide = |value: u64| u128::from(value);
        let sequences = wide(self.sequences) * wide(self.micro_batches) + wide(self.last_sequences);
        sequences.saturating_mul(wide(self.seq_len)).saturating_mul(wide(self.epochs))
    }
}
