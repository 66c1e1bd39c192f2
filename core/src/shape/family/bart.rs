//! BART and its kin: encoder-decoders with learned or computed positions.
//!
//! Sources: `configuration_<family>.py` for defaults, `modeling_<family>.py` for names and order, of `transformers` 5.23.
//! Whole blocks that `encoder_layerdrop` would skip now and then are counted always: too high, never too low.

use std::borrow::Cow;

use super::super::ShapeProblem;
use super::super::build::Builder;
use super::super::config::{Config, most};
use super::super::head;
use super::super::parts::{Attention, Branch, FeedForward, Projections};
use super::super::positions::PositionTable;
use super::super::program::{Block, ModuleKind, Piece, Program, Slot, Step};
use super::super::quantity::{Mask, Stream};
use crate::flops::Part;

/// What sets one family apart from the others.
#[derive(Clone, Copy)]
struct Family {
    model_type: &'static str,
    norm_of_sum: bool,
    positions: Positions,
    /// `layernorm_embedding` ahead of the first block.
    embedding_norm: bool,
    /// The module that `transformers` calls input embeddings.
    embedding: &'static str,
}

/// Positions added to the words.
#[derive(Clone, Copy)]
enum Positions {
    /// A table of `max_position_embeddings` rows and so many more.
    Learned { more: u64 },
    /// A table of sines, which nobody trains.
    Sines,
    /// Computed, no table.
    Computed,
}

const BART: Family = Family {
    model_type: "bart",
    norm_of_sum: true,
    positions: Positions::Learned { more: 2 },
    embedding_norm: true,
    embedding: "shared",
};

const FAMILIES: [Family; 7] = [
    BART,
    Family { model_type: "mbart", norm_of_sum: false, ..BART },
    Family { model_type: "pegasus", norm_of_sum: false, positions: Positions::Sines, embedding_norm: false, ..BART },
    Family { model_type: "m2m_100", norm_of_sum: false, positions: Positions::Computed, embedding_norm: false, ..BART },
    Family {
        model_type: "marian",
        positions: Positions::Sines,
        embedding_norm: false,
        embedding: "encoder.embed_tokens",
        ..BART
    },
    Family {
        model_type: "blenderbot",
        norm_of_sum: false,
        positions: Positions::Learned { more: 0 },
        embedding_norm: false,
        ..BART
    },
    Family { model_type: "blenderbot-small", positions: Positions::Learned { more: 0 }, ..BART },
];

/// Every `model_type` above.
pub(super) const MODEL_TYPES: [&str; 7] =
    ["bart", "mbart", "pegasus", "m2m_100", "marian", "blenderbot", "blenderbot-small"];

/// One of the two stacks, in fairseq's names.
#[derive(Clone, Copy)]
pub(super) struct Stack {
    pub(super) branch: Branch,
    pub(super) heads: u64,
    pub(super) head_size: u64,
    pub(super) inner: u64,
    pub(super) layers: u64,
    /// Keys are projected with a bias.
    pub(super) key_bias: bool,
    pub(super) stream: Stream,
    /// The encoder's positions, where this is the decoder.
    pub(super) reads: Option<Stream>,
}

/// What the class adds behind the stacks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Language,
    Sequence(u64),
    Bare,
}

/// Reads a configuration of any family above.
pub(super) fn read(config: Config<'_>) -> Result<Program, ShapeProblem> {
    let model_type = config.text("model_type")?.unwrap_or_default();
    let family = FAMILIES.iter().find(|family| family.model_type == model_type).unwrap_or(&BART);
    let class = match head::ending(config)? {
        None | Some("ConditionalGeneration") => Class::Language,
        Some("SequenceClassification") => Class::Sequence(head::labels(config)?),
        Some("Model") if named(config, "MarianMTModel")? => Class::Language,
        Some("Model") => Class::Bare,
        Some(_) => return Err(head::unknown(config)),
    };
    let shares = config.flag("share_encoder_decoder_embeddings")?.unwrap_or(true);
    if !shares {
        let key = "share_encoder_decoder_embeddings".to_owned();
        return Err(ShapeProblem::NotCounted { key, found: "false".to_owned() });
    }
    let prefix = if class == Class::Bare { "" } else { "model." };
    let name = |what: &str| Cow::<'static, str>::Owned(format!("{prefix}{what}"));
    let decoded = if matches!(class, Class::Sequence(_)) { Stream::Text } else { Stream::Decoder };
    let frame = frame(family, config)?;
    let tied = config.flag("tie_word_embeddings")?.unwrap_or(true);
    let mut program =
        Program { reads_tokens: true, input_embeddings: Some(name(family.embedding)), ..Program::default() };
    let mut tie = vec![name("shared")];
    for (what, reads, stream) in [("encoder", None, Stream::Text), ("decoder", Some(Stream::Text), decoded)] {
        let name = |inside: &str| name(&format!("{what}.{inside}"));
        let holder = reads.is_none().then(|| format!("{prefix}shared").into());
        program.pieces.push(Piece::once(frame.stem(stream, holder, &name, tied)));
        tie.push(name("embed_tokens"));
        program.last_layers = Some(program.pieces.len());
        let stack = Stack::read(config, what, frame.branch, (stream, reads))?;
        program.pieces.push(stack.piece(name("layers")));
        let normed = (!family.norm_of_sum).then(|| name("layer_norm"));
        program.pieces.push(Piece::once(if reads.is_none() {
            turn(frame.branch, stream, normed)
        } else {
            frame.tail(class, stream, normed, tied)
        }));
    }
    program.output_head = match class {
        Class::Language => Some(Cow::Borrowed("lm_head")),
        Class::Sequence(_) => Some(Cow::Borrowed("classification_head")),
        Class::Bare => None,
    };
    if let Some((most, _)) = frame.positions {
        let key = "max_position_embeddings";
        let most = match family.positions {
            Positions::Learned { more } => most.saturating_sub(more),
            _ => most,
        };
        program.position_tables =
            [Stream::Text, Stream::Decoder].map(|stream| PositionTable { stream, key, most }).into();
    }
    tie.extend((class == Class::Language).then_some(Cow::Borrowed("lm_head")));
    program.classifies = matches!(class, Class::Sequence(_));
    if tied {
        program.ties.push(tie);
    }
    Ok(program)
}

fn named(config: Config<'_>, class: &str) -> Result<bool, ShapeProblem> {
    Ok(config.texts("architectures")?.unwrap_or_default().first() == Some(&class))
}

/// What lies around both stacks.
struct Frame {
    vocabulary: u64,
    branch: Branch,
    /// Rows of the table of positions, and whether it is trained.
    positions: Option<(u64, bool)>,
    embedding_norm: bool,
}

fn frame(family: &Family, config: Config<'_>) -> Result<Frame, ShapeProblem> {
    let hidden = config.required_size_of(&["d_model", "hidden_size"], most::WIDTH)?;
    let dropout = config.is_positive_or("dropout", true)?;
    let rows = config.size("max_position_embeddings", most::VOCABULARY)?;
    let usual = match family.model_type {
        "blenderbot" => 128,
        "blenderbot-small" => 512,
        _ => 1024,
    };
    let rows = rows.unwrap_or(usual);
    Ok(Frame {
        vocabulary: config.required_size("vocab_size", most::VOCABULARY)?,
        branch: Branch { norm_of_sum: family.norm_of_sum, dropout, ..Branch::before(hidden) },
        positions: match family.positions {
            Positions::Learned { more } => Some((rows.saturating_add(more), true)),
            Positions::Sines => Some((rows, false)),
            Positions::Computed => None,
        },
        embedding_norm: family.embedding_norm,
    })
}

impl Frame {
    const fn words(&self) -> ModuleKind {
        ModuleKind::Embedding { rows: self.vocabulary, width: self.branch.hidden }
    }

    fn stem(
        &self,
        stream: Stream,
        holder: Option<Cow<'static, str>>,
        name: &impl Fn(&str) -> Cow<'static, str>,
        tied: bool,
    ) -> Block {
        let mut block = Builder::new(stream);
        if let Some(holder) = holder {
            block.module(holder, self.words(), Part::InputEmbeddings);
        }
        let tokens = block.slot();
        let mut sum = block.apply(name("embed_tokens"), self.words(), Part::InputEmbeddings, tokens);
        if let Some(own) = block.last() {
            own.tied = tied;
        }
        block.step(Step::InputGradients { slot: sum });
        if let Some((rows, trained)) = self.positions {
            let width = self.branch.hidden;
            if trained {
                let kind = ModuleKind::Embedding { rows, width };
                let placed = block.apply(name("embed_positions"), kind, Part::InputEmbeddings, tokens);
                sum = block.add(sum, placed);
            } else {
                let kind = ModuleKind::Constant { elements: rows.saturating_mul(width) };
                block.module(name("embed_positions"), kind, Part::InputEmbeddings);
            }
        }
        if self.embedding_norm {
            sum = block.layer_norm(name("layernorm_embedding"), self.branch.hidden, sum);
        }
        block.rename(sum, Slot::RESIDUAL);
        block.finish()
    }

    fn tail(&self, class: Class, stream: Stream, norm: Option<Cow<'static, str>>, tied: bool) -> Block {
        let mut block = Builder::new(stream);
        let hidden = self.branch.hidden;
        let normed = match norm {
            Some(norm) => block.layer_norm(norm, hidden, Slot::RESIDUAL),
            None => Slot::RESIDUAL,
        };
        match class {
            Class::Language => {
                block.linear("lm_head", (hidden, self.vocabulary), false, Part::OutputHead, normed);
                if let Some(head) = block.last() {
                    head.tied = tied;
                    head.outside_all_linear = true;
                }
            }
            Class::Sequence(labels) => {
                block.switch(Stream::Pooled);
                let part = Part::OutputHead;
                let dense = block.linear("classification_head.dense", (hidden, hidden), true, part, normed);
                block.linear("classification_head.out_proj", (hidden, labels), true, part, dense);
            }
            Class::Bare => {}
        }
        block.finish()
    }
}

/// Behind the last block of an encoder: what the decoder will read.
pub(super) fn turn(branch: Branch, stream: Stream, norm: Option<Cow<'static, str>>) -> Block {
    let mut block = Builder::new(stream);
    let normed = match norm {
        Some(norm) => branch.normed(&mut block, norm, Slot::RESIDUAL),
        None => Slot::RESIDUAL,
    };
    block.rename(normed, Slot::MEMORY);
    block.finish()
}

impl Stack {
    /// Reads the sizes of `encoder_…` or `decoder_…`.
    pub(super) fn read(
        config: Config<'_>,
        what: &str,
        branch: Branch,
        (stream, reads): (Stream, Option<Stream>),
    ) -> Result<Self, ShapeProblem> {
        let key = |key: &str| format!("{what}_{key}");
        let heads = config.required_size(&key("attention_heads"), most::HEADS)?;
        Ok(Self {
            branch,
            heads,
            head_size: Attention::head_size(branch.hidden, heads, &[&key("attention_heads")])?,
            inner: config.required_size(&key("ffn_dim"), most::WIDTH)?,
            layers: config.required_size(&key("layers"), most::LAYERS)?,
            key_bias: true,
            stream,
            reads,
        })
    }

    pub(super) fn piece(&self, name: Cow<'static, str>) -> Piece {
        let kinds = vec![(); usize::try_from(self.layers).unwrap_or_default()];
        Piece::stack(name, &kinds, &mut |()| self.block())
    }

    fn block(&self) -> Block {
        let mut block = Builder::new(self.stream);
        let hidden = self.branch.hidden;
        self.branch.build(&mut block, "self_attn_layer_norm", |block, input| {
            let mask = if self.reads.is_some() { Mask::Causal } else { Mask::Bidirectional };
            Attention { mask, ..self.attention("self_attn") }.build(block, hidden, input)
        });
        if let Some(reads) = self.reads {
            self.branch.build(&mut block, "encoder_attn_layer_norm", |block, input| {
                self.attention("encoder_attn").cross(block, hidden, input, (hidden, Slot::MEMORY, reads))
            });
        }
        self.branch.build(&mut block, "final_layer_norm", |block, input| {
            FeedForward::plain(self.inner, "fc1", "fc2").build(block, hidden, input)
        });
        block.finish()
    }

    fn attention(&self, name: &str) -> Attention {
        let within = |what: &str| Cow::<'static, str>::Owned(format!("{name}.{what}"));
        Attention {
            projections: Projections::Separate {
                query: within("q_proj"),
                key: within("k_proj"),
                value: within("v_proj"),
            },
            output: within("out_proj"),
            input_bias: true,
            key_without_bias: !self.key_bias,
            output_bias: true,
            mask: Mask::Bidirectional,
            ..Attention::usual(self.heads, self.heads, self.head_size)
        }
    }
}
