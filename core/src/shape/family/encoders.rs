//! BERT and its kin: encoders of tokens whose blocks norm each sum.
//!
//! Sources: `configuration_<family>.py` for defaults, `modeling_<family>.py` for names and order, of `transformers` 5.23.

use std::borrow::Cow;

use super::super::ShapeProblem;
use super::super::build::Builder;
use super::super::config::{Config, most};
use super::super::head;
use super::super::parts::{Attention, Branch, Encoder, FeedForward, MaskedHead, Projections, Widening};
use super::super::positions::PositionTable;
use super::super::program::{Block, ModuleKind, Piece, Program, Slot};
use super::super::quantity::{Mask, Stream};
use crate::flops::Part;

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
    pooler: Option<&'static str>,
    stack: Stacked,
    /// `transformers` can checkpoint the blocks.
    checkpointed: bool,
    /// `hidden_dropout_prob` where it is absent is above zero.
    dropout: bool,
}

/// How layers make up the stack.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stacked {
    /// Each is a block.
    Plain,
    /// The same, and one table of distances is added to the scores of all.
    Distances,
    /// Groups of them are used again and again.
    Groups,
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
    pooler: Some("pooler.dense"),
    stack: Stacked::Plain,
    checkpointed: true,
    dropout: true,
};

const ROBERTA: Family = Family {
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
};

const FAMILIES: [Family; 6] = [
    BERT,
    ROBERTA,
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
        pooler: None,
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
        pooler: None,
        ..BERT
    },
    Family {
        model_types: &["mpnet"],
        inside: "mpnet",
        names: Names {
            projections: ["attention.attn.q", "attention.attn.k", "attention.attn.v", "attention.attn.o"],
            attention_norm: "attention.LayerNorm",
            ..NAMES
        },
        kinds: false,
        masked: ROBERTA.masked,
        sequence: ROBERTA.sequence,
        stack: Stacked::Distances,
        checkpointed: false,
        ..BERT
    },
    Family {
        model_types: &["albert"],
        inside: "albert",
        names: Names {
            blocks: "encoder.albert_layer_groups",
            projections: ["attention.query", "attention.key", "attention.value", "attention.dense"],
            attention_norm: "attention.LayerNorm",
            widening: ["ffn", "ffn_output"],
            norm: "full_layer_layer_norm",
        },
        embedded: Some(128),
        masked: MaskedHead {
            dense: "predictions.dense",
            norm: "predictions.LayerNorm",
            decoder: "predictions.decoder",
            bias: Some("predictions.bias"),
        },
        sequence: &[".pooler", "classifier"],
        pooler: Some("pooler"),
        stack: Stacked::Groups,
        checkpointed: false,
        dropout: false,
        ..BERT
    },
];

/// Every `model_type` above.
pub(super) const MODEL_TYPES: [&str; 8] =
    ["bert", "roberta", "xlm-roberta", "camembert", "electra", "distilbert", "mpnet", "albert"];

/// Reads a configuration of any family above.
pub(super) fn read(config: Config<'_>) -> Result<Program, ShapeProblem> {
    let model_type = config.text("model_type")?.unwrap_or_default();
    let family = FAMILIES.iter().find(|family| family.model_types.contains(&model_type)).unwrap_or(&BERT);
    if config.flag("add_cross_attention")?.unwrap_or(false) {
        let key = "add_cross_attention".to_owned();
        return Err(ShapeProblem::NotCounted { key, found: "true".to_owned() });
    }
    let encoder = encoder(family, config)?;
    let layer = layer(family, config, encoder.hidden)?;
    let mut program = encoder.program(stack(family, config, &encoder, &layer)?);
    if family.stack == Stacked::Distances {
        let rows = config.size("relative_attention_num_buckets", most::WIDTH)?.unwrap_or(32);
        program
            .pieces
            .insert(1, Piece::once(distances(encoder.name("encoder.relative_attention_bias"), rows, layer.heads)));
        program.last_layers = Some(2);
    }
    if family.stack == Stacked::Groups {
        // Without a list of layers there is no last one.
        program.last_layers = None;
    }
    end(family, config, &encoder, &mut program)?;
    program.position_tables = vec![PositionTable::of_text("max_position_embeddings", longest(family, config)?)];
    Ok(program)
}

/// One layer, in a family's names.
struct Layer {
    names: Names,
    branch: Branch,
    heads: u64,
    attention: Attention,
    feed_forward: FeedForward,
}

impl Layer {
    /// Adds the layer to a block, where its names have this before them.
    fn build(&self, block: &mut Builder, prefix: &str) {
        let hidden = self.branch.hidden;
        let within = |name: &str| Cow::<'static, str>::Owned(format!("{prefix}{name}"));
        let [query, key, value, output] = self.names.projections;
        let projections = Projections::Separate { query: within(query), key: within(key), value: within(value) };
        let attention = Attention { projections, output: within(output), ..self.attention.clone() };
        let [up, down] = self.names.widening;
        let widening = Widening::Plain { up: within(up) };
        let feed_forward = FeedForward { widening, down: within(down), ..self.feed_forward.clone() };
        let norm = within(self.names.attention_norm);
        self.branch.build(block, norm, |block, input| attention.build(block, hidden, input));
        let norm = within(self.names.norm);
        self.branch.build(block, norm, |block, input| feed_forward.build(block, hidden, input));
    }
}

fn stack(family: &Family, config: Config<'_>, encoder: &Encoder, layer: &Layer) -> Result<Piece, ShapeProblem> {
    let layers = config.required_size_of(family.sizes.layers, most::LAYERS)?;
    let groups = config.size("num_hidden_groups", most::LAYERS)?.unwrap_or(1).min(layers);
    let each = config.size("inner_group_num", most::LAYERS)?.unwrap_or(1);
    let name = encoder.name(encoder.blocks);
    if family.stack == Stacked::Groups {
        let kinds: Vec<u64> = (0..layers).map(|index| index.saturating_mul(groups) / layers).collect();
        let mut build = |_: &u64| {
            let mut block = Builder::new(Stream::Text);
            (0..each).for_each(|index| layer.build(&mut block, &format!("albert_layers.{index}.")));
            block.finish()
        };
        return Ok(Piece { checkpointed: false, shared: true, ..Piece::stack(name, &kinds, &mut build) });
    }
    let kinds = vec![(); usize::try_from(layers).unwrap_or_default()];
    let mut build = |(): &()| {
        let mut block = Builder::new(Stream::Text);
        layer.build(&mut block, "");
        block.finish()
    };
    Ok(Piece { checkpointed: family.checkpointed, ..Piece::stack(name, &kinds, &mut build) })
}

/// Trained numbers for each distance, which all blocks add to their scores.
fn distances(name: Cow<'static, str>, rows: u64, heads: u64) -> Block {
    let mut block = Builder::new(Stream::Text);
    let from = block.slot();
    let kind = ModuleKind::Embedding { rows, width: heads };
    block.apply_to(name, kind, Part::InputEmbeddings, from, Slot::SIDE);
    block.finish()
}

fn positions(config: Config<'_>) -> Result<u64, ShapeProblem> {
    Ok(config.size("max_position_embeddings", most::VOCABULARY)?.unwrap_or(512))
}

/// RoBERTa and MPNet number positions from behind the padding's own number on.
fn longest(family: &Family, config: Config<'_>) -> Result<u64, ShapeProblem> {
    let padding = match family.inside {
        "roberta" => config.count("pad_token_id")?.unwrap_or(1),
        "mpnet" => 1,
        _ => return positions(config),
    };
    Ok(positions(config)?.saturating_sub(padding.saturating_add(1)).max(1))
}

fn encoder(family: &Family, config: Config<'_>) -> Result<Encoder, ShapeProblem> {
    let hidden = config.required_size_of(family.sizes.hidden, most::WIDTH)?;
    let embedded = match family.embedded {
        Some(default) => config.size("embedding_size", most::WIDTH)?.unwrap_or(default),
        None => hidden,
    };
    let kinds = config.size("type_vocab_size", most::VOCABULARY)?.unwrap_or(2);
    Ok(Encoder {
        inside: if head::ending(config)? == Some("Model") { "" } else { family.inside },
        words: "embeddings.word_embeddings",
        tables: [
            ("embeddings.token_type_embeddings", if family.kinds { kinds } else { 0 }),
            ("embeddings.position_embeddings", positions(config)?),
        ],
        norm: "embeddings.LayerNorm",
        blocks: family.names.blocks,
        vocabulary: config.required_size("vocab_size", most::VOCABULARY)?,
        embedded,
        hidden,
        widening: match family.stack {
            Stacked::Groups => Some("encoder.embedding_hidden_mapping_in"),
            Stacked::Plain | Stacked::Distances => (embedded != hidden).then_some("embeddings_project"),
        },
    })
}

fn layer(family: &Family, config: Config<'_>, hidden: u64) -> Result<Layer, ShapeProblem> {
    let heads = config.required_size_of(family.sizes.heads, most::HEADS)?;
    let head_size = Attention::head_size(hidden, heads, family.sizes.heads)?;
    let decodes = config.flag("is_decoder")?.unwrap_or(false);
    let inner = config.required_size_of(family.sizes.inner, most::WIDTH)?;
    let [up, down] = family.names.widening;
    Ok(Layer {
        names: family.names,
        branch: Branch::of_sum(hidden, config.is_positive_or(family.sizes.dropout, family.dropout)?),
        heads,
        attention: Attention {
            mask: if decodes { Mask::Causal } else { Mask::Bidirectional },
            bias: (family.stack == Stacked::Distances).then_some(Slot::SIDE),
            ..Attention::both_ways((heads, head_size), family.names.projections)
        },
        feed_forward: FeedForward::plain(inner, up, down),
    })
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
        Some("Model") => {
            if let Some(pooler) = family.pooler {
                encoder.pool_unread(program, Cow::Borrowed(pooler));
            }
        }
        Some(_) => return Err(head::unknown(config)),
    }
    Ok(())
}
