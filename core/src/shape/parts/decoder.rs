//! What a model of tokens has before its first block and after its last one.

use std::borrow::Cow;

use super::super::build::Builder;
use super::super::head::Head;
use super::super::program::{Block, ModuleKind, Piece, Program, Slot, Step};
use super::super::quantity::Stream;
use crate::flops::Part;

/// The frame around a stack of decoder blocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Decoder {
    /// Name of the part that holds everything but the head: `model`, `transformer`.
    pub(crate) inside: &'static str,
    pub(crate) embedding: &'static str,
    pub(crate) blocks: &'static str,
    pub(crate) final_norm: &'static str,
    pub(crate) head: &'static str,
    pub(crate) vocabulary: u64,
    pub(crate) hidden: u64,
    /// The final norm has a shift too; `None` where there is no norm or one without parameters.
    pub(crate) norm_bias: Option<bool>,
    pub(crate) head_bias: bool,
    /// The head multiplies with the embedding's weight.
    pub(crate) tied_head: bool,
    /// A table of learned positions, added to the embedding: its name and its rows.
    pub(crate) positions: Option<(&'static str, u64)>,
    /// Width of the embedding where it is not that of the blocks; `project_in` and `project_out` lie between.
    pub(crate) narrow: Option<u64>,
    /// A norm of the embedding with scale and shift.
    pub(crate) embedding_norm: Option<&'static str>,
    /// What the head gives for each position where that is no vocabulary.
    pub(crate) classes: Option<u64>,
}

/// Heads that a family's classes have besides that of a language model.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClassHeads {
    /// `…ForSequenceClassification`.
    pub(crate) sequence: bool,
    /// `…ForTokenClassification`, and what it calls its head.
    pub(crate) token: Option<&'static str>,
    /// `…ForQuestionAnswering`, and where it keeps everything but its head.
    pub(crate) question: Option<&'static str>,
}

impl ClassHeads {
    /// All of them, with the names that most classes use.
    pub(crate) const ALL: Self = Self { sequence: true, token: Some("score"), question: Some("transformer") };

    /// None of them.
    pub(crate) const NONE: Self = Self { sequence: false, token: None, question: None };
}

impl Decoder {
    /// `model.embed_tokens`, `model.layers`, `model.norm`, `lm_head`.
    pub(crate) const fn usual(vocabulary: u64, hidden: u64, tied_head: bool) -> Self {
        Self {
            inside: "model",
            embedding: "embed_tokens",
            blocks: "layers",
            final_norm: "norm",
            head: "lm_head",
            vocabulary,
            hidden,
            norm_bias: Some(false),
            head_bias: false,
            tied_head,
            positions: None,
            narrow: None,
            embedding_norm: None,
            classes: None,
        }
    }

    /// `transformer.wte`, `transformer.h`, `transformer.ln_f`, `lm_head`.
    pub(crate) const fn gpt(vocabulary: u64, hidden: u64, tied_head: bool) -> Self {
        Self {
            inside: "transformer",
            embedding: "wte",
            blocks: "h",
            final_norm: "ln_f",
            norm_bias: Some(true),
            ..Self::usual(vocabulary, hidden, tied_head)
        }
    }

    /// The same with another head, if the family has it.
    pub(crate) fn ending_in(self, head: Head, heads: ClassHeads) -> Option<Self> {
        let ending =
            |head, classes, head_bias| Self { head, classes: Some(classes), head_bias, tied_head: false, ..self };
        match head {
            Head::Language => Some(self),
            // The class without a head is what the others hold under the first part of their names.
            Head::None => {
                let inside = self.inside.split_once('.').map_or("", |(_, rest)| rest);
                Some(Self { inside, head: "", ..self })
            }
            Head::Sequence(labels) => heads.sequence.then(|| ending("score", labels, false)),
            Head::Token(labels) => heads.token.map(|name| ending(name, labels, true)),
            Head::Question => heads.question.map(|inside| Self { inside, ..ending("qa_outputs", 2, true) }),
        }
    }

    /// The program around blocks whose kinds are given one by one.
    pub(crate) fn program<K: PartialEq>(self, kinds: &[K], mut build: impl FnMut(&K) -> Block) -> Program {
        let mut program = Program { reads_tokens: true, ..Program::default() };
        program.pieces.push(Piece::once(self.stem()));
        program.last_layers = Some(program.pieces.len());
        program.pieces.push(Piece::stack(self.name(self.blocks), kinds, &mut build));
        self.finish(&mut program);
        program
    }

    /// The name of something that everything but the head holds.
    pub(crate) fn name(self, what: &str) -> Cow<'static, str> {
        if self.inside.is_empty() { Cow::Owned(what.to_owned()) } else { Cow::Owned(format!("{}.{what}", self.inside)) }
    }

    /// The embedding, with all that happens to it ahead of the first block.
    pub(crate) fn stem(self) -> Block {
        let mut block = Builder::new(Stream::Text);
        let width = self.narrow.unwrap_or(self.hidden);
        let kind = ModuleKind::Embedding { rows: self.vocabulary, width };
        let tokens = block.slot();
        let mut embedded = block.apply(self.name(self.embedding), kind, Part::InputEmbeddings, tokens);
        block.step(Step::InputGradients { slot: embedded });
        let mut positions = None;
        if let Some((name, rows)) = self.positions {
            let kind = ModuleKind::Embedding { rows, width: self.hidden };
            positions = Some(block.apply(self.name(name), kind, Part::InputEmbeddings, tokens));
        }
        if self.narrow.is_some() {
            let name = self.name("project_in");
            embedded = block.linear(name, (width, self.hidden), false, Part::Projector, embedded);
        }
        if let Some(positions) = positions {
            embedded = block.add(embedded, positions);
        }
        if let Some(name) = self.embedding_norm {
            embedded = block.layer_norm(self.name(name), self.hidden, embedded);
        }
        block.rename(embedded, Slot::RESIDUAL);
        block.finish()
    }

    /// Adds the final norm and the head, and says which modules have a role.
    pub(crate) fn finish(self, program: &mut Program) {
        let embedding = self.name(self.embedding);
        program.input_embeddings = Some(embedding.clone());
        program.output_head = self.has_head().then_some(Cow::Borrowed(self.head));
        if self.tied_head && self.has_head() {
            program.ties.push(vec![embedding, Cow::Borrowed(self.head)]);
        }
        program.pieces.push(Piece::once(self.tail()));
    }

    const fn has_head(self) -> bool {
        !self.head.is_empty()
    }

    fn tail(self) -> Block {
        let mut block = Builder::new(Stream::Text);
        let mut last = match self.norm_bias {
            Some(true) => block.layer_norm(self.name(self.final_norm), self.hidden, Slot::RESIDUAL),
            Some(false) => block.norm(self.name(self.final_norm), self.hidden, Slot::RESIDUAL),
            None => Slot::RESIDUAL,
        };
        if let Some(width) = self.narrow {
            last = block.linear(self.name("project_out"), (self.hidden, width), false, Part::OutputHead, last);
        }
        if !self.has_head() {
            return block.finish();
        }
        let outputs = self.classes.unwrap_or(self.vocabulary);
        let kind = ModuleKind::Linear { inputs: self.narrow.unwrap_or(self.hidden), outputs, bias: self.head_bias };
        block.apply(self.head, kind, Part::OutputHead, last);
        if let Some(head) = block.last() {
            head.tied = self.tied_head;
            // peft spares the head that gives logits over the vocabulary, and no other unless it is told of the task.
            head.outside_all_linear = self.classes.is_none();
        }
        block.finish()
    }
}

impl Piece {
    /// A block that stands alone; its modules have their full names.
    pub(crate) fn once(block: Block) -> Self {
        Self {
            prefix: Cow::Borrowed(""),
            blocks: vec![block],
            layers: vec![0],
            checkpointed: false,
            shared: false,
            stage: None,
        }
    }

    /// A stack of blocks that checkpointing recomputes; blocks of equal kinds are built once.
    pub(crate) fn stack<K: PartialEq>(
        prefix: impl Into<Cow<'static, str>>,
        kinds: &[K],
        build: &mut impl FnMut(&K) -> Block,
    ) -> Self {
        let mut known: Vec<&K> = Vec::new();
        let mut layers = Vec::with_capacity(kinds.len());
        for kind in kinds {
            let place = known.iter().position(|it| *it == kind).unwrap_or_else(|| {
                known.push(kind);
                known.len() - 1
            });
            layers.push(place);
        }
        let blocks = known.into_iter().map(build).collect();
        Self { prefix: prefix.into(), blocks, layers, checkpointed: true, shared: false, stage: None }
    }
}
