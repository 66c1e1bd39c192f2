//! Lightning attention: attention without a softmax, computed within chunks and led from chunk to chunk as a state.
//!
//! Source: Lightning Attention-2, <https://arxiv.org/abs/2401.04658>, as MiniMax-01 uses it.

use super::super::build::Builder;
use super::super::program::Slot;
use super::super::quantity::Quantity;
use crate::flops::Part;

/// How a block attends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LightningAttention {
    pub(crate) heads: u64,
    pub(crate) head_size: u64,
    /// Positions of a chunk.
    pub(crate) chunk: u64,
}

impl LightningAttention {
    /// Leads an activation through the layer.
    pub(crate) fn build(&self, block: &mut Builder, hidden: u64, input: Slot) -> Slot {
        let part = Part::AttentionProjections;
        let width = self.heads.saturating_mul(self.head_size);
        let all = block.linear("self_attn.qkv_proj", (hidden, width.saturating_mul(3)), false, part, input);
        block.keep(all); // the activation function
        let mixed = self.mix(block, all);
        let normed = block.norm("self_attn.norm", width, mixed);
        let gate = block.linear("self_attn.output_gate", (hidden, width), false, part, input);
        let gated = block.multiply(gate, normed);
        block.linear("self_attn.out_proj", (width, hidden), false, part, gated)
    }

    fn mix(&self, block: &mut Builder, all: Slot) -> Slot {
        let part = Part::AttentionScores;
        let twice = u128::from(self.heads).saturating_mul(u128::from(self.head_size)).saturating_mul(2);
        let square = twice.saturating_mul(u128::from(self.head_size));
        let (pairs, positions) = (Quantity::ChunkPairs(self.chunk), Quantity::Positions(block.stream()));
        let scores = block.product(all, all, twice, pairs, part);
        let own = block.product(scores, all, twice, pairs, part);
        // The first chunk reads an empty state, and what the last one writes nobody reads: no gradient is formed of either.
        let nothing = block.slot();
        let earlier = block.product(all, nothing, square, positions, part);
        block.gradient(all, square, Quantity::PositionsAfter(self.chunk), part);
        let output = block.add(earlier, own);
        block.product(nothing, nothing, square, positions, part);
        let whole = square.saturating_mul(u128::from(self.chunk)).saturating_mul(2);
        block.gradient(all, whole, Quantity::LaterChunks(self.chunk), part);
        output
    }
}
