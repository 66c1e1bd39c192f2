//! What a model of tokens has before its first block and after its last one.

use std::borrow::Cow;

use super::super::build::Builder;
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

    /// The embedding.
    pub(crate) fn stem(self) -> Block {
        let mut block = Builder::new(Stream::Text);
        let kind = ModuleKind::Embedding { rows: self.vocabulary, width: self.hidden };
        let residual = Slot::RESIDUAL;
        block.apply_to(self.name(self.embedding), kind, Part::InputEmbeddings, residual, residual);
        block.step(Step::InputGradients { slot: residual });
        block.finish()
    }

    /// Adds the final norm and the head, and says which modules have a role.
    pub(crate) fn finish(self, program: &mut Program) {
        let embedding = self.name(self.embedding);
        program.input_embeddings = Some(embedding.clone());
        program.output_head = Some(Cow::Borrowed(self.head));
        if self.tied_head {
            program.ties.push(vec![embedding, Cow::Borrowed(self.head)]);
        }
        program.pieces.push(Piece::once(self.tail()));
    }

    fn tail(self) -> Block {
        let mut block = Builder::new(Stream::Text);
        let normed = match self.norm_bias {
            Some(true) => block.layer_norm(self.name(self.final_norm), self.hidden, Slot::RESIDUAL),
            Some(false) => block.norm(self.name(self.final_norm), self.hidden, Slot::RESIDUAL),
            None => Slot::RESIDUAL,
        };
        let kind = ModuleKind::Linear { inputs: self.hidden, outputs: self.vocabulary, bias: self.head_bias };
        block.apply(self.head, kind, Part::OutputHead, normed);
        if let Some(head) = block.last() {
            head.tied = self.tied_head;
            head.outside_all_linear = true;
        }
        block.finish()
    }
}

impl Piece {
    /// A block that stands alone; its modules have their full names.
    pub(crate) fn once(block: Block) -> Self {
        Self { prefix: Cow::Borrowed(""), blocks: vec![block], layers: vec![0], checkpointed: false, shared: false }
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
        Self { prefix: prefix.into(), blocks, layers, checkpointed: true, shared: false }
    }
}
