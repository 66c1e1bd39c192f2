//! State-space layers with attention: Granite 4, Falcon-H1, Bamba, Jamba.

use super::super::super::ShapeProblem;
use super::super::super::config::{Config, most};
use super::super::super::parts::{Attention, Experts, FeedForward, Gating, Mamba, Mamba2, MambaNorms, Router, Shared};
use super::super::super::program::Program;
use super::super::experts::counts;
use super::super::sizes::{Heads, Key, heads, layer_kinds};
use super::super::state_space::time_step_rank;
use super::Sizes;
use super::block::{Inner, Layers, Mixer, Norms};
use crate::flops::Part;

/// Granite 4: either in each block, experts and a part that every position goes through, or that part alone.
pub(super) fn granite(config: Config<'_>, sizes: Sizes) -> Result<Program, ShapeProblem> {
    let attention = attention(config, sizes, None)?;
    let states = Mixer::Mamba2(mamba2(config, sizes, None)?);
    let kinds = layer_kinds(
        config,
        &["layer_types", "layers_block_type"],
        Some(sizes.layers),
        &["linear_attention", "full_attention"],
    )?;
    let layers = Layers {
        hidden: sizes.hidden,
        mixers: vec![(states, Norms::USUAL), (Mixer::Attention(attention), Norms::USUAL)],
        inners: vec![granite_inner(config)?],
        kinds: kinds.map_or_else(
            || (0..sizes.layers).map(|_| (0, 0)).collect(),
            |kinds| kinds.into_iter().map(|kind| (kind, 0)).collect(),
        ),
    };
    Ok(layers.program(sizes.frame(config, "norm", false)?))
}

fn granite_inner(config: Config<'_>) -> Result<Inner, ShapeProblem> {
    let inner = config.size("shared_intermediate_size", most::WIDTH)?.unwrap_or(1024);
    let shared = Shared::fused("shared_mlp.input_linear", "shared_mlp.output_linear", inner);
    if config.count("num_local_experts")? == Some(0) {
        return Ok(Inner::Dense(FeedForward { part: Part::FeedForward, ..shared.feed_forward }));
    }
    let (count, chosen) = counts(config, Key::new(&["num_local_experts"], 8), Key::new(&["num_experts_per_tok"], 2))?;
    let inner = config.size("intermediate_size", most::WIDTH)?.unwrap_or(11008);
    let router = Router::parameter("block_sparse_moe.router");
    let experts = Experts::gated((count, chosen), inner, "block_sparse_moe.experts", router);
    Ok(Inner::Experts(Experts { shared: Some(shared), ..experts }))
}

/// Falcon-H1: both side by side in every block.
pub(super) fn falcon(config: Config<'_>, sizes: Sizes) -> Result<Program, ShapeProblem> {
    let attention = attention(config, sizes, Some(8))?;
    let inner = if config.has("mamba_d_ssm") { config.size("mamba_d_ssm", most::WIDTH)? } else { Some(1024) };
    let states = Mamba2 {
        output_bias: config.flag("projectors_bias")?.unwrap_or(false),
        gating: if config.flag("mamba_rms_norm")?.unwrap_or(false) { Gating::Normed } else { Gating::Alone },
        ..mamba2(config, sizes, inner)?
    };
    let layers = Layers {
        hidden: sizes.hidden,
        mixers: vec![(Mixer::Beside(states, attention), Norms::PLAIN)],
        inners: vec![Inner::Dense(feed_forward(config)?)],
        kinds: (0..sizes.layers).map(|_| (0, 0)).collect(),
    };
    Ok(layers.program(sizes.frame(config, "final_layernorm", false)?))
}

/// Bamba: attention in the blocks that are listed.
pub(super) fn bamba(config: Config<'_>, sizes: Sizes) -> Result<Program, ShapeProblem> {
    let attention = attention(config, sizes, Some(8))?;
    let attending = config.counts("attn_layer_indices")?.unwrap_or_default();
    let layers = Layers {
        hidden: sizes.hidden,
        mixers: vec![
            (Mixer::Mamba2(mamba2(config, sizes, None)?), Norms::PLAIN),
            (Mixer::Attention(attention), Norms::PLAIN),
        ],
        inners: vec![Inner::Dense(feed_forward(config)?)],
        kinds: (0..sizes.layers).map(|layer| (usize::from(attending.contains(&layer)), 0)).collect(),
    };
    Ok(layers.program(sizes.frame(config, "final_layernorm", false)?))
}

/// Jamba: attention and experts each in one block of so many.
pub(super) fn jamba(config: Config<'_>, sizes: Sizes) -> Result<Program, ShapeProblem> {
    let attention = Attention { input_bias: false, output_bias: false, ..attention(config, sizes, Some(8))? };
    let (count, chosen) =
        counts(config, Key::new(&["num_experts", "num_local_experts"], 16), Key::new(&["num_experts_per_tok"], 2))?;
    let inner = config.required_size("intermediate_size", most::WIDTH)?;
    let router = Router::parameter("feed_forward.router");
    let experts = Experts::gated((count, chosen), inner, "feed_forward.experts", router);
    let every = |period: &str, default: u64, offset: &str, first: u64| -> Result<_, ShapeProblem> {
        let period = config.size(period, most::LAYERS)?.unwrap_or(default);
        let offset = config.count(offset)?.unwrap_or(first);
        Ok(move |layer: u64| usize::from(layer % period == offset))
    };
    let attends = every("attn_layer_period", 8, "attn_layer_offset", 4)?;
    let sparse = every("expert_layer_period", 2, "expert_layer_offset", 1)?;
    let layers = Layers {
        hidden: sizes.hidden,
        mixers: vec![(Mixer::Mamba(mamba(config, sizes)?), Norms::PLAIN), (Mixer::Attention(attention), Norms::PLAIN)],
        inners: vec![Inner::Dense(Shared::gated("feed_forward", inner).feed_forward), Inner::Experts(experts)],
        // One expert is none.
        kinds: (0..sizes.layers).map(|layer| (attends(layer), if count > 1 { sparse(layer) } else { 0 })).collect(),
    };
    Ok(layers.program(sizes.frame(config, "final_layernorm", false)?))
}

fn attention(config: Config<'_>, sizes: Sizes, key_value: Option<u64>) -> Result<Attention, ShapeProblem> {
    let (count, key_value, size) = heads(config, Heads { key_value, size: None }, sizes.hidden)?;
    let bias = config.flag("attention_bias")?.unwrap_or(false);
    Ok(Attention { input_bias: bias, output_bias: bias, ..Attention::usual(count, key_value, size) })
}

fn feed_forward(config: Config<'_>) -> Result<FeedForward, ShapeProblem> {
    let inner = config.required_size("intermediate_size", most::WIDTH)?;
    let bias = config.flag("mlp_bias")?.unwrap_or(false);
    Ok(FeedForward { bias, part: Part::FeedForward, ..Shared::gated("feed_forward", inner).feed_forward })
}

fn mamba(config: Config<'_>, sizes: Sizes) -> Result<Mamba, ShapeProblem> {
    let size = |key: &str, default: u64| Ok(config.size(key, most::WIDTH)?.unwrap_or(default));
    Ok(Mamba {
        name: "mamba",
        inner: size("mamba_expand", 2)?.saturating_mul(sizes.hidden),
        state: size("mamba_d_state", 16)?,
        time_step_rank: time_step_rank(config, "mamba_dt_rank", sizes.hidden)?,
        heads: None,
        kernel: size("mamba_d_conv", 4)?,
        bias: config.flag("mamba_proj_bias")?.unwrap_or(false),
        convolution_bias: config.flag("mamba_conv_bias")?.unwrap_or(true),
        norms: MambaNorms::Scaled,
    })
}

/// A layer with a norm, whose width is given or follows from the model's.
fn mamba2(config: Config<'_>, sizes: Sizes, inner: Option<u64>) -> Result<Mamba2, ShapeProblem> {
    let size = |key: &str, default: u64| Ok(config.size(key, most::WIDTH)?.unwrap_or(default));
    let inner = inner.unwrap_or(size("mamba_expand", 2)?.saturating_mul(sizes.hidden));
    let heads = size("mamba_n_heads", 128)?;
    let given = if config.is_text("mamba_d_head") { None } else { config.size("mamba_d_head", most::HEAD_SIZE)? };
    let head_size = given.unwrap_or(inner / heads);
    if heads.saturating_mul(head_size) != inner {
        return Err(ShapeProblem::Contradiction {
            key: "mamba_n_heads".to_owned(),
            found: heads.to_string(),
            conflict: format!("times the size of a head, {head_size}, is not the width of the layer, {inner}"),
        });
    }
    let bias = config.flag("mamba_proj_bias")?.unwrap_or(false);
    Ok(Mamba2 {
        name: "mamba",
        inner,
        heads,
        head_size,
        state: size("mamba_d_state", 256)?,
        groups: size("mamba_n_groups", 1)?,
        chunk: size("mamba_chunk_size", 256)?,
        kernel: size("mamba_d_conv", 4)?,
        bias,
        output_bias: bias,
        convolution_bias: config.flag("mamba_conv_bias")?.unwrap_or(true),
        gating: Gating::Normed,
    })
}
