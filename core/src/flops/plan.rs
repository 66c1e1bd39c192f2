//! From a planned method to a network with its trained parts.

use super::block::{Module, ModuleKind, Pair, State};
use super::layout::BLOCKS;
use super::names::{self, Place, Rule};
use super::network::{Layer, Network};
use crate::facts::AdapterKind;
use crate::method::{Method, MethodProblem, Targets, TrainingOptions};
use crate::shape::Shape;

/// The largest rank that is believed; full rank is at most the width of a layer.
const LARGEST_RANK: u64 = 1 << 20;

impl Network {
    /// The network of a shape as a method would train it.
    pub fn from_method(shape: &Shape, method: &Method, options: &TrainingOptions) -> Result<Self, MethodProblem> {
        let mut network = Self::frozen(shape);
        network.checkpoint = options.gradient_checkpointing;
        // transformers 5 calls enable_input_require_grads() whenever it enables checkpointing on a text model.
        network.input_require_grads = options.input_require_grads || options.gradient_checkpointing.is_some();
        match method {
            Method::Full { frozen } => network.train_all_but(frozen)?,
            Method::Lora { kind, rank, targets, modules_to_save } => {
                network.adapt(*kind, *rank, targets, modules_to_save)?;
                network.save_modules(modules_to_save)?;
            }
            Method::LastLayers { layers } => network.train_last(*layers)?,
            Method::HeadOnly => network.train_head(),
        }
        network.settle();
        Ok(network)
    }

    fn train_all_but(&mut self, frozen: &[String]) -> Result<(), MethodProblem> {
        for piece in [&mut self.stem, &mut self.tail] {
            piece.block.modules.iter().zip(&mut piece.states).for_each(|(module, state)| train(module, state));
        }
        for states in &mut self.plans {
            self.block.modules.iter().zip(states).for_each(|(module, state)| train(module, state));
        }
        for name in frozen {
            let places = self.find(name, Rule::SuffixOfHolder, "frozen module")?;
            self.edit(&places, |_, state| *state = State::default());
            if self.ties_head() && places.iter().any(|place| matches!(place, Place::Tail(_) | Place::Stem(_))) {
                self.freeze_tied_weight(&places);
            }
        }
        Ok(())
    }

    /// One weight serves as embedding and as head: freezing either freezes both.
    fn freeze_tied_weight(&mut self, places: &[Place]) {
        let head = self.tail.block.modules.iter().position(|module| module.kind.is_linear());
        let named = places.iter().any(|place| match place {
            Place::Stem(_) => true,
            Place::Tail(index) => Some(*index) == head,
            Place::EveryLayer(_) | Place::Layer(..) => false,
        });
        if named {
            self.stem.states.iter_mut().for_each(|state| state.weight_trained = false);
            if let Some(state) = head.and_then(|index| self.tail.states.get_mut(index)) {
                state.weight_trained = false;
            }
        }
    }

    fn train_head(&mut self) {
        let tail = self.tail.block.modules.iter().zip(&mut self.tail.states);
        tail.filter(|(module, _)| module.kind.is_linear()).for_each(|(module, state)| train(module, state));
    }

    fn train_last(&mut self, asked: u64) -> Result<(), MethodProblem> {
        let there = self.layers.len();
        let problem = MethodProblem::Layers { asked, there };
        let count = usize::try_from(asked).map_err(|_| problem.clone())?;
        let first = there.checked_sub(count).filter(|_| count > 0).ok_or(problem)?;
        let mut trained = vec![State::default(); self.block.modules.len()];
        self.block.modules.iter().zip(&mut trained).for_each(|(module, state)| train(module, state));
        self.plans.push(trained);
        for Layer { plan, .. } in self.layers.iter_mut().skip(first) {
            *plan = 1;
        }
        Ok(())
    }

    fn adapt(
        &mut self,
        kind: AdapterKind,
        rank: u64,
        targets: &Targets,
        saved: &[String],
    ) -> Result<(), MethodProblem> {
        if rank == 0 || rank > LARGEST_RANK {
            return Err(MethodProblem::Rank { rank, most: LARGEST_RANK });
        }
        let pair = Pair { kind, rank, trained: true };
        let adapt = |_: &Module, state: &mut State| state.pairs = vec![pair];
        match targets {
            Targets::AllLinear => {
                let linear = self.block.modules.iter().enumerate().filter(|(_, module)| module.kind.is_linear());
                let places: Vec<Place> = linear.map(|(index, _)| Place::EveryLayer(index)).collect();
                self.edit(&places, adapt);
            }
            Targets::Named(names) if names.is_empty() => {
                return Err(MethodProblem::NoTargets { known: self.known(adaptable(kind)) });
            }
            Targets::Named(names) => {
                for name in names {
                    let places = self.find_kind(name, adaptable(kind))?;
                    self.edit(&places, adapt);
                }
            }
        }
        // peft puts no pair on a module to save, nor beneath one.
        for name in saved {
            let places = names::find(self, name, Rule::SuffixOfHolder);
            self.edit(&places, |_, state| state.pairs.clear());
        }
        Ok(())
    }

    fn save_modules(&mut self, saved: &[String]) -> Result<(), MethodProblem> {
        for name in saved {
            let places = self.find(name, Rule::EndingOfHolder, "module to save")?;
            let mut adapted = None;
            self.edit(&places, |module, state| {
                if !state.pairs.is_empty() {
                    adapted = Some(module.name.to_owned());
                }
                train(module, state);
                state.copied = true;
            });
            if let Some(module) = adapted {
                return Err(MethodProblem::AdaptedAndSaved { module, name: name.clone() });
            }
        }
        Ok(())
    }

    /// Changes the states at some places.
    pub(super) fn edit(&mut self, places: &[Place], mut change: impl FnMut(&Module, &mut State)) {
        if places.iter().any(|place| matches!(place, Place::Layer(..))) {
            self.separate();
        }
        for place in places {
            match *place {
                Place::Stem(index) => self.stem.edit(index, &mut change),
                Place::Tail(index) => self.tail.edit(index, &mut change),
                Place::EveryLayer(index) => {
                    let Some(module) = self.block.modules.get(index) else { continue };
                    self.plans
                        .iter_mut()
                        .filter_map(|states| states.get_mut(index))
                        .for_each(|state| change(module, state));
                }
                Place::Layer(layer, index) => {
                    let Some(module) = self.block.modules.get(index) else { continue };
                    let plan = self.layers.get(layer).and_then(|layer| self.plans.get_mut(layer.plan));
                    if let Some(state) = plan.and_then(|states| states.get_mut(index)) {
                        change(module, state);
                    }
                }
            }
        }
    }

    /// Gives each block a plan of its own, so that one can be changed without the others.
    pub(super) fn separate(&mut self) {
        if self.layers.iter().enumerate().all(|(index, layer)| layer.plan == index) {
            return;
        }
        let plans = self.layers.iter().map(|layer| self.plans.get(layer.plan).cloned().unwrap_or_default());
        self.plans = plans.collect();
        self.layers.iter_mut().enumerate().for_each(|(index, layer)| layer.plan = index);
    }

    /// Lets the tied head follow the embedding, and blocks that are trained alike share a plan again.
    pub(super) fn settle(&mut self) {
        self.settle_tie();
        if self.plans.len() <= 2 {
            return;
        }
        let mut kept: Vec<Vec<State>> = Vec::new();
        for layer in &mut self.layers {
            let Some(states) = self.plans.get_mut(layer.plan) else { continue };
            layer.plan = kept.iter().position(|known| known == states).unwrap_or_else(|| {
                kept.push(core::mem::take(states));
                kept.len() - 1
            });
        }
        self.plans = kept;
    }

    fn settle_tie(&mut self) {
        let head = self.tail.block.modules.iter().position(|module| matches!(module.kind, ModuleKind::TiedHead { .. }));
        let Some(head) = head.and_then(|index| self.tail.states.get_mut(index)) else { return };
        let Some(embedding) = self.stem.states.first_mut() else { return };
        if head.copied || embedding.copied {
            return;
        }
        let trained = head.weight_trained || embedding.weight_trained;
        head.weight_trained = trained;
        embedding.weight_trained = trained;
    }

    fn ties_head(&self) -> bool {
        self.tail.block.modules.iter().any(|module| matches!(module.kind, ModuleKind::TiedHead { .. }))
    }

    fn find(&self, name: &str, rule: Rule, option: &'static str) -> Result<Vec<Place>, MethodProblem> {
        let places = names::find(self, name, rule);
        if places.is_empty() {
            let known = self.known(|_| true);
            return Err(MethodProblem::NoSuchModule { option, name: name.to_owned(), wanted: "module", known });
        }
        Ok(places)
    }

    fn find_kind(&self, name: &str, fits: fn(ModuleKind) -> bool) -> Result<Vec<Place>, MethodProblem> {
        let mut places = names::find(self, name, Rule::Suffix);
        places.retain(|place| self.module(*place).is_some_and(|module| fits(module.kind)));
        if places.is_empty() {
            let wanted = "module that takes a low-rank pair";
            let known = self.known(fits);
            return Err(MethodProblem::NoSuchModule { option: "target", name: name.to_owned(), wanted, known });
        }
        Ok(places)
    }

    pub(super) fn module(&self, place: Place) -> Option<&Module> {
        match place {
            Place::Stem(index) => self.stem.block.modules.get(index),
            Place::EveryLayer(index) | Place::Layer(_, index) => self.block.modules.get(index),
            Place::Tail(index) => self.tail.block.modules.get(index),
        }
    }

    /// Names for an error message; blocks stand once, with `*` for their number.
    fn known(&self, fits: fn(ModuleKind) -> bool) -> String {
        let fitting = |modules: &[Module], prefix: &str| -> Vec<String> {
            modules.iter().filter(|it| fits(it.kind)).map(|module| format!("{prefix}{}", module.name)).collect()
        };
        let mut names = fitting(&self.stem.block.modules, "");
        names.extend(fitting(&self.block.modules, &format!("{BLOCKS}.*.")));
        names.extend(fitting(&self.tail.block.modules, ""));
        names.join(", ")
    }
}

impl super::network::Piece {
    fn edit(&mut self, index: usize, change: &mut impl FnMut(&Module, &mut State)) {
        if let (Some(module), Some(state)) = (self.block.modules.get(index), self.states.get_mut(index)) {
            change(module, state);
        }
    }
}

/// Trains all of a module.
fn train(module: &Module, state: &mut State) {
    state.weight_trained = true;
    state.bias_trained = module.kind.bias() > 0;
}

/// Which modules take a pair of a kind: DoRA's on a look-up is built otherwise and not described yet.
fn adaptable(kind: AdapterKind) -> fn(ModuleKind) -> bool {
    match kind {
        AdapterKind::Lora => |module| module.widths().is_some(),
        AdapterKind::Dora => |module| module.is_linear(),
    }
}
