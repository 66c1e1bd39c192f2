//! The feed-forward part of a block.

use std::borrow::Cow;

use super::super::build::Builder;
use super::super::program::{ModuleKind, Slot};
use crate::flops::Part;

/// `down(act(gate(x)) * up(x))`, or `down(act(up(x)))`.
#[derive(Clone, Debug)]
pub(crate) struct FeedForward {
    /// Width between the projections.
    pub(crate) inner: u64,
    pub(crate) widening: Widening,
    pub(crate) down: Cow<'static, str>,
    /// The projections have biases.
    pub(crate) bias: bool,
    /// Where the products are booked.
    pub(crate) part: Part,
}

/// How the input is widened.
#[derive(Clone, Debug)]
pub(crate) enum Widening {
    /// One module.
    Plain { up: Cow<'static, str> },
    /// One module, and an activation function with numbers of these names that are trained.
    Learned { up: Cow<'static, str>, activation: &'static [&'static str] },
    /// Two modules whose results are multiplied.
    Gated { gate: Cow<'static, str>, up: Cow<'static, str> },
    /// The same two in one module.
    Fused { name: Cow<'static, str> },
}

impl FeedForward {
    /// `mlp` with `gate_proj`, `up_proj` and `down_proj`, without biases.
    pub(crate) const fn gated(inner: u64) -> Self {
        Self {
            inner,
            widening: Widening::Gated { gate: Cow::Borrowed("mlp.gate_proj"), up: Cow::Borrowed("mlp.up_proj") },
            down: Cow::Borrowed("mlp.down_proj"),
            bias: false,
            part: Part::FeedForward,
        }
    }

    /// Two modules of these names, with biases.
    pub(crate) const fn plain(inner: u64, up: &'static str, down: &'static str) -> Self {
        Self {
            inner,
            widening: Widening::Plain { up: Cow::Borrowed(up) },
            down: Cow::Borrowed(down),
            bias: true,
            part: Part::FeedForward,
        }
    }

    /// The same under names that are put together.
    pub(crate) fn plain_named(inner: u64, [up, down]: [Cow<'static, str>; 2]) -> Self {
        Self { widening: Widening::Plain { up }, down, ..Self::plain(inner, "", "") }
    }

    /// Leads an activation through it.
    pub(crate) fn build(&self, block: &mut Builder, hidden: u64, input: Slot) -> Slot {
        let widen = |outputs| ModuleKind::Linear { inputs: hidden, outputs, bias: self.bias };
        let wide = match &self.widening {
            Widening::Plain { up } => {
                let up = block.apply(up.clone(), widen(self.inner), self.part, input);
                block.keep(up); // the activation function
                up
            }
            Widening::Learned { up, activation } => {
                let up = block.apply(up.clone(), widen(self.inner), self.part, input);
                activation.iter().fold(up, |up, name| block.norm(*name, 1, up))
            }
            Widening::Gated { gate, up } => {
                let gate = block.apply(gate.clone(), widen(self.inner), self.part, input);
                block.keep(gate);
                let up = block.apply(up.clone(), widen(self.inner), self.part, input);
                block.multiply(gate, up)
            }
            Widening::Fused { name } => {
                let both = block.apply(name.clone(), widen(self.inner.saturating_mul(2)), self.part, input);
                block.multiply(both, both)
            }
        };
        let narrow = ModuleKind::Linear { inputs: self.inner, outputs: hidden, bias: self.bias };
        block.apply(self.down.clone(), narrow, self.part, wide)
    }
}
