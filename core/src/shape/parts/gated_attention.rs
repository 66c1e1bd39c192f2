//! Attention whose result is gated by a second half of the query projection.

use super::super::build::Builder;
use super::super::program::Slot;
use super::super::quantity::Mask;
use super::attention::scores_and_values;
use crate::flops::Part;

/// How a block attends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GatedAttention {
    pub(crate) heads: u64,
    pub(crate) key_value_heads: u64,
    pub(crate) head_size: u64,
    /// All projections have a bias.
    pub(crate) bias: bool,
}

impl GatedAttention {
    /// Self-attention of a stream, causal, with a norm of each query and key head.
    pub(crate) fn build(&self, block: &mut Builder, hidden: u64, input: Slot) -> Slot {
        let part = Part::AttentionProjections;
        let queries = self.heads.saturating_mul(self.head_size);
        let keys = self.key_value_heads.saturating_mul(self.head_size);
        let both = block.linear("self_attn.q_proj", (hidden, queries.saturating_mul(2)), self.bias, part, input);
        let query = block.norm("self_attn.q_norm", self.head_size, both);
        let key = block.linear("self_attn.k_proj", (hidden, keys), self.bias, part, input);
        let key = block.norm("self_attn.k_norm", self.head_size, key);
        let value = block.linear("self_attn.v_proj", (hidden, keys), self.bias, part, input);
        let stream = block.stream();
        let mixed = scores_and_values(block, (query, key, value), (queries, queries), stream, Mask::Causal, false);
        let gated = block.multiply(mixed, both);
        block.linear("self_attn.o_proj", (queries, hidden), self.bias, part, gated)
    }
}
