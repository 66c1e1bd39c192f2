//! Finds modules by the names people and libraries give them.

use super::layout::BLOCKS;
use super::network::Network;

/// Role of the module that turns tokens into vectors.
const INPUT_EMBEDDINGS: (&str, &str) = ("input-embeddings", "model.embed_tokens");
/// Role of the module that turns vectors into logits.
const OUTPUT_HEAD: (&str, &str) = ("output-head", "lm_head");

/// The PyTorch name behind a role; any other name stands for itself.
pub(super) fn resolve_role(name: &str) -> &str {
    [INPUT_EMBEDDINGS, OUTPUT_HEAD].into_iter().find(|(role, _)| *role == name).map_or(name, |(_, module)| module)
}

/// How a pattern has to meet a module's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// The whole name, or its end after a dot (`target_modules` of peft).
    Suffix,
    /// The same of the module or of one that holds it.
    SuffixOfHolder,
    /// Any ending, after a dot or not, of the module or of one that holds it (`modules_to_save` of peft).
    EndingOfHolder,
}

/// Where a module stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Before the blocks: which module.
    Stem(usize),
    /// In every block: which module.
    EveryLayer(usize),
    /// In one block: which block, which module.
    Layer(usize, usize),
    /// After the blocks: which module.
    Tail(usize),
}

/// All modules a pattern meets.
pub(super) fn find(network: &Network, pattern: &str, rule: Rule) -> Vec<Place> {
    let pattern = resolve_role(pattern);
    let mut places = Vec::new();
    let once = |names: &[super::block::Module], place: fn(usize) -> Place, places: &mut Vec<Place>| {
        let met =
            names.iter().enumerate().filter(|(_, module)| holders(module.name, rule).any(|it| ends(it, pattern, rule)));
        places.extend(met.map(|(index, _)| place(index)));
    };
    once(&network.stem.block.modules, Place::Stem, &mut places);
    let every = in_every_block(pattern, rule);
    for (index, module) in network.block.modules.iter().enumerate() {
        if every || holders(module.name, rule).any(|holder| ends(holder, pattern, rule)) {
            places.push(Place::EveryLayer(index));
        } else if let Some(layer) = in_one_block(pattern, module.name, rule).filter(|it| *it < network.layers.len()) {
            places.push(Place::Layer(layer, index));
        }
    }
    once(&network.tail.block.modules, Place::Tail, &mut places);
    places
}

/// A module's name and, where the rule asks for them, those of the modules that hold it: `a.b`, `a`.
fn holders(name: &str, rule: Rule) -> impl Iterator<Item = &str> {
    core::iter::successors(Some(name), move |name| match rule {
        Rule::Suffix => None,
        Rule::SuffixOfHolder | Rule::EndingOfHolder => name.rsplit_once('.').map(|(holder, _)| holder),
    })
}

fn ends(name: &str, pattern: &str, rule: Rule) -> bool {
    let Some(before) = name.strip_suffix(pattern) else { return false };
    before.is_empty() || before.ends_with('.') || (rule == Rule::EndingOfHolder && !pattern.is_empty())
}

/// Whether a pattern means the list of blocks itself or what holds it.
fn in_every_block(pattern: &str, rule: Rule) -> bool {
    rule != Rule::Suffix && holders(BLOCKS, rule).any(|holder| ends(holder, pattern, rule))
}

/// The block a pattern names by its number, if it names this module in it.
fn in_one_block(pattern: &str, module: &str, rule: Rule) -> Option<usize> {
    let numbered = holders(module, rule).find_map(|holder| pattern.strip_suffix(holder)?.strip_suffix('.'));
    let whole = (rule != Rule::Suffix).then_some(pattern);
    [numbered, whole].into_iter().flatten().find_map(|name| numbered_block(name, rule))
}

/// The number in `3`, `layers.3` or `model.layers.3`.
///
/// A bare `3` is no name of one block where any ending matches: it would mean 13 and 23 as well.
fn numbered_block(name: &str, rule: Rule) -> Option<usize> {
    let (list, number) = name.rsplit_once('.').unwrap_or(("", name));
    let bare = list.is_empty() && rule != Rule::EndingOfHolder;
    parse_number(number).filter(|_| bare || ends(BLOCKS, list, Rule::Suffix))
}

/// A number as Python prints it: no sign, no leading zero.
fn parse_number(digits: &str) -> Option<usize> {
    let canonical = digits == "0" || (!digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit()));
    digits.parse().ok().filter(|_| canonical)
}

/// Splits a full name into the number of its block and the name within it.
pub(super) fn split_block(name: &str) -> Option<(usize, &str)> {
    let (number, module) = name.strip_prefix(BLOCKS)?.strip_prefix('.')?.split_once('.')?;
    Some((parse_number(number)?, module))
}

/// The place of exactly this module.
pub(super) fn place(network: &Network, name: &str) -> Option<Place> {
    let position = |modules: &[super::block::Module], name: &str| modules.iter().position(|module| module.name == name);
    if let Some((layer, module)) = split_block(name) {
        let index = position(&network.block.modules, module)?;
        return (layer < network.layers.len()).then_some(Place::Layer(layer, index));
    }
    let stem = position(&network.stem.block.modules, name).map(Place::Stem);
    stem.or_else(|| position(&network.tail.block.modules, name).map(Place::Tail))
}
