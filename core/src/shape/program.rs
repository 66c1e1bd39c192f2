//! A network as a short program: modules with parameters, and steps that lead activations through them.
//!
//! A family is described by the program its parts put together; a new kind of layer is a new order of steps. The walk over
//! them, the planning of methods and the reading of live facts know no family.

use std::borrow::Cow;

use super::positions::PositionTable;
use super::quantity::{Mask, Quantity, Stream};
use crate::facts::Checkpointing;
use crate::flops::Part;

/// The whole of a network, in the order in which it is computed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Program {
    pub(crate) pieces: Vec<Piece>,
    /// Modules that share one weight, by their full names; the first of each list holds it.
    pub(crate) ties: Vec<Vec<Cow<'static, str>>>,
    /// Full names of the modules that turn tokens (or pixels) into vectors.
    pub(crate) input_embeddings: Option<Cow<'static, str>>,
    /// Full name of the module that turns vectors into logits.
    pub(crate) output_head: Option<Cow<'static, str>>,
    /// Which piece `last-layers` counts its blocks in.
    pub(crate) last_layers: Option<usize>,
    /// `transformers` 5 calls `enable_input_require_grads()` where it enables checkpointing: it reads tokens.
    pub(crate) reads_tokens: bool,
    /// Width of one block's keys as `peft` 0.21 computes it for a trained prefix; `None` where nobody has described it.
    pub(crate) prefix_width: Option<u64>,
    /// Names of the runs of steps that can be recomputed within the first piece, in order, where it is a live model's inventory.
    pub(crate) recomputable: Vec<Cow<'static, str>>,
    /// How `peft` translates targets that this family's experts once had as single modules.
    pub(crate) expert_targets: Option<ExpertTargets>,
    /// Other names of biases: the parameter's full name, and the module whose bias it is.
    pub(crate) bias_names: Vec<(Cow<'static, str>, Cow<'static, str>)>,
    /// The head classifies: `transformers` does not call it output embeddings, so `peft` treats it as any linear module.
    pub(crate) classifies: bool,
    /// Positions of each sequence, where the configuration settles them: an image classifier's patches.
    pub(crate) sequence_length: Option<u64>,
    /// How long sequences may be where positions stand in a table.
    pub(crate) position_tables: Vec<PositionTable>,
    /// Grid of an image of the configuration's own size, where images may have any.
    pub(crate) image_grid: Option<[u64; 3]>,
}

/// A stack of blocks, or one block that stands alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// PyTorch name of the list of blocks; empty for what stands alone, whose modules have their full names.
    pub(crate) prefix: Cow<'static, str>,
    /// Distinct kinds of block.
    pub(crate) blocks: Vec<Block>,
    /// The kind of each block, in order; one for what stands alone.
    pub(crate) layers: Vec<usize>,
    /// Every block is a layer that checkpointing recomputes.
    pub(crate) checkpointed: bool,
    /// All blocks of one kind are the same block, used again and again: its parameters are there once.
    pub(crate) shared: bool,
    /// Number of the checkpointed layer that holds this piece and its neighbours of the same number.
    pub(crate) stage: Option<u16>,
}

impl Piece {
    pub(crate) fn is_stack(&self) -> bool {
        !self.prefix.is_empty()
    }
}

/// Modules and steps of one kind of block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Block {
    /// Modules that have parameters, in the order of the PyTorch model.
    pub(crate) modules: Vec<Module>,
    /// What happens to the activations.
    pub(crate) steps: Vec<Step>,
    /// Nothing that the loss depends on reads what the block computes: it has a forward pass and no other.
    pub(crate) unread: bool,
    /// What enters the block is passed by name, or what leaves it is: a reentrant checkpoint does not see that and cuts the
    /// gradient off.
    pub(crate) by_name: bool,
}

impl Block {
    /// What the queries of the block's first attention see.
    pub(crate) fn mask(&self) -> Option<Mask> {
        self.steps.iter().find_map(|step| match step {
            Step::Product { amount: Amount { quantity: Quantity::Pairs { mask, .. }, .. }, .. } => Some(*mask),
            _ => None,
        })
    }
}

/// A module with parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Module {
    /// PyTorch name within the block, for example `self_attn.q_proj`.
    pub(crate) name: Cow<'static, str>,
    pub(crate) kind: ModuleKind,
    /// Where its products are booked.
    pub(crate) part: Part,
    /// Its weight is another module's: no parameters of its own but a bias.
    pub(crate) tied: bool,
    /// `all-linear` of `peft` leaves it out, though it is linear.
    pub(crate) outside_all_linear: bool,
}

/// What a module computes and which parameters it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ModuleKind {
    /// A look-up: parameters, no product.
    Embedding { rows: u64, width: u64 },
    /// A product with a weight of `inputs` × `outputs`.
    Linear { inputs: u64, outputs: u64, bias: bool },
    /// A linear map whose weight is a bare parameter of a module of another class: `peft` builds the adapted weight.
    LinearParameter { inputs: u64, outputs: u64, bias: bool },
    /// One linear map for each expert, `chosen` of them for each position; the weights are one stacked parameter.
    Experts { count: u64, chosen: u64, inputs: u64, outputs: u64, bias: bool },
    /// A product of `outputs` × `inputs / groups` × `kernel` at each output position; `kernel` counts the whole window.
    Convolution { inputs: u64, outputs: u64, kernel: u64, groups: u64, bias: bool },
    /// Scales and shifts, position tables, decay rates: parameters without a product.
    Scale { weight: u64, bias: u64 },
    /// Parameters that the model sets by its own rule: built frozen, and no gradient reaches them if somebody thaws them.
    Constant { elements: u64 },
    /// A parameter of any use; products with it and what they keep are steps of their own.
    Parameter { elements: u64 },
}

/// Names by which `peft` still takes targets that version 5 of `transformers` has fused into stacked parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExpertTargets {
    /// `gate`, `w1`, `w2`, `w3`.
    Mixtral,
    /// `gate`, `gate_proj`, `up_proj`, `down_proj`.
    Qwen2Moe,
}

/// The name of an activation, and whether it requires grad is what the walk keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Slot(pub(crate) u16);

impl Slot {
    /// What enters a block and, added to, leaves it.
    pub(crate) const RESIDUAL: Self = Self(0);
    /// A second stream that later blocks read: an encoder's output, image features.
    pub(crate) const MEMORY: Self = Self(1);
    /// A third one, kept from block to block.
    pub(crate) const SIDE: Self = Self(2);
    /// As many more of these as there may be features that join later blocks one by one.
    pub(crate) const LATER: [Self; 4] = [Self(4), Self(5), Self(6), Self(7)];
    /// Slots from this on are forgotten at the end of a block.
    pub(crate) const FIRST_LOCAL: Self = Self(8);
}

/// A number of operations: `factor` for each unit of a quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Amount {
    pub(crate) factor: u128,
    pub(crate) quantity: Quantity,
}

/// One step; `module` counts within [`Block::modules`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Through a module; its product happens at each of `rows`.
    Apply { module: usize, from: Slot, to: Slot, rows: Quantity },
    /// A product with a module's weight, taken past the module itself: low-rank pairs beside it do nothing.
    Weight { module: usize, from: Slot, to: Slot, rows: Quantity },
    /// A product of two activations.
    Product { left: Slot, right: Slot, to: Slot, amount: Amount, part: Part },
    /// A product that the backward pass alone forms, for the gradient of this activation.
    Gradient { of: Slot, amount: Amount, part: Part },
    /// `to` depends on both; neither is kept for the backward pass, as in an addition.
    Add { from: Slot, with: Slot, to: Slot },
    /// `to` depends on both, and both are kept: a product element by element, no operations by our convention.
    Multiply { from: Slot, with: Slot, to: Slot },
    /// Something is kept of an activation: a softmax, an activation function, a dropout mask.
    Keep { on: Slot },
    /// What follows is a checkpointed layer of its own within this one: a reentrant checkpoint computes it twice more.
    Nested,
    /// Leaves the block beside what it returns, where a reentrant checkpoint cuts the gradient off.
    HandOn { from: Slot, to: Slot },
    /// What follows is computed without gradients, whatever is trained.
    BeginNoGrad,
    /// No longer.
    EndNoGrad,
    /// The gradient ends here.
    Detach { slot: Slot },
    /// Where trained keys or values (prefix tuning) stand beside the slot's own; an encoder has none where a decoder follows.
    Prefix { slot: Slot, stream: Stream },
    /// Where `enable_input_require_grads()` hangs its hook.
    InputGradients { slot: Slot },
    /// Steps that can be recomputed begin; `entry` requires grad if anything that they take from outside does.
    BeginCheckpoint { entry: Slot, always: Option<Checkpointing> },
    /// They end.
    EndCheckpoint,
}

impl ModuleKind {
    /// Elements of the weight itself, its own or a shared one.
    pub(crate) const fn weight(self) -> u64 {
        match self {
            Self::Embedding { rows, width } => rows.saturating_mul(width),
            Self::Linear { inputs, outputs, .. } | Self::LinearParameter { inputs, outputs, .. } => {
                inputs.saturating_mul(outputs)
            }
            Self::Experts { count, inputs, outputs, .. } => count.saturating_mul(inputs).saturating_mul(outputs),
            Self::Convolution { inputs, outputs, kernel, groups, .. } => {
                (inputs / groups).saturating_mul(outputs).saturating_mul(kernel)
            }
            Self::Scale { weight, .. } => weight,
            Self::Constant { elements } | Self::Parameter { elements } => elements,
        }
    }

    /// Elements of the bias, 0 without one.
    pub(crate) const fn bias(self) -> u64 {
        match self {
            Self::Linear { outputs, bias: true, .. }
            | Self::LinearParameter { outputs, bias: true, .. }
            | Self::Convolution { outputs, bias: true, .. } => outputs,
            Self::Experts { count, outputs, bias: true, .. } => count.saturating_mul(outputs),
            Self::Scale { bias, .. } => bias,
            _ => 0,
        }
    }

    /// Operations of the module's product at one position; `None` for a module without a product.
    pub(crate) fn product(self) -> Option<u128> {
        let twice = |a: u64, b: u64| u128::from(a).saturating_mul(u128::from(b)).saturating_mul(2);
        match self {
            Self::Linear { inputs, outputs, .. } | Self::LinearParameter { inputs, outputs, .. } => {
                Some(twice(inputs, outputs))
            }
            Self::Experts { chosen, inputs, outputs, .. } => {
                Some(twice(inputs, outputs).saturating_mul(u128::from(chosen)))
            }
            Self::Convolution { inputs, outputs, kernel, groups, .. } => {
                Some(twice(inputs / groups, outputs).saturating_mul(u128::from(kernel)))
            }
            Self::Embedding { .. } | Self::Scale { .. } | Self::Constant { .. } | Self::Parameter { .. } => None,
        }
    }

    /// Input and output width as a low-rank pair beside the module has them; `None` where it can have none.
    ///
    /// The lower half of a pair beside a convolution has its window, over all its inputs; the upper half has its groups.
    pub(crate) const fn widths(self) -> Option<(u64, u64)> {
        match self {
            Self::Convolution { inputs, outputs, kernel, .. } => Some((inputs.saturating_mul(kernel), outputs)),
            _ => self.channels(),
        }
    }

    /// Input and output width; `None` for what has no weight between the two.
    pub(crate) const fn channels(self) -> Option<(u64, u64)> {
        match self {
            Self::Embedding { rows: inputs, width: outputs }
            | Self::Linear { inputs, outputs, .. }
            | Self::LinearParameter { inputs, outputs, .. }
            | Self::Convolution { inputs, outputs, .. }
            | Self::Experts { inputs, outputs, .. } => Some((inputs, outputs)),
            Self::Scale { .. } | Self::Constant { .. } | Self::Parameter { .. } => None,
        }
    }

    /// Groups of a convolution; 1 for everything else.
    pub(crate) const fn groups(self) -> u64 {
        match self {
            Self::Convolution { groups, .. } => groups,
            _ => 1,
        }
    }

    /// A convolution, whatever its window.
    pub(crate) const fn is_convolution(self) -> bool {
        matches!(self, Self::Convolution { .. })
    }

    /// A plain linear module, as `all-linear` of `peft` looks for.
    pub(crate) const fn is_linear(self) -> bool {
        matches!(self, Self::Linear { .. })
    }

    /// A weight that `peft` adapts by building `W + BA` anew in each pass.
    pub(crate) const fn is_parameter(self) -> bool {
        matches!(self, Self::LinearParameter { .. } | Self::Experts { .. })
    }
}
