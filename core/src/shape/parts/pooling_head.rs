//! A head that asks all positions with one trained query: SigLIP's.

use super::super::build::Builder;
use super::super::program::{ModuleKind, Slot, Step};
use super::super::quantity::{Mask, Stream};
use super::{FeedForward, Tower};
use crate::flops::Part;

/// Attention of one trained query, and a feed-forward part behind it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PoolingHead {
    pub(crate) hidden: u64,
    pub(crate) inner: u64,
    pub(crate) positions: u64,
}

impl PoolingHead {
    /// Leads all positions into one. `torch.nn.MultiheadAttention` holds bare parameters and multiplies with the output
    /// projection's weight itself, so that a low-rank pair beside that is there but never computed.
    pub(crate) fn build(self, block: &mut Builder, tower: &Tower, input: Slot) -> Slot {
        let hidden = self.hidden;
        let (one, all) = (tower.stream(1), tower.stream(self.positions));
        let parameter = |block: &mut Builder, name: &str, elements| {
            let nothing = block.slot();
            block.apply(tower.name(name), ModuleKind::Parameter { elements }, Part::InputEmbeddings, nothing)
        };
        let probe = parameter(block, "head.probe", hidden);
        let square = hidden.saturating_mul(hidden);
        let weight = parameter(block, "head.attention.in_proj_weight", square.saturating_mul(3));
        let bias = parameter(block, "head.attention.in_proj_bias", hidden.saturating_mul(3));
        let twice = |elements: u64| u128::from(elements).saturating_mul(2);
        let part = Part::AttentionProjections;
        let project = |block: &mut Builder, from, elements, stream| {
            block.switch(stream);
            let rows = block.positions();
            let projected = block.product(from, weight, twice(elements), rows, part);
            block.add(projected, bias)
        };
        let query = project(block, probe, square, one);
        let both = project(block, input, square.saturating_mul(2), all);
        block.switch(one);
        let pairs = block.pairs(all, Mask::Bidirectional);
        let weights = block.product(query, both, twice(hidden), pairs, Part::AttentionScores);
        block.keep(weights); // the softmax
        let mixed = block.product(weights, both, twice(hidden), pairs, Part::AttentionScores);
        let pooled = self.project_out(block, tower, mixed, one);
        let normed = block.layer_norm(tower.name("head.layernorm"), hidden, pooled);
        let names = [tower.name("head.mlp.fc1"), tower.name("head.mlp.fc2")];
        let widened = FeedForward::plain_named(self.inner, names).build(block, hidden, normed);
        block.add(pooled, widened)
    }

    fn project_out(self, block: &mut Builder, tower: &Tower, mixed: Slot, one: Stream) -> Slot {
        let kind = ModuleKind::Linear { inputs: self.hidden, outputs: self.hidden, bias: true };
        let module = block.module(tower.name("head.attention.out_proj"), kind, Part::AttentionProjections);
        block.switch(one);
        let (to, rows) = (block.slot(), block.positions());
        block.step(Step::Weight { module, from: mixed, to, rows });
        to
    }
}
