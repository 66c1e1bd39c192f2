//! A gated linear recurrence with local attention in some blocks: RecurrentGemma.

use std::borrow::Cow;

use super::super::super::ShapeProblem;
use super::super::super::config::{Config, most};
use super::super::super::parts::{Attention, FeedForward, Projections, Recurrent, Shared};
use super::super::super::program::Program;
use super::super::super::quantity::Mask;
use super::super::sizes::{Heads, heads};
use super::Sizes;
use super::block::{Inner, Layers, Mixer, Norms};
use crate::flops::Part;

pub(super) fn read(config: Config<'_>, sizes: Sizes) -> Result<Program, ShapeProblem> {
    let (count, key_value, size) = heads(config, Heads { key_value: None, size: None }, sizes.hidden)?;
    let attention = Attention {
        projections: Projections::Separate {
            query: Cow::Borrowed("temporal_block.q_proj"),
            key: Cow::Borrowed("temporal_block.k_proj"),
            value: Cow::Borrowed("temporal_block.v_proj"),
        },
        output: Cow::Borrowed("temporal_block.o_proj"),
        input_bias: config.flag("attention_bias")?.unwrap_or(false),
        output_bias: true,
        mask: Mask::Sliding(config.size("attention_window_size", most::WINDOW)?.unwrap_or(2048)),
        ..Attention::usual(count, key_value, size)
    };
    let width = config.size("lru_width", most::WIDTH)?.unwrap_or(sizes.hidden);
    if !width.is_multiple_of(count) {
        return Err(ShapeProblem::Contradiction {
            key: "lru_width".to_owned(),
            found: width.to_string(),
            conflict: format!("is no multiple of num_attention_heads, {count}"),
        });
    }
    let kernel = config.size("conv1d_width", most::WIDTH)?.unwrap_or(4);
    let recurrent = Recurrent { width, heads: count, kernel };
    // The two halves of the written width are gate and value.
    let inner = (config.required_size("intermediate_size", most::WIDTH)? / 2).max(1);
    let feed_forward =
        FeedForward { bias: true, part: Part::FeedForward, ..Shared::gated("mlp_block", inner).feed_forward };
    let norms = Norms::Before("temporal_pre_norm", "channel_pre_norm");
    let layers = Layers {
        hidden: sizes.hidden,
        mixers: vec![(Mixer::Recurrent(recurrent), norms), (Mixer::Attention(attention), norms)],
        inners: vec![Inner::Dense(feed_forward)],
        kinds: kinds(config, sizes.layers)?,
    };
    Ok(layers.program(sizes.frame(config, "final_norm", true)?))
}

/// The pattern in `block_types`, over and over.
fn kinds(config: Config<'_>, layers: u64) -> Result<Vec<(usize, usize)>, ShapeProblem> {
    let pattern = config.texts("block_types")?.unwrap_or_else(|| vec!["recurrent", "recurrent", "attention"]);
    if pattern.is_empty() {
        return Err(ShapeProblem::Missing { key: "block_types".to_owned() });
    }
    let kinds = pattern.iter().map(|kind| (usize::from(*kind != "recurrent"), 0)).cycle();
    Ok(kinds.zip(0..layers).map(|(kind, _)| kind).collect())
}
