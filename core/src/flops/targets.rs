//! Which modules get a low-rank pair, as `peft` chooses them.

use super::names::{self, Place, Rule};
use super::network::Network;
use super::plan::{adaptable, pair};
use crate::facts::AdapterKind;
use crate::method::{MethodProblem, Targets};
use crate::shape::{ExpertTargets, ModuleKind};

/// The largest rank that is believed; full rank is at most the width of a layer.
const LARGEST_RANK: u64 = 1 << 20;

/// Puts a pair beside every target.
pub(super) fn adapt(
    network: &mut Network,
    kind: AdapterKind,
    rank: u64,
    targets: &Targets,
    saved: &[String],
) -> Result<(), MethodProblem> {
    if rank == 0 || rank > LARGEST_RANK {
        return Err(MethodProblem::Rank { rank, most: LARGEST_RANK });
    }
    let mut chosen: Vec<(Place, u64)> = Vec::new();
    match targets {
        Targets::AllLinear => {
            let linear = all_linear(network);
            match network.program.expert_targets {
                None => chosen.extend(linear.into_iter().map(|(place, _)| (place, rank))),
                Some(experts) => {
                    // peft translates by the last part of a name, so what is called as an expert's part once was goes too.
                    let kept = linear.into_iter().filter(|(_, leaf)| !expert_names(experts).contains(&leaf.as_str()));
                    chosen.extend(kept.map(|(place, _)| (place, rank)));
                    chosen.extend(expert_places(network, experts, expert_names(experts), rank)?);
                }
            }
        }
        Targets::Named(names) if names.is_empty() => {
            return Err(MethodProblem::NoTargets { known: network.known(adaptable(kind)) });
        }
        Targets::Named(names) => {
            let experts = network.program.expert_targets;
            let translated =
                |name: &str| experts.and_then(|it| expert_names(it).into_iter().find(|known| is_called(name, known)));
            let as_experts: Vec<&str> = names.iter().filter_map(|name| translated(name)).collect();
            if let Some(experts) = experts.filter(|_| !as_experts.is_empty()) {
                chosen.extend(expert_places(network, experts, as_experts, rank)?);
            }
            for name in names.iter().filter(|name| translated(name).is_none()) {
                chosen.extend(find_kind(network, name, kind)?.into_iter().map(|place| (place, rank)));
            }
        }
    }
    for (place, rank) in chosen {
        network.edit(&[place], |_, state| state.pairs = vec![pair(kind, rank)]);
    }
    // peft puts no pair on a module to save, nor beneath one.
    for name in saved {
        let places = names::find(network, name, Rule::SuffixOfHolder);
        network.edit(&places, |_, state| state.pairs.clear());
    }
    Ok(())
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
    names: Vec<&str>,
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
