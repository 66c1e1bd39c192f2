//! Gated delta rules with attention in some blocks: Qwen3-Next, Qwen3.5, OLMo Hybrid.

use super::super::super::ShapeProblem;
use super::super::super::config::{Config, most};
use super::super::super::parts::{
    Attention, DeltaNet, DeltaProjections, Experts, FeedForward, GatedAttention, HeadNorms, Router, Shared,
};
use super::super::super::program::{ExpertTargets, Program};
use super::super::experts::counts;
use super::super::sizes::{Heads, Key, heads, layer_kinds};
use super::Sizes;
use super::block::{Inner, Layers, Mixer, Norms};

const KINDS: [&str; 2] = ["linear_attention", "full_attention"];

pub(super) fn read(family: &str, config: Config<'_>, sizes: Sizes) -> Result<Program, ShapeProblem> {
    let delta = Mixer::Delta(delta_net(family, config, sizes)?);
    let bias = config.flag("attention_bias")?.unwrap_or(false);
    let (attention, norms) = if family == "olmo_hybrid" {
        let (count, key_value, size) = heads(config, Heads { key_value: None, size: None }, sizes.hidden)?;
        let norms = HeadNorms::Whole { query: "self_attn.q_norm", key: "self_attn.k_norm" };
        let attention =
            Attention { norms, input_bias: bias, output_bias: bias, ..Attention::usual(count, key_value, size) };
        let after = Norms::After("post_attention_layernorm", "post_feedforward_layernorm");
        (Mixer::Attention(attention), after)
    } else {
        let default = if family == "qwen3_5_text" { 4 } else { 2 };
        let defaults = Heads { key_value: Some(default), size: Some(256) };
        let (heads, key_value_heads, head_size) = heads(config, defaults, sizes.hidden)?;
        (Mixer::Gated(GatedAttention { heads, key_value_heads, head_size, bias }), Norms::USUAL)
    };
    let attends = attending(family, config, sizes.layers)?;
    let sparse = sparse(family, config, sizes.layers)?;
    let layers = Layers {
        hidden: sizes.hidden,
        mixers: vec![(delta, Norms::USUAL), (attention, norms)],
        inners: inners(family, config)?,
        kinds: attends.into_iter().zip(sparse).collect(),
    };
    let mut program = layers.program(sizes.frame(config, "norm", false)?);
    program.expert_targets = (family == "qwen3_next").then_some(ExpertTargets::Qwen2Moe);
    Ok(program)
}

/// 0 for a delta rule, 1 for attention.
fn attending(family: &str, config: Config<'_>, layers: u64) -> Result<Vec<usize>, ShapeProblem> {
    if let Some(kinds) = layer_kinds(config, &["layer_types"], Some(layers), &KINDS)? {
        return Ok(kinds);
    }
    let interval = config.size("full_attention_interval", most::LAYERS)?.filter(|_| family != "olmo_hybrid");
    let interval = interval.unwrap_or(4);
    let mut kinds: Vec<usize> = (1..=layers).map(|layer| usize::from(layer.is_multiple_of(interval))).collect();
    // A model of OLMo Hybrid attends at least once.
    if let Some(last) = kinds.last_mut().filter(|_| family == "olmo_hybrid" && layers < interval) {
        *last = 1;
    }
    Ok(kinds)
}

fn delta_net(family: &str, config: Config<'_>, sizes: Sizes) -> Result<DeltaNet, ShapeProblem> {
    let size = |key: &str, default: u64| Ok(config.size(key, most::HEAD_SIZE)?.unwrap_or(default));
    let olmo = family == "olmo_hybrid";
    let own_heads = config.required_size("num_attention_heads", most::HEADS)?;
    let key_heads = size("linear_num_key_heads", if olmo { own_heads } else { 16 })?;
    let key_size = size("linear_key_head_dim", if olmo { (sizes.hidden * 3 / 4 / key_heads).max(1) } else { 128 })?;
    let value_heads = size("linear_num_value_heads", if olmo { own_heads } else { 32 })?;
    if !value_heads.is_multiple_of(key_heads) {
        return Err(ShapeProblem::Contradiction {
            key: "linear_num_value_heads".to_owned(),
            found: value_heads.to_string(),
            conflict: format!("is no multiple of linear_num_key_heads, {key_heads}"),
        });
    }
    Ok(DeltaNet {
        key_heads,
        value_heads,
        key_size,
        value_size: size("linear_value_head_dim", if olmo { key_size * 2 } else { 128 })?,
        kernel: size("linear_conv_kernel_dim", 4)?,
        projections: match family {
            "qwen3_next" => DeltaProjections::Two,
            "olmo_hybrid" => DeltaProjections::Six,
            _ => DeltaProjections::Four,
        },
    })
}

/// 0 for a dense block, 1 for one with experts.
fn sparse(family: &str, config: Config<'_>, layers: u64) -> Result<Vec<usize>, ShapeProblem> {
    if family == "qwen3_next" {
        let step = config.size("decoder_sparse_step", most::LAYERS)?.unwrap_or(1);
        let dense = config.counts("mlp_only_layers")?.unwrap_or_default();
        let has = |layer: u64| (layer + 1).is_multiple_of(step) && !dense.contains(&layer);
        return Ok((0..layers).map(|layer| usize::from(has(layer))).collect());
    }
    let all = usize::from(family == "qwen3_5_moe_text");
    Ok((0..layers).map(|_| all).collect())
}

fn inners(family: &str, config: Config<'_>) -> Result<Vec<Inner>, ShapeProblem> {
    let dense = || config.size("intermediate_size", most::WIDTH);
    let (count, chosen) = match family {
        "qwen3_next" => (512, 10),
        "qwen3_5_moe_text" => (256, 8),
        _ => {
            return Ok(vec![Inner::Dense(FeedForward::gated(config.required_size("intermediate_size", most::WIDTH)?))]);
        }
    };
    let size = |key: &str| Ok(config.size(key, most::WIDTH)?.unwrap_or(512));
    let (count, chosen) =
        counts(config, Key::new(&["num_experts"], count), Key::new(&["num_experts_per_tok"], chosen))?;
    let shared = Shared::gated("mlp.shared_expert", size("shared_expert_intermediate_size")?);
    let experts = Experts {
        shared: Some(shared.weighed("mlp.shared_expert_gate")),
        ..Experts::gated((count, chosen), size("moe_intermediate_size")?, "mlp.experts", Router::parameter("mlp.gate"))
    };
    Ok(vec![Inner::Dense(FeedForward::gated(dense()?.unwrap_or(5632))), Inner::Experts(experts)])
}
