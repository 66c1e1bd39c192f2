//! The dense, Llama-like families: which parts each is made of, and the defaults `transformers` 5.23 fills in.
//!
//! Sources: `configuration_<family>.py` for defaults, `modeling_<family>.py` for biases and norms, of the release above.

use std::borrow::Cow;

use super::super::ShapeProblem;
use super::super::build::Builder;
use super::super::config::{Config, most, shortened_text};
use super::super::mask::{self, USUAL_WINDOW, Windows};
use super::super::parts::{Attention, Decoder, FeedForward, HeadNorms, Projections, Widening};
use super::super::program::{Block, Program, Slot};
use super::super::quantity::{Mask, Stream};

/// What sets one family apart from the others.
struct Family {
    model_type: &'static str,
    /// `head_dim` where absent.
    head_size: Default,
    /// `num_key_value_heads` where absent (an explicit `null` always means one for each query head).
    key_value_heads: Default,
    tied_head: bool,
    biases: Biases,
    head_norms: bool,
    fused: bool,
    norms: NormPlacement,
    windows: Windows,
}

/// A default of a size.
#[derive(Clone, Copy)]
enum Default {
    /// Follows from the other sizes.
    Derived,
    /// Stands in the family's configuration class.
    Fixed(u64),
}

/// Which projections of attention and feed-forward have a bias.
#[derive(Clone, Copy)]
enum Biases {
    /// None, whatever the configuration says.
    Never,
    /// Query, key and value.
    QueryKeyValue,
    /// All of attention where `attention_bias` says so.
    Attention,
    /// The same, and all of the feed-forward part where `mlp_bias` says so.
    AttentionAndFeedForward,
}

const LLAMA: Family = Family {
    model_type: "llama",
    head_size: Default::Derived,
    key_value_heads: Default::Derived,
    tied_head: false,
    biases: Biases::AttentionAndFeedForward,
    head_norms: false,
    fused: false,
    norms: NormPlacement::Before,
    windows: Windows::Never,
};

const GEMMA: Family = Family {
    model_type: "gemma",
    head_size: Default::Fixed(256),
    key_value_heads: Default::Fixed(16),
    tied_head: true,
    biases: Biases::Attention,
    windows: Windows::Bidirectional,
    ..LLAMA
};

const GEMMA2: Family = Family {
    model_type: "gemma2",
    key_value_heads: Default::Fixed(4),
    norms: NormPlacement::BeforeAndAfter,
    windows: Windows::Alternating { every: 2, adjustable: false },
    ..GEMMA
};

const QWEN2: Family = Family {
    model_type: "qwen2",
    key_value_heads: Default::Fixed(32),
    biases: Biases::QueryKeyValue,
    windows: Windows::Upper,
    ..LLAMA
};

/// Where the norms of a block stand.
#[derive(Clone, Copy)]
enum NormPlacement {
    /// Before each branch.
    Before,
    /// Before each branch and after it, ahead of the residual addition.
    BeforeAndAfter,
}

/// Every `model_type` below.
pub(super) const MODEL_TYPES: [&str; 8] =
    ["llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "phi3"];

const FAMILIES: [Family; 8] = [
    LLAMA,
    Family {
        model_type: "mistral",
        key_value_heads: Default::Fixed(8),
        biases: Biases::Never,
        windows: Windows::All(Some(USUAL_WINDOW)),
        ..LLAMA
    },
    QWEN2,
    Family {
        model_type: "qwen3",
        head_size: Default::Fixed(128),
        biases: Biases::Attention,
        head_norms: true,
        ..QWEN2
    },
    GEMMA,
    GEMMA2,
    Family {
        model_type: "gemma3_text",
        head_norms: true,
        windows: Windows::Alternating { every: 6, adjustable: true },
        ..GEMMA2
    },
    Family { model_type: "phi3", biases: Biases::Never, fused: true, windows: Windows::All(None), ..LLAMA },
];

/// Reads a configuration of any family above.
pub(super) fn read(config: Config<'_>) -> Result<Program, ShapeProblem> {
    let model_type = config.text("model_type")?.unwrap_or_default();
    let family = FAMILIES.iter().find(|family| family.model_type == model_type).unwrap_or(&LLAMA);
    check_head(config)?;
    let hidden = config.required_size("hidden_size", most::WIDTH)?;
    let layers = config.required_size("num_hidden_layers", most::LAYERS)?;
    let vocabulary = config.required_size("vocab_size", most::VOCABULARY)?;
    let tied_head = config.flag("tie_word_embeddings")?.unwrap_or(family.tied_head);
    let attention = attention(family, config, hidden)?;
    let feed_forward = feed_forward(family, config)?;
    let after = matches!(family.norms, NormPlacement::BeforeAndAfter);
    let dropout = config.is_positive("resid_pdrop")?;
    let masks = mask::read(family.windows, config, layers)?;
    let build = |mask: &Mask| {
        let attention = Attention { mask: *mask, ..attention.clone() };
        block(hidden, &attention, &feed_forward, after, dropout)
    };
    let mut program = Decoder::usual(vocabulary, hidden, tied_head).program(&masks, build);
    program.prefix_width = Some((hidden / attention.heads).saturating_mul(attention.key_value_heads));
    Ok(program)
}

/// One block: two branches, each normed, computed and added to the residual stream.
fn block(hidden: u64, attention: &Attention, feed_forward: &FeedForward, after: bool, dropout: bool) -> Block {
    let mut block = Builder::new(Stream::Text);
    let normed = block.norm("input_layernorm", hidden, Slot::RESIDUAL);
    let mut branch = attention.build(&mut block, hidden, normed);
    if after {
        branch = block.norm("post_attention_layernorm", hidden, branch);
    }
    end_of_branch(&mut block, branch, dropout);
    let before_second = if after { "pre_feedforward_layernorm" } else { "post_attention_layernorm" };
    let normed = block.norm(before_second, hidden, Slot::RESIDUAL);
    let mut branch = feed_forward.build(&mut block, hidden, normed);
    if after {
        branch = block.norm("post_feedforward_layernorm", hidden, branch);
    }
    end_of_branch(&mut block, branch, dropout);
    block.finish()
}

fn end_of_branch(block: &mut Builder, branch: Slot, dropout: bool) {
    if dropout {
        block.keep(branch);
    }
    block.add_to_residual(branch);
}

/// A classification head costs far less than a language model's, so counting the one for the other would be wrong by much.
pub(super) fn check_head(config: Config<'_>) -> Result<(), ShapeProblem> {
    let architectures = config.texts("architectures")?.unwrap_or_default();
    match architectures.iter().find(|class| class.contains("For") && !class.ends_with("ForCausalLM")) {
        Some(class) => Err(ShapeProblem::UnknownHead { found: shortened_text(class) }),
        None => Ok(()),
    }
}

fn attention(family: &Family, config: Config<'_>, hidden: u64) -> Result<Attention, ShapeProblem> {
    let heads = config.required_size("num_attention_heads", most::HEADS)?;
    let key_value_heads = match (config.size("num_key_value_heads", most::HEADS)?, family.key_value_heads) {
        (Some(given), _) => given,
        (None, Default::Fixed(count)) if !config.has("num_key_value_heads") => count,
        (None, _) => heads,
    };
    if !heads.is_multiple_of(key_value_heads) {
        return Err(ShapeProblem::Contradiction {
            key: "num_key_value_heads".to_owned(),
            found: key_value_heads.to_string(),
            conflict: format!("does not divide num_attention_heads, {heads}"),
        });
    }
    let head_size = match (config.size("head_dim", most::HEAD_SIZE)?, family.head_size) {
        (Some(given), _) | (None, Default::Fixed(given)) => given,
        (None, Default::Derived) if hidden.is_multiple_of(heads) => hidden / heads,
        (None, Default::Derived) => {
            return Err(ShapeProblem::Contradiction {
                key: "hidden_size".to_owned(),
                found: hidden.to_string(),
                conflict: format!("is no multiple of num_attention_heads, {heads}, and there is no head_dim"),
            });
        }
    };
    let declared = config.flag("attention_bias")?.unwrap_or(false);
    let (input_bias, output_bias) = match family.biases {
        Biases::Never => (false, false),
        Biases::QueryKeyValue => (true, false),
        Biases::Attention | Biases::AttentionAndFeedForward => (declared, declared),
    };
    let projections = if family.fused {
        Projections::Fused { name: Cow::Borrowed("self_attn.qkv_proj") }
    } else {
        Attention::usual(heads, key_value_heads, head_size).projections
    };
    let norms = if family.head_norms {
        HeadNorms::Head { query: "self_attn.q_norm", key: "self_attn.k_norm" }
    } else {
        HeadNorms::None
    };
    Ok(Attention { projections, input_bias, output_bias, norms, ..Attention::usual(heads, key_value_heads, head_size) })
}

fn feed_forward(family: &Family, config: Config<'_>) -> Result<FeedForward, ShapeProblem> {
    let declared = config.flag("mlp_bias")?.unwrap_or(false);
    let bias = declared && matches!(family.biases, Biases::AttentionAndFeedForward);
    let inner = config.required_size("intermediate_size", most::WIDTH)?;
    let usual = FeedForward { bias, ..FeedForward::gated(inner) };
    if family.fused {
        return Ok(FeedForward { widening: Widening::Fused { name: Cow::Borrowed("mlp.gate_up_proj") }, ..usual });
    }
    Ok(usual)
}
