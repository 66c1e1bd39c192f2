//! The shape of a network: what its configuration file says about the sizes and the order of its parts.
//!
//! A family is put together from parts (kinds of attention, of feed-forward parts, experts, state-space layers, towers, heads),
//! so a new family is a new combination or a new part, never a formula of its own. The result is a short program of modules
//! and steps. What the steps cost is no business of this module: see [`crate::flops`].

use std::sync::Arc;

mod build;
mod config;
mod family;
mod head;
mod inventory;
mod json;
mod mask;
mod own_code;
mod parts;
mod positions;
mod problem;
mod program;
mod quantity;

pub use json::read_json;
pub use positions::PositionTable;
pub use problem::ShapeProblem;
pub(crate) use program::{Amount, Block, ExpertTargets, Module, ModuleKind, Piece, Program, Slot, Step};
pub use quantity::{Mask, Quantity, Stream};

/// The shape of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    model_type: String,
    own_code: bool,
    program: Arc<Program>,
}

impl Shape {
    /// Reads a Hugging Face `config.json`.
    ///
    /// Keys that are absent take the defaults of `transformers` 5.23; the sizes that every saved configuration of the family
    /// carries (for most `vocab_size`, `hidden_size`, `intermediate_size`, `num_hidden_layers`, `num_attention_heads`) must
    /// be there.
    ///
    /// ```
    /// use flopsmeter_core::shape::Shape;
    /// let config = serde_json::json!({
    ///     "model_type": "llama", "vocab_size": 49152, "hidden_size": 576, "intermediate_size": 1536,
    ///     "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3, "tie_word_embeddings": true,
    /// });
    /// let shape = Shape::from_config(&config).unwrap();
    /// assert_eq!((shape.model_type(), shape.layers()), ("llama", 30));
    /// ```
    pub fn from_config(config: &serde_json::Value) -> Result<Self, ShapeProblem> {
        family::read(config)
    }

    fn new(model_type: &str, program: Program) -> Self {
        Self { model_type: model_type.to_owned(), own_code: false, program: Arc::new(program) }
    }

    /// The configuration names code of its own (`auto_map`) for a class that has a name of the family's: what it computes is taken to
    /// be what `transformers` computes.
    pub const fn has_own_code(&self) -> bool {
        self.own_code
    }

    /// The tables of positions, each with the longest sequence that it has rows for.
    pub fn position_tables(&self) -> &[PositionTable] {
        &self.program.position_tables
    }

    /// `model_type` of the configuration.
    pub fn model_type(&self) -> &str {
        &self.model_type
    }

    /// Number of blocks of the stack that `last-layers` counts in.
    pub fn layers(&self) -> usize {
        let stack = self.program.last_layers.and_then(|index| self.program.pieces.get(index));
        stack.map_or(0, |piece| piece.layers.len())
    }

    /// What the queries of each of these blocks see; blocks without attention are left out.
    pub fn masks(&self) -> Vec<Mask> {
        let stack = self.program.last_layers.and_then(|index| self.program.pieces.get(index));
        let masks = stack.into_iter().flat_map(|piece| {
            let blocks = piece.layers.iter().filter_map(|layer| piece.blocks.get(*layer));
            blocks.filter_map(Block::mask)
        });
        masks.collect()
    }

    /// Positions of each sequence, where the configuration settles them: those of an image, of a stretch of sound.
    pub fn sequence_length(&self) -> Option<u64> {
        self.program.sequence_length
    }

    /// Time, height and width in patches of an image that has the configuration's own size, where images may have any size;
    /// `None` where they may not, or where the configuration names none.
    pub fn image_grid(&self) -> Option<[u64; 3]> {
        self.program.image_grid
    }

    /// Whether images may have any size, so that each pass has to be told their grids.
    pub fn follows_image_grid(&self) -> bool {
        let steps = self.program.pieces.iter().flat_map(|piece| &piece.blocks).flat_map(|block| &block.steps);
        let mut quantities = steps.filter_map(|step| match step {
            Step::Apply { rows, .. } => Some(*rows),
            Step::Product { amount, .. } => Some(amount.quantity),
            _ => None,
        });
        quantities.any(Quantity::follows_grid)
    }

    pub(crate) const fn program(&self) -> &Arc<Program> {
        &self.program
    }
}
