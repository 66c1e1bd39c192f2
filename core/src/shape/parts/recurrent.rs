//! A gated linear recurrence behind a short convolution (Griffin, <https://arxiv.org/abs/2402.19427>).

use super::super::build::Builder;
use super::super::program::{ModuleKind, Slot};
use super::state_space::{depthwise, parameter};
use crate::flops::Part;

/// How a block mixes positions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recurrent {
    /// Channels of the recurrence.
    pub(crate) width: u64,
    /// Heads, each with gate weights of its own.
    pub(crate) heads: u64,
    /// Positions that the convolution sees.
    pub(crate) kernel: u64,
}

impl Recurrent {
    /// Leads an activation through `temporal_block`.
    pub(crate) fn build(&self, block: &mut Builder, hidden: u64, input: Slot) -> Slot {
        let part = Part::StateSpace;
        let beside = block.linear("temporal_block.linear_y", (hidden, self.width), true, part, input);
        block.keep(beside);
        let entered = block.linear("temporal_block.linear_x", (hidden, self.width), true, part, input);
        let mixed = depthwise(block, "temporal_block.conv_1d", (self.width, self.kernel, true), entered);
        let states = self.recurrence(block, mixed);
        let gated = block.multiply(states, beside);
        block.linear("temporal_block.linear_out", (self.width, hidden), true, part, gated)
    }

    /// Led from position to position without a product.
    fn recurrence(&self, block: &mut Builder, mixed: Slot) -> Slot {
        let speed = parameter(block, "temporal_block.rg_lru.recurrent_param", self.width);
        let enter = self.gate(block, "input_gate", mixed);
        let carry = self.gate(block, "recurrent_gate", mixed);
        let decay = block.multiply(carry, speed);
        let entered = block.multiply(mixed, enter);
        let entered = block.multiply(entered, decay);
        let states = block.add(entered, decay);
        block.multiply(states, decay)
    }

    fn gate(&self, block: &mut Builder, name: &str, input: Slot) -> Slot {
        let (inputs, outputs, groups) = (self.width, self.width, self.heads);
        let kind = ModuleKind::Convolution { inputs, outputs, kernel: 1, groups, bias: false };
        let name = |what: &str| format!("temporal_block.rg_lru.{name}_{what}");
        let product = block.apply(name("weight"), kind, Part::StateSpace, input);
        let shift = parameter(block, name("bias"), self.width);
        let gate = block.add(product, shift);
        block.keep(gate);
        gate
    }
}
