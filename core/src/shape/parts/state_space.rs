//! State-space layers as `transformers` computes them without fused kernels.
//!
//! Sources: Mamba, <https://arxiv.org/abs/2312.00752>; Mamba-2, <https://arxiv.org/abs/2405.21060>. The fused kernels of
//! `mamba_ssm` do the same products chunk by chunk in an order of their own, which no operation counter sees.

use std::borrow::Cow;

use super::super::build::Builder;
use super::super::program::{ModuleKind, Slot, Step};
use super::super::quantity::Quantity;
use crate::flops::Part;

/// A selective state-space layer whose states are led from position to position.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mamba {
    /// Name of the layer, for example `mixer`.
    pub(crate) name: &'static str,
    /// Channels inside the layer.
    pub(crate) inner: u64,
    pub(crate) state: u64,
    pub(crate) time_step_rank: u64,
    /// Heads that each have weights of their own for what they select and for the time step, as bare parameters.
    pub(crate) heads: Option<u64>,
    /// Positions that the convolution sees.
    pub(crate) kernel: u64,
    pub(crate) bias: bool,
    pub(crate) convolution_bias: bool,
    pub(crate) norms: MambaNorms,
}

/// Norms of the time step and of the state's input and output maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MambaNorms {
    None,
    /// Without parameters.
    Plain,
    /// With a scale, of these names.
    Scaled,
}

impl Mamba {
    /// Leads an activation through the layer.
    pub(crate) fn build(&self, block: &mut Builder, hidden: u64, input: Slot) -> Slot {
        let part = Part::StateSpace;
        let name = |what: &str| format!("{}.{what}", self.name);
        let widths = (hidden, self.inner.saturating_mul(2));
        let projected = block.linear(name("in_proj"), widths, self.bias, part, input);
        let convolution = (self.inner, self.kernel, self.convolution_bias);
        let mixed = depthwise(block, name("conv1d"), convolution, projected);
        let selected = self.time_step_rank.saturating_add(self.state.saturating_mul(2));
        let selected = match self.heads {
            None => block.linear(name("x_proj"), (self.inner, selected), false, part, mixed),
            Some(heads) => self.by_head(block, "x_proj_weight", (self.inner, heads.saturating_mul(selected)), mixed),
        };
        let (mut step, mut enter, mut leave) = (selected, selected, selected);
        match self.norms {
            MambaNorms::None => {}
            MambaNorms::Plain => block.keep(selected),
            MambaNorms::Scaled => {
                step = block.norm(name("dt_layernorm"), self.time_step_rank, selected);
                enter = block.norm(name("b_layernorm"), self.state, selected);
                leave = block.norm(name("c_layernorm"), self.state, selected);
            }
        }
        let time = match self.heads {
            None => block.weight(name("dt_proj"), (self.time_step_rank, self.inner), true, part, step),
            Some(heads) => {
                let widths = (heads.saturating_mul(self.time_step_rank), self.inner);
                let time = self.by_head(block, "dt_proj_weight", widths, step);
                let shift = parameter(block, name("dt_proj_bias"), self.inner);
                block.add(time, shift)
            }
        };
        let decay = parameter(block, name("A_log"), self.inner.saturating_mul(self.state));
        let decay = block.multiply(decay, time);
        let entered = block.multiply(time, enter);
        let entered = block.multiply(entered, mixed);
        let states = block.add(decay, entered);
        let factor = u128::from(self.inner).saturating_mul(u128::from(self.state)).saturating_mul(2);
        let rows = Quantity::Positions(block.stream());
        let output = block.product(states, leave, factor, rows, part);
        let skip = parameter(block, name("D"), self.inner);
        let skipped = block.multiply(skip, mixed);
        let output = block.add(output, skipped);
        let gated = block.multiply(output, projected);
        block.linear(name("out_proj"), (self.inner, hidden), self.bias, part, gated)
    }

    /// A product of each head's channels with its own weight: all input channels and all output channels.
    fn by_head(&self, block: &mut Builder, what: &str, (inputs, outputs): (u64, u64), input: Slot) -> Slot {
        let groups = self.heads.unwrap_or(1);
        let kind = ModuleKind::Convolution { inputs, outputs, kernel: 1, groups, bias: false };
        block.apply(format!("{}.{what}", self.name), kind, Part::StateSpace, input)
    }
}

/// A state-space layer with one decay for each head, computed in chunks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mamba2 {
    /// Name of the layer, for example `mixer`.
    pub(crate) name: &'static str,
    /// Channels inside the layer.
    pub(crate) inner: u64,
    pub(crate) heads: u64,
    /// Channels of each head.
    pub(crate) head_size: u64,
    pub(crate) state: u64,
    pub(crate) groups: u64,
    /// Positions of a chunk.
    pub(crate) chunk: u64,
    /// Positions that the convolution sees.
    pub(crate) kernel: u64,
    /// The input projection has a bias.
    pub(crate) bias: bool,
    /// The output projection has one.
    pub(crate) output_bias: bool,
    pub(crate) convolution_bias: bool,
    pub(crate) gating: Gating,
}

/// What happens to the result ahead of the output projection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gating {
    /// It is gated.
    Alone,
    /// It is gated and normed, in either order.
    Normed,
}

impl Mamba2 {
    /// Leads an activation through the layer.
    pub(crate) fn build(&self, block: &mut Builder, hidden: u64, input: Slot) -> Slot {
        let part = Part::StateSpace;
        let name = |what: &str| format!("{}.{what}", self.name);
        let channels = self.inner.saturating_add(self.groups.saturating_mul(self.state).saturating_mul(2));
        let widths = (hidden, self.inner.saturating_add(channels).saturating_add(self.heads));
        let projected = block.linear(name("in_proj"), widths, self.bias, part, input);
        let mixed = depthwise(block, name("conv1d"), (channels, self.kernel, self.convolution_bias), projected);
        let time = parameter(block, name("dt_bias"), self.heads);
        let time = block.add(time, projected);
        let entered = block.multiply(mixed, time);
        let decay = parameter(block, name("A_log"), self.heads);
        let decay = block.multiply(decay, time);
        let wide = |factors: &[u64]| factors.iter().fold(2_u128, |all, it| all.saturating_mul(u128::from(*it)));
        let chunks = Quantity::Chunks(self.chunk);
        // Within a chunk: every position against every other one, then against what entered.
        let within = wide(&[self.heads, self.chunk, self.chunk]);
        let scores = block.product(mixed, mixed, within.saturating_mul(u128::from(self.state)), chunks, part);
        let scores = block.multiply(scores, decay);
        let own = block.product(scores, entered, within.saturating_mul(u128::from(self.head_size)), chunks, part);
        // The state each chunk ends in, the states they begin with, and what these give at each position.
        let decayed = block.multiply(mixed, decay);
        let carried = wide(&[self.heads, self.chunk, self.head_size, self.state]);
        let states = block.product(decayed, entered, carried, chunks, part);
        let between = wide(&[self.heads, self.head_size, self.state]);
        let states = block.product(decay, states, between, Quantity::ChunkCarries(self.chunk), part);
        let earlier = block.product(mixed, states, carried, chunks, part);
        let earlier = block.multiply(earlier, decay);
        let output = block.add(own, earlier);
        let skip = parameter(block, name("D"), self.heads);
        let skipped = block.multiply(skip, mixed);
        let output = block.add(output, skipped);
        let gated = block.multiply(output, projected);
        let gated = match self.gating {
            Gating::Alone => gated,
            Gating::Normed => block.norm(name("norm"), self.inner, gated),
        };
        block.linear(name("out_proj"), (self.inner, hidden), self.output_bias, part, gated)
    }
}

/// A convolution over each channel apart, padded on both sides and cut to the sequence: channels, kernel, bias.
pub(crate) fn depthwise(
    block: &mut Builder,
    name: impl Into<Cow<'static, str>>,
    (channels, kernel, bias): (u64, u64, bool),
    input: Slot,
) -> Slot {
    let kind = ModuleKind::Convolution { inputs: channels, outputs: channels, kernel, groups: channels, bias };
    let (module, to) = (block.module(name, kind, Part::StateSpace), block.slot());
    let rows = Quantity::PositionsAnd { stream: block.stream(), more: kernel.saturating_sub(1) };
    block.step(Step::Apply { module, from: input, to, rows });
    block.keep(to); // the activation function
    to
}

/// A bare parameter as an activation that depends on nothing.
pub(crate) fn parameter(block: &mut Builder, name: impl Into<Cow<'static, str>>, elements: u64) -> Slot {
    let nothing = block.slot();
    block.apply(name, ModuleKind::Scale { weight: elements, bias: 0 }, Part::StateSpace, nothing)
}
