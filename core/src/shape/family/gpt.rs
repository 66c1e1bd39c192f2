//! GPT-2 and the models that kept its names: `GPTBigCode`, GPT-Neo, GPT-J, CodeGen.
//!
//! Sources: `configuration_<family>.py` and `modeling_<family>.py` of `transformers` 5.23.

use std::borrow::Cow;

use super::super::ShapeProblem;
use super::super::config::{Config, most};
use super::super::mask::{self, Windows};
use super::super::parts::{Attention, ClassHeads, Decoder, FeedForward, Layer, Norm, Norms, Order, Projections};
use super::super::positions::PositionTable;
use super::super::program::Program;
use super::frame::{causal, finish, refuse_cross_attention};
use super::keys::{Keys, Sizes};

/// Every `model_type` below.
pub(super) const MODEL_TYPES: [&str; 5] = ["gpt2", "gpt_bigcode", "gpt_neo", "gptj", "codegen"];

/// Rows of the table of positions where the configuration is silent.
const USUAL_POSITIONS: u64 = 1024;
const NEO_POSITIONS: u64 = 2048;

/// A norm before each branch.
const SEQUENTIAL: Order = Order::Sequential { attention: Norms::before("ln_1"), feed_forward: Norms::before("ln_2") };

/// One norm for both branches.
const PARALLEL: Order = Order::Parallel { attention: "ln_1", feed_forward: None };

/// Reads a configuration of any family above.
pub(super) fn read(config: Config<'_>) -> Result<Program, ShapeProblem> {
    match config.text("model_type")?.unwrap_or_default() {
        "gpt_neo" => neo(config),
        "gptj" => parallel(config, separate("attn.")),
        "codegen" => parallel(config, Projections::Fused { name: Cow::Borrowed("attn.qkv_proj") }),
        model_type => fused(config, model_type == "gpt_bigcode"),
    }
}

/// GPT-2 and `GPTBigCode`: one projection for queries, keys and values, biases everywhere, learned positions.
fn fused(config: Config<'_>, may_share: bool) -> Result<Program, ShapeProblem> {
    let (sizes, head_size) = Keys::GPT.read_whole_heads(config)?;
    refuse_cross_attention(config)?;
    let shares = may_share && config.flag("multi_query")?.unwrap_or(true);
    let groups = if shares { 1 } else { sizes.heads };
    let attention = Attention::fused((sizes.heads, groups, head_size), "attn.c_attn", "attn.c_proj").biased(true);
    let layer = Layer {
        hidden: sizes.hidden,
        attention,
        feed_forward: FeedForward::plain(inner(config, "n_inner", sizes)?, "mlp.c_fc", "mlp.c_proj"),
        norm: Norm::ScaleAndShift,
        order: SEQUENTIAL,
        dropout: config.is_positive_or("resid_pdrop", true)?,
    };
    let positions = config.size_of(&["n_positions", "max_position_embeddings"], most::WIDTH)?;
    let decoder = decoder(config, sizes, true)?;
    let positions = positions.unwrap_or(USUAL_POSITIONS);
    let decoder = Decoder { positions: Some(("wpe", positions)), ..decoder };
    let heads = ClassHeads { token: Some("classifier"), ..ClassHeads::ALL };
    let heads = ClassHeads { question: heads.question.filter(|_| !may_share), ..heads };
    let position_tables = vec![PositionTable::of_text("n_positions", positions)];
    Ok(Program { position_tables, ..finish(config, decoder, heads, &layer, &causal(sizes))? })
}

/// GPT-Neo: every second block sees a window only, and no projection of attention but the last has a bias.
fn neo(config: Config<'_>) -> Result<Program, ShapeProblem> {
    const KEYS: Keys = Keys {
        hidden: &["hidden_size"],
        layers: &["num_layers", "num_hidden_layers"],
        heads: &["num_heads", "num_attention_heads"],
    };
    let (sizes, head_size) = KEYS.read_whole_heads(config)?;
    let usual = Attention::usual(sizes.heads, sizes.heads, head_size);
    let layer = Layer {
        hidden: sizes.hidden,
        attention: Attention {
            projections: separate("attn.attention."),
            output: Cow::Borrowed("attn.attention.out_proj"),
            output_bias: true,
            ..usual
        },
        feed_forward: FeedForward::plain(inner(config, "intermediate_size", sizes)?, "mlp.c_fc", "mlp.c_proj"),
        norm: Norm::ScaleAndShift,
        order: SEQUENTIAL,
        dropout: config.is_positive("resid_dropout")?,
    };
    let positions = config.size("max_position_embeddings", most::WIDTH)?.unwrap_or(NEO_POSITIONS);
    let decoder = Decoder { positions: Some(("wpe", positions)), ..decoder(config, sizes, true)? };
    let heads = ClassHeads { token: Some("classifier"), ..ClassHeads::ALL };
    let masks = mask::read(Windows::Local, config, sizes.layers)?;
    let position_tables = vec![PositionTable::of_text("max_position_embeddings", positions)];
    Ok(Program { position_tables, ..finish(config, decoder, heads, &layer, &masks)? })
}

/// GPT-J and `CodeGen`: both branches read one norm, positions are rotated, and the head has a bias.
fn parallel(config: Config<'_>, projections: Projections) -> Result<Program, ShapeProblem> {
    let (sizes, head_size) = Keys::GPT.read_whole_heads(config)?;
    let has_classes = matches!(projections, Projections::Separate { .. });
    let usual = Attention::usual(sizes.heads, sizes.heads, head_size);
    let layer = Layer {
        hidden: sizes.hidden,
        attention: Attention { projections, output: Cow::Borrowed("attn.out_proj"), ..usual },
        feed_forward: FeedForward::plain(inner(config, "n_inner", sizes)?, "mlp.fc_in", "mlp.fc_out"),
        norm: Norm::ScaleAndShift,
        order: PARALLEL,
        dropout: config.is_positive("resid_pdrop")?,
    };
    let decoder = Decoder { head_bias: true, ..decoder(config, sizes, false)? };
    let heads = if has_classes { ClassHeads { token: None, ..ClassHeads::ALL } } else { ClassHeads::NONE };
    finish(config, decoder, heads, &layer, &causal(sizes))
}

fn decoder(config: Config<'_>, sizes: Sizes, tied: bool) -> Result<Decoder, ShapeProblem> {
    let tied = config.flag("tie_word_embeddings")?.unwrap_or(tied);
    Ok(Decoder::gpt(sizes.vocabulary, sizes.hidden, tied))
}

fn inner(config: Config<'_>, key: &str, sizes: Sizes) -> Result<u64, ShapeProblem> {
    Ok(config.size(key, most::WIDTH)?.unwrap_or_else(|| sizes.hidden.saturating_mul(4)))
}

/// Three projections within a module.
fn separate(inside: &str) -> Projections {
    let name = |projection: &str| Cow::Owned(format!("{inside}{projection}"));
    Projections::Separate { query: name("q_proj"), key: name("k_proj"), value: name("v_proj") }
}
