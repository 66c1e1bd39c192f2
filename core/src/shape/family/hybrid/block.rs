//! A block that mixes positions in some way and then widens each.

use super::super::super::build::Builder;
use super::super::super::parts::{
    Attention, Decoder, DeltaNet, Experts, FeedForward, GatedAttention, KimiDelta, LatentAttention, LightningAttention,
    Mamba, Mamba2, Recurrent, ShortConvolution,
};
use super::super::super::program::{Block, Program, Slot};
use super::super::super::quantity::Stream;

/// How a block mixes positions.
#[derive(Clone, Debug)]
pub(super) enum Mixer {
    Attention(Attention),
    Gated(GatedAttention),
    Lightning(LightningAttention),
    Latent(LatentAttention),
    Delta(DeltaNet),
    Kimi(KimiDelta),
    Mamba(Mamba),
    Mamba2(Mamba2),
    /// Both read the same, and their results are added.
    Beside(Mamba2, Attention),
    Convolution(ShortConvolution),
    Recurrent(Recurrent),
    /// Positions are not mixed.
    Inner(Inner),
}

/// What each position goes through.
#[derive(Clone, Debug)]
pub(super) enum Inner {
    Dense(FeedForward),
    Experts(Experts),
}

/// Where the two norms of a block stand.
#[derive(Clone, Copy, Debug)]
pub(super) enum Norms {
    /// Before each branch.
    Before(&'static str, &'static str),
    /// After each branch, ahead of the addition.
    After(&'static str, &'static str),
    /// Before each branch, and the normed activation, not what entered, is added to.
    Carried(&'static str, &'static str),
    /// Before the only branch.
    Alone(&'static str),
}

impl Norms {
    /// `input_layernorm` and `post_attention_layernorm`, before each branch.
    pub(super) const USUAL: Self = Self::Before("input_layernorm", "post_attention_layernorm");
    /// `input_layernorm` and `pre_ff_layernorm`, before each branch.
    pub(super) const PLAIN: Self = Self::Before("input_layernorm", "pre_ff_layernorm");
}

/// The blocks of a model.
#[derive(Clone, Debug)]
pub(super) struct Layers {
    pub(super) hidden: u64,
    /// The ways of mixing that the model has, with the norms around them.
    pub(super) mixers: Vec<(Mixer, Norms)>,
    pub(super) inners: Vec<Inner>,
    /// Which of either each block has.
    pub(super) kinds: Vec<(usize, usize)>,
}

impl Layers {
    /// The whole model, within a frame.
    pub(super) fn program(&self, frame: Decoder) -> Program {
        frame.program(&self.kinds, |kind| self.block(*kind))
    }

    fn block(&self, (mixer, inner): (usize, usize)) -> Block {
        let mut block = Builder::new(Stream::Text);
        let Some((mixer, norms)) = self.mixers.get(mixer) else { return block.finish() };
        let inner = self.inners.get(inner);
        let (first, second) = match *norms {
            Norms::Before(first, second) | Norms::After(first, second) | Norms::Carried(first, second) => {
                (first, Some(second))
            }
            Norms::Alone(first) => (first, None),
        };
        self.branch(&mut block, *norms, first, |block, input| mixer.build(block, self.hidden, input));
        if let (Some(second), Some(inner)) = (second, inner) {
            self.branch(&mut block, *norms, second, |block, input| inner.build(block, self.hidden, input));
        }
        block.finish()
    }

    fn branch(
        &self,
        block: &mut Builder,
        norms: Norms,
        name: &'static str,
        build: impl FnOnce(&mut Builder, Slot) -> Slot,
    ) {
        if matches!(norms, Norms::After(..)) {
            let branch = build(block, Slot::RESIDUAL);
            let normed = block.norm(name, self.hidden, branch);
            return block.add_to_residual(normed);
        }
        let normed = block.norm(name, self.hidden, Slot::RESIDUAL);
        if matches!(norms, Norms::Carried(..)) {
            block.rename(normed, Slot::RESIDUAL);
        }
        let branch = build(block, normed);
        block.add_to_residual(branch);
    }
}

impl Mixer {
    fn build(&self, block: &mut Builder, hidden: u64, input: Slot) -> Slot {
        match self {
            Self::Attention(part) => part.build(block, hidden, input),
            Self::Gated(part) => part.build(block, hidden, input),
            Self::Lightning(part) => part.build(block, hidden, input),
            Self::Latent(part) => part.build(block, hidden, input),
            Self::Delta(part) => part.build(block, hidden, input),
            Self::Kimi(part) => part.build(block, hidden, input),
            Self::Mamba(part) => part.build(block, hidden, input),
            Self::Mamba2(part) => part.build(block, hidden, input),
            Self::Convolution(part) => part.build(block, hidden, input),
            Self::Recurrent(part) => part.build(block, hidden, input),
            Self::Inner(part) => part.build(block, hidden, input),
            Self::Beside(states, attention) => {
                let states = states.build(block, hidden, input);
                let attended = attention.build(block, hidden, input);
                block.add(states, attended)
            }
        }
    }
}

impl Inner {
    fn build(&self, block: &mut Builder, hidden: u64, input: Slot) -> Slot {
        match self {
            Self::Dense(part) => part.build(block, hidden, input),
            Self::Experts(part) => part.build(block, hidden, input),
        }
    }
}
