//! From the inventory of a live model to a program of modules and steps.
//!
//! An inventory tells nothing of blocks that are alike: it becomes one block that stands alone. A parameter that is multiplied as
//! a whole, at positions that follow the batch, becomes a module that low-rank pairs can be laid on; any other becomes a
//! [`ModuleKind::Parameter`](super::ModuleKind::Parameter), and steps tell what it is used for.

use std::borrow::Cow;

use super::program::{Block, Piece, Program};
use super::{Shape, ShapeProblem};
use crate::facts::{Inventory, ModelFacts};

mod modules;
mod rows;
mod steps;
#[cfg(test)]
mod tests;

use modules::Modules;
use steps::Reader;

impl Shape {
    /// The shape of a live model: from its inventory where the hook took one, else from its configuration.
    pub fn of_model(facts: &ModelFacts) -> Result<Self, ShapeProblem> {
        match &facts.inventory {
            Some(inventory) => Self::from_inventory(&facts.class_name, inventory),
            None => Self::from_config(&facts.config),
        }
    }

    /// Reads the inventory that a hook took of a live model of some class.
    pub fn from_inventory(class_name: &str, inventory: &Inventory) -> Result<Self, ShapeProblem> {
        let modules = Modules::new(inventory);
        let (steps, recomputable) = Reader::new(inventory, &modules).read()?;
        let ties = modules.ties();
        let block = Block { modules: modules.into_list(), steps, ..Block::default() };
        let prefix = Cow::Borrowed("");
        let piece =
            Piece { prefix, blocks: vec![block], layers: vec![0], checkpointed: false, shared: false, stage: None };
        let program = Program {
            pieces: vec![piece],
            ties,
            recomputable,
            output_head: inventory.output_head.clone().map(Cow::Owned),
            reads_tokens: !inventory.input_embeddings.is_empty(),
            ..Program::default()
        };
        Ok(Self::new(class_name, program))
    }
}
