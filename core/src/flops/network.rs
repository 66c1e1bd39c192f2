//! A network together with what is trained of it.

use super::block::{Block, Module, ModuleKind, Pair, State};
use super::cost::{Attention, Cost, Part, TermCost};
use super::layout;
use super::walk::{BlockCost, PartCost, Surroundings, walk};
use crate::facts::{AdapterKind, Checkpointing};
use crate::shape::{Mask, Shape};

/// The ordered products of a model and what is trained of each.
///
/// Blocks that are built alike share one description, and those that are trained alike share one plan, so that a model of
/// a hundred blocks costs little more to count than one of two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    pub(super) stem: Piece,
    pub(super) block: Block,
    pub(super) tail: Piece,
    /// Distinct states of a block's modules.
    pub(super) plans: Vec<Vec<State>>,
    /// The blocks, in order.
    pub(super) layers: Vec<Layer>,
    pub(super) checkpoint: Option<Checkpointing>,
    pub(super) input_require_grads: bool,
}

/// What stands once in a model, before or after the blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) block: Block,
    pub(super) states: Vec<State>,
}

/// One block of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layer {
    /// Which of [`Network::plans`].
    pub(super) plan: usize,
    pub(super) mask: Mask,
}

/// One module with parameters, as [`Network::products`] lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Product {
    /// Name in the PyTorch model, for example `model.layers.0.self_attn.q_proj`.
    pub module: String,
    /// Where its operations are booked.
    pub part: Part,
    /// Parameters of its own; 0 for a head that uses the embedding's.
    pub parameters: u64,
    /// Its weight (or the copy that is used instead) is trained.
    pub weight_trained: bool,
    /// Rank of each low-rank pair beside it.
    pub ranks: Vec<u64>,
}

impl Piece {
    fn new(block: Block) -> Self {
        let states = untrained(&block);
        Self { block, states }
    }
}

fn untrained(block: &Block) -> Vec<State> {
    vec![State::default(); block.modules.len()]
}

impl Network {
    /// The network of a shape, with nothing trained.
    pub(super) fn frozen(shape: &Shape) -> Self {
        let block = layout::block(shape);
        Self {
            stem: Piece::new(layout::stem(shape)),
            tail: Piece::new(layout::tail(shape)),
            plans: vec![untrained(&block)],
            layers: shape.masks.iter().map(|mask| Layer { plan: 0, mask: *mask }).collect(),
            block,
            checkpoint: None,
            input_require_grads: false,
        }
    }

    /// All parameters: tied ones once, low-rank pairs and copies (`modules_to_save`) besides the originals.
    pub fn parameters_total(&self) -> u64 {
        self.sum(parameters)
    }

    /// Parameters that are trained.
    pub fn parameters_trainable(&self) -> u64 {
        self.sum(trainable)
    }

    /// The modules that have parameters or products, in order.
    pub fn products(&self) -> impl Iterator<Item = Product> + '_ {
        let layers = self.layers.iter().enumerate().flat_map(move |(index, layer)| {
            let states = self.plans.get(layer.plan).map_or(&[][..], Vec::as_slice);
            let prefix = format!("{}.{index}.", layout::BLOCKS);
            self.block.modules.iter().zip(states).map(move |(module, state)| describe(&prefix, module, state))
        });
        let piece = |piece: &'_ Piece| {
            piece.block.modules.iter().zip(&piece.states).map(|(m, s)| describe("", m, s)).collect::<Vec<_>>()
        };
        piece(&self.stem).into_iter().chain(layers).chain(piece(&self.tail))
    }

    /// Forward, backward and recomputation as integers that wait for a batch, over the full attention matrix.
    pub fn cost(&self) -> Cost {
        let mut totals = Totals::default();
        let open = |requires_grad| Surroundings { requires_grad, checkpoint: None };
        let stem = walk(&self.stem.block, &self.stem.states, open(false));
        totals.add(&stem, Mask::Causal);
        let mut requires_grad = stem.requires_grad || self.input_require_grads;
        // Blocks of one plan that are entered in the same state cost the same: each is walked once.
        let mut walked: Vec<((usize, bool), BlockCost)> = Vec::with_capacity(self.plans.len() + 1);
        for layer in &self.layers {
            let key = (layer.plan, requires_grad);
            let place = walked.iter().position(|(known, _)| *known == key).unwrap_or_else(|| {
                let states = self.plans.get(layer.plan).map_or(&[][..], Vec::as_slice);
                let around = Surroundings { requires_grad, checkpoint: self.checkpoint };
                walked.push((key, walk(&self.block, states, around)));
                walked.len() - 1
            });
            if let Some((_, cost)) = walked.get(place) {
                totals.add(cost, layer.mask);
                requires_grad = cost.requires_grad;
            }
        }
        totals.add(&walk(&self.tail.block, &self.tail.states, open(requires_grad)), Mask::Causal);
        totals.into_cost()
    }

    fn sum(&self, of: fn(ModuleKind, &State) -> u64) -> u64 {
        let block = |block: &Block, states: &[State]| {
            block.modules.iter().zip(states).fold(0_u64, |sum, (it, state)| sum.saturating_add(of(it.kind, state)))
        };
        let plans: Vec<u64> = self.plans.iter().map(|states| block(&self.block, states)).collect();
        let layers = self.layers.iter().filter_map(|layer| plans.get(layer.plan));
        [&self.stem, &self.tail]
            .into_iter()
            .map(|piece| block(&piece.block, &piece.states))
            .chain(layers.copied())
            .fold(0, u64::saturating_add)
    }
}

fn describe(prefix: &str, module: &Module, state: &State) -> Product {
    Product {
        module: format!("{prefix}{}", module.name),
        part: module.part,
        parameters: own_parameters(module.kind),
        weight_trained: state.weight_trained,
        ranks: state.pairs.iter().map(|pair| pair.rank).collect(),
    }
}

/// Parameters that a module adds to the model by itself.
const fn own_parameters(kind: ModuleKind) -> u64 {
    match kind {
        ModuleKind::TiedHead { .. } => 0,
        _ => kind.weight().saturating_add(kind.bias()),
    }
}

fn parameters(kind: ModuleKind, state: &State) -> u64 {
    let copy = if state.copied { kind.weight().saturating_add(kind.bias()) } else { 0 };
    let pairs = state.pairs.iter().fold(0, |sum: u64, pair| sum.saturating_add(pair_parameters(kind, *pair)));
    own_parameters(kind).saturating_add(copy).saturating_add(pairs)
}

fn trainable(kind: ModuleKind, state: &State) -> u64 {
    let shared = matches!(kind, ModuleKind::TiedHead { .. }) && !state.copied;
    let weight = if state.weight_trained && !shared { kind.weight() } else { 0 };
    let bias = if state.bias_trained { kind.bias() } else { 0 };
    let pairs = state.pairs.iter().filter(|pair| pair.trained);
    pairs.fold(weight.saturating_add(bias), |sum, pair| sum.saturating_add(pair_parameters(kind, *pair)))
}

fn pair_parameters(kind: ModuleKind, pair: Pair) -> u64 {
    let Some((inputs, outputs)) = kind.widths() else { return 0 };
    let magnitude = if pair.kind == AdapterKind::Dora { outputs } else { 0 };
    inputs.saturating_add(outputs).saturating_mul(pair.rank).saturating_add(magnitude)
}

/// Collects the costs of blocks, apart by part and by mask.
#[derive(Default)]
struct Totals {
    parts: [PartCost; Part::COUNT],
    scores: Vec<(Mask, PartCost)>,
}

impl Totals {
    fn add(&mut self, block: &BlockCost, mask: Mask) {
        for (part, (total, more)) in Part::ALL.into_iter().zip(self.parts.iter_mut().zip(&block.parts)) {
            if part != Part::AttentionScores {
                total.add(more);
            }
        }
        let more = &block.parts[Part::AttentionScores as usize];
        if *more == PartCost::default() {
            return;
        }
        match self.scores.iter_mut().find(|(known, _)| *known == mask) {
            Some((_, total)) => total.add(more),
            None => self.scores.push((mask, *more)),
        }
    }

    fn into_cost(self) -> Cost {
        let mut terms = Vec::with_capacity(Part::COUNT + self.scores.len());
        for (part, cost) in Part::ALL.into_iter().zip(self.parts) {
            if part == Part::AttentionScores {
                terms.extend(self.scores.iter().map(|(mask, cost)| cost.term(part, *mask)));
            } else if cost != PartCost::default() {
                terms.push(cost.term(part, Mask::Causal));
            }
        }
        Cost { terms, attention: Attention::Full }
    }
}

impl PartCost {
    fn add(&mut self, more: &Self) {
        self.forward = self.forward.plus(more.forward);
        self.backward = self.backward.plus(more.backward);
        self.recompute = self.recompute.plus(more.recompute);
    }

    fn term(self, part: Part, mask: Mask) -> TermCost {
        TermCost { part, mask, forward: self.forward, backward: self.backward, recompute: self.recompute }
    }
}
