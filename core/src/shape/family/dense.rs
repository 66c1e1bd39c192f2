//! The dense decoders that are built like Llama: how a configuration of any of them is read.

use std::borrow::Cow;

use super::super::ShapeProblem;
use super::super::config::{Config, most};
use super::super::mask::{self, Windows};
use super::super::parts::{Attention, ClassHeads, Decoder, FeedForward, HeadNorms, Layer, Norm, Order};
use super::super::parts::{Projections, Widening};
use super::super::program::Program;
pub(super) use super::frame::check_head;
use super::frame::finish;
use super::keys::Keys;
use super::sizes::{Heads, heads};

mod table;

pub(super) use table::MODEL_TYPES;
use table::{FAMILIES, LLAMA};

/// What sets one family apart from the others.
struct Family {
    model_type: &'static str,
    heads: Heads,
    tied_head: bool,
    /// Bias of the projections of queries, keys and values.
    input_bias: Bias,
    /// Bias of the projection back.
    output_bias: Bias,
    feed_forward_bias: Bias,
    head_norms: HeadNorms,
    /// The key that switches these norms on; without one they are there.
    head_norms_if: Option<&'static str>,
    fused_attention: bool,
    /// The projection back takes `hidden_size`, whatever the heads are wide.
    square_output: bool,
    widening: Widens,
    norm: Norm,
    order: Order,
    /// The key of the dropout behind each branch, and whether it is on where that key is absent.
    dropout: Option<(&'static str, bool)>,
    windows: Windows,
    classes: ClassHeads,
}

/// Whether a projection has a bias.
#[derive(Clone, Copy)]
enum Bias {
    Never,
    Always,
    /// Where this key says so, with its default.
    If(&'static str, bool),
}

/// How the feed-forward part widens.
#[derive(Clone, Copy)]
enum Widens {
    /// `gate_proj` and `up_proj`.
    Gated,
    /// Both in `gate_up_proj`.
    Fused,
    /// One projection of this name, and one back.
    Plain(&'static str, &'static str),
    /// `up_proj` alone, with an activation function that has two trained numbers (xIELU).
    Learned,
}

/// Reads a configuration of any family in the table.
pub(super) fn read(config: Config<'_>) -> Result<Program, ShapeProblem> {
    let model_type = config.text("model_type")?.unwrap_or_default();
    let family = FAMILIES.iter().find(|family| family.model_type == model_type).unwrap_or(&LLAMA);
    let sizes = Keys::USUAL.read(config)?;
    let layer = Layer {
        hidden: sizes.hidden,
        attention: attention(family, config, sizes.hidden)?,
        feed_forward: feed_forward(family, config)?,
        norm: family.norm,
        order: family.order,
        dropout: family.dropout.map_or(Ok(false), |(key, default)| config.is_positive_or(key, default))?,
    };
    let masks = mask::read(family.windows, config, sizes.layers)?;
    let tied_head = config.flag("tie_word_embeddings")?.unwrap_or(family.tied_head);
    let usual = Decoder::usual(sizes.vocabulary, sizes.hidden, tied_head);
    let decoder = Decoder { norm_bias: family.norm.bias(), ..usual };
    finish(config, decoder, family.classes, &layer, &masks)
}

fn attention(family: &Family, config: Config<'_>, hidden: u64) -> Result<Attention, ShapeProblem> {
    let (heads, key_value_heads, head_size) = heads(config, family.heads, hidden)?;
    let usual = Attention::usual(heads, key_value_heads, head_size);
    if family.square_output && usual.width() != hidden {
        return Err(ShapeProblem::Contradiction {
            key: "head_dim".to_owned(),
            found: head_size.to_string(),
            conflict: format!("its {heads} heads have to be as wide together as hidden_size, {hidden}, in this family"),
        });
    }
    let normed = family.head_norms_if.map_or(Ok(true), |key| Ok(config.flag(key)?.unwrap_or(false)))?;
    Ok(Attention {
        projections: if family.fused_attention {
            Projections::Fused { name: Cow::Borrowed("self_attn.qkv_proj") }
        } else {
            usual.projections
        },
        input_bias: family.input_bias.read(config)?,
        output_bias: family.output_bias.read(config)?,
        norms: if normed { family.head_norms.clone() } else { HeadNorms::None },
        ..Attention::usual(heads, key_value_heads, head_size)
    })
}

fn feed_forward(family: &Family, config: Config<'_>) -> Result<FeedForward, ShapeProblem> {
    let inner = config.required_size("intermediate_size", most::WIDTH)?;
    let gated = FeedForward::gated(inner);
    let form = match family.widening {
        Widens::Gated => gated,
        Widens::Fused => FeedForward { widening: Widening::Fused { name: Cow::Borrowed("mlp.gate_up_proj") }, ..gated },
        Widens::Plain(up, down) => FeedForward::plain(inner, up, down),
        Widens::Learned => {
            let activation = &["mlp.act_fn.alpha_p", "mlp.act_fn.alpha_n"];
            FeedForward { widening: Widening::Learned { up: Cow::Borrowed("mlp.up_proj"), activation }, ..gated }
        }
    };
    Ok(FeedForward { bias: family.feed_forward_bias.read(config)?, ..form })
}

impl Bias {
    fn read(self, config: Config<'_>) -> Result<bool, ShapeProblem> {
        match self {
            Self::Never => Ok(false),
            Self::Always => Ok(true),
            Self::If(key, default) => Ok(config.flag(key)?.unwrap_or(default)),
        }
    }
}
