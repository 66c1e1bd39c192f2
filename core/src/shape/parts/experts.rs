//! A feed-forward part made of experts, of which each position goes through some.

use std::borrow::Cow;

use super::super::build::Builder;
use super::super::program::{ModuleKind, Slot};
use super::feed_forward::{FeedForward, Widening};
use crate::flops::Part;

/// Experts, what chooses among them, and those that every position goes through.
#[derive(Clone, Debug)]
pub(crate) struct Experts {
    pub(crate) count: u64,
    /// Experts that each position goes through; `count` where all are computed and weighted.
    pub(crate) chosen: u64,
    /// Width between an expert's projections.
    pub(crate) inner: u64,
    /// The module that holds the stacked weights, for example `mlp.experts`.
    pub(crate) stack: &'static str,
    /// The experts' projections have biases.
    pub(crate) bias: bool,
    pub(crate) router: Router,
    pub(crate) shared: Option<Shared>,
}

/// What chooses the experts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Router {
    pub(crate) name: &'static str,
    /// It is a linear module; otherwise a module of its own class with a weight.
    pub(crate) is_linear: bool,
    pub(crate) bias: bool,
    /// The input of the experts is weighted, not their output.
    pub(crate) weights_input: bool,
}

/// An expert that every position goes through.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub(crate) feed_forward: FeedForward,
    /// A linear module to one channel that weighs it; such an expert is computed before the others.
    pub(crate) gate: Option<&'static str>,
}

impl Shared {
    /// `gate_proj`, `up_proj` and `down_proj` in a module of this name.
    pub(crate) fn gated(module: &str, inner: u64) -> Self {
        let name = |projection: &str| Cow::Owned(format!("{module}.{projection}"));
        let widening = Widening::Gated { gate: name("gate_proj"), up: name("up_proj") };
        let feed_forward = FeedForward { inner, widening, down: name("down_proj"), bias: false, part: Part::Experts };
        Self { feed_forward, gate: None }
    }

    /// One module of twice the width, and one back.
    pub(crate) const fn fused(both: &'static str, down: &'static str, inner: u64) -> Self {
        let widening = Widening::Fused { name: Cow::Borrowed(both) };
        let down = Cow::Borrowed(down);
        Self { feed_forward: FeedForward { inner, widening, down, bias: false, part: Part::Experts }, gate: None }
    }
}

impl Experts {
    /// Leads an activation through them.
    pub(crate) fn build(&self, block: &mut Builder, hidden: u64, input: Slot) -> Slot {
        let gated = self.shared.as_ref().and_then(|shared| Some((shared, shared.gate?)));
        let first = gated.map(|(shared, gate)| (shared.feed_forward.build(block, hidden, input), gate));
        let mut output = self.routed(block, hidden, input);
        if let Some((shared, gate)) = first {
            let weight = block.linear(gate, (hidden, 1), false, Part::Router, input);
            let weighted = block.multiply(weight, shared);
            output = block.add(output, weighted);
        } else if let Some(shared) = &self.shared {
            let shared = shared.feed_forward.build(block, hidden, input);
            output = block.add(output, shared);
        }
        output
    }

    fn routed(&self, block: &mut Builder, hidden: u64, input: Slot) -> Slot {
        let (inputs, outputs, bias) = (hidden, self.count, self.router.bias);
        let kind = if self.router.is_linear {
            ModuleKind::Linear { inputs, outputs, bias }
        } else {
            ModuleKind::LinearParameter { inputs, outputs, bias }
        };
        let weights = block.apply(self.router.name, kind, Part::Router, input);
        block.keep(weights);
        let entered = if self.router.weights_input { block.multiply(input, weights) } else { input };
        let projection = |inputs, outputs| ModuleKind::Experts {
            count: self.count,
            chosen: self.chosen,
            inputs,
            outputs,
            bias: self.bias,
        };
        let stack = |name: &str| Cow::<'static, str>::Owned(format!("{}.{name}", self.stack));
        let wide = projection(hidden, self.inner.saturating_mul(2));
        let wide = block.apply(stack("gate_up_proj"), wide, Part::Experts, entered);
        let activated = block.multiply(wide, wide);
        let narrow = block.apply(stack("down_proj"), projection(self.inner, hidden), Part::Experts, activated);
        if self.router.weights_input { narrow } else { block.multiply(narrow, weights) }
    }
}
