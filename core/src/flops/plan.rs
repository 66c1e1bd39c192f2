//! From a planned method to a network with its trained parts.

use super::names::{self, Place, Rule};
use super::network::{Network, Plan};
use super::state::{Pair, State};
use super::targets::Choice;
use crate::facts::AdapterKind;
use crate::method::{Method, MethodProblem, TrainingOptions};
use crate::shape::{Module, ModuleKind, Shape};

/// The most virtual tokens that are believed; sequences of millions of positions are rare enough without them.
const MOST_VIRTUAL_TOKENS: u64 = 1 << 20;

impl Network {
    /// The network of a shape as a method would train it.
    pub fn from_method(shape: &Shape, method: &Method, options: &TrainingOptions) -> Result<Self, MethodProblem> {
        let mut network = Self::frozen(shape);
        network.checkpoint = options.gradient_checkpointing;
        network.checkpoint_every = options.checkpoint_every.max(1);
        // transformers 5 calls enable_input_require_grads() whenever it enables checkpointing on a text model.
        let implied = options.gradient_checkpointing.is_some() && network.program.reads_tokens;
        network.input_require_grads = options.input_require_grads || implied;
        match method {
            Method::Full { frozen } => network.train_all_but(frozen)?,
            Method::Lora { kind, rank, rank_pattern, targets, layers_to_transform, modules_to_save } => {
                let choice = Choice { kind: *kind, rank: *rank, rank_pattern, targets, layers_to_transform };
                choice.adapt(&mut network, modules_to_save)?;
                network.save_modules(modules_to_save)?;
            }
            Method::Prompt { virtual_tokens } => network.prompt(*virtual_tokens)?,
            Method::Prefix { virtual_tokens } => network.prefix(*virtual_tokens)?,
            Method::LastLayers { layers } => network.train_last(*layers)?,
            Method::HeadOnly => network.train_head()?,
        }
        network.settle();
        if let Method::Full { frozen } = method
            && network.parameters_trainable() == 0
        {
            return Err(MethodProblem::NothingTrained { frozen: frozen.join(", ") });
        }
        Ok(network)
    }

    /// Trained vectors stand before every sequence, so gradients flow to the first block whatever is frozen.
    fn prompt(&mut self, virtual_tokens: u64) -> Result<(), MethodProblem> {
        check_virtual_tokens(virtual_tokens)?;
        let embedding = self.program.input_embeddings.as_deref().and_then(|name| names::place(&self.program, name));
        let width = embedding.and_then(|place| self.module(place)?.kind.widths());
        let (_, width) = width.ok_or_else(|| not_described("prompt tuning"))?;
        self.prompted = true;
        self.virtual_positions = virtual_tokens;
        self.virtual_parameters = virtual_tokens.saturating_mul(width);
        self.virtual_trained = true;
        Ok(())
    }

    /// Every attention gets trained keys and values beside its own.
    fn prefix(&mut self, virtual_tokens: u64) -> Result<(), MethodProblem> {
        check_virtual_tokens(virtual_tokens)?;
        let width = self.program.prefix_width.ok_or_else(|| not_described("prefix tuning"))?;
        let blocks = self.program.last_layers.and_then(|index| self.pieces.get(index)).map_or(0, |it| it.layers.len());
        let blocks = u64::try_from(blocks).unwrap_or(u64::MAX);
        self.virtual_keys = virtual_tokens;
        self.prefix_trained = self.prefixed();
        self.virtual_trained = true;
        self.virtual_parameters = virtual_tokens.saturating_mul(width).saturating_mul(2).saturating_mul(blocks);
        Ok(())
    }

    fn train_all_but(&mut self, frozen: &[String]) -> Result<(), MethodProblem> {
        let all = self.all_places();
        self.edit(&all, |module, state| {
            if !matches!(module.kind, ModuleKind::Constant { .. }) {
                state.train(module.kind);
            }
        });
        for name in frozen {
            let places = self.find(name, Rule::SuffixOfHolder, "frozen module")?;
            self.edit(&places, |_, state| *state = State::default());
            self.freeze_ties(&places);
        }
        Ok(())
    }

    /// One weight serves under several names: freezing one of them freezes all.
    fn freeze_ties(&mut self, frozen: &[Place]) {
        let program = self.program.clone();
        for tie in &program.ties {
            let places: Vec<Place> = tie.iter().filter_map(|name| names::place(&program, name)).collect();
            if places.iter().any(|place| frozen.contains(place)) {
                self.edit(&places, |_, state| state.weight_trained = false);
            }
        }
    }

    fn train_head(&mut self) -> Result<(), MethodProblem> {
        let places = self.find("output-head", Rule::SuffixOfHolder, "output head")?;
        self.edit(&places, |module, state| state.train(module.kind));
        Ok(())
    }

    fn train_last(&mut self, asked: u64) -> Result<(), MethodProblem> {
        let program = self.program.clone();
        let stack =
            program.last_layers.and_then(|index| Some((program.pieces.get(index)?, self.pieces.get_mut(index)?)));
        let there = stack.as_ref().map_or(0, |(_, planned)| planned.layers.len());
        let problem = MethodProblem::Layers { asked, there };
        let count = usize::try_from(asked).map_err(|_| problem.clone())?;
        let first = there.checked_sub(count).filter(|_| count > 0).ok_or_else(|| problem.clone())?;
        let (piece, planned) = stack.ok_or(problem)?;
        let kinds = planned.plans.len();
        for (block, it) in piece.blocks.iter().enumerate() {
            let mut states = vec![State::default(); it.modules.len()];
            it.modules.iter().zip(&mut states).for_each(|(module, state)| state.train(module.kind));
            planned.plans.push(Plan { block, states });
        }
        let shared = piece.shared;
        planned.layers.iter_mut().skip(if shared { 0 } else { first }).for_each(|layer| *layer += kinds);
        Ok(())
    }

    fn save_modules(&mut self, saved: &[String]) -> Result<(), MethodProblem> {
        for name in saved {
            let places = self.find(name, Rule::EndingOfHolder, "module to save")?;
            let adapted = |place: &Place| self.state(*place).is_some_and(|state| !state.pairs.is_empty());
            if self.program.classifies && name == names::OUTPUT_HEAD && places.iter().any(adapted) {
                // Output embeddings are what the role means to transformers. What classifies is none, so a pair stays.
                self.unmatched.push(name.clone());
                continue;
            }
            let mut adapted = None;
            self.edit(&places, |module, state| {
                if !state.pairs.is_empty() {
                    adapted = Some(module.name.to_string());
                }
                state.train(module.kind);
                state.copied = true;
            });
            if let Some(module) = adapted {
                return Err(MethodProblem::AdaptedAndSaved { module, name: name.clone() });
            }
        }
        Ok(())
    }

    fn all_places(&self) -> Vec<Place> {
        let pieces = self.program.pieces.iter().enumerate();
        let places = pieces.flat_map(|(piece, it)| {
            names::modules(it).map(move |(block, module, _)| Place { piece, block, module, layer: None })
        });
        places.collect()
    }

    /// Changes the states at some places.
    pub(super) fn edit(&mut self, places: &[Place], mut change: impl FnMut(&Module, &mut State)) {
        let program = self.program.clone();
        for place in places {
            let Some(module) = program.pieces.get(place.piece).and_then(|piece| module_at(piece, place)) else {
                continue;
            };
            if place.layer.is_some() {
                self.separate(place.piece);
            }
            let Some(planned) = self.pieces.get_mut(place.piece) else { continue };
            if let Some(layer) = place.layer {
                let plan = planned.layers.get(layer).and_then(|plan| planned.plans.get_mut(*plan));
                if let Some(state) = plan.and_then(|plan| plan.states.get_mut(place.module)) {
                    change(module, state);
                }
                continue;
            }
            let plans = planned.plans.iter_mut().filter(|plan| plan.block == place.block);
            plans.filter_map(|plan| plan.states.get_mut(place.module)).for_each(|state| change(module, state));
        }
    }

    /// Gives each block of a piece a plan of its own, so that one can be changed without the others.
    fn separate(&mut self, piece: usize) {
        let Some(planned) = self.pieces.get_mut(piece) else { return };
        if planned.layers.iter().enumerate().all(|(index, layer)| *layer == index) {
            return;
        }
        let plans = planned.layers.iter().filter_map(|layer| planned.plans.get(*layer).cloned());
        planned.plans = plans.collect();
        planned.layers.iter_mut().enumerate().for_each(|(index, layer)| *layer = index);
    }

    /// Lets modules that share a weight follow each other, and blocks that are trained alike share a plan again.
    pub(super) fn settle(&mut self) {
        self.settle_ties();
        for planned in &mut self.pieces {
            if planned.plans.len() <= 2 {
                continue;
            }
            let mut kept: Vec<Plan> = Vec::new();
            for layer in &mut planned.layers {
                let Some(plan) = planned.plans.get(*layer) else { continue };
                *layer = kept.iter().position(|known| known == plan).unwrap_or_else(|| {
                    kept.push(plan.clone());
                    kept.len() - 1
                });
            }
            planned.plans = kept;
        }
    }

    fn settle_ties(&mut self) {
        let program = self.program.clone();
        for tie in &program.ties {
            // A copy (`modules_to_save`) has left the bond.
            let bound = |place: &Place| self.state(*place).is_some_and(|state| !state.copied);
            let places: Vec<Place> = tie.iter().filter_map(|name| names::place(&program, name)).filter(bound).collect();
            let trained = places.iter().any(|place| self.state(*place).is_some_and(|state| state.weight_trained));
            self.edit(&places, |_, state| state.weight_trained = trained);
        }
    }

    fn state(&self, place: Place) -> Option<&State> {
        let planned = self.pieces.get(place.piece)?;
        let plan = match place.layer {
            Some(layer) => planned.plans.get(*planned.layers.get(layer)?),
            None => planned.plans.iter().find(|plan| plan.block == place.block),
        };
        plan?.states.get(place.module)
    }

    pub(super) fn find(&self, name: &str, rule: Rule, option: &'static str) -> Result<Vec<Place>, MethodProblem> {
        let places = names::find(self, name, rule);
        if places.is_empty() {
            let known = self.known(|_| true);
            return Err(MethodProblem::NoSuchModule { option, name: name.to_owned(), wanted: "module", known });
        }
        Ok(places)
    }

    pub(super) fn module(&self, place: Place) -> Option<&Module> {
        self.program.pieces.get(place.piece).and_then(|piece| module_at(piece, &place))
    }

    /// Names for an error message; blocks stand once, with `*` for their number.
    pub(super) fn known(&self, fits: impl Fn(ModuleKind) -> bool) -> String {
        let mut shown: Vec<String> = Vec::new();
        for piece in &self.program.pieces {
            for (_, _, module) in names::modules(piece).filter(|(_, _, module)| fits(module.kind)) {
                let name = names::shown(piece, module).into_owned();
                if !shown.contains(&name) {
                    shown.push(name);
                }
            }
        }
        shown.join(", ")
    }
}

/// Sums saturate, so a number without bounds would be shown as an exact count.
const fn check_virtual_tokens(asked: u64) -> Result<(), MethodProblem> {
    if asked == 0 || asked > MOST_VIRTUAL_TOKENS {
        return Err(MethodProblem::VirtualTokens { asked, most: MOST_VIRTUAL_TOKENS });
    }
    Ok(())
}

fn not_described(what: &str) -> MethodProblem {
    MethodProblem::NotCounted { what: format!("{what} of this family") }
}

fn module_at<'a>(piece: &'a crate::shape::Piece, place: &Place) -> Option<&'a Module> {
    piece.blocks.get(place.block)?.modules.get(place.module)
}

/// Which modules take a pair of a kind: DoRA's on a look-up or a bare parameter is built otherwise and not described yet. A pair
/// beside a convolution depends on its groups in ways that `peft` partly refuses, so only that of a live model is counted.
pub(super) fn adaptable(kind: AdapterKind) -> fn(ModuleKind) -> bool {
    match kind {
        AdapterKind::Lora => |module| module.channels().is_some() && !module.is_convolution(),
        AdapterKind::Dora => ModuleKind::is_linear,
    }
}

/// A pair of a rank beside a module that is trained.
pub(super) const fn pair(kind: AdapterKind, rank: u64) -> Pair {
    Pair { kind, rank, trained: true, dropout: false }
}
