//! A piece of a network as a short program: modules with parameters, and steps that lead activations through them.
//!
//! A new kind of layer is a new [`Step`] or a new order of steps; the walk, the planning of methods and the reading of live
//! facts stay as they are.

use super::cost::Part;
use crate::facts::AdapterKind;

/// Modules and steps of one kind of block, or of what stands before the first or after the last block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// Modules that have parameters, in the order of the PyTorch model.
    pub(super) modules: Vec<Module>,
    /// What happens to the activations.
    pub(super) steps: Vec<Step>,
}

/// A module with parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Module {
    /// PyTorch name within the block, for example `self_attn.q_proj`.
    pub(super) name: &'static str,
    pub(super) kind: ModuleKind,
    /// Where its products are booked.
    pub(super) part: Part,
}

/// What a module computes and which parameters it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ModuleKind {
    /// A look-up: parameters, no product.
    Embedding { rows: u64, width: u64 },
    /// A product with a weight of `inputs` × `outputs`.
    Linear { inputs: u64, outputs: u64, bias: bool },
    /// An output head whose weight is that of the input embeddings: a product, no parameters of its own.
    TiedHead { inputs: u64, outputs: u64 },
    /// A scale for each channel.
    Norm { width: u64 },
}

impl ModuleKind {
    /// Elements of the weight itself, its own or a shared one.
    pub(super) const fn weight(self) -> u64 {
        match self {
            Self::Embedding { rows, width } => rows.saturating_mul(width),
            Self::Linear { inputs, outputs, .. } | Self::TiedHead { inputs, outputs } => inputs.saturating_mul(outputs),
            Self::Norm { width } => width,
        }
    }

    /// Elements of the bias, 0 without one.
    pub(super) const fn bias(self) -> u64 {
        match self {
            Self::Linear { outputs, bias: true, .. } => outputs,
            _ => 0,
        }
    }

    /// Input and output width as a low-rank pair beside the module has them; `None` where it can have none.
    pub(super) const fn widths(self) -> Option<(u64, u64)> {
        match self {
            Self::Embedding { rows, width } => Some((rows, width)),
            Self::Linear { inputs, outputs, .. } | Self::TiedHead { inputs, outputs } => Some((inputs, outputs)),
            Self::Norm { .. } => None,
        }
    }

    pub(super) const fn is_linear(self) -> bool {
        matches!(self, Self::Linear { .. } | Self::TiedHead { .. })
    }
}

/// What is trained of one module, and what was added to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    pub(super) weight_trained: bool,
    pub(super) bias_trained: bool,
    /// A copy is used instead of the original, which stays beside it (`modules_to_save`).
    pub(super) copied: bool,
    pub(super) pairs: Vec<Pair>,
}

/// A low-rank pair beside a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) kind: AdapterKind,
    pub(super) rank: u64,
    pub(super) trained: bool,
}

/// Names of the activations a block's steps lead to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    /// What enters the block and, added to, leaves it.
    Residual,
    /// A branch beside it, between one step and the next.
    Branch,
    Query,
    Key,
    Value,
    /// Attention weights.
    Weights,
    Gate,
    Up,
}

/// One step; `module` counts within [`Block::modules`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Through a module.
    Apply { module: usize, from: Slot, to: Slot },
    /// A second name for one activation.
    Copy { from: Slot, to: Slot },
    /// Query times key: `per_pair` operations for each query-key pair.
    Scores { per_pair: u64 },
    /// Attention weights times value.
    Values { per_pair: u64 },
    /// `to *= with`, element by element: no operations by our convention, but both are kept for the backward pass.
    Multiply { with: Slot, to: Slot },
    /// Dropout, which keeps a mask.
    Dropout { on: Slot },
    /// `Residual += Branch`, which keeps nothing.
    AddToResidual,
}
