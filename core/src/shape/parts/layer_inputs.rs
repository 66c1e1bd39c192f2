//! What each block of a decoder reads beside the residual stream: embeddings of its own for every word.

use super::super::build::Builder;
use super::super::program::{Block, ModuleKind, Slot};
use super::super::quantity::Stream;
use super::Decoder;
use crate::flops::Part;

/// Per-layer embeddings: one narrow vector for each word and block, and the words' own vectors projected to as many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LayerInputs {
    /// Channels for one block.
    pub(crate) width: u64,
    /// Words of the table.
    pub(crate) rows: u64,
    pub(crate) layers: u64,
}

impl LayerInputs {
    /// What is computed once, ahead of the first block, and left in `SIDE`.
    pub(crate) fn ahead(self, decoder: Decoder) -> Block {
        let all = self.width.saturating_mul(self.layers);
        let mut block = Builder::new(Stream::Text);
        let words = block.slot();
        let table = ModuleKind::Embedding { rows: self.rows, width: all };
        let looked_up = block.apply(decoder.name("embed_tokens_per_layer"), table, Part::InputEmbeddings, words);
        let name = decoder.name("per_layer_model_projection");
        let projected = block.linear(name, (decoder.hidden, all), false, Part::FeedForward, Slot::RESIDUAL);
        let normed = block.norm(decoder.name("per_layer_projection_norm"), self.width, projected);
        let both = block.add(normed, looked_up);
        block.rename(both, Slot::SIDE);
        block.finish()
    }

    /// What a block makes of its own: gated by an activation, and led back to the width of the stream.
    pub(crate) fn build(self, block: &mut Builder, hidden: u64, input: Slot) -> Slot {
        let gate = block.linear("per_layer_input_gate", (hidden, self.width), false, Part::FeedForward, input);
        block.keep(gate);
        let gated = block.multiply(gate, Slot::SIDE);
        let wide = block.linear("per_layer_projection", (self.width, hidden), false, Part::FeedForward, gated);
        block.norm("post_per_layer_input_norm", hidden, wide)
    }
}
