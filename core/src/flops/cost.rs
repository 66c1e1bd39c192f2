//! What a network costs, as integers that wait for a batch.

use super::batch::Batch;
use super::count::Count;
use crate::run::Term;
use crate::shape::Quantity;
use crate::unit::Flops;

/// A part of the network, in the order in which terms are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Part {
    /// Look-ups: parameters, no products.
    InputEmbeddings,
    /// Scales: parameters, no products by the counter's convention.
    Norms,
    /// A vision or audio tower, from its pixels or frames to its last block.
    Tower,
    /// What leads a tower's features into the text model.
    Projector,
    /// Convolutions.
    Convolutions,
    /// Query, key, value and output projections.
    AttentionProjections,
    /// Query times key and weights times value.
    AttentionScores,
    /// Recurrent and state-space layers, with their projections.
    StateSpace,
    /// The feed-forward part.
    FeedForward,
    /// What chooses the experts.
    Router,
    /// Chosen experts, and those that every position goes through.
    Experts,
    /// Low-rank pairs and other adapters.
    Adapters,
    /// The output head.
    OutputHead,
}

impl Part {
    pub(super) const COUNT: usize = 13;

    /// All parts, in order.
    pub(super) const ALL: [Self; Self::COUNT] = [
        Self::InputEmbeddings,
        Self::Norms,
        Self::Tower,
        Self::Projector,
        Self::Convolutions,
        Self::AttentionProjections,
        Self::AttentionScores,
        Self::StateSpace,
        Self::FeedForward,
        Self::Router,
        Self::Experts,
        Self::Adapters,
        Self::OutputHead,
    ];

    /// The part of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|part| part.name() == name)
    }

    /// The name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::InputEmbeddings => "input-embeddings",
            Self::Norms => "norms",
            Self::Tower => "tower",
            Self::Projector => "projector",
            Self::Convolutions => "convolutions",
            Self::AttentionProjections => "attention-projections",
            Self::AttentionScores => "attention-scores",
            Self::StateSpace => "state-space",
            Self::FeedForward => "mlp",
            Self::Router => "router",
            Self::Experts => "experts",
            Self::Adapters => "adapters",
            Self::OutputHead => "output-head",
        }
    }
}

/// Forward, backward and recomputation of one part, as factors of one quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TermCost {
    /// Which part.
    pub part: Part,
    /// What the factors are multiplied by.
    pub quantity: Quantity,
    /// The forward pass.
    pub forward: u128,
    /// The backward pass without recomputation.
    pub backward: u128,
    /// Recomputation of activations during the backward pass.
    pub recompute: u128,
}

/// Which pairs of query and key are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Attention {
    /// The whole matrix, as the eager and sdpa kernels compute it, sliding windows or not. Never counts too little.
    #[default]
    Full,
    /// Only those the mask leaves, as kernels that skip masked blocks approach it.
    Visible,
}

impl Attention {
    /// The name in JSON and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Visible => "visible",
        }
    }
}

/// What each pass through a network costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cost {
    pub(super) terms: Vec<TermCost>,
    pub(super) attention: Attention,
    pub(super) virtual_positions: u64,
    pub(super) virtual_keys: u64,
}

impl Cost {
    /// The same cost under another convention for attention.
    #[must_use]
    pub fn with_attention(mut self, attention: Attention) -> Self {
        self.attention = attention;
        self
    }

    /// The convention for attention that [`Self::pass`] follows.
    pub const fn attention(&self) -> Attention {
        self.attention
    }

    /// The factors, one entry for each part and quantity, in the order of [`Part`].
    pub fn terms(&self) -> &[TermCost] {
        &self.terms
    }

    /// One pass over a batch, padding included.
    ///
    /// Without `gradient` there is no backward pass. With a key-value cache each position attends to the cached positions
    /// as well; a cache that a sliding window has cut is then counted too high, never too low. The output head is counted
    /// at every position, although generation may compute the last one only, so that nothing is left out.
    pub fn pass(&self, gradient: bool, batch: &Batch) -> Count {
        let mut count = Count::default();
        if batch.is_empty() {
            return count;
        }
        let batch = Batch {
            length: batch.length.saturating_add(self.virtual_positions),
            cached_length: batch.cached_length.saturating_add(self.virtual_keys),
            ..*batch
        };
        for term in &self.terms {
            let amount = batch.amount(term.quantity, self.attention);
            let times = |factor: u128| Flops(factor.saturating_mul(amount));
            let backward = |factor: u128| if gradient { times(factor) } else { Flops::ZERO };
            count.add_term(Term {
                name: term.part.name().to_owned(),
                forward: times(term.forward),
                backward: backward(term.backward),
                recompute: backward(term.recompute),
            });
        }
        count
    }
}
