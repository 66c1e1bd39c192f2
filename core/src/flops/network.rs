//! A network together with what is trained of it.

use std::borrow::Cow;
use std::sync::Arc;

use super::cost::{Attention, Cost, Part, SpareExperts, TermCost};
use super::region::Asked;
use super::stage::Stage;
use super::state::State;
use super::walk::{BlockCost, Entry, Surroundings, walk};
use crate::facts::Checkpointing;
use crate::run::Finding;
use crate::shape::{Block, Module, ModuleKind, Piece, Program, Shape, Step, Stream};

/// The ordered products of a model and what is trained of each.
///
/// Blocks that are built alike share one description, and those that are trained alike share one plan, so that a model of
/// a hundred blocks costs little more to count than one of two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    pub(super) program: Arc<Program>,
    /// One for each piece of the program.
    pub(super) pieces: Vec<PiecePlan>,
    pub(super) checkpoint: Option<Checkpointing>,
    /// Of the blocks that can be recomputed, one in so many is.
    pub(super) checkpoint_every: u64,
    pub(super) input_require_grads: bool,
    /// Trained vectors stand before the embeddings: of an encoder-decoder, before the encoder's alone.
    pub(super) prompted: bool,
    /// Positions that trained prompt vectors add to each sequence.
    pub(super) virtual_positions: u64,
    /// Keys and values that a trained prefix adds to those of each sequence.
    pub(super) virtual_keys: u64,
    /// Attentions over this stream have trained keys and values beside their own.
    pub(super) prefix_trained: Option<Stream>,
    /// Parameters of either.
    pub(super) virtual_parameters: u64,
    /// Whether those are trained.
    pub(super) virtual_trained: bool,
    /// What each pass does for each sequence to make them.
    pub(super) virtual_products: Option<Entry>,
    /// Targets that fit no module, where others do.
    pub(super) unmatched: Vec<String>,
}

/// What is trained of one piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PiecePlan {
    /// Distinct plans of a block.
    pub(super) plans: Vec<Plan>,
    /// Which of them each block follows, in order.
    pub(super) layers: Vec<usize>,
    /// Blocks that are not recomputed though the others are.
    pub(super) kept: Vec<usize>,
}

/// What is trained of one block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// Which kind of block.
    pub(super) block: usize,
    /// One for each of its modules.
    pub(super) states: Vec<State>,
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

impl PiecePlan {
    fn frozen(piece: &Piece) -> Self {
        let untrained = |block: &Block| vec![State::default(); block.modules.len()];
        let plan = |(block, it): (usize, &Block)| Plan { block, states: untrained(it) };
        Self {
            plans: piece.blocks.iter().enumerate().map(plan).collect(),
            layers: piece.layers.clone(),
            kept: Vec::new(),
        }
    }

    /// How often each plan's parameters are there.
    fn copies(&self, piece: &Piece) -> Vec<u64> {
        let mut copies = vec![0_u64; self.plans.len()];
        for layer in &self.layers {
            if let Some(count) = copies.get_mut(*layer) {
                *count = if piece.shared { 1 } else { count.saturating_add(1) };
            }
        }
        copies
    }
}

const CUT_GRADIENTS_TEXT: &str = "gradient checkpointing is reentrant, so blocks whose input requires no gradient are not trained; \
                                  call enable_input_require_grads() or use non-reentrant checkpointing";

impl Network {
    /// Code of the finding of [`Network::cut_gradients`].
    pub const CUT_GRADIENTS: &str = "checkpoint-cuts-gradients";

    /// The network of a shape, with nothing trained.
    pub(super) fn frozen(shape: &Shape) -> Self {
        let program = Arc::clone(shape.program());
        Self {
            pieces: program.pieces.iter().map(PiecePlan::frozen).collect(),
            program,
            checkpoint: None,
            checkpoint_every: 1,
            input_require_grads: false,
            prompted: false,
            virtual_positions: 0,
            virtual_keys: 0,
            prefix_trained: None,
            virtual_parameters: 0,
            virtual_trained: false,
            virtual_products: None,
            unmatched: Vec::new(),
        }
    }

    /// All parameters: tied ones once, low-rank pairs and copies (`modules_to_save`) besides the originals.
    pub fn parameters_total(&self) -> u64 {
        self.sum(parameters).saturating_add(self.virtual_parameters)
    }

    /// Parameters that are trained.
    pub fn parameters_trainable(&self) -> u64 {
        self.sum(trainable).saturating_add(if self.virtual_trained { self.virtual_parameters } else { 0 })
    }

    /// Targets of low-rank pairs that fit no module of this model, where others do; `peft` passes over them in silence.
    pub fn unmatched_targets(&self) -> &[String] {
        &self.unmatched
    }

    /// The modules that have parameters or products, in order.
    pub fn products(&self) -> impl Iterator<Item = Product> + '_ {
        let pieces = self.program.pieces.iter().zip(&self.pieces);
        pieces.flat_map(|(piece, planned)| {
            // Of blocks that are shared each stands once, under its own number.
            let each = 0..if piece.shared { piece.blocks.len() } else { planned.layers.len() };
            let first = |block: usize| piece.layers.iter().position(|layer| *layer == block);
            let layer = move |index| planned.layers.get(if piece.shared { first(index)? } else { index });
            each.filter_map(move |index| Some((index, layer(index)?))).flat_map(move |(index, layer)| {
                let plan = planned.plans.get(*layer);
                let modules = plan.and_then(|plan| Some((piece.blocks.get(plan.block)?, plan)));
                modules.into_iter().flat_map(move |(block, plan)| {
                    let described = block.modules.iter().zip(&plan.states);
                    described.map(move |(module, state)| describe(&full_name(piece, index, module), module, state))
                })
            })
        })
    }

    /// Forward, backward and recomputation as integers that wait for a batch, over the full attention matrix.
    pub fn cost(&self) -> Cost {
        let cost = into_cost(self.walk_all());
        let spare_experts = self.spare_experts();
        Cost { virtual_positions: self.virtual_positions, virtual_keys: self.virtual_keys, spare_experts, ..cost }
    }

    /// What is said where a reentrant checkpoint keeps gradients from something that was to be trained (PyTorch warns of it): the
    /// count is of what happens, which is not what was meant.
    pub fn cut_gradients(&self) -> Option<Finding> {
        self.walk_all()
            .cut
            .then(|| Finding { code: Self::CUT_GRADIENTS.to_owned(), text: CUT_GRADIENTS_TEXT.to_owned() })
    }

    fn walk_all(&self) -> BlockCost {
        let mut totals = BlockCost::default();
        self.virtual_products.into_iter().for_each(|entry| totals.book(entry));
        let mut requiring_grad = 0;
        // Blocks that can be recomputed are numbered through the whole model.
        let mut recomputable = 0_u64;
        let mut stage = Stage::default();
        let nested = self.checkpoint == Some(Checkpointing::NonReentrant);
        let mut prompted = self.prompted;
        for (piece, planned) in self.program.pieces.iter().zip(&self.pieces) {
            stage.enter(piece.stage.filter(|_| nested), requiring_grad, &mut totals);
            // Blocks of one plan that are entered in the same state cost the same: each is walked once.
            let mut walked: Vec<((usize, u8, bool), BlockCost)> = Vec::with_capacity(planned.plans.len() + 1);
            for (index, layer) in planned.layers.iter().enumerate() {
                let thinned = !recomputable.is_multiple_of(self.checkpoint_every) || planned.kept.contains(&index);
                let recomputed = piece.checkpointed && !thinned;
                recomputable = recomputable.saturating_add(u64::from(piece.checkpointed));
                let key = (*layer, requiring_grad, recomputed);
                let place = walked.iter().position(|(known, _)| *known == key).unwrap_or_else(|| {
                    let around = Surroundings {
                        requiring_grad,
                        checkpoint: self.checkpoint.filter(|_| recomputed),
                        input_gradients: self.input_require_grads,
                        prompted,
                        prefix: self.prefix_trained,
                        within: Asked { kind: self.checkpoint, every: self.checkpoint_every, kept: &planned.kept },
                    };
                    walked.push((key, walk_planned(piece, planned, *layer, around)));
                    walked.len() - 1
                });
                if let Some((_, cost)) = walked.get(place) {
                    cost.entries.iter().for_each(|entry| totals.book(*entry));
                    totals.cut |= cost.cut;
                    requiring_grad = cost.requiring_grad;
                    stage.hold(cost, piece.is_stack());
                }
            }
            prompted = prompted && !piece.blocks.iter().any(looks_up);
        }
        stage.enter(None, requiring_grad, &mut totals);
        totals
    }

    fn spare_experts(&self) -> SpareExperts {
        let modules = self.program.pieces.iter().flat_map(|piece| &piece.blocks).flat_map(|block| &block.modules);
        let layers = modules.filter_map(|module| match module.kind {
            ModuleKind::Experts { count, chosen, .. } => Some(SpareExperts::of_layer(count, chosen)),
            _ => None,
        });
        layers.fold(SpareExperts::default(), SpareExperts::or_more)
    }

    /// The stream whose attentions take a prefix: the decoder's where there is one.
    pub(super) fn prefixed(&self) -> Option<Stream> {
        let blocks = self.program.pieces.iter().flat_map(|piece| &piece.blocks);
        let mut streams = blocks.flat_map(|block| &block.steps).filter_map(|step| match step {
            Step::Prefix { stream: stream @ (Stream::Text | Stream::Decoder), .. } => Some(*stream),
            _ => None,
        });
        let first = streams.next()?;
        Some(if streams.any(|stream| stream == Stream::Decoder) { Stream::Decoder } else { first })
    }

    fn sum(&self, of: fn(&Module, &State) -> u64) -> u64 {
        let pieces = self.program.pieces.iter().zip(&self.pieces);
        pieces.fold(0, |sum: u64, (piece, planned)| {
            let copies = planned.copies(piece);
            planned.plans.iter().zip(copies).fold(sum, |sum, (plan, copies)| {
                let modules = piece.blocks.get(plan.block).map_or(&[][..], |block| &block.modules);
                let states = modules.iter().zip(&plan.states);
                let block = states.fold(0_u64, |sum, (module, state)| sum.saturating_add(of(module, state)));
                sum.saturating_add(block.saturating_mul(copies))
            })
        })
    }
}

/// The name of a module in the whole model.
pub(super) fn full_name(piece: &Piece, index: usize, module: &Module) -> Cow<'static, str> {
    if piece.is_stack() { Cow::Owned(format!("{}.{index}.{}", piece.prefix, module.name)) } else { module.name.clone() }
}

/// Whether a block's input comes from the embeddings.
fn looks_up(block: &Block) -> bool {
    block.steps.iter().any(|step| matches!(step, Step::InputGradients { .. }))
}

fn walk_planned(piece: &Piece, planned: &PiecePlan, layer: usize, around: Surroundings<'_>) -> BlockCost {
    let plan = planned.plans.get(layer);
    let block = plan.and_then(|plan| Some((piece.blocks.get(plan.block)?, plan)));
    block.map_or_else(BlockCost::default, |(block, plan)| walk(block, &plan.states, around))
}

fn describe(name: &str, module: &Module, state: &State) -> Product {
    Product {
        module: name.to_owned(),
        part: module.part,
        parameters: own_parameters(module),
        weight_trained: state.weight_trained,
        ranks: state.pairs.iter().map(|pair| pair.rank).collect(),
    }
}

/// Parameters that a module adds to the model by itself.
const fn own_parameters(module: &Module) -> u64 {
    let weight = if module.tied { 0 } else { module.kind.weight() };
    weight.saturating_add(module.kind.bias())
}

fn parameters(module: &Module, state: &State) -> u64 {
    let kind = module.kind;
    let copy = if state.copied { kind.weight().saturating_add(kind.bias()) } else { 0 };
    let pairs = state.pairs.iter().fold(0, |sum: u64, pair| sum.saturating_add(pair.parameters(kind)));
    let scales = state.scales.iter().fold(0, |sum: u64, scale| sum.saturating_add(scale.parameters(kind)));
    own_parameters(module).saturating_add(copy).saturating_add(pairs).saturating_add(scales)
}

fn trainable(module: &Module, state: &State) -> u64 {
    let kind = module.kind;
    let shared = module.tied && !state.copied;
    let weight = if state.weight_trained && !shared { kind.weight() } else { 0 };
    let bias = if state.bias_trained { kind.bias() } else { 0 };
    let pairs = state.pairs.iter().filter(|pair| pair.trained);
    let scales = state.scales.iter().filter(|scale| scale.trained).map(|scale| scale.parameters(kind));
    let added = pairs.map(|pair| pair.parameters(kind)).chain(scales);
    added.fold(weight.saturating_add(bias), u64::saturating_add)
}

fn into_cost(totals: BlockCost) -> Cost {
    let term = |entry: Entry| TermCost {
        part: entry.part,
        quantity: entry.quantity,
        forward: entry.forward,
        backward: entry.backward,
        recompute: entry.recompute,
    };
    let mut terms: Vec<TermCost> = totals.entries.into_iter().map(term).collect();
    terms.sort_unstable_by_key(|term| (term.part, term.quantity));
    Cost {
        terms,
        attention: Attention::Full,
        virtual_positions: 0,
        virtual_keys: 0,
        spare_experts: SpareExperts::default(),
    }
}
