//! Which modules get a low-rank pair, as `peft` chooses them.

use super::names::{self, Place, Rule};
use super::network::{Network, full_name};
use super::plan::{adaptable, pair};
use crate::facts::AdapterKind;
use crate::method::{MethodProblem, Targets};
use crate::shape::{ExpertTargets, Module, ModuleKind};

/// The largest rank that is believed; full rank is at most the width of a layer.
const LARGEST_RANK: u64 = 1 << 20;

/// What `peft` is told of low-rank pairs.
pub(super) struct Choice<'a> {
    pub(super) kind: AdapterKind,
    pub(super) rank: u64,
    pub(super) rank_pattern: &'a [(String, u64)],
    pub(super) targets: &'a Targets,
    pub(super) layers_to_transform: &'a [u64],
}

impl Choice<'_> {
    /// Puts a pair beside every target.
    pub(super) fn adapt(&self, network: &mut Network, saved: &[String]) -> Result<(), MethodProblem> {
        let mut ranks = self.rank_pattern.iter().map(|(_, rank)| *rank).chain([self.rank]);
        if let Some(rank) = ranks.find(|rank| *rank == 0 || *rank > LARGEST_RANK) {
            return Err(MethodProblem::Rank { rank, most: LARGEST_RANK });
        }
        let mut chosen = self.chosen(network)?;
        if !self.layers_to_transform.is_empty() {
            chosen = self.in_chosen_blocks(network, chosen)?;
        }
        for (place, rank) in chosen {
            network.edit(&[place], |_, state| state.pairs = vec![pair(self.kind, rank)]);
        }
        // The first pattern that fits holds, so it is written last.
        for (name, rank) in self.rank_pattern.iter().rev() {
            let places = network.find(name, Rule::Suffix, "rank pattern")?;
            let mut found = false;
            network.edit(&places, |_, state| {
                found |= !state.pairs.is_empty();
                state.pairs.iter_mut().for_each(|pair| pair.rank = *rank);
            });
            if !found {
                return Err(MethodProblem::RankWithoutTarget { name: name.clone() });
            }
        }
        // peft puts no pair on a module to save, nor beneath one.
        let classifies = network.program.classifies;
        for name in saved.iter().filter(|name| !(classifies && *name == names::OUTPUT_HEAD)) {
            let places = names::find(network, name, Rule::SuffixOfHolder);
            network.edit(&places, |_, state| state.pairs.clear());
        }
        Ok(())
    }

    /// The places of pairs in all blocks, with their ranks.
    fn chosen(&self, network: &mut Network) -> Result<Vec<(Place, u64)>, MethodProblem> {
        match self.targets {
            Targets::AllLinear => self.all_linear(network),
            Targets::Named(names) if names.is_empty() => {
                Err(MethodProblem::NoTargets { known: network.known(adaptable(self.kind)) })
            }
            Targets::Named(names) => self.named(network, names),
            Targets::Pattern(pattern) => {
                let places = matching(network, pattern, self.kind)?;
                Ok(places.into_iter().map(|place| (place, self.rank)).collect())
            }
        }
    }

    fn all_linear(&self, network: &Network) -> Result<Vec<(Place, u64)>, MethodProblem> {
        let linear = all_linear(network);
        let Some(experts) = network.program.expert_targets else {
            return Ok(linear.into_iter().map(|(place, _)| (place, self.rank)).collect());
        };
        // peft translates by the last part of a name, so whatever is called as an expert's part once was goes too.
        let names = expert_names(experts);
        let kept = linear.into_iter().filter(|(_, leaf)| !names.contains(&leaf.as_str()));
        let mut chosen: Vec<(Place, u64)> = kept.map(|(place, _)| (place, self.rank)).collect();
        chosen.extend(expert_places(network, experts, &names, self.rank)?);
        Ok(chosen)
    }

    /// A list may name what this model does not have, as long as something fits: `peft` takes it so.
    fn named(&self, network: &mut Network, names: &[String]) -> Result<Vec<(Place, u64)>, MethodProblem> {
        let experts = network.program.expert_targets;
        let translated =
            |name: &str| experts.and_then(|it| expert_names(it).into_iter().find(|known| is_called(name, known)));
        let as_experts: Vec<&str> = names.iter().filter_map(|name| translated(name)).collect();
        let mut chosen = match experts {
            Some(experts) => expert_places(network, experts, &as_experts, self.rank)?,
            None => Vec::new(),
        };
        let mut missing = None;
        for name in names.iter().filter(|name| translated(name).is_none()) {
            match find_kind(network, name, self.kind) {
                Ok(places) => chosen.extend(places.into_iter().map(|place| (place, self.rank))),
                Err(problem) => {
                    network.unmatched.push(name.clone());
                    missing.get_or_insert(problem);
                }
            }
        }
        match missing {
            Some(problem) if chosen.is_empty() => Err(problem),
            _ => Ok(chosen),
        }
    }

    /// Those of the places that lie in the blocks that were asked for.
    fn in_chosen_blocks(
        &self,
        network: &Network,
        chosen: Vec<(Place, u64)>,
    ) -> Result<Vec<(Place, u64)>, MethodProblem> {
        let stack = network.program.last_layers.and_then(|index| network.pieces.get(index));
        let there = stack.map_or(0, |planned| planned.layers.len());
        let numbers = self.layers_to_transform.iter().map(|it| usize::try_from(*it).ok().filter(|it| *it < there));
        let Some(numbers) = numbers.collect::<Option<Vec<usize>>>() else {
            let asked = self.layers_to_transform.iter().copied().max().unwrap_or_default();
            return Err(MethodProblem::Block { asked, there });
        };
        let narrowed = chosen.into_iter().flat_map(|(place, rank)| {
            let piece = network.program.pieces.get(place.piece).filter(|piece| piece.is_stack());
            let kinds = piece.map_or(&[][..], |piece| &piece.layers);
            let fits =
                |layer: usize| kinds.get(layer) == Some(&place.block) && place.layer.is_none_or(|only| only == layer);
            let fitting = numbers.iter().copied().filter(|layer| fits(*layer));
            fitting.map(|layer| (Place { layer: Some(layer), ..place }, rank)).collect::<Vec<_>>()
        });
        let narrowed: Vec<(Place, u64)> = narrowed.collect();
        if narrowed.is_empty() {
            let blocks: Vec<String> = self.layers_to_transform.iter().map(u64::to_string).collect();
            return Err(MethodProblem::NoTargetInBlocks { blocks: blocks.join(", ") });
        }
        Ok(narrowed)
    }
}

/// Modules whose whole name a regular expression matches.
fn matching(network: &Network, pattern: &str, kind: AdapterKind) -> Result<Vec<Place>, MethodProblem> {
    let expression = regex::Regex::new(&format!("^(?:{pattern})$"))
        .map_err(|problem| MethodProblem::Pattern { pattern: pattern.to_owned(), problem: problem.to_string() })?;
    let fits = |module: &Module| adaptable(kind)(module.kind) && !module.kind.is_parameter();
    let mut places = Vec::new();
    for (index, piece) in network.program.pieces.iter().enumerate() {
        for (layer, block) in piece.layers.iter().enumerate() {
            let modules = piece.blocks.get(*block).map_or(&[][..], |block| &block.modules);
            let fitting = modules.iter().enumerate().filter(|(_, module)| fits(module));
            let met = fitting.filter(|(_, module)| expression.is_match(&full_name(piece, layer, module)));
            let layer = piece.is_stack().then_some(layer);
            places.extend(met.map(|(module, _)| Place { piece: index, block: *block, module, layer }));
        }
    }
    if places.is_empty() {
        let wanted = "module that takes a low-rank pair";
        let known = network.known(|it| adaptable(kind)(it) && !it.is_parameter());
        return Err(MethodProblem::NoSuchModule { option: "target", name: pattern.to_owned(), wanted, known });
    }
    Ok(places)
}

/// Every linear module but the output head, and the last part of its name.
fn all_linear(network: &Network) -> Vec<(Place, String)> {
    let pieces = network.program.pieces.iter().enumerate();
    let linear = pieces.flat_map(|(piece, it)| {
        let linear = names::modules(it).filter(|(_, _, module)| module.kind.is_linear() && !module.outside_all_linear);
        linear.map(move |(block, index, module)| {
            let leaf = module.name.rsplit('.').next().unwrap_or(&module.name);
            (Place { piece, block, module: index, layer: None }, leaf.to_owned())
        })
    });
    linear.collect()
}

fn find_kind(network: &Network, name: &str, kind: AdapterKind) -> Result<Vec<Place>, MethodProblem> {
    let fits = adaptable(kind);
    let mut places = names::find(network, name, Rule::Suffix);
    // A bare parameter is no module: `target_modules` never means one.
    places.retain(|place| network.module(*place).is_some_and(|it| fits(it.kind) && !it.kind.is_parameter()));
    if places.is_empty() {
        let wanted = "module that takes a low-rank pair";
        let known = network.known(|it| fits(it) && !it.is_parameter());
        return Err(MethodProblem::NoSuchModule { option: "target", name: name.to_owned(), wanted, known });
    }
    Ok(places)
}

fn is_called(target: &str, name: &str) -> bool {
    target.strip_suffix(name).is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

/// Names that `peft` 0.21 translates (`_MOE_TARGET_MODULE_MAPPING`): the router's, the two fused ones, the last.
fn expert_names(experts: ExpertTargets) -> Vec<&'static str> {
    match experts {
        ExpertTargets::Mixtral => vec!["gate", "w1", "w3", "w2"],
        ExpertTargets::Qwen2Moe => vec!["gate", "gate_proj", "up_proj", "down_proj"],
    }
}

/// Where the pairs of translated names go, and their ranks: one pair stands for both fused projections, of twice the rank.
fn expert_places(
    network: &Network,
    experts: ExpertTargets,
    names: &[&str],
    rank: u64,
) -> Result<Vec<(Place, u64)>, MethodProblem> {
    let known = expert_names(experts);
    let asked: Vec<bool> = known.iter().map(|name| names.contains(name)).collect();
    let &[router, first, second, last] = asked.as_slice() else { return Ok(Vec::new()) };
    if first != second {
        let (present, missing) = if first { (1, 2) } else { (2, 1) };
        let name = |index: usize| known.get(index).copied().unwrap_or_default().to_owned();
        return Err(MethodProblem::FusedTargets { present: name(present), missing: name(missing) });
    }
    let mut places = Vec::new();
    let wanted = [
        (router, "gate", rank),
        (first, "experts.gate_up_proj", rank.saturating_mul(2)),
        (last, "experts.down_proj", rank),
    ];
    for (_, name, rank) in wanted.into_iter().filter(|(asked, ..)| *asked) {
        let found = names::find(network, name, Rule::Suffix).into_iter();
        let parameters = found.filter(|place| network.module(*place).is_some_and(|it| is_translated(it.kind, name)));
        places.extend(parameters.map(|place| (place, rank)));
    }
    Ok(places)
}

/// `gate.weight` is adapted as a parameter whatever class the router is of.
fn is_translated(kind: ModuleKind, name: &str) -> bool {
    kind.is_parameter() || (name == "gate" && kind.is_linear())
}
