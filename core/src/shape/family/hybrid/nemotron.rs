//! One way of mixing or one feed-forward part in each block: Nemotron-H.

use std::borrow::Cow;

use super::super::super::ShapeProblem;
use super::super::super::config::{Config, most, shortened_text};
use super::super::super::parts::{
    Attention, Decoder, Experts, FeedForward, Gating, Latent, Mamba2, Projections, Router, Shared,
};
use super::super::super::program::Program;
use super::super::classes::ending;
use super::super::experts::counts;
use super::super::sizes::{Heads, Key, heads, layer_kinds};
use super::block::{Inner, Layers, Mixer, Norms};
use crate::flops::Part;

/// Kinds of block, and the letters that stand for them in `hybrid_override_pattern`.
const KINDS: [&str; 4] = ["linear_attention", "full_attention", "mlp", "moe"];
const LETTERS: [char; 4] = ['M', '*', '-', 'E'];

pub(super) fn read(config: Config<'_>) -> Result<Program, ShapeProblem> {
    let hidden = config.required_size("hidden_size", most::WIDTH)?;
    let vocabulary = config.required_size("vocab_size", most::VOCABULARY)?;
    let bias = config.flag("mlp_bias")?.unwrap_or(false);
    let inner = config.size("intermediate_size", most::WIDTH)?.unwrap_or(21504);
    let widening = Shared::plain("mixer", inner, bias).feed_forward;
    let mixers = [
        Mixer::Mamba2(mamba2(config)?),
        Mixer::Attention(attention(config, hidden)?),
        Mixer::Inner(Inner::Dense(FeedForward { part: Part::FeedForward, ..widening })),
        Mixer::Inner(Inner::Experts(experts(config, bias)?)),
    ];
    let layers = Layers {
        hidden,
        mixers: mixers.into_iter().map(|mixer| (mixer, Norms::Alone("norm"))).collect(),
        inners: Vec::new(),
        kinds: kinds(config)?.into_iter().map(|kind| (kind, 0)).collect(),
    };
    let tied = config.flag("tie_word_embeddings")?.unwrap_or(false);
    let frame = Decoder { embedding: "embeddings", final_norm: "norm_f", ..Decoder::usual(vocabulary, hidden, tied) };
    Ok(layers.program(ending(config, frame)?))
}

/// The kinds of the blocks; where they are listed, `num_hidden_layers` is not read.
fn kinds(config: Config<'_>) -> Result<Vec<usize>, ShapeProblem> {
    if let Some(kinds) = layer_kinds(config, &["layers_block_type", "layer_types"], None, &KINDS)? {
        return Ok(kinds);
    }
    let Some(pattern) = config.text("hybrid_override_pattern")? else { return Ok(vec![0, 3, 1, 2]) };
    let kind = |letter: char| {
        LETTERS.iter().position(|known| *known == letter).ok_or_else(|| ShapeProblem::WrongType {
            key: "hybrid_override_pattern".to_owned(),
            found: format!("`{}`", shortened_text(pattern)),
            expected: "a text of `M`, `*`, `-` and `E`, one for each block",
        })
    };
    pattern.chars().map(kind).collect()
}

fn attention(config: Config<'_>, hidden: u64) -> Result<Attention, ShapeProblem> {
    let (count, key_value, size) = heads(config, Heads { key_value: Some(8), size: Some(128) }, hidden)?;
    Ok(Attention {
        projections: Projections::Separate {
            query: Cow::Borrowed("mixer.q_proj"),
            key: Cow::Borrowed("mixer.k_proj"),
            value: Cow::Borrowed("mixer.v_proj"),
        },
        output: Cow::Borrowed("mixer.o_proj"),
        ..Attention::usual(count, key_value, size)
    })
}

fn mamba2(config: Config<'_>) -> Result<Mamba2, ShapeProblem> {
    let size = |names, default| Key::new(names, default).size(config, most::WIDTH);
    let (heads, head_size) = (size(&["mamba_num_heads"], 128)?, size(&["mamba_head_dim"], 64)?);
    let bias = config.flag("use_bias")?.unwrap_or(false);
    let convolution_bias = config.flag("mamba_conv_bias")?.or(config.flag("use_conv_bias")?);
    Ok(Mamba2 {
        name: "mixer",
        inner: heads.saturating_mul(head_size),
        heads,
        head_size,
        state: size(&["ssm_state_size"], 128)?,
        groups: size(&["mamba_n_groups", "n_groups"], 8)?,
        chunk: size(&["mamba_chunk_size", "chunk_size"], 128)?,
        kernel: size(&["mamba_d_conv", "conv_kernel"], 4)?,
        bias,
        output_bias: bias,
        convolution_bias: convolution_bias.unwrap_or(true),
        gating: Gating::Normed,
    })
}

fn experts(config: Config<'_>, bias: bool) -> Result<Experts, ShapeProblem> {
    let count = Key::new(&["n_routed_experts", "num_local_experts"], 8);
    let chosen = counts(config, count, Key::new(&["num_experts_per_tok"], 2))?;
    let width = |key: &str| Ok(config.size(key, most::WIDTH)?.unwrap_or(7688));
    let latent = config.size("moe_latent_size", most::WIDTH)?;
    let shared = Shared::plain("mixer.shared_experts", width("moe_shared_expert_intermediate_size")?, bias);
    let router = Router::parameter("mixer.gate");
    Ok(Experts {
        gated: false,
        latent: latent.map(|width| Latent {
            enter: "mixer.fc1_latent_proj",
            leave: "mixer.fc2_latent_proj",
            width,
            bias,
        }),
        shared: Some(shared),
        ..Experts::gated(chosen, width("moe_intermediate_size")?, "mixer.experts", router)
    })
}
