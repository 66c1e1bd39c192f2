//! The inventory of a live model: what it multiplies, as a program that anything trainable can be laid on.
//!
//! A hook takes it where the core does not know a model's family. It follows one forward pass without numbers and writes down
//! each product, what leads from one to the next, and where something is kept for the backward pass. Activations are numbered
//! slots; two that require gradients under the same conditions may share one.

use serde::{Deserialize, Serialize};

use super::Checkpointing;
use crate::run::Finding;

/// Things that are listed in one finding before the rest is only counted.
const LISTED: usize = 8;

/// A model as a program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    /// What the amounts may be scaled by; over anything else they hold as they stand.
    pub scales: Scales,
    /// Sequences of the batch that it was taken with.
    pub sequences: u64,
    /// Positions of each sequence of that batch.
    pub length: u64,
    /// Modules that own parameters, in the order of the model.
    pub modules: Vec<InventoryModule>,
    /// What is done, in order.
    pub steps: Vec<InventoryStep>,
    /// Runs of steps that are or can be recomputed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checkpoints: Vec<InventoryCheckpoint>,
    /// The slots that `enable_input_require_grads()` makes require gradients.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub input_embeddings: Vec<u32>,
    /// Name of the module that turns vectors into logits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_head: Option<String>,
    /// What was not seen through or does not follow the batch as the amounts say; empty for an exact inventory.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inexact: Vec<Inexactness>,
}

impl Inventory {
    /// Code of [`Self::inexactness`].
    pub const INEXACT: &'static str = "inventory-inexact";

    /// What keeps the count from being exact, as a finding.
    pub fn inexactness(&self) -> Option<Finding> {
        let told = self.inexact.iter().take(LISTED).map(|it| format!("{} ({})", it.what, it.reason));
        let told: Vec<String> = told.collect();
        let more = self.inexact.len().saturating_sub(told.len());
        let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
        (!told.is_empty()).then(|| Finding {
            code: Self::INEXACT.to_owned(),
            text: format!(
                "the model's operators are not all seen through, so operations may be missing: {}{rest}; compare the count with a \
                 traced step",
                told.join(", ")
            ),
        })
    }
}

/// Along which sizes of a batch the amounts were found to hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Scales {
    /// Any number of sequences of any length.
    SequencesAndLength,
    /// Any number of sequences, of the length that was seen.
    Sequences,
    /// The batch that was seen.
    #[default]
    Nothing,
}

/// A module that owns parameters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InventoryModule {
    /// Name in the plain model, for example `model.layers.0.self_attn.q_proj`; empty for the model itself.
    pub name: String,
    /// Its own parameters.
    pub parameters: Vec<InventoryParameter>,
}

/// One parameter at its logical size: unpacked, whole, whatever a rank holds of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InventoryParameter {
    /// Name within its module, for example `weight`.
    pub name: String,
    /// Elements.
    pub elements: u64,
    /// Its slot; one that is tied has the slot of the first.
    pub slot: u32,
    /// What it is multiplied as.
    #[serde(default, skip_serializing_if = "Role::is_other")]
    pub role: Role,
    /// Full name of the first parameter that shares its storage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tied_to: Option<String>,
}

/// What a parameter is multiplied as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Role {
    /// Weight of a linear module.
    Linear {
        /// Width of what goes in.
        inputs: u64,
        /// Width of what comes out.
        outputs: u64,
    },
    /// The same as a bare parameter of a module that is no linear one.
    LinearParameter {
        /// Width of what goes in.
        inputs: u64,
        /// Width of what comes out.
        outputs: u64,
    },
    /// Stacked weights of experts.
    Experts {
        /// Experts in the stack.
        count: u64,
        /// Width of what goes in.
        inputs: u64,
        /// Width of what comes out.
        outputs: u64,
    },
    /// Weight of a convolution.
    Convolution {
        /// Channels that go in, over all groups.
        inputs: u64,
        /// Channels that come out.
        outputs: u64,
        /// Positions of the window.
        window: u64,
        /// Groups.
        groups: u64,
    },
    /// A table that is looked up in.
    Embedding {
        /// Rows.
        rows: u64,
        /// Width of a row.
        width: u64,
    },
    /// Scales, shifts, tables of positions, and what no step reads.
    #[default]
    Other,
}

impl Role {
    fn is_other(&self) -> bool {
        *self == Self::Other
    }
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum InventoryStep {
    /// A product of two operands; none stands for one that never requires gradients.
    Product {
        /// Slots of the operands; a weight stands second.
        operands: [Option<u32>; 2],
        /// Slot of the result.
        output: u32,
        /// Its operations.
        forward: InventoryAmount,
        /// Where it is booked: a name of [`crate::flops::Part`].
        part: String,
        /// Which module's weight the second operand is, where several are tied: its place in [`Inventory::modules`].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        module: Option<u32>,
        /// Nothing leads from it to what the model gives, so it has no backward pass.
        #[serde(default, skip_serializing_if = "is_false")]
        dead: bool,
    },
    /// Rows of a table.
    LookUp {
        /// Slot of the table.
        table: u32,
        /// Slot of the result.
        output: u32,
        /// How many rows.
        positions: InventoryAmount,
    },
    /// Something that depends on all of these and multiplies none of them.
    Join {
        /// Slots.
        operands: Vec<u32>,
        /// Slot of the result.
        output: u32,
    },
    /// Something is kept for the backward pass if this slot requires gradients.
    Save {
        /// Slot.
        slot: u32,
    },
}

/// A number as a sum over the sizes of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InventoryAmount {
    /// For each pass.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub constant: u64,
    /// For each sequence.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub per_sequence: u64,
    /// For each position of one sequence, once a pass: what all sequences share.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub per_position: u64,
    /// For each position of each sequence.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub per_token: u64,
    /// For each pair of positions of one sequence, once a pass.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub per_position_pair: u64,
    /// For each pair of positions of each sequence.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub per_pair: u64,
    /// For each position of each sequence of the decoder.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub per_decoder_token: u64,
    /// For each pair of such positions.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub per_decoder_pair: u64,
    /// For each pair of a position of the decoder and one of the encoder.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub per_cross_pair: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes the field by reference")]
fn is_false(value: &bool) -> bool {
    !*value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes the field by reference")]
fn is_zero(value: &u64) -> bool {
    *value == 0
}

/// A run of steps that is computed again during the backward pass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InventoryCheckpoint {
    /// Name of the module; empty for a function.
    pub module: String,
    /// How the code itself asks for it; without, it is done as [`super::TrainingFacts::gradient_checkpointing`] says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub always: Option<Checkpointing>,
    /// Its first step.
    pub first: u32,
    /// The step after its last.
    pub end: u32,
}

/// Something that keeps an inventory from being exact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inexactness {
    /// A module, an operator or a function.
    pub what: String,
    /// Why.
    pub reason: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_hook_writes_is_read() {
        let text = r#"{
            "scales": "sequences-and-length", "sequences": 2, "length": 17,
            "modules": [
                {"name": "embed", "parameters": [{"name": "weight", "elements": 80, "slot": 0, "role": {"kind": "embedding", "rows": 10, "width": 8}}]},
                {"name": "head", "parameters": [{"name": "weight", "elements": 80, "slot": 0, "role": {"kind": "linear", "inputs": 8, "outputs": 10}, "tied_to": "embed.weight"}]}
            ],
            "steps": [
                {"op": "look-up", "table": 0, "output": 1, "positions": {"per_token": 1}},
                {"op": "save", "slot": 1},
                {"op": "join", "operands": [0, 1], "output": 2},
                {"op": "product", "operands": [2, 0], "output": 3, "forward": {"per_token": 160}, "part": "output-head", "module": 1},
                {"op": "product", "operands": [null, 3], "output": 4, "forward": {"constant": 4}, "part": "mlp"}
            ],
            "checkpoints": [{"module": "head", "first": 3, "end": 4}, {"module": "", "always": "reentrant", "first": 0, "end": 2}],
            "input_embeddings": [1]
        }"#;
        let inventory: Inventory = serde_json::from_str(text).unwrap();
        assert_eq!((inventory.modules.len(), inventory.steps.len()), (2, 5));
        let again = serde_json::to_string(&inventory).unwrap();
        assert_eq!(serde_json::from_str::<Inventory>(&again).unwrap(), inventory);
        assert!(!again.contains("constant\":0") && !again.contains("other"), "{again}");
    }
}
