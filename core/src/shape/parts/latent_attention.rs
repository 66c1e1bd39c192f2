//! Attention through compressed keys and values (multi-head latent attention, DeepSeek-V2, <https://arxiv.org/abs/2405.04434>).

use super::super::build::Builder;
use super::super::program::{ModuleKind, Slot, Step};
use super::super::quantity::Mask;
use super::attention::scores_and_values;
use crate::flops::Part;

/// How a block attends through compressed keys and values.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LatentAttention {
    pub(crate) heads: u64,
    /// Width of compressed queries; `None` where queries are projected at once.
    pub(crate) query_rank: Option<u64>,
    /// Width of compressed keys and values.
    pub(crate) key_value_rank: u64,
    /// Channels of each query and key head without position.
    pub(crate) plain_size: u64,
    /// Channels of each query and key head that carry the position; all heads share one such key.
    pub(crate) rotary_size: u64,
    /// Channels of each value head.
    pub(crate) value_size: u64,
    /// The compressing projections and the output have a bias.
    pub(crate) bias: bool,
    /// Chooses keys by projections of its own, from compressed queries.
    pub(crate) indexer: Option<Indexer>,
}

/// What chooses the keys that a query asks (DeepSeek sparse attention); kernels that mask multiply all of them still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Indexer {
    pub(crate) heads: u64,
    pub(crate) head_size: u64,
}

impl LatentAttention {
    /// Self-attention of a stream, causal.
    pub(crate) fn build(&self, block: &mut Builder, hidden: u64, input: Slot) -> Slot {
        let part = Part::AttentionProjections;
        let queries = self.heads.saturating_mul(self.plain_size.saturating_add(self.rotary_size));
        let values = self.heads.saturating_mul(self.value_size);
        let mut entered = input;
        let query = match self.query_rank {
            None => block.linear("self_attn.q_proj", (hidden, queries), false, part, input),
            Some(rank) => {
                let compressed = block.linear("self_attn.q_a_proj", (hidden, rank), self.bias, part, input);
                let normed = block.norm("self_attn.q_a_layernorm", rank, compressed);
                entered = normed;
                block.linear("self_attn.q_b_proj", (rank, queries), false, part, normed)
            }
        };
        let rank = self.key_value_rank;
        let widths = (hidden, rank.saturating_add(self.rotary_size));
        let compressed = block.linear("self_attn.kv_a_proj_with_mqa", widths, self.bias, part, input);
        let normed = block.norm("self_attn.kv_a_layernorm", rank, compressed);
        let expanded = self.heads.saturating_mul(self.plain_size.saturating_add(self.value_size));
        let both = block.linear("self_attn.kv_b_proj", (rank, expanded), false, part, normed);
        let key = block.add(both, compressed);
        if let Some(indexer) = self.indexer {
            let width = self.query_rank.unwrap_or(hidden);
            indexer.build(block, (hidden, input), (width, entered));
        }
        let stream = block.stream();
        let mixed = scores_and_values(block, (query, key, both), (queries, values), stream, Mask::Causal, false);
        let kind = ModuleKind::Linear { inputs: values, outputs: hidden, bias: self.bias };
        block.apply("self_attn.o_proj", kind, part, mixed)
    }
}

impl Indexer {
    /// Scores of all pairs, from which no gradient comes back: positions, and their compressed queries.
    fn build(self, block: &mut Builder, (hidden, input): (u64, Slot), (rank, queries): (u64, Slot)) {
        let (projections, part) = (Part::AttentionProjections, Part::AttentionScores);
        let width = self.heads.saturating_mul(self.head_size);
        block.step(Step::BeginNoGrad);
        let query = block.linear("self_attn.indexer.wq_b", (rank, width), false, projections, queries);
        let key = block.linear("self_attn.indexer.wk", (hidden, self.head_size), false, projections, input);
        let key = block.layer_norm("self_attn.indexer.k_norm", self.head_size, key);
        let pairs = block.pairs(block.stream(), Mask::Causal);
        let scores = block.product(query, key, u128::from(width).saturating_mul(2), pairs, part);
        let weights = block.linear("self_attn.indexer.weights_proj", (hidden, self.heads), false, projections, input);
        block.product(weights, scores, u128::from(self.heads).saturating_mul(2), pairs, part);
        block.step(Step::EndNoGrad);
    }
}
