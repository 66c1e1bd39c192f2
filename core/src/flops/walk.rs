//! The walk: leads one boolean per activation, "requires grad", through a block and books every product on its way.
//!
//! Rules and their check against PyTorch's operation counter: METHOD.md. Recomputation under a non-reentrant checkpoint
//! stops as soon as the last activation that the block saved for its backward pass is rebuilt; saving happens before
//! the product that needs it, so a block that ends in "linear, add to residual" does not repeat that linear.

use super::block::{Block, ModuleKind, Pair, Slot, State, Step};
use super::cost::{Part, Polynomial};
use crate::facts::{AdapterKind, Checkpointing};

/// Forward, backward and recomputation of each part of one block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BlockCost {
    pub(super) parts: [PartCost; Part::COUNT],
    /// Whether what leaves the block requires grad.
    pub(super) requires_grad: bool,
}

/// One part's three polynomials.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct PartCost {
    pub(super) forward: Polynomial,
    pub(super) backward: Polynomial,
    pub(super) recompute: Polynomial,
}

/// What holds for a block as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Surroundings {
    /// Whether what enters the block requires grad.
    pub(super) requires_grad: bool,
    /// Recomputation, where the block is under a checkpoint.
    pub(super) checkpoint: Option<Checkpointing>,
}

/// Walks one block.
pub(super) fn walk(block: &Block, states: &[State], around: Surroundings) -> BlockCost {
    if around.checkpoint == Some(Checkpointing::Reentrant) && !around.requires_grad {
        return walk_without_gradient(block, states);
    }
    let mut walk = Walk::default();
    walk.set(Slot::Residual, around.requires_grad);
    let untouched = State::default();
    for step in &block.steps {
        walk.step(*step, block, |module| states.get(module).unwrap_or(&untouched));
    }
    let mut cost = BlockCost { parts: walk.parts, requires_grad: walk.get(Slot::Residual) };
    for (part, repeated) in cost.parts.iter_mut().zip(walk.repeated) {
        part.recompute = match around.checkpoint {
            Some(Checkpointing::NonReentrant) => repeated,
            Some(Checkpointing::Reentrant) => part.forward,
            None => Polynomial::default(),
        };
    }
    cost
}

/// A reentrant checkpoint whose input requires no grad cuts the block off: nothing in it is trained.
fn walk_without_gradient(block: &Block, states: &[State]) -> BlockCost {
    let frozen: Vec<State> = states
        .iter()
        .map(|state| State {
            weight_trained: false,
            bias_trained: false,
            copied: state.copied,
            pairs: state.pairs.iter().map(|pair| Pair { trained: false, ..*pair }).collect(),
        })
        .collect();
    walk(block, &frozen, Surroundings { requires_grad: false, checkpoint: None })
}

#[derive(Default)]
struct Walk {
    parts: [PartCost; Part::COUNT],
    /// Forward products up to the last saved activation: what a non-reentrant checkpoint repeats.
    repeated: [Polynomial; Part::COUNT],
    /// Forward products since then.
    since: [Polynomial; Part::COUNT],
    /// One bit for each slot.
    requiring_grad: u16,
}

/// Which gradients the backward pass of a product forms.
#[derive(Clone, Copy)]
struct Gradients {
    first: bool,
    second: bool,
}

impl Walk {
    const fn get(&self, slot: Slot) -> bool {
        self.requiring_grad >> (slot as u16) & 1 == 1
    }

    const fn set(&mut self, slot: Slot, requires_grad: bool) {
        let bit = 1 << (slot as u16);
        self.requiring_grad = if requires_grad { self.requiring_grad | bit } else { self.requiring_grad & !bit };
    }

    fn step<'a>(&mut self, step: Step, block: &Block, state: impl Fn(usize) -> &'a State) {
        match step {
            Step::Apply { module, from, to } => {
                let Some(applied) = block.modules.get(module) else { return };
                let output = self.apply(applied.kind, applied.part, state(module), self.get(from));
                self.set(to, output);
            }
            Step::Copy { from, to } => self.set(to, self.get(from)),
            Step::Scores { per_pair } => {
                let operands = Gradients { first: self.get(Slot::Query), second: self.get(Slot::Key) };
                let output = self.product(Part::AttentionScores, pairs(per_pair), operands);
                self.set(Slot::Weights, output);
            }
            Step::Values { per_pair } => {
                let operands = Gradients { first: self.get(Slot::Weights), second: self.get(Slot::Value) };
                let output = self.product(Part::AttentionScores, pairs(per_pair), operands);
                self.set(Slot::Branch, output);
            }
            Step::Multiply { with, to } => {
                let output = self.get(with) || self.get(to);
                self.save(output);
                self.set(to, output);
            }
            Step::Dropout { on } => self.save(self.get(on)),
            Step::AddToResidual => self.set(Slot::Residual, self.get(Slot::Residual) || self.get(Slot::Branch)),
        }
    }

    /// Through a module; returns whether the result requires grad.
    fn apply(&mut self, kind: ModuleKind, part: Part, state: &State, input: bool) -> bool {
        let output = match kind {
            ModuleKind::Linear { inputs, outputs, .. } | ModuleKind::TiedHead { inputs, outputs } => {
                self.product(part, linear(inputs, outputs), Gradients { first: input, second: state.weight_trained })
            }
            ModuleKind::Embedding { .. } => state.weight_trained || input,
            ModuleKind::Norm { .. } => {
                self.save(input || state.weight_trained);
                input || state.weight_trained
            }
        };
        let mut output = output || state.bias_trained;
        for pair in &state.pairs {
            output |= self.pair(kind, *pair, input);
        }
        output
    }

    /// A low-rank pair beside a module: down to the rank, up from it.
    fn pair(&mut self, kind: ModuleKind, pair: Pair, input: bool) -> bool {
        let Some((inputs, outputs)) = kind.widths() else { return false };
        if pair.kind == AdapterKind::Dora && kind.is_linear() {
            // The pair's own product with an identity matrix, for the norm of the adapted weight; the norm is detached.
            let twice = u128::from(inputs).saturating_add(u128::from(outputs)).saturating_mul(2);
            let constant = twice.saturating_mul(u128::from(inputs)).saturating_mul(u128::from(pair.rank));
            self.forward(Part::Adapters, Polynomial { constant, ..Polynomial::default() });
        }
        let inner = if kind.is_linear() {
            self.product(Part::Adapters, linear(inputs, pair.rank), Gradients { first: input, second: pair.trained })
        } else {
            pair.trained // a look-up in the pair's own small table
        };
        let output =
            self.product(Part::Adapters, linear(pair.rank, outputs), Gradients { first: inner, second: pair.trained });
        if pair.kind == AdapterKind::Dora {
            self.save(output); // the trained magnitude multiplies the pair's result
        }
        output
    }

    /// A product of two operands; returns whether the result requires grad.
    fn product(&mut self, part: Part, cost: Polynomial, operands: Gradients) -> bool {
        let output = operands.first || operands.second;
        self.save(output);
        self.forward(part, cost);
        let booked = &mut self.parts[part as usize].backward;
        for _ in [operands.first, operands.second].into_iter().filter(|requires_grad| *requires_grad) {
            *booked = booked.plus(cost);
        }
        output
    }

    fn forward(&mut self, part: Part, cost: Polynomial) {
        let booked = &mut self.parts[part as usize].forward;
        *booked = booked.plus(cost);
        let since = &mut self.since[part as usize];
        *since = since.plus(cost);
    }

    /// An activation is kept for the backward pass, so a checkpoint repeats everything up to here.
    fn save(&mut self, kept: bool) {
        if !kept {
            return;
        }
        for (repeated, since) in self.repeated.iter_mut().zip(&mut self.since) {
            *repeated = repeated.plus(core::mem::take(since));
        }
    }
}

fn linear(inputs: u64, outputs: u64) -> Polynomial {
    let per_token = u128::from(inputs).saturating_mul(u128::from(outputs)).saturating_mul(2);
    Polynomial { per_token, ..Polynomial::default() }
}

fn pairs(per_pair: u64) -> Polynomial {
    Polynomial { per_pair: u128::from(per_pair), ..Polynomial::default() }
}
