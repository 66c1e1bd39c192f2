//! A block of a decoder: attention and a feed-forward part, their norms, and how both join the residual stream.

use super::super::build::Builder;
use super::super::program::{Block, Slot};
use super::super::quantity::{Mask, Stream};
use super::{Attention, FeedForward, LatentAttention};

/// One block.
#[derive(Clone, Debug)]
pub(crate) struct Layer<A = Attention> {
    pub(crate) hidden: u64,
    pub(crate) attention: A,
    pub(crate) feed_forward: FeedForward,
    pub(crate) norm: Norm,
    pub(crate) order: Order,
    /// What leaves a branch goes through a dropout that is on. Its mask is kept for the backward pass.
    pub(crate) dropout: bool,
}

/// Which parameters a norm has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Norm {
    /// None: it only standardises.
    Bare,
    /// A scale for each channel.
    Scale,
    /// A scale and a shift for each channel.
    ScaleAndShift,
}

/// How the two branches of a block follow each other.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Order {
    /// Attention joins the residual stream before the feed-forward part reads it.
    Sequential { attention: Norms, feed_forward: Norms },
    /// Both read the same residual stream, through norms of these names; without a second name they share the first.
    Parallel { attention: &'static str, feed_forward: Option<&'static str> },
}

/// Names of the norms around one branch.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Norms {
    /// Of what the branch reads.
    pub(crate) before: Option<&'static str>,
    /// Of what it gives, ahead of the addition.
    pub(crate) after: Option<&'static str>,
    /// Of the sum.
    pub(crate) joined: Option<&'static str>,
    /// The normed input, not the input itself, is what the branch is added to.
    pub(crate) carries_normed: bool,
}

impl Norms {
    /// One norm, of what the branch reads.
    pub(crate) const fn before(name: &'static str) -> Self {
        Self { before: Some(name), after: None, joined: None, carries_normed: false }
    }

    /// One norm, of what the branch gives.
    pub(crate) const fn after(name: &'static str) -> Self {
        Self { before: None, after: Some(name), joined: None, carries_normed: false }
    }

    /// One norm, of the sum.
    pub(crate) const fn joined(name: &'static str) -> Self {
        Self { before: None, after: None, joined: Some(name), carries_normed: false }
    }
}

impl Order {
    /// A norm before each branch: `input_layernorm` and `post_attention_layernorm`.
    pub(crate) const USUAL: Self = Self::Sequential {
        attention: Norms::before("input_layernorm"),
        feed_forward: Norms::before("post_attention_layernorm"),
    };
}

impl Norm {
    /// Whether it has a shift; `None` without parameters.
    pub(crate) const fn bias(self) -> Option<bool> {
        match self {
            Self::Bare => None,
            Self::Scale => Some(false),
            Self::ScaleAndShift => Some(true),
        }
    }

    /// Leads an activation through a norm of this kind.
    pub(crate) fn build(self, block: &mut Builder, name: &'static str, width: u64, from: Slot) -> Slot {
        match self {
            Self::Bare => {
                block.keep(from);
                from
            }
            Self::Scale => block.norm(name, width, from),
            Self::ScaleAndShift => block.layer_norm(name, width, from),
        }
    }
}

/// A kind of attention.
pub(crate) trait Attend {
    /// Leads an activation of this width through it.
    fn attend(&self, block: &mut Builder, hidden: u64, input: Slot) -> Slot;
}

impl Attend for Attention {
    fn attend(&self, block: &mut Builder, hidden: u64, input: Slot) -> Slot {
        self.build(block, hidden, input)
    }
}

impl Attend for LatentAttention {
    fn attend(&self, block: &mut Builder, hidden: u64, input: Slot) -> Slot {
        self.build(block, hidden, input)
    }
}

impl Layer {
    /// The block with another mask.
    pub(crate) fn masked(&self, mask: Mask) -> Block {
        Self { attention: Attention { mask, ..self.attention.clone() }, ..self.clone() }.build()
    }
}

impl<A: Attend> Layer<A> {
    /// Modules and steps of the block.
    pub(crate) fn build(&self) -> Block {
        let mut block = Builder::new(Stream::Text);
        match self.order {
            Order::Sequential { attention, feed_forward } => {
                self.branch(&mut block, attention, |block, input| self.attention.attend(block, self.hidden, input));
                self.branch(&mut block, feed_forward, |block, input| {
                    self.feed_forward.build(block, self.hidden, input)
                });
            }
            Order::Parallel { attention, feed_forward } => self.both(&mut block, attention, feed_forward),
        }
        block.finish()
    }

    fn branch(&self, block: &mut Builder, norms: Norms, build: impl FnOnce(&mut Builder, Slot) -> Slot) {
        let normed = |block: &mut Builder, name: Option<&'static str>, slot: Slot| {
            name.map_or(slot, |name| self.norm.build(block, name, self.hidden, slot))
        };
        let input = normed(block, norms.before, Slot::RESIDUAL);
        if norms.carries_normed {
            block.rename(input, Slot::RESIDUAL);
        }
        let branch = build(block, input);
        let branch = normed(block, norms.after, branch);
        self.join(block, branch);
        if norms.joined.is_some() {
            let sum = normed(block, norms.joined, Slot::RESIDUAL);
            block.rename(sum, Slot::RESIDUAL);
        }
    }

    fn both(&self, block: &mut Builder, first: &'static str, second: Option<&'static str>) {
        let input = self.norm.build(block, first, self.hidden, Slot::RESIDUAL);
        let second = second.map_or(input, |name| self.norm.build(block, name, self.hidden, Slot::RESIDUAL));
        let attended = self.attention.attend(block, self.hidden, input);
        let widened = self.feed_forward.build(block, self.hidden, second);
        let both = block.add(attended, widened);
        self.join(block, both);
    }

    fn join(&self, block: &mut Builder, branch: Slot) {
        if self.dropout {
            block.keep(branch);
        }
        block.add_to_residual(branch);
    }
}
