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
    /// Two projections in one parameter widen an expert's input, and their results are multiplied; otherwise one does.
    pub(crate) gated: bool,
    /// The experts' projections have biases.
    pub(crate) bias: bool,
    pub(crate) router: Router,
    /// Experts work on fewer channels, between two linear modules.
    pub(crate) latent: Option<Latent>,
    pub(crate) shared: Option<Shared>,
}

/// Narrow channels that experts work on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Latent {
    /// Names of the modules before and after.
    pub(crate) enter: &'static str,
    pub(crate) leave: &'static str,
    pub(crate) width: u64,
    pub(crate) bias: bool,
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
    /// A parameter that shifts the choice alone: no gradient reaches it.
    pub(crate) correction: Option<&'static str>,
}

/// An expert that every position goes through.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub(crate) feed_forward: FeedForward,
    /// A linear module to one channel that weighs it, after the others are computed.
    pub(crate) gate: Option<&'static str>,
    /// It is computed before the others.
    pub(crate) first: bool,
}

impl Router {
    /// A module of its own class of this name, with a weight.
    pub(crate) const fn parameter(name: &'static str) -> Self {
        Self { name, is_linear: false, bias: false, weights_input: false, correction: None }
    }
}

impl Shared {
    /// `gate_proj`, `up_proj` and `down_proj` in a module of this name.
    pub(crate) fn gated(module: &str, inner: u64) -> Self {
        let name = |projection: &str| Cow::Owned(format!("{module}.{projection}"));
        let widening = Widening::Gated { gate: name("gate_proj"), up: name("up_proj") };
        let feed_forward =
            FeedForward { inner, widening, down: name("down_proj"), bias: false, part: Part::SharedExperts };
        Self { feed_forward, gate: None, first: false }
    }

    /// `up_proj` and `down_proj` in a module of this name.
    pub(crate) fn plain(module: &str, inner: u64, bias: bool) -> Self {
        let name = |projection: &str| Cow::Owned(format!("{module}.{projection}"));
        let widening = Widening::Plain { up: name("up_proj") };
        let feed_forward = FeedForward { inner, widening, down: name("down_proj"), bias, part: Part::SharedExperts };
        Self { feed_forward, gate: None, first: false }
    }

    /// One module of twice the width, and one back.
    pub(crate) const fn fused(both: &'static str, down: &'static str, inner: u64) -> Self {
        let widening = Widening::Fused { name: Cow::Borrowed(both) };
        let down = Cow::Borrowed(down);
        let feed_forward = FeedForward { inner, widening, down, bias: false, part: Part::SharedExperts };
        Self { feed_forward, gate: None, first: false }
    }

    /// The same, computed first and weighed by a module of this name.
    #[must_use]
    pub(crate) fn weighed(self, gate: &'static str) -> Self {
        Self { gate: Some(gate), first: true, ..self }
    }
}

impl Experts {
    /// Gated experts without biases and without a shared one: their number, chosen ones, and the width of each.
    pub(crate) const fn gated((count, chosen): (u64, u64), inner: u64, stack: &'static str, router: Router) -> Self {
        Self { count, chosen, inner, stack, gated: true, bias: false, router, latent: None, shared: None }
    }

    /// Leads an activation through them.
    pub(crate) fn build(&self, block: &mut Builder, hidden: u64, input: Slot) -> Slot {
        let build = |block: &mut Builder, shared: &Shared| shared.feed_forward.build(block, hidden, input);
        let first = self.shared.as_ref().filter(|shared| shared.first).map(|shared| build(block, shared));
        let output = self.routed(block, hidden, input);
        let Some(shared) = &self.shared else { return output };
        let also = first.unwrap_or_else(|| build(block, shared));
        let Some(gate) = shared.gate else { return block.add(output, also) };
        let weight = block.linear(gate, (hidden, 1), false, Part::Router, input);
        let weighted = block.multiply(weight, also);
        block.add(output, weighted)
    }

    fn routed(&self, block: &mut Builder, hidden: u64, input: Slot) -> Slot {
        let (inputs, outputs, bias) = (hidden, self.count, self.router.bias);
        let kind = if self.router.is_linear {
            ModuleKind::Linear { inputs, outputs, bias }
        } else {
            ModuleKind::LinearParameter { inputs, outputs, bias }
        };
        let weights = block.apply(self.router.name, kind, Part::Router, input);
        if let Some(correction) = self.router.correction {
            block.module(correction, ModuleKind::Constant { elements: self.count }, Part::Router);
        }
        block.keep(weights);
        let mut entered = if self.router.weights_input { block.multiply(input, weights) } else { input };
        let mut width = hidden;
        if let Some(latent) = self.latent {
            entered = block.linear(latent.enter, (hidden, latent.width), latent.bias, Part::SharedExperts, entered);
            width = latent.width;
        }
        let narrow = self.each(block, width, entered);
        let mut output = if self.router.weights_input { narrow } else { block.multiply(narrow, weights) };
        if let Some(latent) = self.latent {
            output = block.linear(latent.leave, (latent.width, hidden), latent.bias, Part::SharedExperts, output);
        }
        output
    }

    /// Through the experts themselves.
    pub(crate) fn each(&self, block: &mut Builder, width: u64, entered: Slot) -> Slot {
        let projection = |inputs, outputs| ModuleKind::Experts {
            count: self.count,
            chosen: self.chosen,
            inputs,
            outputs,
            bias: self.bias,
        };
        let stack = |name: &str| Cow::<'static, str>::Owned(format!("{}.{name}", self.stack));
        let (name, outputs) =
            if self.gated { ("gate_up_proj", self.inner.saturating_mul(2)) } else { ("up_proj", self.inner) };
        let wide = block.apply(stack(name), projection(width, outputs), Part::Experts, entered);
        let activated = block.multiply(wide, wide);
        block.apply(stack("down_proj"), projection(self.inner, width), Part::Experts, activated)
    }
}
