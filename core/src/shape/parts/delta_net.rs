//! The gated delta rule as `transformers` computes it without fused kernels.
//!
//! Source: Gated DeltaNet, <https://arxiv.org/abs/2412.06464>. Each chunk's updates are condensed by solving a triangular
//! system. PyTorch's operation counter has no formula for the solving itself and counts the product that its backward pass
//! forms; so it is here.

use std::borrow::Cow;

use super::super::build::Builder;
use super::super::program::{ModuleKind, Slot};
use super::super::quantity::Quantity;
use super::state_space::{depthwise, parameter};
use crate::flops::Part;

/// Positions of a chunk, which no configuration changes.
pub(crate) const CHUNK: u64 = 64;

/// A layer whose state is corrected, not only added to, at each position.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DeltaNet {
    pub(crate) key_heads: u64,
    pub(crate) value_heads: u64,
    /// Channels of each key head.
    pub(crate) key_size: u64,
    /// Channels of each value head.
    pub(crate) value_size: u64,
    /// Positions that the convolution sees.
    pub(crate) kernel: u64,
    pub(crate) projections: DeltaProjections,
}

/// How a family cuts the input projections, and what it calls them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeltaProjections {
    /// `in_proj_qkvz` and `in_proj_ba`.
    Two,
    /// `in_proj_qkv`, `in_proj_z`, `in_proj_b` and `in_proj_a`.
    Four,
    /// `q_proj`, `k_proj`, `v_proj`, `b_proj`, `a_proj` and `g_proj`, and `o_norm` and `o_proj` behind the rule.
    Six,
}

/// What the input projections give.
struct Projected {
    mixed: Slot,
    gate: Slot,
    /// How much of the state is corrected.
    rate: Slot,
    decay: Slot,
}

/// What enters the rule at each position.
#[derive(Clone, Copy)]
struct Entering {
    mixed: Slot,
    rate: Slot,
    decay: Slot,
}

impl DeltaNet {
    /// Leads an activation through the layer.
    pub(crate) fn build(&self, block: &mut Builder, hidden: u64, input: Slot) -> Slot {
        let part = Part::StateSpace;
        let values = self.value_heads.saturating_mul(self.value_size);
        let projected = self.project(block, hidden, input);
        let mixed = depthwise(block, name("conv1d"), (self.channels(), self.kernel, false), projected.mixed);
        block.keep(projected.rate);
        let shift = parameter(block, name("dt_bias"), self.value_heads);
        let decay = block.add(projected.decay, shift);
        let speed = parameter(block, name("A_log"), self.value_heads);
        let decay = block.multiply(speed, decay);
        let output = self.rule(block, Entering { mixed, rate: projected.rate, decay });
        let (norm, out) = match self.projections {
            DeltaProjections::Six => ("o_norm", "o_proj"),
            DeltaProjections::Two | DeltaProjections::Four => ("norm", "out_proj"),
        };
        let normed = block.norm(name(norm), self.value_size, output);
        let gated = block.multiply(normed, projected.gate);
        block.linear(name(out), (values, hidden), false, part, gated)
    }

    /// Queries, keys and values together.
    const fn channels(&self) -> u64 {
        let keys = self.key_heads.saturating_mul(self.key_size).saturating_mul(2);
        keys.saturating_add(self.value_heads.saturating_mul(self.value_size))
    }

    fn project(&self, block: &mut Builder, hidden: u64, input: Slot) -> Projected {
        let (channels, heads) = (self.channels(), self.value_heads);
        let (keys, values) = (self.key_heads.saturating_mul(self.key_size), heads.saturating_mul(self.value_size));
        let mut linear = |what: &str, outputs: u64| {
            let kind = ModuleKind::Linear { inputs: hidden, outputs, bias: false };
            block.apply(name(what), kind, Part::StateSpace, input)
        };
        match self.projections {
            DeltaProjections::Two => {
                let wide = linear("in_proj_qkvz", channels.saturating_add(values));
                let narrow = linear("in_proj_ba", heads.saturating_mul(2));
                Projected { mixed: wide, gate: wide, rate: narrow, decay: narrow }
            }
            DeltaProjections::Four => Projected {
                mixed: linear("in_proj_qkv", channels),
                gate: linear("in_proj_z", values),
                rate: linear("in_proj_b", heads),
                decay: linear("in_proj_a", heads),
            },
            DeltaProjections::Six => {
                let (query, key, value) = (linear("q_proj", keys), linear("k_proj", keys), linear("v_proj", values));
                let (rate, decay) = (linear("b_proj", heads), linear("a_proj", heads));
                let gate = linear("g_proj", values);
                let query = block.add(query, key);
                Projected { mixed: block.add(query, value), gate, rate, decay }
            }
        }
    }

    /// The rule: within each chunk, then along them.
    fn rule(&self, block: &mut Builder, Entering { mixed, rate, decay }: Entering) -> Slot {
        let part = Part::StateSpace;
        let chunks = Quantity::Chunks(CHUNK);
        let keys_within = wide(&[self.value_heads, CHUNK, CHUNK, self.key_size]);
        let values_within = wide(&[self.value_heads, CHUNK, CHUNK, self.value_size]);
        block.keep(mixed); // queries and keys are brought to length 1
        let rated = block.multiply(mixed, rate);
        let system = block.product(rated, mixed, keys_within, chunks, part);
        let system = block.multiply(system, decay);
        let scores = block.product(mixed, mixed, keys_within, chunks, part);
        let scores = block.multiply(scores, decay);
        let rated_keys = block.multiply(rated, decay);
        let values = solved(block, system, rated, values_within);
        let reading = solved(block, system, rated_keys, keys_within);
        let decayed = block.multiply(mixed, decay);
        let along = Along { values, reading, scores, decayed, decay };
        along.build(block, (self.value_heads, self.key_size, self.value_size))
    }
}

/// What is led from chunk to chunk.
pub(crate) struct Along {
    /// New values, before what the state predicts of them is taken off.
    pub(crate) values: Slot,
    /// What reads the prediction.
    pub(crate) reading: Slot,
    /// Of the positions of a chunk among each other.
    pub(crate) scores: Slot,
    /// Queries and keys.
    pub(crate) decayed: Slot,
    pub(crate) decay: Slot,
}

impl Along {
    /// Leads the state along the chunks: heads, channels of a key and of a value.
    pub(crate) fn build(&self, block: &mut Builder, (heads, key_size, value_size): (u64, u64, u64)) -> Slot {
        let part = Part::StateSpace;
        let within = wide(&[heads, CHUNK, CHUNK, value_size]);
        let through = wide(&[heads, CHUNK, key_size, value_size]);
        // The first chunk reads an empty state, and what the last one writes nobody reads: no gradient is formed of either.
        let nothing = block.slot();
        let (all, later) = (Quantity::Chunks(CHUNK), Quantity::LaterChunks(CHUNK));
        let state = block.add(self.decayed, self.values);
        let predicted = block.product(self.reading, nothing, through, all, part);
        block.gradient(state, through, later, part);
        let corrected = block.add(self.values, predicted);
        let earlier = block.product(self.decayed, nothing, through, all, part);
        block.gradient(state, through, later, part);
        let own = block.product(self.scores, corrected, within, all, part);
        let output = block.add(earlier, own);
        block.multiply(state, self.decay);
        block.product(nothing, nothing, through, all, part);
        block.gradient(self.decayed, through, later, part);
        block.gradient(corrected, through, later, part);
        output
    }
}

/// Twice a product of sizes.
pub(crate) fn wide(factors: &[u64]) -> u128 {
    factors.iter().fold(2, |all, it| all.saturating_mul(u128::from(*it)))
}

/// What a triangular system gives for a right side.
fn solved(block: &mut Builder, system: Slot, right: Slot, factor: u128) -> Slot {
    block.gradient(system, factor, Quantity::Chunks(CHUNK), Part::StateSpace);
    block.multiply(system, right)
}

fn name(what: &str) -> Cow<'static, str> {
    Cow::Owned(format!("linear_attn.{what}"))
}
