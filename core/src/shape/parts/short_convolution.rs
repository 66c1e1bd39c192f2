//! A gated convolution over a few positions in place of attention (LFM2).

use super::super::build::Builder;
use super::super::program::Slot;
use super::state_space::depthwise;
use crate::flops::Part;

/// How a block mixes positions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ShortConvolution {
    /// Positions that the convolution sees.
    pub(crate) kernel: u64,
    /// The projections and the convolution have a bias.
    pub(crate) bias: bool,
}

impl ShortConvolution {
    /// Leads an activation through the layer.
    pub(crate) fn build(&self, block: &mut Builder, hidden: u64, input: Slot) -> Slot {
        let part = Part::StateSpace;
        let all = block.linear("conv.in_proj", (hidden, hidden.saturating_mul(3)), self.bias, part, input);
        let entered = block.multiply(all, all);
        let mixed = depthwise(block, "conv.conv", (hidden, self.kernel, self.bias), entered);
        let left = block.multiply(all, mixed);
        block.linear("conv.out_proj", (hidden, hidden), self.bias, part, left)
    }
}
