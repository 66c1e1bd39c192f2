//! Decoders whose attention and feed-forward part may read the same residual stream: GPT-NeoX (Pythia), Falcon, Phi,
//! StableLM, Persimmon.
//!
//! Sources: `configuration_<family>.py` and `modeling_<family>.py` of `transformers` 5.23.

use std::borrow::Cow;

use super::super::ShapeProblem;
use super::super::config::{Config, most};
use super::super::parts::{Attention, ClassHeads, Decoder, FeedForward, HeadNorms, Layer, Norm, Order};
use super::super::program::Program;
use super::frame::{causal, finish};
use super::keys::{Keys, Sizes, check_groups};

/// Every `model_type` below.
pub(super) const MODEL_TYPES: [&str; 5] = ["gpt_neox", "falcon", "phi", "stablelm", "persimmon"];

/// Norms of each head of queries and keys.
const HEAD_NORMS: (&str, &str) = ("self_attn.q_layernorm", "self_attn.k_layernorm");

/// Reads a configuration of any family above.
pub(super) fn read(config: Config<'_>) -> Result<Program, ShapeProblem> {
    match config.text("model_type")?.unwrap_or_default() {
        "falcon" => falcon(config),
        "phi" => phi(config),
        "stablelm" => stablelm(config),
        "persimmon" => persimmon(config),
        _ => neox(config),
    }
}

fn neox(config: Config<'_>) -> Result<Program, ShapeProblem> {
    let (sizes, head_size) = Keys::USUAL.read_whole_heads(config)?;
    let inner = config.required_size("intermediate_size", most::WIDTH)?;
    let each = (sizes.heads, sizes.heads, head_size);
    let attention = Attention::fused(each, "attention.query_key_value", "attention.dense");
    let parallel = config.flag("use_parallel_residual")?.unwrap_or(true);
    let layer = Layer {
        hidden: sizes.hidden,
        attention: attention.biased(config.flag("attention_bias")?.unwrap_or(true)),
        feed_forward: FeedForward::plain(inner, "mlp.dense_h_to_4h", "mlp.dense_4h_to_h"),
        norm: Norm::ScaleAndShift,
        order: if parallel { two_norms("input_layernorm", "post_attention_layernorm") } else { Order::USUAL },
        dropout: config.is_positive("hidden_dropout")?,
    };
    let decoder = Decoder {
        inside: "gpt_neox",
        embedding: "embed_in",
        final_norm: "final_layer_norm",
        norm_bias: Some(true),
        ..decoder(config, sizes, false)?
    };
    let heads = ClassHeads { token: Some("classifier"), question: Some("gpt_neox"), ..ClassHeads::ALL };
    finish(config, decoder, heads, &layer, &causal(sizes))
}

/// One norm for both branches (7B), one for each (40B), or one after the other with biases and without rotation (RW).
fn falcon(config: Config<'_>) -> Result<Program, ShapeProblem> {
    const KEYS: Keys = Keys { hidden: &["n_embed", "hidden_size"], ..Keys::USUAL };
    let (sizes, head_size) = KEYS.read_whole_heads(config)?;
    let flag = |key: &str, default: bool| Ok::<bool, ShapeProblem>(config.flag(key)?.unwrap_or(default));
    let (new, parallel) = (flag("new_decoder_architecture", false)?, flag("parallel_attn", true)?);
    let groups = if new {
        config.size("num_kv_heads", most::HEADS)?.unwrap_or(sizes.heads)
    } else if flag("multi_query", true)? {
        1
    } else {
        sizes.heads
    };
    check_groups("num_kv_heads", sizes.heads, groups)?;
    let bias = flag("bias", false)?;
    let inner = config.size("ffn_hidden_size", most::WIDTH)?.unwrap_or_else(|| sizes.hidden.saturating_mul(4));
    let each = (sizes.heads, groups, head_size);
    let norms = config.size("num_ln_in_parallel_attn", 2)?.or_else(|| new.then_some(2));
    let layer = Layer {
        hidden: sizes.hidden,
        attention: Attention::fused(each, "self_attention.query_key_value", "self_attention.dense").biased(bias),
        feed_forward: FeedForward { bias, ..FeedForward::plain(inner, "mlp.dense_h_to_4h", "mlp.dense_4h_to_h") },
        norm: Norm::ScaleAndShift,
        order: falcon_order(new, parallel, norms)?,
        dropout: config.is_positive("hidden_dropout")?,
    };
    let decoder = Decoder { embedding: "word_embeddings", ..Decoder::gpt(sizes.vocabulary, sizes.hidden, true) };
    let tied_head = flag("tie_word_embeddings", true)?;
    let heads = ClassHeads { token: Some("classifier"), ..ClassHeads::ALL };
    let program = finish(config, Decoder { tied_head, ..decoder }, heads, &layer, &causal(sizes))?;
    // peft builds keys for every head, which fits where they are repeated before they are kept.
    Ok(Program { prefix_width: (new || groups == sizes.heads).then_some(sizes.hidden), ..program })
}

/// Combinations for which the class builds no norm that it then calls are refused.
fn falcon_order(new: bool, parallel: bool, norms: Option<u64>) -> Result<Order, ShapeProblem> {
    match (new, parallel, norms) {
        (true, true, Some(2)) => Ok(two_norms("ln_attn", "ln_mlp")),
        (_, true, None | Some(1)) => Ok(one_norm("input_layernorm")),
        (false, false, _) => Ok(Order::USUAL),
        (true, false, _) => Err(ShapeProblem::Contradiction {
            key: "parallel_attn".to_owned(),
            found: "false".to_owned(),
            conflict: "new_decoder_architecture is true, which has no norm between the branches".to_owned(),
        }),
        (false, true, Some(found)) => Err(ShapeProblem::Contradiction {
            key: "num_ln_in_parallel_attn".to_owned(),
            found: found.to_string(),
            conflict: "new_decoder_architecture is false, whose branches share a norm".to_owned(),
        }),
        (true, true, Some(found)) => Err(ShapeProblem::OutOfRange {
            key: "num_ln_in_parallel_attn".to_owned(),
            found: found.to_string(),
            most: 2,
        }),
    }
}

fn phi(config: Config<'_>) -> Result<Program, ShapeProblem> {
    let (sizes, attention) = separate(config, None)?;
    let inner = config.required_size("intermediate_size", most::WIDTH)?;
    let (query, key) = HEAD_NORMS;
    let normed = config.flag("qk_layernorm")?.unwrap_or(false);
    let attention = Attention {
        head_size: config.size("head_dim", most::HEAD_SIZE)?.unwrap_or(attention.head_size),
        output: Cow::Borrowed("self_attn.dense"),
        norms: if normed { HeadNorms::HeadShifted { query, key } } else { HeadNorms::None },
        ..attention.biased(true)
    };
    let layer = Layer {
        hidden: sizes.hidden,
        attention,
        feed_forward: FeedForward::plain(inner, "mlp.fc1", "mlp.fc2"),
        norm: Norm::ScaleAndShift,
        order: one_norm("input_layernorm"),
        dropout: config.is_positive("resid_pdrop")?,
    };
    let decoder = Decoder {
        final_norm: "final_layernorm",
        norm_bias: Some(true),
        head_bias: true,
        ..decoder(config, sizes, false)?
    };
    finish(config, decoder, ClassHeads { question: None, ..ClassHeads::ALL }, &layer, &causal(sizes))
}

fn stablelm(config: Config<'_>) -> Result<Program, ShapeProblem> {
    let (sizes, attention) = separate(config, Some(32))?;
    let inner = config.required_size("intermediate_size", most::WIDTH)?;
    let normed = config.flag("qk_layernorm")?.unwrap_or(false);
    let (query, key) = ("self_attn.q_layernorm.norms", "self_attn.k_layernorm.norms");
    let attention = Attention {
        input_bias: config.flag("use_qkv_bias")?.unwrap_or(false),
        norms: if normed { HeadNorms::Each { query, key } } else { HeadNorms::None },
        ..attention
    };
    let parallel = config.flag("use_parallel_residual")?.unwrap_or(false);
    let layer = Layer {
        hidden: sizes.hidden,
        attention,
        feed_forward: FeedForward::gated(inner),
        norm: Norm::ScaleAndShift,
        order: if parallel { one_norm("input_layernorm") } else { Order::USUAL },
        dropout: config.is_positive("hidden_dropout")?,
    };
    let decoder = Decoder { norm_bias: Some(true), ..decoder(config, sizes, false)? };
    finish(config, decoder, ClassHeads { question: None, ..ClassHeads::ALL }, &layer, &causal(sizes))
}

fn persimmon(config: Config<'_>) -> Result<Program, ShapeProblem> {
    let (sizes, head_size) = Keys::USUAL.read_whole_heads(config)?;
    let inner = config.required_size("intermediate_size", most::WIDTH)?;
    let each = (sizes.heads, sizes.heads, head_size);
    let (query, key) = HEAD_NORMS;
    let normed = config.flag("qk_layernorm")?.unwrap_or(true);
    let attention = Attention {
        norms: if normed { HeadNorms::HeadShifted { query, key } } else { HeadNorms::None },
        ..Attention::fused(each, "self_attn.query_key_value", "self_attn.dense").biased(true)
    };
    let layer = Layer {
        hidden: sizes.hidden,
        attention,
        feed_forward: FeedForward::plain(inner, "mlp.dense_h_to_4h", "mlp.dense_4h_to_h"),
        norm: Norm::ScaleAndShift,
        order: Order::USUAL,
        dropout: config.is_positive("hidden_dropout")?,
    };
    let decoder = Decoder { final_norm: "final_layernorm", norm_bias: Some(true), ..decoder(config, sizes, false)? };
    finish(config, decoder, ClassHeads { question: None, ..ClassHeads::ALL }, &layer, &causal(sizes))
}

/// Three projections; `usual` key and value heads where the key is absent, else one for each query head.
fn separate(config: Config<'_>, usual: Option<u64>) -> Result<(Sizes, Attention), ShapeProblem> {
    let (sizes, head_size) = Keys::USUAL.read_whole_heads(config)?;
    let usual = usual.filter(|_| !config.has("num_key_value_heads")).unwrap_or(sizes.heads);
    let groups = config.size("num_key_value_heads", most::HEADS)?.unwrap_or(usual);
    check_groups("num_key_value_heads", sizes.heads, groups)?;
    Ok((sizes, Attention::usual(sizes.heads, groups, head_size)))
}

fn decoder(config: Config<'_>, sizes: Sizes, tied: bool) -> Result<Decoder, ShapeProblem> {
    let tied = config.flag("tie_word_embeddings")?.unwrap_or(tied);
    Ok(Decoder::usual(sizes.vocabulary, sizes.hidden, tied))
}

const fn one_norm(name: &'static str) -> Order {
    Order::Parallel { attention: name, feed_forward: None }
}

const fn two_norms(attention: &'static str, feed_forward: &'static str) -> Order {
    Order::Parallel { attention, feed_forward: Some(feed_forward) }
}
