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
    /// Experts that a position goes through because the router chose them.
    Experts,
    /// Experts that every position goes through, and what leads into narrower channels for the others and back.
    SharedExperts,
    /// Low-rank pairs and other adapters.
    Adapters,
    /// The output head.
    OutputHead,
}

impl Part {
    pub(super) const COUNT: usize = 14;

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
        Self::SharedExperts,
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
            Self::SharedExperts => "shared-experts",
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
    pub(super) spare_experts: SpareExperts,
}

/// How many experts more than those chosen for it a position could be led through, where twice as many as chosen are the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SpareExperts {
    /// So many more.
    pub(crate) more: u64,
    /// For each so many that are chosen; never 0.
    pub(crate) of: u64,
}

impl Default for SpareExperts {
    fn default() -> Self {
        Self { more: 0, of: 1 }
    }
}

impl SpareExperts {
    /// Of a layer with `count` experts, `chosen` for each position.
    pub(super) fn of_layer(count: u64, chosen: u64) -> Self {
        Self { more: count.saturating_sub(chosen).min(chosen), of: chosen.max(1) }
    }

    /// The larger share.
    pub(super) fn or_more(self, other: Self) -> Self {
        let share = |one: Self, two: Self| u128::from(one.more) * u128::from(two.of);
        if share(other, self) > share(self, other) { other } else { self }
    }

    /// So large a part of `flops`, rounded up.
    pub(crate) fn part_of(self, flops: Flops) -> Flops {
        let (more, of) = (u128::from(self.more), u128::from(self.of));
        let whole = (flops.0 / of).saturating_mul(more);
        Flops(whole.saturating_add((flops.0 % of * more).div_ceil(of)))
    }
}

impl Cost {
    /// The part of it that is in the experts that the router chooses, without what is done for them once in each pass.
    #[must_use]
    pub(crate) fn routed(mut self) -> Self {
        self.terms.retain(|term| term.part == Part::Experts && term.quantity != Quantity::Pass);
        self
    }

    /// How much more the chosen experts could be.
    pub(crate) const fn spare_experts(&self) -> SpareExperts {
        self.spare_experts
    }

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
