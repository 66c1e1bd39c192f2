//! The delta rule with a decay for each channel (Kimi Linear, <https://arxiv.org/abs/2510.26692>), as `transformers` computes it
//! without fused kernels: what happens within a chunk is no product but a sum over products element by element.

use std::borrow::Cow;

use super::super::build::Builder;
use super::super::program::Slot;
use super::super::quantity::Quantity;
use super::delta_net::{Along, CHUNK, wide};
use super::state_space::{depthwise, parameter};
use crate::flops::Part;

/// A layer whose state is corrected at each position and decays by channel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KimiDelta {
    pub(crate) heads: u64,
    /// Channels of each head.
    pub(crate) size: u64,
    /// Positions that the convolution sees.
    pub(crate) kernel: u64,
}

impl KimiDelta {
    /// Leads an activation through the layer.
    pub(crate) fn build(&self, block: &mut Builder, hidden: u64, input: Slot) -> Slot {
        let part = Part::StateSpace;
        let width = self.heads.saturating_mul(self.size);
        let mut entered = input;
        for (index, letter) in ["q", "k", "v"].into_iter().enumerate() {
            let projected = block.linear(name(&format!("{letter}_proj")), (hidden, width), false, part, input);
            entered = if index == 0 { projected } else { block.add(entered, projected) };
        }
        let mixed = depthwise(block, name("conv1d"), (width.saturating_mul(3), self.kernel, false), entered);
        let forgotten = self.narrowed(block, "forget_gate.f", hidden, input);
        let shift = parameter(block, name("forget_gate.dt_bias"), width);
        let decay = block.add(forgotten, shift);
        let speed = parameter(block, name("forget_gate.A_log"), self.heads);
        let decay = block.multiply(speed, decay);
        let rate = block.linear(name("b_proj"), (hidden, self.heads), false, part, input);
        block.keep(rate);
        let output = self.rule(block, mixed, rate, decay);
        let gate = self.narrowed(block, "g", hidden, input);
        let normed = block.norm(name("o_norm"), self.size, output);
        let gated = block.multiply(normed, gate);
        block.linear(name("o_proj"), (width, hidden), false, part, gated)
    }

    /// Down to the size of a head and up to all heads.
    fn narrowed(&self, block: &mut Builder, what: &str, hidden: u64, input: Slot) -> Slot {
        let part = Part::StateSpace;
        let down = block.linear(name(&format!("{what}_a_proj")), (hidden, self.size), false, part, input);
        let width = self.heads.saturating_mul(self.size);
        block.linear(name(&format!("{what}_b_proj")), (self.size, width), false, part, down)
    }

    fn rule(&self, block: &mut Builder, mixed: Slot, rate: Slot, decay: Slot) -> Slot {
        let within = wide(&[self.heads, CHUNK, CHUNK, self.size]);
        let rated = block.multiply(mixed, rate);
        let decayed = block.multiply(mixed, decay);
        let system = block.multiply(rated, decayed);
        let chunks = Quantity::Chunks(CHUNK);
        let values = block.product(system, rated, within, chunks, Part::StateSpace);
        let rated_keys = block.multiply(rated, decay);
        let reading = block.product(system, rated_keys, within, chunks, Part::StateSpace);
        let along = Along { values, reading, scores: decayed, decayed, decay };
        along.build(block, (self.heads, self.size, self.size))
    }
}

fn name(what: &str) -> Cow<'static, str> {
    Cow::Owned(format!("self_attn.{what}"))
}
