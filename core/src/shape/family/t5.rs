//! T5 and its kin: an encoder and a decoder whose scores have trained numbers for each distance added to them.
//!
//! Sources: `configuration_<family>.py` for defaults, `modeling_<family>.py` for names and order, of `transformers` 5.23.
//! That release ties the head to the words' table whatever `tie_word_embeddings` says.

use std::borrow::Cow;

use super::super::ShapeProblem;
use super::super::build::Builder;
use super::super::config::{Config, most, shortened_text};
use super::super::head;
use super::super::parts::{Attention, Branch, FeedForward, Projections, Widening};
use super::super::program::{Block, ModuleKind, Piece, Program, Slot, Step};
use super::super::quantity::{Mask, Stream};
use crate::flops::Part;

/// Every `model_type` of the family.
pub(super) const MODEL_TYPES: [&str; 3] = ["t5", "mt5", "umt5"];

/// What all blocks have in common.
struct Sizes {
    hidden: u64,
    inner: u64,
    heads: u64,
    head_size: u64,
    vocabulary: u64,
    /// Rows of the table of distances.
    buckets: u64,
    gated: bool,
    dropout: bool,
    /// Each block has a table of distances, not the first alone.
    own_tables: bool,
    /// What the decoder reads: where the class classifies, the encoder's own text.
    decoded: Stream,
}

/// What the class adds around the stacks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Language,
    Encoder,
    Sequence(u64),
    Bare,
}

/// Reads a configuration of any family above.
pub(super) fn read(config: Config<'_>) -> Result<Program, ShapeProblem> {
    let class = class(config)?;
    let sizes = sizes(config, class)?;
    let layers = config.required_size_of(&["num_layers", "num_hidden_layers"], most::LAYERS)?;
    let decoder_layers = config.size("num_decoder_layers", most::LAYERS)?.unwrap_or(layers);
    let prefix = if matches!(class, Class::Sequence(_)) { "transformer." } else { "" };
    let name = |what: &str| Cow::<'static, str>::Owned(format!("{prefix}{what}"));
    let mut program = Program { reads_tokens: true, input_embeddings: Some(name("shared")), ..Program::default() };
    let mut tie = vec![name("shared"), name("encoder.embed_tokens")];
    program.pieces.push(Piece::once(sizes.stem(Stream::Text, name("encoder.embed_tokens"), Some(name("shared")))));
    program.last_layers = Some(program.pieces.len());
    let stack = |what: &str, layers: u64, decodes: bool| {
        let kinds: Vec<bool> = (0..layers).map(|layer| layer == 0 || sizes.own_tables).collect();
        Piece::stack(name(what), &kinds, &mut |table| sizes.block(decodes, *table))
    };
    program.pieces.push(stack("encoder.block", layers, false));
    program.pieces.push(Piece::once(sizes.turn(name("encoder.final_layer_norm"))));
    if class != Class::Encoder {
        tie.push(name("decoder.embed_tokens"));
        program.pieces.push(Piece::once(sizes.stem(sizes.decoded, name("decoder.embed_tokens"), None)));
        program.last_layers = Some(program.pieces.len());
        program.pieces.push(stack("decoder.block", decoder_layers, true));
        program.pieces.push(Piece::once(sizes.tail(class, name("decoder.final_layer_norm"), &mut tie)));
        program.output_head = match class {
            Class::Language => Some(Cow::Borrowed("lm_head")),
            Class::Sequence(_) => Some(Cow::Borrowed("classification_head")),
            Class::Encoder | Class::Bare => None,
        };
        program.classifies = matches!(class, Class::Sequence(_));
    }
    program.ties.push(tie);
    Ok(program)
}

fn class(config: Config<'_>) -> Result<Class, ShapeProblem> {
    let classes = config.texts("architectures")?.unwrap_or_default();
    match classes.first() {
        None => Ok(Class::Language),
        Some(class) if class.ends_with("ForConditionalGeneration") || class.ends_with("WithLMHeadModel") => {
            Ok(Class::Language)
        }
        Some(class) if class.ends_with("ForSequenceClassification") => Ok(Class::Sequence(head::labels(config)?)),
        Some(class) if class.ends_with("EncoderModel") => Ok(Class::Encoder),
        Some(class) if class.ends_with("Model") => Ok(Class::Bare),
        Some(_) => Err(head::unknown(config)),
    }
}

fn sizes(config: Config<'_>, class: Class) -> Result<Sizes, ShapeProblem> {
    let plain = config.text("model_type")? == Some("t5");
    let activation = config.text("feed_forward_proj")?.unwrap_or(if plain { "relu" } else { "gated-gelu" });
    let gated = activation.split_once('-').map(|(how, _)| how);
    if gated.is_some_and(|how| how != "gated") {
        return Err(ShapeProblem::WrongType {
            key: "feed_forward_proj".to_owned(),
            found: format!("`{}`", shortened_text(activation)),
            expected: "an activation function, or `gated-` and one",
        });
    }
    Ok(Sizes {
        hidden: config.required_size_of(&["d_model", "hidden_size"], most::WIDTH)?,
        inner: config.required_size("d_ff", most::WIDTH)?,
        heads: config.required_size_of(&["num_heads", "num_attention_heads"], most::HEADS)?,
        head_size: config.size_of(&["d_kv", "head_dim"], most::HEAD_SIZE)?.unwrap_or(64),
        vocabulary: config.required_size("vocab_size", most::VOCABULARY)?,
        buckets: config.size("relative_attention_num_buckets", most::WIDTH)?.unwrap_or(32),
        gated: gated.is_some(),
        dropout: config.is_positive_or("dropout_rate", true)?,
        own_tables: config.text("model_type")? == Some("umt5"),
        decoded: if matches!(class, Class::Sequence(_)) { Stream::Text } else { Stream::Decoder },
    })
}

impl Sizes {
    const fn words(&self) -> ModuleKind {
        ModuleKind::Embedding { rows: self.vocabulary, width: self.hidden }
    }

    /// A stack's own look-up; the table that holds the words' weight stands beside it, and nobody looks it up.
    fn stem(&self, stream: Stream, own: Cow<'static, str>, holder: Option<Cow<'static, str>>) -> Block {
        let mut block = Builder::new(stream);
        if let Some(holder) = holder {
            block.module(holder, self.words(), Part::InputEmbeddings);
        }
        let tokens = block.slot();
        block.apply_to(own, self.words(), Part::InputEmbeddings, tokens, Slot::RESIDUAL);
        if let Some(own) = block.last() {
            own.tied = true;
        }
        block.step(Step::InputGradients { slot: Slot::RESIDUAL });
        block.finish()
    }

    fn block(&self, decodes: bool, table: bool) -> Block {
        let mut block = Builder::new(if decodes { self.decoded } else { Stream::Text });
        let branch = Branch { shift: false, dropout: self.dropout, ..Branch::before(self.hidden) };
        let mask = if decodes { Mask::Causal } else { Mask::Bidirectional };
        branch.build(&mut block, "layer.0.layer_norm", |block, input| {
            if table {
                let distances = block.slot();
                let kind = ModuleKind::Embedding { rows: self.buckets, width: self.heads };
                let name = "layer.0.SelfAttention.relative_attention_bias";
                block.apply_to(name, kind, Part::InputEmbeddings, distances, Slot::SIDE);
            }
            let attention = Attention { mask, bias: Some(Slot::SIDE), ..self.attention("layer.0.SelfAttention") };
            attention.build(block, self.hidden, input)
        });
        if decodes {
            branch.build(&mut block, "layer.1.layer_norm", |block, input| {
                let attention = self.attention("layer.1.EncDecAttention");
                attention.cross(block, self.hidden, input, (self.hidden, Slot::MEMORY, Stream::Text))
            });
        }
        let last = if decodes { "layer.2" } else { "layer.1" };
        branch.build(&mut block, format!("{last}.layer_norm"), |block, input| {
            self.feed_forward(last).build(block, self.hidden, input)
        });
        block.finish()
    }

    fn attention(&self, name: &str) -> Attention {
        let within = |what: &str| Cow::<'static, str>::Owned(format!("{name}.{what}"));
        Attention {
            projections: Projections::Separate { query: within("q"), key: within("k"), value: within("v") },
            output: within("o"),
            mask: Mask::Bidirectional,
            ..Attention::usual(self.heads, self.heads, self.head_size)
        }
    }

    fn feed_forward(&self, name: &str) -> FeedForward {
        let within = |what: &str| Cow::<'static, str>::Owned(format!("{name}.DenseReluDense.{what}"));
        let widening = if self.gated {
            Widening::Gated { gate: within("wi_0"), up: within("wi_1") }
        } else {
            Widening::Plain { up: within("wi") }
        };
        FeedForward { widening, down: within("wo"), ..FeedForward::gated(self.inner) }
    }

    /// Behind the last block of the encoder: what the decoder will read, and distances no more.
    fn turn(&self, norm: Cow<'static, str>) -> Block {
        let mut block = Builder::new(Stream::Text);
        let normed = block.norm(norm, self.hidden, Slot::RESIDUAL);
        block.rename(normed, Slot::MEMORY);
        block.step(Step::Detach { slot: Slot::SIDE });
        block.finish()
    }

    fn tail(&self, class: Class, norm: Cow<'static, str>, tie: &mut Vec<Cow<'static, str>>) -> Block {
        let mut block = Builder::new(self.decoded);
        let normed = block.norm(norm, self.hidden, Slot::RESIDUAL);
        match class {
            Class::Language => {
                block.linear("lm_head", (self.hidden, self.vocabulary), false, Part::OutputHead, normed);
                if let Some(head) = block.last() {
                    head.tied = true;
                    head.outside_all_linear = true;
                }
                tie.push(Cow::Borrowed("lm_head"));
            }
            Class::Sequence(labels) => {
                block.switch(Stream::Pooled);
                let part = Part::OutputHead;
                let dense = block.linear("classification_head.dense", (self.hidden, self.hidden), true, part, normed);
                block.linear("classification_head.out_proj", (self.hidden, labels), true, part, dense);
            }
            Class::Encoder | Class::Bare => {}
        }
        block.finish()
    }
}
