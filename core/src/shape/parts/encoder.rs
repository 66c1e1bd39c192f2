//! A model of tokens that reads them both ways: what lies before its first block, and the heads behind its last one.

use std::borrow::Cow;

use super::super::build::Builder;
use super::super::program::{Block, ModuleKind, Piece, Program, Slot, Step};
use super::super::quantity::Stream;
use crate::flops::Part;

/// The frame around a stack of encoder blocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Encoder {
    /// Name of the part that holds everything but the head; empty where there is no head.
    pub(crate) inside: &'static str,
    pub(crate) words: &'static str,
    /// Tables beside that of the words, and their rows; none for those of length 0.
    pub(crate) tables: [(&'static str, u64); 2],
    pub(crate) norm: &'static str,
    pub(crate) blocks: &'static str,
    pub(crate) vocabulary: u64,
    /// Width of the tables.
    pub(crate) embedded: u64,
    pub(crate) hidden: u64,
    /// Leads from the tables' width to that of the blocks.
    pub(crate) widening: Option<&'static str>,
}

/// A head for masked words, as most encoders have it: a linear map, a norm, and the words' table again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MaskedHead {
    pub(crate) dense: &'static str,
    pub(crate) norm: &'static str,
    pub(crate) decoder: &'static str,
    /// Other name of the decoder's bias.
    pub(crate) bias: Option<&'static str>,
}

impl Encoder {
    /// The name of something that everything but the head holds.
    pub(crate) fn name(&self, what: &str) -> Cow<'static, str> {
        if self.inside.is_empty() { Cow::Owned(what.to_owned()) } else { Cow::Owned(format!("{}.{what}", self.inside)) }
    }

    /// The program up to the last block.
    pub(crate) fn program(&self, stack: Piece) -> Program {
        let mut program = Program { reads_tokens: true, ..Program::default() };
        program.input_embeddings = Some(self.name(self.words));
        program.pieces.push(Piece::once(self.stem()));
        program.last_layers = Some(program.pieces.len());
        program.pieces.push(stack);
        program
    }

    fn stem(&self) -> Block {
        let mut block = Builder::new(Stream::Text);
        let tokens = block.slot();
        let table = |rows| ModuleKind::Embedding { rows, width: self.embedded };
        let mut sum = block.apply(self.name(self.words), table(self.vocabulary), Part::InputEmbeddings, tokens);
        block.step(Step::InputGradients { slot: sum });
        for (name, rows) in self.tables.into_iter().filter(|(_, rows)| *rows > 0) {
            let looked_up = block.apply(self.name(name), table(rows), Part::InputEmbeddings, tokens);
            sum = block.add(sum, looked_up);
        }
        let mut normed = block.layer_norm(self.name(self.norm), self.embedded, sum);
        if let Some(name) = self.widening {
            normed = block.linear(self.name(name), (self.embedded, self.hidden), true, Part::Projector, normed);
        }
        block.rename(normed, Slot::RESIDUAL);
        block.finish()
    }

    /// Adds the head for masked words; `tied` where its table is that of the words.
    pub(crate) fn mask_words(&self, program: &mut Program, head: MaskedHead, tied: bool) {
        let mut block = Builder::new(Stream::Text);
        let dense = block.linear(head.dense, (self.hidden, self.embedded), true, Part::OutputHead, Slot::RESIDUAL);
        block.keep(dense); // the activation function
        let normed = block.layer_norm(head.norm, self.embedded, dense);
        block.linear(head.decoder, (self.embedded, self.vocabulary), true, Part::OutputHead, normed);
        if let Some(decoder) = block.last() {
            decoder.tied = tied;
            decoder.outside_all_linear = true;
        }
        if tied {
            program.ties.push(vec![self.name(self.words), Cow::Borrowed(head.decoder)]);
            program.bias_names.extend(head.bias.map(|bias| (Cow::Borrowed(bias), Cow::Borrowed(head.decoder))));
        } else if let Some(bias) = head.bias {
            // The second bias is then a parameter of its own that nothing reads.
            block.module(bias, ModuleKind::Scale { weight: self.vocabulary, bias: 0 }, Part::OutputHead);
        }
        program.pieces.push(Piece::once(block.finish()));
        program.output_head = Some(Cow::Borrowed(head.decoder));
    }

    /// Adds a head of linear maps with biases; each but the last keeps its width and has an activation function behind it.
    pub(crate) fn classify(&self, program: &mut Program, stream: Stream, names: &[Cow<'static, str>], classes: u64) {
        let mut block = Builder::new(stream);
        let mut last = Slot::RESIDUAL;
        for (index, name) in names.iter().enumerate() {
            let outputs = if index + 1 == names.len() { classes } else { self.hidden };
            last = block.linear(name.clone(), (self.hidden, outputs), true, Part::OutputHead, last);
            block.keep(last);
        }
        program.pieces.push(Piece::once(block.finish()));
        program.output_head = names.last().map(|name| classifier(name));
        program.classifies = true;
    }

    /// Adds a pooler whose result nothing reads: the class has no head, and what is trained on takes the sequence itself.
    pub(crate) fn pool_unread(&self, program: &mut Program, name: Cow<'static, str>) {
        let mut block = Builder::new(Stream::Pooled);
        block.linear(name, (self.hidden, self.hidden), true, Part::OutputHead, Slot::RESIDUAL);
        program.pieces.push(Piece::once(block.finish_unread()));
    }
}

/// The name of a head as a whole, which may consist of several maps.
fn classifier(last: &str) -> Cow<'static, str> {
    Cow::Owned(last.split('.').next().unwrap_or_default().to_owned())
}
