//! ModernBERT: an encoder whose blocks look around themselves, all but one in so many.
//!
//! Sources: `configuration_modernbert.py` for defaults, `modeling_modernbert.py` for names and order, of `transformers` 5.23.

use std::borrow::Cow;

use super::super::ShapeProblem;
use super::super::build::Builder;
use super::super::config::{Config, most};
use super::super::head;
use super::super::parts::{Attention, Branch, FeedForward, Widening};
use super::super::program::{Block, ModuleKind, Piece, Program, Slot, Step};
use super::super::quantity::{Mask, Stream};
use super::sizes;
use crate::flops::Part;

/// Every `model_type` of the family.
pub(super) const MODEL_TYPES: [&str; 1] = ["modernbert"];

/// What all blocks have in common.
struct Common {
    branch: Branch,
    attention: Attention,
    feed_forward: FeedForward,
}

/// What a block differs in from others: the first has no norm ahead of its attention.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Kind {
    first: bool,
    mask: Mask,
}

/// Reads a configuration of the family.
pub(super) fn read(config: Config<'_>) -> Result<Program, ShapeProblem> {
    let ending = head::ending(config)?;
    let hidden = config.required_size("hidden_size", most::WIDTH)?;
    let layers = config.required_size("num_hidden_layers", most::LAYERS)?;
    let vocabulary = config.required_size("vocab_size", most::VOCABULARY)?;
    let flag = |key: &str, default| Ok(config.flag(key)?.unwrap_or(default));
    let common = common(config, hidden)?;
    let branch = common.branch;
    let inside = if ending == Some("Model") { "" } else { "model." };
    let name = |what: &str| Cow::<'static, str>::Owned(format!("{inside}{what}"));
    let mut stem = Builder::new(Stream::Text);
    let tokens = stem.slot();
    let kind = ModuleKind::Embedding { rows: vocabulary, width: hidden };
    let words = stem.apply(name("embeddings.tok_embeddings"), kind, Part::InputEmbeddings, tokens);
    stem.step(Step::InputGradients { slot: words });
    let normed = branch.normed(&mut stem, name("embeddings.norm"), words);
    stem.rename(normed, Slot::RESIDUAL);
    let mut program = Program {
        reads_tokens: true,
        input_embeddings: Some(name("embeddings.tok_embeddings")),
        last_layers: Some(1),
        ..Program::default()
    };
    program.pieces.push(Piece::once(stem.finish()));
    program.pieces.push(Piece::stack(name("layers"), &kinds(config, layers)?, &mut |kind| common.block(*kind)));
    let mut tail = Builder::new(Stream::Text);
    let mut last = branch.normed(&mut tail, name("final_norm"), Slot::RESIDUAL);
    if ending != Some("Model") {
        if ending == Some("SequenceClassification") {
            tail.switch(Stream::Pooled);
        }
        last = tail.linear("head.dense", (hidden, hidden), flag("classifier_bias", false)?, Part::OutputHead, last);
        tail.keep(last); // the activation function
        last = branch.normed(&mut tail, "head.norm", last);
    }
    match ending {
        None | Some("MaskedLM") => {
            let (bias, tied) = (flag("decoder_bias", true)?, flag("tie_word_embeddings", true)?);
            tail.linear("decoder", (hidden, vocabulary), bias, Part::OutputHead, last);
            if let Some(decoder) = tail.last() {
                decoder.tied = tied;
                decoder.outside_all_linear = true;
            }
            program.output_head = Some(Cow::Borrowed("decoder"));
            if tied {
                program.ties.push(vec![name("embeddings.tok_embeddings"), Cow::Borrowed("decoder")]);
            }
        }
        Some("SequenceClassification" | "TokenClassification" | "QuestionAnswering") => {
            tail.linear("classifier", (hidden, head::labels(config)?), true, Part::OutputHead, last);
            program.output_head = Some(Cow::Borrowed("classifier"));
            program.classifies = true;
        }
        Some("Model") => {}
        Some(_) => return Err(head::unknown(config)),
    }
    program.pieces.push(Piece::once(tail.finish()));
    Ok(program)
}

fn common(config: Config<'_>, hidden: u64) -> Result<Common, ShapeProblem> {
    let heads = config.required_size("num_attention_heads", most::HEADS)?;
    let head_size = Attention::head_size(hidden, heads, &["num_attention_heads"])?;
    let inner = config.required_size("intermediate_size", most::WIDTH)?;
    let flag = |key: &str| Ok::<bool, ShapeProblem>(config.flag(key)?.unwrap_or(false));
    Ok(Common {
        branch: Branch { shift: flag("norm_bias")?, ..Branch::before(hidden) },
        attention: Attention {
            input_bias: flag("attention_bias")?,
            output_bias: flag("attention_bias")?,
            ..Attention::fused((heads, heads, head_size), "attn.Wqkv", "attn.Wo")
        },
        feed_forward: FeedForward {
            widening: Widening::Fused { name: Cow::Borrowed("mlp.Wi") },
            down: Cow::Borrowed("mlp.Wo"),
            bias: flag("mlp_bias")?,
            ..FeedForward::gated(inner)
        },
    })
}

fn kinds(config: Config<'_>, layers: u64) -> Result<Vec<Kind>, ShapeProblem> {
    let around = Mask::Around(config.size("local_attention", most::WINDOW)?.unwrap_or(128) / 2);
    let every = config.size("global_attn_every_n_layers", most::LAYERS)?.unwrap_or(3);
    let listed = sizes::layer_kinds(config, &["layer_types"], Some(layers), &["full_attention", "sliding_attention"])?;
    let looks_around = |index: u64| match &listed {
        Some(kinds) => usize::try_from(index).ok().and_then(|index| kinds.get(index)) == Some(&1),
        None => !index.is_multiple_of(every),
    };
    let mask = |index| if looks_around(index) { around } else { Mask::Bidirectional };
    Ok((0..layers).map(|index| Kind { first: index == 0, mask: mask(index) }).collect())
}

impl Common {
    fn block(&self, kind: Kind) -> Block {
        let mut block = Builder::new(Stream::Text);
        let hidden = self.branch.hidden;
        let attention = Attention { mask: kind.mask, ..self.attention.clone() };
        if kind.first {
            let attended = attention.build(&mut block, hidden, Slot::RESIDUAL);
            block.add_to_residual(attended);
        } else {
            let attend = |block: &mut Builder, input| attention.build(block, hidden, input);
            self.branch.build(&mut block, "attn_norm", attend);
        }
        let widen = |block: &mut Builder, input| self.feed_forward.build(block, hidden, input);
        self.branch.build(&mut block, "mlp_norm", widen);
        block.finish()
    }
}
