//! Decoders that know positions by a bias on the scores alone: BLOOM, MPT.
//!
//! Sources: `configuration_<family>.py` and `modeling_<family>.py` of `transformers` 5.23.

use super::super::ShapeProblem;
use super::super::config::Config;
use super::super::parts::{Attention, ClassHeads, Decoder, FeedForward, Layer, Norm, Norms, Order};
use super::super::program::Program;
use super::frame::{causal, finish};
use super::keys::{Keys, Sizes};

/// Every `model_type` below.
pub(super) const MODEL_TYPES: [&str; 2] = ["bloom", "mpt"];

/// Reads a configuration of any family above.
pub(super) fn read(config: Config<'_>) -> Result<Program, ShapeProblem> {
    if config.text("model_type")? == Some("mpt") { mpt(config) } else { bloom(config) }
}

fn bloom(config: Config<'_>) -> Result<Program, ShapeProblem> {
    const KEYS: Keys = Keys { hidden: &["hidden_size", "n_embed"], ..Keys::GPT };
    let (sizes, head_size) = KEYS.read_whole_heads(config)?;
    let carries_normed = config.flag("apply_residual_connection_post_layernorm")?.unwrap_or(false);
    let norms = |name: &'static str| Norms { carries_normed, ..Norms::before(name) };
    let each = (sizes.heads, sizes.heads, head_size);
    let attention = Attention::fused(each, "self_attention.query_key_value", "self_attention.dense");
    let layer = Layer {
        hidden: sizes.hidden,
        attention: attention.biased(true),
        feed_forward: FeedForward::plain(inner(sizes), "mlp.dense_h_to_4h", "mlp.dense_4h_to_h"),
        norm: Norm::ScaleAndShift,
        order: Order::Sequential {
            attention: norms("input_layernorm"),
            feed_forward: norms("post_attention_layernorm"),
        },
        dropout: config.is_positive("hidden_dropout")?,
    };
    let decoder = Decoder {
        embedding: "word_embeddings",
        embedding_norm: Some("word_embeddings_layernorm"),
        ..decoder(config, sizes)?
    };
    finish(config, decoder, HEADS, &layer, &causal(sizes))
}

/// No bias anywhere, not even in the norms. `expansion_ratio` and `resid_pdrop` stand in the configuration, but the class
/// always widens fourfold and drops with the probability of the attention.
fn mpt(config: Config<'_>) -> Result<Program, ShapeProblem> {
    const KEYS: Keys = Keys {
        hidden: &["d_model", "hidden_size"],
        layers: &["n_layers", "num_hidden_layers"],
        heads: &["n_heads", "num_attention_heads"],
    };
    let (sizes, head_size) = KEYS.read_whole_heads(config)?;
    let attention = config.inner("attn_config")?;
    let dropout = attention.map_or(Ok(false), |attention| attention.is_positive("attn_pdrop"))?;
    let layer = Layer {
        hidden: sizes.hidden,
        attention: Attention::fused((sizes.heads, sizes.heads, head_size), "attn.Wqkv", "attn.out_proj"),
        feed_forward: FeedForward { bias: false, ..FeedForward::plain(inner(sizes), "ffn.up_proj", "ffn.down_proj") },
        norm: Norm::Scale,
        order: Order::Sequential { attention: Norms::before("norm_1"), feed_forward: Norms::before("norm_2") },
        dropout,
    };
    let decoder = Decoder { blocks: "blocks", final_norm: "norm_f", norm_bias: Some(false), ..decoder(config, sizes)? };
    let program = finish(config, decoder, HEADS, &layer, &causal(sizes))?;
    // peft does not know these keys and refuses a prefix.
    Ok(Program { prefix_width: None, ..program })
}

const HEADS: ClassHeads = ClassHeads { token: Some("classifier"), ..ClassHeads::ALL };

fn decoder(config: Config<'_>, sizes: Sizes) -> Result<Decoder, ShapeProblem> {
    let tied = config.flag("tie_word_embeddings")?.unwrap_or(true);
    Ok(Decoder::gpt(sizes.vocabulary, sizes.hidden, tied))
}

const fn inner(sizes: Sizes) -> u64 {
    sizes.hidden.saturating_mul(4)
}
