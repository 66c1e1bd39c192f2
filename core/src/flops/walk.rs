//! The walk: leads one boolean per activation, "requires grad", through a block and books every product on its way.
//!
//! Rules and their check against PyTorch's operation counter: METHOD.md. Recomputation under a non-reentrant checkpoint
//! stops as soon as the last activation that the block saved for its backward pass is rebuilt; saving happens before
//! the product that needs it, so a block that ends in "linear, add to residual" does not repeat that linear.

use super::cost::Part;
use super::region::{Asked, Regions};
use super::state::{Pair, State};
use crate::facts::{AdapterKind, Checkpointing, Side};
use crate::shape::{Amount, Block, Module, ModuleKind, Quantity, Slot, Step, Stream};

/// What holds for a block as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Surroundings<'a> {
    /// Which activations that outlive a block require grad: one bit for each slot.
    pub(super) requiring_grad: u8,
    /// Recomputation, where the block is under a checkpoint.
    pub(super) checkpoint: Option<Checkpointing>,
    /// The embeddings' output requires grad whatever is frozen.
    pub(super) input_gradients: bool,
    /// Trained vectors stand before the first embeddings that this block looks up.
    pub(super) prompted: bool,
    /// Attentions over this stream have trained keys and values beside its own.
    pub(super) prefix: Option<Stream>,
    /// Recomputation of runs of steps within the block.
    pub(super) within: Asked<'a>,
}

/// Costs of one block, apart by part and quantity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct BlockCost {
    pub(super) entries: Vec<Entry>,
    /// Which activations that outlive the block require grad.
    pub(super) requiring_grad: u8,
    /// A reentrant checkpoint keeps gradients from something that was to be trained.
    pub(super) cut: bool,
}

/// Factors of one part and one quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) part: Part,
    pub(super) quantity: Quantity,
    pub(super) forward: u128,
    pub(super) backward: u128,
    pub(super) recompute: u128,
}

impl BlockCost {
    /// Adds to the entry of a part and quantity.
    pub(super) fn book(&mut self, more: Entry) {
        let same = |entry: &&mut Entry| entry.part == more.part && entry.quantity == more.quantity;
        match self.entries.iter_mut().find(same) {
            Some(entry) => {
                entry.forward = entry.forward.saturating_add(more.forward);
                entry.backward = entry.backward.saturating_add(more.backward);
                entry.recompute = entry.recompute.saturating_add(more.recompute);
            }
            None => self.entries.push(more),
        }
    }
}

/// Walks one block.
pub(super) fn walk(block: &Block, states: &[State], around: Surroundings<'_>) -> BlockCost {
    if block.unread {
        let frozen: Vec<State> = states.iter().map(State::frozen).collect();
        let within = Asked { kind: None, ..around.within };
        let nothing = Surroundings {
            requiring_grad: 0,
            checkpoint: None,
            input_gradients: false,
            prompted: false,
            prefix: None,
            within,
        };
        let cost = walk_steps(block, &frozen, nothing);
        return BlockCost { requiring_grad: around.requiring_grad, ..cost };
    }
    let reentrant = around.checkpoint == Some(Checkpointing::Reentrant);
    let unseen = block.by_name && around.within.kind == Some(Checkpointing::Reentrant);
    if unseen || (reentrant && around.requiring_grad == 0) {
        // A reentrant checkpoint whose input requires no grad cuts the block off: nothing in it is trained.
        let frozen: Vec<State> = states.iter().map(State::frozen).collect();
        let requiring_grad = around.requiring_grad & !(1 << Slot::RESIDUAL.0);
        let alone =
            Surroundings { checkpoint: None, input_gradients: false, prompted: false, requiring_grad, ..around };
        let cost = walk_steps(block, &frozen, alone);
        return BlockCost { cut: states.iter().any(State::trains), ..cost };
    }
    walk_steps(block, states, around)
}

fn walk_steps(block: &Block, states: &[State], around: Surroundings<'_>) -> BlockCost {
    let mut walk = Walk::new(around);
    let untouched = State::default();
    for step in &block.steps {
        walk.step(*step, block, |module| states.get(module).unwrap_or(&untouched));
    }
    walk.finish()
}

struct Walk<'a> {
    /// Products in the order of the forward pass.
    forward: Vec<(Part, Amount)>,
    /// How many of them a non-reentrant checkpoint repeats: those up to the last saved activation.
    repeated: usize,
    /// Products from here on belong to a layer that is checkpointed within the block.
    nested: usize,
    cost: BlockCost,
    requiring_grad: Bits,
    input_gradients: bool,
    prompted: bool,
    prefix: Option<Stream>,
    /// Around the whole block.
    checkpoint: Option<Checkpointing>,
    /// Within steps that are computed without gradients.
    no_grad: bool,
    regions: Regions<'a>,
}

/// Which gradients the backward pass of a product forms.
#[derive(Clone, Copy)]
struct Gradients {
    first: bool,
    second: bool,
}

impl<'w> Walk<'w> {
    fn new(around: Surroundings<'w>) -> Self {
        Self {
            forward: Vec::with_capacity(24),
            repeated: 0,
            nested: usize::MAX,
            cost: BlockCost::default(),
            requiring_grad: Bits(vec![u64::from(around.requiring_grad)]),
            input_gradients: around.input_gradients,
            prompted: around.prompted,
            prefix: around.prefix,
            checkpoint: around.checkpoint,
            no_grad: false,
            regions: Regions::new(around.within),
        }
    }

    fn finish(self) -> BlockCost {
        let (checkpoint, mut cost) = (self.checkpoint, self.cost);
        let repeated = match checkpoint {
            None => 0,
            Some(Checkpointing::NonReentrant) => self.repeated,
            Some(Checkpointing::Reentrant) => self.forward.len(),
        };
        for (index, (part, amount)) in self.forward.into_iter().enumerate() {
            let repeats = index < repeated || self.regions.repeats(index);
            let recompute = match (repeats, checkpoint) {
                (false, _) => 0,
                (true, Some(Checkpointing::Reentrant)) if index >= self.nested => amount.factor.saturating_mul(2),
                (true, _) => amount.factor,
            };
            let Amount { factor: forward, quantity } = amount;
            cost.book(Entry { part, quantity, forward, backward: 0, recompute });
        }
        cost.requiring_grad = self.requiring_grad.kept();
        cost
    }

    fn step<'a>(&mut self, step: Step, block: &Block, state: impl Fn(usize) -> &'a State) {
        match step {
            Step::Apply { module, from, to, rows } => {
                let Some(applied) = block.modules.get(module) else { return };
                let input = self.requires_grad(from);
                self.cost.cut |= self.regions.cuts() && state(module).trains();
                let output = if self.no_grad || self.regions.cuts() {
                    self.apply(applied, &state(module).frozen(), input, rows)
                } else {
                    self.apply(applied, state(module), input, rows)
                };
                self.requiring_grad.set(to, output);
            }
            Step::Weight { module, from, to, rows } => {
                let Some(Module { kind, part, .. }) = block.modules.get(module) else { return };
                let state = state(module);
                let operands = Gradients { first: self.requiring_grad.get(from), second: state.weight_trained };
                let factor = kind.product().unwrap_or(0);
                let output = self.product(*part, Amount { factor, quantity: rows }, operands);
                self.requiring_grad.set(to, output || state.bias_trained);
            }
            Step::Gradient { of, amount: Amount { factor: backward, quantity }, part } => {
                if self.requiring_grad.get(of) {
                    self.cost.book(Entry { part, quantity, forward: 0, backward, recompute: 0 });
                }
            }
            Step::Product { left, right, to, amount, part } => {
                let operands = Gradients { first: self.requires_grad(left), second: self.requires_grad(right) };
                let output = self.product(part, amount, operands);
                self.requiring_grad.set(to, output);
            }
            Step::Add { from, with, to } => {
                let output = self.requiring_grad.get(from) || self.requiring_grad.get(with);
                self.requiring_grad.set(to, output);
            }
            Step::Multiply { from, with, to } => {
                let output = self.requiring_grad.get(from) || self.requiring_grad.get(with);
                self.save(output);
                self.requiring_grad.set(to, output);
            }
            Step::Keep { on } => self.save(self.requiring_grad.get(on)),
            Step::Prefix { slot, stream } => {
                let output = self.requiring_grad.get(slot) || self.prefix == Some(stream);
                self.requiring_grad.set(slot, output);
            }
            Step::Nested => self.nested = self.forward.len(),
            Step::HandOn { from, to } => {
                let output = self.requiring_grad.get(from) && self.checkpoint != Some(Checkpointing::Reentrant);
                self.requiring_grad.set(to, output);
            }
            Step::BeginNoGrad => self.no_grad = true,
            Step::EndNoGrad => self.no_grad = false,
            Step::Detach { slot } => self.requiring_grad.set(slot, false),
            Step::InputGradients { slot } => {
                let output = self.requiring_grad.get(slot) || self.input_gradients || self.prompted;
                self.prompted = false;
                self.requiring_grad.set(slot, output);
            }
            Step::BeginCheckpoint { entry, always } => {
                let entry = self.requiring_grad.get(entry);
                self.regions.begin(always, entry, self.forward.len());
            }
            Step::EndCheckpoint => self.regions.end(self.forward.len()),
        }
    }

    /// Whether gradients reach an activation from here.
    fn requires_grad(&self, slot: Slot) -> bool {
        !self.no_grad && self.requiring_grad.get(slot)
    }

    /// Through a module; returns whether the result requires grad.
    fn apply(&mut self, module: &Module, state: &State, input: bool, rows: Quantity) -> bool {
        let (kind, part) = (module.kind, module.part);
        let input = self.scaled(state, Side::Input, input);
        if kind.is_parameter() && !state.pairs.is_empty() {
            return self.adapted_parameter(module, state, input, rows);
        }
        let output = match (kind, kind.product()) {
            (_, Some(factor)) => {
                let operands = Gradients { first: input, second: state.weight_trained };
                self.product(part, Amount { factor, quantity: rows }, operands)
            }
            (ModuleKind::Embedding { .. } | ModuleKind::Parameter { .. }, None) => state.weight_trained || input,
            (_, None) => {
                let output = input || state.weight_trained || state.bias_trained;
                self.save(output);
                output
            }
        };
        let mut output = output || state.bias_trained;
        for pair in &state.pairs {
            output |= self.pair(kind, *pair, input, rows);
        }
        self.scaled(state, Side::Output, output)
    }

    /// What a module's vectors on one side make of the gradient: a product element by element keeps both of its factors.
    fn scaled(&mut self, state: &State, side: Side, activation: bool) -> bool {
        let mut scales = state.scales.iter().filter(|scale| scale.side == side).peekable();
        if scales.peek().is_none() {
            return activation;
        }
        let output = activation || scales.any(|scale| scale.trained);
        self.save(output);
        output
    }

    /// A low-rank pair beside a module: down to the rank, up from it.
    fn pair(&mut self, kind: ModuleKind, pair: Pair, input: bool, rows: Quantity) -> bool {
        let Some((inputs, outputs)) = kind.widths() else { return false };
        if pair.kind == AdapterKind::Dora {
            self.norm_of_sum(kind, pair);
        }
        let inner = if kind.product().is_some() {
            let operands = Gradients { first: input, second: pair.trained };
            self.product(Part::Adapters, at(rows, inputs, pair.rank), operands)
        } else {
            pair.trained // a look-up in the pair's own small table
        };
        let operands = Gradients { first: inner, second: pair.trained };
        let output = self.product(Part::Adapters, at(rows, pair.rank, outputs / kind.groups()), operands);
        if pair.kind == AdapterKind::Dora {
            if let Some(factor) = kind.product().filter(|_| pair.dropout) {
                // What went through the dropout is another input, so the frozen weight is multiplied with it as well.
                let again = Amount { factor, quantity: rows };
                self.product(Part::Adapters, again, Gradients { first: input, second: false });
            }
            self.save(output); // the trained magnitude multiplies the pair's result
        }
        output
    }

    /// DoRA builds the pair's product as a matrix, for the norm of the adapted weight; the norm is detached.
    fn norm_of_sum(&mut self, kind: ModuleKind, pair: Pair) {
        let Some((inputs, outputs)) = kind.widths() else { return };
        let widths = match kind {
            // One half as a matrix times the other.
            ModuleKind::Convolution { .. } => (inputs, outputs),
            // Both halves applied to an identity matrix.
            ModuleKind::Linear { .. } => (inputs, inputs.saturating_add(outputs)),
            _ => return,
        };
        let Amount { factor, quantity } = at(Quantity::Pass, widths.0, widths.1);
        let factor = factor.saturating_mul(u128::from(pair.rank));
        self.forward.push((Part::Adapters, Amount { factor, quantity }));
    }

    /// A bare parameter with pairs: `peft` builds `W + BA` in each pass, and the product is with the sum.
    ///
    /// `peft` 0.21 registers the sum as a parametrization. PyTorch tries that once without gradients before it is used, so
    /// the fused sum over a stack of experts is built twice; that of a single weight is built beforehand, once.
    fn adapted_parameter(&mut self, module: &Module, state: &State, input: bool, rows: Quantity) -> bool {
        let kind = module.kind;
        let mut weight = state.weight_trained;
        for pair in &state.pairs {
            let Some((inputs, outputs)) = kind.widths() else { continue };
            let experts = if let ModuleKind::Experts { count, .. } = kind { count } else { 1 };
            let Amount { factor, .. } = at(Quantity::Pass, inputs, outputs);
            let factor = factor.saturating_mul(u128::from(pair.rank)).saturating_mul(u128::from(experts));
            let amount = Amount { factor, quantity: Quantity::Pass };
            if experts > 1 {
                self.forward.push((Part::Adapters, amount));
            }
            weight |= self.product(Part::Adapters, amount, Gradients { first: pair.trained, second: pair.trained });
        }
        let factor = kind.product().unwrap_or(0);
        let operands = Gradients { first: input, second: weight };
        self.product(module.part, Amount { factor, quantity: rows }, operands) || state.bias_trained
    }

    /// A product of two operands; returns whether the result requires grad.
    fn product(&mut self, part: Part, amount: Amount, operands: Gradients) -> bool {
        let output = operands.first || operands.second;
        self.save(output);
        self.forward.push((part, amount));
        let gradients = [operands.first, operands.second].into_iter().filter(|requires_grad| *requires_grad).count();
        if gradients > 0 {
            let backward = amount.factor.saturating_mul(if gradients == 2 { 2 } else { 1 });
            self.cost.book(Entry { part, quantity: amount.quantity, forward: 0, backward, recompute: 0 });
        }
        output
    }

    /// An activation is kept for the backward pass, so a checkpoint repeats everything up to here.
    fn save(&mut self, kept: bool) {
        if kept {
            self.repeated = self.forward.len();
            self.regions.save(self.forward.len());
        }
    }
}

/// A product with a matrix at each of some rows.
fn at(quantity: Quantity, inputs: u64, outputs: u64) -> Amount {
    Amount { factor: u128::from(inputs).saturating_mul(u128::from(outputs)).saturating_mul(2), quantity }
}

/// One bit for each slot; grows as slots are set.
struct Bits(Vec<u64>);

impl Bits {
    fn get(&self, slot: Slot) -> bool {
        let index = usize::from(slot.0);
        self.0.get(index / 64).is_some_and(|word| word >> (index % 64) & 1 == 1)
    }

    fn set(&mut self, slot: Slot, requires_grad: bool) {
        let index = usize::from(slot.0);
        if self.0.len() <= index / 64 {
            self.0.resize(index / 64 + 1, 0);
        }
        let Some(word) = self.0.get_mut(index / 64) else { return };
        let bit = 1 << (index % 64);
        *word = if requires_grad { *word | bit } else { *word & !bit };
    }

    /// The slots that outlive a block.
    fn kept(&self) -> u8 {
        (0..Slot::FIRST_LOCAL.0).fold(0, |bits, slot| bits | u8::from(self.get(Slot(slot))) << slot)
    }
}
