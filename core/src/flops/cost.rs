//! What a network costs, as integers that wait for a batch.

use super::count::Count;
use crate::run::Term;
use crate::shape::Mask;
use crate::unit::Flops;

/// A part of the network, in the order in which terms are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Part {
    /// Look-ups: parameters, no products.
    InputEmbeddings,
    /// Scales: parameters, no products by the counter's convention.
    Norms,
    /// Query, key, value and output projections.
    AttentionProjections,
    /// Query times key and weights times value.
    AttentionScores,
    /// The feed-forward part.
    FeedForward,
    /// Low-rank pairs.
    Adapters,
    /// The output head.
    OutputHead,
}

impl Part {
    pub(super) const COUNT: usize = 7;

    /// All parts, in order.
    pub(super) const ALL: [Self; Self::COUNT] = [
        Self::InputEmbeddings,
        Self::Norms,
        Self::AttentionProjections,
        Self::AttentionScores,
        Self::FeedForward,
        Self::Adapters,
        Self::OutputHead,
    ];

    /// The name in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::InputEmbeddings => "input-embeddings",
            Self::Norms => "norms",
            Self::AttentionProjections => "attention-projections",
            Self::AttentionScores => "attention-scores",
            Self::FeedForward => "mlp",
            Self::Adapters => "adapters",
            Self::OutputHead => "output-head",
        }
    }
}

/// Operations of one pass as a polynomial in what is fed: `constant + per_token·ΣSᵢ + per_pair·ΣPᵢ`.
///
/// `Sᵢ` is the number of positions of sequence `i`, `Pᵢ` its pairs of query and key: `Sᵢ²` over the full matrix without a cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Polynomial {
    /// Operations of each pass, whatever is fed.
    pub constant: u128,
    /// Operations of each position.
    pub per_token: u128,
    /// Operations of each pair of query and key; over the full matrix the factor of `ΣSᵢ²`.
    pub per_pair: u128,
}

impl Polynomial {
    /// The sum, at most `u128::MAX` in each place.
    pub(super) const fn plus(self, other: Self) -> Self {
        Self {
            constant: self.constant.saturating_add(other.constant),
            per_token: self.per_token.saturating_add(other.per_token),
            per_pair: self.per_pair.saturating_add(other.per_pair),
        }
    }

    const fn at(self, tokens: u128, pairs: u128) -> Flops {
        let linear = self.constant.saturating_add(self.per_token.saturating_mul(tokens));
        Flops(linear.saturating_add(self.per_pair.saturating_mul(pairs)))
    }
}

/// Forward, backward and recomputation of one part under one mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TermCost {
    /// Which part.
    pub part: Part,
    /// What its queries see; matters for [`Part::AttentionScores`] alone.
    pub mask: Mask,
    /// The forward pass.
    pub forward: Polynomial,
    /// The backward pass without recomputation.
    pub backward: Polynomial,
    /// Recomputation of activations during the backward pass.
    pub recompute: Polynomial,
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

    /// Pairs of one sequence of `length` positions that follow `cached` positions of a key-value cache.
    fn pairs(self, mask: Mask, length: u64, cached: u64) -> u128 {
        let (length, cached) = (u128::from(length), u128::from(cached));
        let whole = length.saturating_mul(length.saturating_add(cached));
        match (self, mask) {
            (Self::Full, _) | (Self::Visible, Mask::Bidirectional) => whole,
            (Self::Visible, Mask::Causal) => triangle(length, cached),
            (Self::Visible, Mask::Sliding(window)) => {
                // The first positions see all there is so far; from the moment that fills the window, each sees the window.
                let window = u128::from(window);
                let growing = window.saturating_sub(cached).min(length);
                triangle(growing, cached).saturating_add((length - growing).saturating_mul(window))
            }
        }
    }
}

/// `(cached + 1) + (cached + 2) + … + (cached + length)`.
const fn triangle(length: u128, cached: u128) -> u128 {
    // Halved before it is multiplied: `length · (length + 1)` alone could leave 128 bits.
    let (even, odd) = if length.is_multiple_of(2) { (length, length + 1) } else { (length + 1, length) };
    let own = (even / 2).saturating_mul(odd);
    own.saturating_add(length.saturating_mul(cached))
}

/// What each pass through a network costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cost {
    pub(super) terms: Vec<TermCost>,
    pub(super) attention: Attention,
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

    /// The polynomials, one for each part and mask, in the order of [`Part`].
    pub fn terms(&self) -> &[TermCost] {
        &self.terms
    }

    /// Forward, backward and recomputation over all parts; under [`Attention::Full`] three times three integers say everything.
    pub fn total(&self) -> (Polynomial, Polynomial, Polynomial) {
        let sum = |pick: fn(&TermCost) -> Polynomial| {
            self.terms.iter().map(pick).fold(Polynomial::default(), Polynomial::plus)
        };
        (sum(|term| term.forward), sum(|term| term.backward), sum(|term| term.recompute))
    }

    /// One pass over `sequences` sequences of `length` positions each, padding included.
    ///
    /// Without `gradient` there is no backward pass. With a key-value cache each position attends to `cached_length`
    /// positions more; a cache that a sliding window has cut is then counted too high, never too low. The output head
    /// is counted at every position, although generation may compute the last one only, so that nothing is left out.
    pub fn pass(&self, gradient: bool, sequences: u64, length: u64, cached_length: u64) -> Count {
        if sequences == 0 || length == 0 {
            return Count::default();
        }
        let tokens = u128::from(sequences).saturating_mul(u128::from(length));
        let mut count = Count::default();
        for term in &self.terms {
            let pairs = self.attention.pairs(term.mask, length, cached_length).saturating_mul(u128::from(sequences));
            let backward = |cost: Polynomial| if gradient { cost.at(tokens, pairs) } else { Flops::ZERO };
            count.add_term(Term {
                name: term.part.name().to_owned(),
                forward: term.forward.at(tokens, pairs),
                backward: backward(term.backward),
                recompute: backward(term.recompute),
            });
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pairs counted one by one.
    fn counted(mask: Mask, length: u64, cached: u64) -> u128 {
        let seen = |position: u64| match mask {
            Mask::Causal => position + 1,
            Mask::Sliding(window) => (position + 1).min(window),
            Mask::Bidirectional => cached + length,
        };
        (cached..cached + length).map(|position| u128::from(seen(position))).sum()
    }

    #[test]
    fn visible_pairs_are_those_that_one_counts() {
        for (length, cached) in (0..12).flat_map(|length| (0..12).map(move |cached| (length, cached))) {
            let sliding = (1..16).map(Mask::Sliding);
            for mask in sliding.chain([Mask::Causal, Mask::Bidirectional]) {
                let pairs = Attention::Visible.pairs(mask, length, cached);
                assert_eq!(pairs, counted(mask, length, cached), "{mask:?}, {length} positions after {cached}");
            }
        }
    }
}
