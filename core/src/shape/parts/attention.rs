//! Attention: projections, scores and values.

use std::borrow::Cow;

use super::super::ShapeProblem;
use super::super::build::Builder;
use super::super::program::{ModuleKind, Slot, Step};
use super::super::quantity::{Mask, Stream};
use crate::flops::Part;

/// How a block attends.
#[expect(clippy::struct_excessive_bools, reason = "each says of one thing whether a family has it")]
#[derive(Clone, Debug)]
pub(crate) struct Attention {
    /// Query heads.
    pub(crate) heads: u64,
    /// Key and value heads; fewer than `heads` in grouped-query attention, which saves projections but no scores.
    pub(crate) key_value_heads: u64,
    /// Size of each query and key head.
    pub(crate) head_size: u64,
    pub(crate) projections: Projections,
    /// The input projections have a bias.
    pub(crate) input_bias: bool,
    /// The key projection has none, though the others have.
    pub(crate) key_without_bias: bool,
    /// The output projection has a bias.
    pub(crate) output_bias: bool,
    pub(crate) norms: HeadNorms,
    pub(crate) output: Cow<'static, str>,
    pub(crate) mask: Mask,
    /// Attention weights go through a dropout that is on.
    pub(crate) dropout: bool,
    /// What is added to the scores: trained numbers for each pair of positions, or for each distance.
    pub(crate) bias: Option<Slot>,
}

/// How queries, keys and values are projected.
#[derive(Clone, Debug)]
pub(crate) enum Projections {
    /// Three modules, of these names.
    Separate { query: Cow<'static, str>, key: Cow<'static, str>, value: Cow<'static, str> },
    /// One module whose result is cut in three.
    Fused { name: Cow<'static, str> },
}

/// Norms of queries and keys.
#[derive(Clone, Debug)]
pub(crate) enum HeadNorms {
    None,
    /// One scale for each channel of a head, shared by the heads.
    Head {
        query: &'static str,
        key: &'static str,
    },
    /// The same with a shift.
    HeadShifted {
        query: &'static str,
        key: &'static str,
    },
    /// One scale for each channel of all heads together.
    Whole {
        query: &'static str,
        key: &'static str,
    },
    /// A norm of its own for each head, numbered after these names.
    Each {
        query: &'static str,
        key: &'static str,
    },
}

impl Attention {
    /// `self_attn` with `q_proj`, `k_proj`, `v_proj`, `o_proj`, no biases, no norms, causal.
    pub(crate) const fn usual(heads: u64, key_value_heads: u64, head_size: u64) -> Self {
        Self {
            heads,
            key_value_heads,
            head_size,
            projections: Projections::Separate {
                query: Cow::Borrowed("self_attn.q_proj"),
                key: Cow::Borrowed("self_attn.k_proj"),
                value: Cow::Borrowed("self_attn.v_proj"),
            },
            input_bias: false,
            key_without_bias: false,
            output_bias: false,
            norms: HeadNorms::None,
            output: Cow::Borrowed("self_attn.o_proj"),
            mask: Mask::Causal,
            dropout: false,
            bias: None,
        }
    }

    /// One projection for queries, keys and values together, and one back, of these names.
    pub(crate) fn fused(
        (heads, key_value_heads, head_size): (u64, u64, u64),
        name: &'static str,
        output: &'static str,
    ) -> Self {
        let usual = Self::usual(heads, key_value_heads, head_size);
        Self { projections: Projections::Fused { name: Cow::Borrowed(name) }, output: Cow::Borrowed(output), ..usual }
    }

    /// All projections with a bias, or none.
    #[must_use]
    pub(crate) fn biased(self, bias: bool) -> Self {
        Self { input_bias: bias, output_bias: bias, ..self }
    }

    /// Three projections of these names in and one out, all with biases, to every position.
    pub(crate) fn both_ways((heads, head_size): (u64, u64), [query, key, value, output]: [&'static str; 4]) -> Self {
        Self {
            projections: Projections::Separate {
                query: Cow::Borrowed(query),
                key: Cow::Borrowed(key),
                value: Cow::Borrowed(value),
            },
            input_bias: true,
            output_bias: true,
            output: Cow::Borrowed(output),
            mask: Mask::Bidirectional,
            ..Self::usual(heads, heads, head_size)
        }
    }

    /// Size of a head where it follows from the width, which the number of heads must divide.
    pub(crate) fn head_size(hidden: u64, heads: u64, keys: &[&str]) -> Result<u64, ShapeProblem> {
        if hidden.is_multiple_of(heads) {
            return Ok(hidden / heads);
        }
        let key = keys.first().copied().unwrap_or_default().to_owned();
        let conflict = format!("does not divide the width of the blocks, {hidden}");
        Err(ShapeProblem::Contradiction { key, found: heads.to_string(), conflict })
    }

    /// Width of all query heads together.
    pub(crate) const fn width(&self) -> u64 {
        self.heads.saturating_mul(self.head_size)
    }

    /// Self-attention of a stream.
    pub(crate) fn build(&self, block: &mut Builder, hidden: u64, input: Slot) -> Slot {
        let key_stream = block.stream();
        self.cross(block, hidden, input, (hidden, input, key_stream))
    }

    /// The same, with one trained score for each head that takes weight from the others, if there is a name for them.
    pub(crate) fn build_with_sinks(
        &self,
        block: &mut Builder,
        hidden: u64,
        input: Slot,
        sinks: Option<&'static str>,
    ) -> Slot {
        let Some(sinks) = sinks else { return self.build(block, hidden, input) };
        let (query, key, value) = self.project(block, hidden, input, (hidden, input, block.stream()));
        let (pairs, twice) = (block.pairs(block.stream(), self.mask), u128::from(self.width()).saturating_mul(2));
        let scores = block.product(query, key, twice, pairs, Part::AttentionScores);
        let kind = ModuleKind::Scale { weight: self.heads, bias: 0 };
        let weights = block.apply(sinks, kind, Part::AttentionProjections, scores);
        let mixed = block.product(weights, value, twice, pairs, Part::AttentionScores);
        self.leave(block, hidden, mixed)
    }

    /// Attention to another stream: its width, its activation, its positions.
    pub(crate) fn cross(
        &self,
        block: &mut Builder,
        hidden: u64,
        input: Slot,
        (key_width, key_input, key_stream): (u64, Slot, Stream),
    ) -> Slot {
        let projected = self.project(block, hidden, input, (key_width, key_input, key_stream));
        let widths = (self.width(), self.width());
        let mixed = match self.bias {
            None => scores_and_values(block, projected, widths, key_stream, self.mask, self.dropout),
            Some(bias) => biased_scores_and_values(block, projected, self.width(), (key_stream, self.mask), bias),
        };
        self.leave(block, hidden, mixed)
    }

    /// Query, key and value.
    fn project(
        &self,
        block: &mut Builder,
        hidden: u64,
        input: Slot,
        (key_width, key_input, key_stream): (u64, Slot, Stream),
    ) -> (Slot, Slot, Slot) {
        let part = Part::AttentionProjections;
        let (queries, keys) = (self.width(), self.key_value_heads.saturating_mul(self.head_size));
        let own = block.stream();
        let (mut query, mut key, value) = match &self.projections {
            Projections::Separate { query, key, value } => {
                let project = |inputs, outputs, bias| ModuleKind::Linear { inputs, outputs, bias };
                let query = block.apply(query.clone(), project(hidden, queries, self.input_bias), part, input);
                block.switch(key_stream);
                let key_bias = self.input_bias && !self.key_without_bias;
                let key = block.apply(key.clone(), project(key_width, keys, key_bias), part, key_input);
                let value = block.apply(value.clone(), project(key_width, keys, self.input_bias), part, key_input);
                block.switch(own);
                (query, key, value)
            }
            Projections::Fused { name } => {
                let outputs = queries.saturating_add(keys.saturating_mul(2));
                let kind = ModuleKind::Linear { inputs: hidden, outputs, bias: self.input_bias };
                let all = block.apply(name.clone(), kind, part, input);
                // Apart from here on: a trained prefix stands beside keys and values alone.
                (all, block.add(all, all), block.add(all, all))
            }
        };
        (query, key) = self.normed(block, query, key);
        if key_stream == own {
            block.step(Step::Prefix { slot: key, stream: own });
            block.step(Step::Prefix { slot: value, stream: own });
        }
        (query, key, value)
    }

    /// Through the output projection.
    fn leave(&self, block: &mut Builder, hidden: u64, mixed: Slot) -> Slot {
        let kind = ModuleKind::Linear { inputs: self.width(), outputs: hidden, bias: self.output_bias };
        block.apply(self.output.clone(), kind, Part::AttentionProjections, mixed)
    }
}

impl Attention {
    /// Queries and keys as scores are computed from.
    fn normed(&self, block: &mut Builder, query: Slot, key: Slot) -> (Slot, Slot) {
        let size = self.head_size;
        match self.norms {
            HeadNorms::None => (query, key),
            HeadNorms::Head { query: query_norm, key: key_norm } => {
                (block.norm(query_norm, size, query), block.norm(key_norm, size, key))
            }
            HeadNorms::HeadShifted { query: query_norm, key: key_norm } => {
                (block.layer_norm(query_norm, size, query), block.layer_norm(key_norm, size, key))
            }
            HeadNorms::Whole { query: query_norm, key: key_norm } => {
                let keys = self.key_value_heads.saturating_mul(size);
                (block.norm(query_norm, self.width(), query), block.norm(key_norm, keys, key))
            }
            HeadNorms::Each { query: query_norm, key: key_norm } => {
                let kind = ModuleKind::Scale { weight: size, bias: 0 };
                let mut numbered = |name: &str, heads: u64, from: Slot| {
                    let (one, all) = (block.slot(), block.slot());
                    for head in 0..heads {
                        block.apply_to(format!("{name}.{head}"), kind, Part::Norms, from, one);
                        block.step(Step::Add { from: if head == 0 { one } else { all }, with: one, to: all });
                    }
                    all
                };
                (numbered(query_norm, self.heads, query), numbered(key_norm, self.key_value_heads, key))
            }
        }
    }
}

/// Query times key and weights times value, over all heads: widths of all keys and of all values together.
///
/// Keys and values are repeated for the query heads that share them, so grouping saves no operations here.
pub(crate) fn scores_and_values(
    block: &mut Builder,
    (query, key, value): (Slot, Slot, Slot),
    (key_width, value_width): (u64, u64),
    key_stream: Stream,
    mask: Mask,
    dropout: bool,
) -> Slot {
    let pairs = block.pairs(key_stream, mask);
    let twice = |width: u64| u128::from(width).saturating_mul(2);
    let weights = block.product(query, key, twice(key_width), pairs, Part::AttentionScores);
    block.keep(weights); // the softmax
    if dropout {
        block.keep(weights);
    }
    block.product(weights, value, twice(value_width), pairs, Part::AttentionScores)
}

/// The same with something added to the scores.
fn biased_scores_and_values(
    block: &mut Builder,
    (query, key, value): (Slot, Slot, Slot),
    width: u64,
    (key_stream, mask): (Stream, Mask),
    bias: Slot,
) -> Slot {
    let pairs = block.pairs(key_stream, mask);
    let factor = u128::from(width).saturating_mul(2);
    let scores = block.product(query, key, factor, pairs, Part::AttentionScores);
    let weights = block.add(scores, bias);
    block.keep(weights); // the softmax, and a dropout that is on
    block.product(weights, value, factor, pairs, Part::AttentionScores)
}
