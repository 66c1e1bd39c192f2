//! What is trained of a module, and what was added to it.

use crate::facts::{AdapterKind, Side};
use crate::shape::ModuleKind;

/// What is trained of one module, and what was added to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    pub(super) weight_trained: bool,
    pub(super) bias_trained: bool,
    /// A copy is used instead of the original, which stays beside it (`modules_to_save`).
    pub(super) copied: bool,
    pub(super) pairs: Vec<Pair>,
    pub(super) scales: Vec<Scale>,
}

/// A vector that is multiplied with what goes into a module or comes out of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scale {
    pub(super) side: Side,
    pub(super) trained: bool,
}

/// A low-rank pair beside a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) kind: AdapterKind,
    pub(super) rank: u64,
    pub(super) trained: bool,
    /// Its input goes through a dropout.
    pub(super) dropout: bool,
}

impl State {
    /// Trains all of a module.
    pub(super) fn train(&mut self, kind: ModuleKind) {
        self.weight_trained = kind.weight() > 0;
        self.bias_trained = kind.bias() > 0;
    }

    /// Whether anything of the module is trained.
    pub(super) fn trains(&self) -> bool {
        self.weight_trained
            || self.bias_trained
            || self.pairs.iter().any(|pair| pair.trained)
            || self.scales.iter().any(|it| it.trained)
    }

    /// The same, with nothing trained.
    pub(super) fn frozen(&self) -> Self {
        Self {
            weight_trained: false,
            bias_trained: false,
            copied: self.copied,
            pairs: self.pairs.iter().map(|pair| Pair { trained: false, ..*pair }).collect(),
            scales: self.scales.iter().map(|scale| Scale { trained: false, ..*scale }).collect(),
        }
    }
}

impl Scale {
    /// Elements of the vector.
    pub(super) fn parameters(self, kind: ModuleKind) -> u64 {
        kind.channels().map_or(0, |(inputs, outputs)| match self.side {
            Side::Input => inputs,
            Side::Output => outputs,
        })
    }
}

impl Pair {
    /// Parameters of the pair beside a module.
    pub(super) fn parameters(self, kind: ModuleKind) -> u64 {
        let Some((inputs, outputs)) = kind.widths() else { return 0 };
        let magnitude = if self.kind == AdapterKind::Dora { outputs } else { 0 };
        let experts = if let ModuleKind::Experts { count, .. } = kind { count } else { 1 };
        let up = outputs / kind.groups();
        inputs.saturating_add(up).saturating_mul(self.rank).saturating_mul(experts).saturating_add(magnitude)
    }
}
