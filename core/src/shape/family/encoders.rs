//! BERT and its kin: encoders of tokens whose blocks norm each sum.
//!
//! Sources: `configuration_<family>.py` for defaults, `modeling_<family>.py` for names and order, of `transformers` 5.23.

use std::borrow::Cow;

use super::super::ShapeProblem;
use super::super::build::Builder;
use super::super::config::{Config, most};
use super::super::head;
use super::super::parts::{Attention, Branch, Encoder, FeedForward, MaskedHead};
use super::super::program::{Block, Piece, Program};
use super::super::quantity::{Mask, Stream};

/// What sets one family apart from the others.
#[derive(Clone, Copy)]
struct Family {
    model_types: &'static [&'static str],
    inside: &'static str,
    sizes: Sizes,
    names: Names,
    /// Table of sentence kinds.
    kinds: bool,
    /// Width of the tables where `embedding_size` is absent; `None` where they have that of the blocks.
    embedded: Option<u64>,
    masked: MaskedHead,
    /// Linear maps at the first position that classify a sequence; the first lies `inside` where it begins with a dot.
    sequence: &'static [&'static str],
    /// Pooler of the bare model, whose result a class without a head computes for nothing.
    pooler: bool,
}

/// Keys of the sizes.
#[derive(Clone, Copy)]
struct Sizes {
    hidden: &'static [&'static str],
    inner: &'static [&'static str],
    layers: &'static [&'static str],
    heads: &'static [&'static str],
    dropout: &'static str,
}

/// Names within a block.
#[derive(Clone, Copy)]
struct Names {
    blocks: &'static str,
    projections: [&'static str; 4],
    attention_norm: &'static str,
    widening: [&'static str; 2],
    norm: &'static str,
}

const SIZES: Sizes = Sizes {
    hidden: &["hidden_size"],
    inner: &["intermediate_size"],
    layers: &["num_hidden_layers"],
    heads: &["num_attention_heads"],
    dropout: "hidden_dropout_prob",
};

const NAMES: Names = Names {
    blocks: "encoder.layer",
    projections: ["attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"],
    attention_norm: "attention.output.LayerNorm",
    widening: ["intermediate.dense", "output.dense"],
    norm: "output.LayerNorm",
};

const BERT: Family = Family {
    model_types: &["bert"],
    inside: "bert",
    sizes: SIZES,
    names: NAMES,
    kinds: true,
    embedded: None,
    masked: MaskedHead {
        dense: "cls.predictions.transform.dense",
        norm: "cls.predictions.transform.LayerNorm",
        decoder: "cls.predictions.decoder",
        bias: Some("cls.predictions.bias"),
    },
    sequence: &[".pooler.dense", "classifier"],
    pooler: true,
};

const FAMILIES: [Family; 4] = [
    BERT,
    Family {
        model_types: &["roberta", "xlm-roberta", "camembert"],
        inside: "roberta",
        masked: MaskedHead {
            dense: "lm_head.dense",
            norm: "lm_head.layer_norm",
            decoder: "lm_head.decoder",
            bias: Some("lm_head.bias"),
        },
        sequence: &["classifier.dense", "classifier.out_proj"],
        ..BERT
    },
    Family {
        model_types: &["electra"],
        inside: "electra",
        embedded: Some(128),
        masked: MaskedHead {
            dense: "generator_predictions.dense",
            norm: "generator_predictions.LayerNorm",
            decoder: "generator_lm_head",
            bias: None,
        },
        sequence: &["classifier.dense", "classifier.out_proj"],
        pooler: false,
        ..BERT
    },
    Family {
        model_types: &["distilbert"],
        inside: "distilbert",
        sizes: Sizes {
            hidden: &["dim", "hidden_size"],
            inner: &["hidden_dim"],
            layers: &["n_layers", "num_hidden_layers"],
            heads: &["n_heads", "num_attention_heads"],
            dropout: "dropout",
        },
        names: Names {
            blocks: "transformer.layer",
            projections: ["attention.q_lin", "attention.k_lin", "attention.v_lin", "attention.out_lin"],
            attention_norm: "sa_layer_norm",
            widening: ["ffn.lin1", "ffn.lin2"],
            norm: "output_layer_norm",
        },
        kinds: false,
        masked: MaskedHead {
            dense: "vocab_transform",
            norm: "vocab_layer_norm",
            decoder: "vocab_projector",
            bias: None,
        },
        sequence: &["pre_classifier", "classifier"],
        pooler: false,
        ..BERT
    },
];

/// Every `model_type` above.
pub(super) const MODEL_TYPES: [&str; 6] = ["bert", "roberta", "xlm-roberta", "camembert", "electra", "distilbert"];

/// Reads a configuration of any family above.
pub(super) fn read(config: Config<'_>) -> Result<Program, ShapeProblem> {
    let model_type = config.text("model_type")?.unwrap_or_default();
    let family = FAMILIES.iter().find(|family| family.model_types.contains(&model_type)).unwrap_or(&BERT);
    if config.flag("add_cross_attention")?.unwrap_or(false) {
        let key = "add_cross_attention".to_owned();
        return Err(ShapeProblem::NotCounted { key, found: "true".to_owned() });
    }
    let encoder = encoder(family, config)?;
    let layers = config.required_size_of(family.sizes.layers, most::LAYERS)?;
    let block = block(family, config, encoder.hidden)?;
    let kinds = vec![(); usize::try_from(layers).unwrap_or_default()];
    let stack = Piece::stack(encoder.name(encoder.blocks), &kinds, &mut |()| block.clone());
    let mut program = encoder.program(stack);
    end(family, config, &encoder, &mut program)?;
    Ok(program)
}

fn encoder(family: &Family, config: Config<'_>) -> Result<Encoder, ShapeProblem> {
    let hidden = config.required_size_of(family.sizes.hidden, most::WIDTH)?;
    let embedded = match family.embedded {
        Some(default) => config.size("embedding_size", most::WIDTH)?.unwrap_or(default),
        None => hidden,
    };
    let kinds = config.size("type_vocab_size", most::VOCABULARY)?.unwrap_or(2);
    let positions = config.size("max_position_embeddings", most::VOCABULARY)?.unwrap_or(512);
    Ok(Encoder {
        inside: if head::ending(config)? == Some("Model") { "" } else { family.inside },
        words: "embeddings.word_embeddings",
        tables: [
            ("embeddings.token_type_embeddings", if family.kinds { kinds } else { 0 }),
            ("embeddings.position_embeddings", positions),
        ],
        norm: "embeddings.LayerNorm",
        blocks: family.names.blocks,
        vocabulary: config.required_size("vocab_size", most::VOCABULARY)?,
        embedded,
        hidden,
        widening: (embedded != hidden).then_some("embeddings_project"),
    })
}

fn block(family: &Family, config: Config<'_>, hidden: u64) -> Result<Block, ShapeProblem> {
    let Names { projections, attention_norm, widening: [up, down], norm, .. } = family.names;
    let heads = config.required_size_of(family.sizes.heads, most::HEADS)?;
    let head_size = Attention::head_size(hidden, heads, family.sizes.heads)?;
    let decodes = config.flag("is_decoder")?.unwrap_or(false);
    let mask = if decodes { Mask::Causal } else { Mask::Bidirectional };
    let attention = Attention { mask, ..Attention::both_ways((heads, head_size), projections) };
    let inner = config.required_size_of(family.sizes.inner, most::WIDTH)?;
    let feed_forward = FeedForward::plain(inner, up, down);
    let branch = Branch::of_sum(hidden, config.is_positive_or(family.sizes.dropout, true)?);
    let mut block = Builder::new(Stream::Text);
    branch.build(&mut block, attention_norm, |block, input| attention.build(block, hidden, input));
    branch.build(&mut block, norm, |block, input| feed_forward.build(block, hidden, input));
    Ok(block.finish())
}

/// Adds the head of the class that `architectures` names; that for masked words where it names none.
fn end(family: &Family, config: Config<'_>, encoder: &Encoder, program: &mut Program) -> Result<(), ShapeProblem> {
    let named = |name: &'static str| match name.strip_prefix('.') {
        Some(name) => encoder.name(name),
        None => Cow::Borrowed(name),
    };
    let sequence: Vec<Cow<'static, str>> = family.sequence.iter().map(|name| named(name)).collect();
    let classifier = [Cow::Borrowed("classifier")];
    match head::ending(config)? {
        None | Some("MaskedLM" | "LMHeadModel" | "CausalLM") => {
            let tied = config.flag("tie_word_embeddings")?.unwrap_or(true);
            encoder.mask_words(program, family.masked, tied);
        }
        Some("SequenceClassification") => {
            encoder.classify(program, Stream::Pooled, &sequence, head::labels(config)?);
        }
        Some("TokenClassification") => encoder.classify(program, Stream::Text, &classifier, head::labels(config)?),
        Some("QuestionAnswering") => {
            encoder.classify(program, Stream::Text, &[Cow::Borrowed("qa_outputs")], head::labels(config)?);
        }
        Some("Model") if family.pooler => encoder.pool_unread(program, Cow::Borrowed("pooler.dense")),
        Some("Model") => {}
        Some(_) => return Err(head::unknown(config)),
    }
    Ok(())
}
