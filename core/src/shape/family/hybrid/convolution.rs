//! Short convolutions with attention in some blocks: LFM2.

use std::borrow::Cow;

use super::super::super::ShapeProblem;
use super::super::super::config::{Config, most};
use super::super::super::parts::{Attention, Experts, FeedForward, HeadNorms, Router, ShortConvolution, Widening};
use super::super::super::program::Program;
use super::super::experts::counts;
use super::super::sizes::{Heads, Key, heads, layer_kinds};
use super::Sizes;
use super::block::{Inner, Layers, Mixer, Norms};
use crate::flops::Part;

pub(super) fn read(family: &str, config: Config<'_>, sizes: Sizes) -> Result<Program, ShapeProblem> {
    let (count, key_value, size) = heads(config, Heads { key_value: Some(8), size: None }, sizes.hidden)?;
    let attention = Attention {
        norms: HeadNorms::Head { query: "self_attn.q_layernorm", key: "self_attn.k_layernorm" },
        output: Cow::Borrowed("self_attn.out_proj"),
        ..Attention::usual(count, key_value, size)
    };
    let convolution = ShortConvolution {
        kernel: config.size("conv_L_cache", most::WIDTH)?.unwrap_or(3),
        bias: config.flag("conv_bias")?.unwrap_or(false),
    };
    let norms = Norms::Before("operator_norm", "ffn_norm");
    let sparse_from = if family == "lfm2_moe" { config.count("num_dense_layers")?.unwrap_or(2) } else { u64::MAX };
    let sparse = (0..sizes.layers).map(|layer| usize::from(layer >= sparse_from));
    let layers = Layers {
        hidden: sizes.hidden,
        mixers: vec![(Mixer::Convolution(convolution), norms), (Mixer::Attention(attention), norms)],
        inners: inners(family, config)?,
        kinds: attending(config, sizes.layers)?.into_iter().zip(sparse).collect(),
    };
    let tied = config.flag("tie_embedding")?;
    Ok(layers.program(Sizes { tied: tied.or(sizes.tied), ..sizes }.frame(config, "embedding_norm", true)?))
}

/// 0 for a convolution, 1 for attention.
fn attending(config: Config<'_>, layers: u64) -> Result<Vec<usize>, ShapeProblem> {
    if let Some(kinds) = layer_kinds(config, &["layer_types"], Some(layers), &["conv", "full_attention"])? {
        return Ok(kinds);
    }
    let attending = config.counts("full_attn_idxs")?;
    Ok((0..layers).map(|layer| usize::from(attending.as_ref().is_none_or(|all| all.contains(&layer)))).collect())
}

fn inners(family: &str, config: Config<'_>) -> Result<Vec<Inner>, ShapeProblem> {
    let dense = Inner::Dense(FeedForward {
        inner: inner_width(family, config)?,
        widening: Widening::Gated { gate: Cow::Borrowed("feed_forward.w1"), up: Cow::Borrowed("feed_forward.w3") },
        down: Cow::Borrowed("feed_forward.w2"),
        bias: false,
        part: Part::FeedForward,
    });
    if family == "lfm2" {
        return Ok(vec![dense]);
    }
    let (count, chosen) = counts(config, Key::new(&["num_experts"], 32), Key::new(&["num_experts_per_tok"], 4))?;
    let experts = Experts::gated(
        (count, chosen),
        config.size("moe_intermediate_size", most::WIDTH)?.unwrap_or(1792),
        "feed_forward.experts",
        Router::parameter("feed_forward.gate"),
    );
    Ok(vec![dense, Inner::Experts(experts)])
}

/// LFM2 takes two thirds of what is written, times a factor, rounded up to a multiple; a factor of `null` leaves out the rest.
fn inner_width(family: &str, config: Config<'_>) -> Result<u64, ShapeProblem> {
    if family == "lfm2_moe" {
        return config.required_size("intermediate_size", most::WIDTH);
    }
    let written = match config.size("block_ff_dim", most::WIDTH)? {
        Some(width) => width,
        None => config.required_size("intermediate_size", most::WIDTH)?,
    };
    if !config.flag("block_auto_adjust_ff_dim")?.unwrap_or(true) {
        return Ok(written);
    }
    let narrowed = written.saturating_mul(2) / 3;
    let key = "block_ffn_dim_multiplier";
    if config.has(key) && !config.is_there(key) {
        return Ok(narrowed);
    }
    let scaled = config.times(key, narrowed, most::WIDTH)?.unwrap_or(narrowed);
    let multiple = config.size("block_multiple_of", most::WIDTH)?.unwrap_or(256);
    Ok(scaled.div_ceil(multiple).saturating_mul(multiple).max(1))
}
