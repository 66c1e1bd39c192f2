//! OPT and its relatives from fairseq: `BioGPT`, XGLM.
//!
//! Sources: `configuration_<family>.py` and `modeling_<family>.py` of `transformers` 5.23.

use std::borrow::Cow;

use super::super::ShapeProblem;
use super::super::config::{Config, most};
use super::super::parts::{Attention, ClassHeads, Decoder, FeedForward, Layer, Norm, Norms, Order};
use super::super::positions::PositionTable;
use super::super::program::Program;
use super::frame::{causal, finish, refuse_cross_attention};
use super::keys::{Keys, Sizes};

/// Every `model_type` below.
pub(super) const MODEL_TYPES: [&str; 3] = ["opt", "biogpt", "xglm"];

/// The first rows of the tables of positions stand for no position.
const UNUSED_POSITIONS: u64 = 2;

const OPT_POSITIONS: u64 = 2048;
const BIOGPT_POSITIONS: u64 = 1024;

const NORM_BEFORE: Order = Order::Sequential {
    attention: Norms::before("self_attn_layer_norm"),
    feed_forward: Norms::before("final_layer_norm"),
};
const NORM_OF_SUM: Order = Order::Sequential {
    attention: Norms::joined("self_attn_layer_norm"),
    feed_forward: Norms::joined("final_layer_norm"),
};

/// Reads a configuration of any family above.
pub(super) fn read(config: Config<'_>) -> Result<Program, ShapeProblem> {
    match config.text("model_type")?.unwrap_or_default() {
        "biogpt" => biogpt(config),
        "xglm" => xglm(config),
        _ => opt(config),
    }
}

/// The 350M model alone has its norms after the additions, and an embedding narrower than its blocks.
fn opt(config: Config<'_>) -> Result<Program, ShapeProblem> {
    let (sizes, head_size) = Keys::USUAL.read_whole_heads(config)?;
    let flag = |key: &str, default: bool| Ok::<bool, ShapeProblem>(config.flag(key)?.unwrap_or(default));
    let before = flag("do_layer_norm_before", true)?;
    let last_norm = before && !flag("_remove_final_layer_norm", false)?;
    let affine = flag("layer_norm_elementwise_affine", true)?;
    let layer = Layer {
        norm: if affine { Norm::ScaleAndShift } else { Norm::Bare },
        order: if before { NORM_BEFORE } else { NORM_OF_SUM },
        dropout: config.is_positive_or("dropout", true)?,
        ..layer(sizes, head_size, config.required_size("ffn_dim", most::WIDTH)?, flag("enable_bias", true)?)
    };
    let positions = config.size("max_position_embeddings", most::WIDTH)?.unwrap_or(OPT_POSITIONS);
    let width = config.size("word_embed_proj_dim", most::WIDTH)?;
    let decoder = Decoder {
        inside: "model.decoder",
        final_norm: "final_layer_norm",
        norm_bias: (last_norm && affine).then_some(true),
        positions: Some(("embed_positions", positions.saturating_add(UNUSED_POSITIONS))),
        narrow: width.filter(|width| *width != sizes.hidden),
        ..decoder(config, sizes)?
    };
    let heads = ClassHeads { token: None, question: Some("model.decoder"), sequence: true };
    let position_tables = vec![PositionTable::of_text("max_position_embeddings", positions)];
    Ok(Program { position_tables, ..finish(config, decoder, heads, &layer, &causal(sizes))? })
}

fn biogpt(config: Config<'_>) -> Result<Program, ShapeProblem> {
    let (sizes, head_size) = Keys::USUAL.read_whole_heads(config)?;
    let layer = Layer {
        dropout: config.is_positive_or("hidden_dropout_prob", true)?,
        ..layer(sizes, head_size, config.required_size("intermediate_size", most::WIDTH)?, true)
    };
    let positions = config.size("max_position_embeddings", most::WIDTH)?.unwrap_or(BIOGPT_POSITIONS);
    let decoder = Decoder {
        inside: "biogpt",
        head: "output_projection",
        positions: Some(("embed_positions", positions.saturating_add(UNUSED_POSITIONS))),
        ..decoder(config, sizes)?
    };
    let heads = ClassHeads { token: Some("classifier"), question: None, sequence: true };
    let position_tables = vec![PositionTable::of_text("max_position_embeddings", positions)];
    Ok(Program { position_tables, ..finish(config, decoder, heads, &layer, &causal(sizes))? })
}

/// Its positions are computed, not learned.
fn xglm(config: Config<'_>) -> Result<Program, ShapeProblem> {
    const KEYS: Keys = Keys {
        hidden: &["d_model", "hidden_size"],
        layers: &["num_layers", "num_hidden_layers"],
        heads: &["attention_heads", "num_attention_heads"],
    };
    let (sizes, head_size) = KEYS.read_whole_heads(config)?;
    refuse_cross_attention(config)?;
    let layer = Layer {
        dropout: config.is_positive_or("dropout", true)?,
        ..layer(sizes, head_size, config.required_size("ffn_dim", most::WIDTH)?, true)
    };
    let program = finish(config, decoder(config, sizes)?, ClassHeads::NONE, &layer, &causal(sizes))?;
    // peft does not know these keys and refuses a prefix.
    Ok(Program { prefix_width: None, ..program })
}

fn layer(sizes: Sizes, head_size: u64, inner: u64, bias: bool) -> Layer {
    let usual = Attention::usual(sizes.heads, sizes.heads, head_size);
    let attention = Attention { output: Cow::Borrowed("self_attn.out_proj"), ..usual.biased(bias) };
    Layer {
        hidden: sizes.hidden,
        attention,
        feed_forward: FeedForward { bias, ..FeedForward::plain(inner, "fc1", "fc2") },
        norm: Norm::ScaleAndShift,
        order: NORM_BEFORE,
        dropout: true,
    }
}

fn decoder(config: Config<'_>, sizes: Sizes) -> Result<Decoder, ShapeProblem> {
    let tied = config.flag("tie_word_embeddings")?.unwrap_or(true);
    let usual = Decoder::usual(sizes.vocabulary, sizes.hidden, tied);
    Ok(Decoder { final_norm: "layer_norm", norm_bias: Some(true), ..usual })
}
