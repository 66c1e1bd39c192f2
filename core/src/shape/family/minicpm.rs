//! `MiniCPM3`: Llama with compressed keys and values.
//!
//! Source: `configuration_minicpm3.py` and `modeling_minicpm3.py` of `transformers` 5.23.

use super::super::ShapeProblem;
use super::super::config::{Config, most};
use super::super::head;
use super::super::parts::{ClassHeads, Decoder, FeedForward, LatentAttention, Layer, Norm, Order};
use super::super::program::Program;
use super::frame::causal;
use super::keys::Keys;

/// The `model_type`.
pub(super) const MODEL_TYPES: [&str; 1] = ["minicpm3"];

const CLASSES: ClassHeads = ClassHeads { sequence: true, ..ClassHeads::NONE };

/// Reads a configuration.
pub(super) fn read(config: Config<'_>) -> Result<Program, ShapeProblem> {
    let (sizes, head_size) = Keys::USUAL.read_whole_heads(config)?;
    let size = |key: &str, default: u64| Ok::<u64, ShapeProblem>(config.size(key, most::WIDTH)?.unwrap_or(default));
    let flag = |key: &str, default: bool| Ok::<bool, ShapeProblem>(config.flag(key)?.unwrap_or(default));
    let query_rank = config.size("q_lora_rank", most::WIDTH)?;
    let attention = LatentAttention {
        heads: sizes.heads,
        query_rank: if config.has("q_lora_rank") { query_rank } else { Some(768) },
        key_value_rank: size("kv_lora_rank", 256)?,
        plain_size: size("qk_nope_head_dim", 64)?,
        rotary_size: size("qk_rope_head_dim", 32)?,
        value_size: size("v_head_dim", head_size)?,
        bias: flag("attention_bias", false)?,
        indexer: None,
    };
    let inner = config.required_size("intermediate_size", most::WIDTH)?;
    let layer = Layer {
        hidden: sizes.hidden,
        attention,
        feed_forward: FeedForward { bias: flag("mlp_bias", false)?, ..FeedForward::gated(inner) },
        norm: Norm::Scale,
        order: Order::USUAL,
        dropout: false,
    };
    let decoder = Decoder::usual(sizes.vocabulary, sizes.hidden, flag("tie_word_embeddings", true)?);
    let decoder = decoder.ending_in(head::read(config)?, CLASSES).ok_or_else(|| head::unknown(config))?;
    Ok(decoder.program(&causal(sizes), |_| layer.build()))
}
