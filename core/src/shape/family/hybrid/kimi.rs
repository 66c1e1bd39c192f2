//! Delta rules that decay by channel, with compressed attention in some blocks: Kimi Linear.

use super::super::super::ShapeProblem;
use super::super::super::config::{Config, most};
use super::super::super::parts::{Experts, FeedForward, KimiDelta, LatentAttention, Router, Shared};
use super::super::super::program::Program;
use super::super::experts::counts;
use super::super::sizes::{Key, layer_kinds};
use super::Sizes;
use super::block::{Inner, Layers, Mixer, Norms};

pub(super) fn read(config: Config<'_>, sizes: Sizes) -> Result<Program, ShapeProblem> {
    let size = |key: &str, default: u64| Ok(config.size(key, most::WIDTH)?.unwrap_or(default));
    let attention = LatentAttention {
        heads: config.required_size("num_attention_heads", most::HEADS)?,
        query_rank: config.size("q_lora_rank", most::WIDTH)?,
        key_value_rank: size("kv_lora_rank", 512)?,
        plain_size: size("qk_nope_head_dim", 128)?,
        rotary_size: size("qk_rope_head_dim", 64)?,
        value_size: size("v_head_dim", 128)?,
        bias: config.flag("attention_bias")?.unwrap_or(false),
        indexer: None,
    };
    let written = config.inner("linear_attn_config")?;
    let mixers = [Mixer::Kimi(delta(config, written)?), Mixer::Latent(attention)];
    let layers = Layers {
        hidden: sizes.hidden,
        mixers: mixers.into_iter().map(|mixer| (mixer, Norms::USUAL)).collect(),
        inners: inners(config)?,
        kinds: attending(config, written, sizes.layers)?.into_iter().zip(sparse(config, sizes.layers)?).collect(),
    };
    Ok(layers.program(sizes.frame(config, "norm", false)?))
}

/// Published files keep these sizes in an object of their own, which goes before.
fn delta(config: Config<'_>, written: Option<Config<'_>>) -> Result<KimiDelta, ShapeProblem> {
    let size = |first: &str, second: &str, default: u64, most: u64| {
        let written = written.map_or(Ok(None), |written| written.size(first, most))?;
        Ok(match written {
            Some(size) => size,
            None => config.size(second, most)?.unwrap_or(default),
        })
    };
    Ok(KimiDelta {
        heads: size("num_heads", "linear_num_heads", 32, most::HEADS)?,
        size: size("head_dim", "linear_head_dim", 128, most::HEAD_SIZE)?,
        kernel: size("short_conv_kernel_size", "linear_conv_kernel_dim", 4, most::WIDTH)?,
    })
}

/// 0 for a delta rule, 1 for attention.
fn attending(config: Config<'_>, written: Option<Config<'_>>, layers: u64) -> Result<Vec<usize>, ShapeProblem> {
    if let Some(kinds) = layer_kinds(config, &["layer_types"], Some(layers), &["linear_attention", "full_attention"])? {
        return Ok(kinds);
    }
    // Counted from 1 there.
    let listed = written.map_or(Ok(None), |written| written.counts("full_attn_layers"))?;
    let attends = |layer: u64| match &listed {
        Some(listed) => listed.contains(&(layer + 1)),
        None => layer > 0 && layer.is_multiple_of(4),
    };
    Ok((0..layers).map(|layer| usize::from(attends(layer))).collect())
}

/// 0 for a dense block, 1 for one with experts.
fn sparse(config: Config<'_>, layers: u64) -> Result<Vec<usize>, ShapeProblem> {
    if let Some(kinds) = layer_kinds(config, &["mlp_layer_types"], Some(layers), &["dense", "sparse"])? {
        return Ok(kinds);
    }
    let dense = config.count("first_k_dense_replace")?.unwrap_or(1);
    Ok((0..layers).map(|layer| usize::from(layer >= dense)).collect())
}

fn inners(config: Config<'_>) -> Result<Vec<Inner>, ShapeProblem> {
    let chosen = counts(
        config,
        Key::new(&["num_experts", "num_local_experts"], 256),
        Key::new(&["num_experts_per_token", "num_experts_per_tok"], 8),
    )?;
    let inner = config.size("moe_intermediate_size", most::WIDTH)?.unwrap_or(1024);
    let times = Key::new(&["num_shared_experts", "n_shared_experts"], 1).size(config, most::EXPERTS)?;
    let experts = Experts {
        shared: Some(Shared::gated("mlp.shared_experts", inner.saturating_mul(times))),
        ..Experts::gated(chosen, inner, "mlp.experts", Router::parameter("mlp.gate"))
    };
    let dense = FeedForward::gated(config.required_size("intermediate_size", most::WIDTH)?);
    Ok(vec![Inner::Dense(dense), Inner::Experts(experts)])
}
