//! Finds modules by the names people and libraries give them.

use std::borrow::Cow;

use super::network::Network;
use crate::shape::{Module, Piece, Program};

/// Role of the module that turns tokens into vectors.
const INPUT_EMBEDDINGS: &str = "input-embeddings";
/// Role of the module that turns vectors into logits.
pub(super) const OUTPUT_HEAD: &str = "output-head";

/// The PyTorch name behind a role; any other name stands for itself.
pub(super) fn resolve_role<'a>(program: &'a Program, name: &'a str) -> &'a str {
    let role = match name {
        INPUT_EMBEDDINGS => program.input_embeddings.as_deref(),
        OUTPUT_HEAD => program.output_head.as_deref(),
        _ => None,
    };
    role.unwrap_or(name)
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
pub(super) struct Place {
    pub(super) piece: usize,
    /// The kind of block, and the module in it.
    pub(super) block: usize,
    pub(super) module: usize,
    /// In this block alone; in all of its kind without.
    pub(super) layer: Option<usize>,
}

/// All modules a pattern meets.
pub(super) fn find(network: &Network, pattern: &str, rule: Rule) -> Vec<Place> {
    let pattern = resolve_role(&network.program, pattern);
    let mut places = Vec::new();
    for (index, piece) in network.program.pieces.iter().enumerate() {
        find_in(piece, index, pattern, rule, &mut places);
    }
    places
}

fn find_in(piece: &Piece, index: usize, pattern: &str, rule: Rule, places: &mut Vec<Place>) {
    let every = piece.is_stack() && in_every_block(&piece.prefix, pattern, rule);
    for (block, module, it) in modules(piece) {
        let place = |layer| Place { piece: index, block, module, layer };
        if every || holders(&it.name, rule).any(|holder| ends(holder, pattern, rule)) {
            places.push(place(None));
        } else if piece.is_stack()
            && let Some(layer) = in_one_block(&piece.prefix, pattern, &it.name, rule)
            && (if piece.shared { layer == block } else { piece.layers.get(layer) == Some(&block) })
        {
            places.push(place((!piece.shared).then_some(layer)));
        }
    }
}

/// The modules of every kind of block: block, module, what it is.
pub(super) fn modules(piece: &Piece) -> impl Iterator<Item = (usize, usize, &Module)> {
    let blocks = piece.blocks.iter().enumerate();
    blocks.flat_map(|(block, it)| it.modules.iter().enumerate().map(move |(index, module)| (block, index, module)))
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
fn in_every_block(prefix: &str, pattern: &str, rule: Rule) -> bool {
    rule != Rule::Suffix && holders(prefix, rule).any(|holder| ends(holder, pattern, rule))
}

/// The block a pattern names by its number, if it names this module in it.
fn in_one_block(prefix: &str, pattern: &str, module: &str, rule: Rule) -> Option<usize> {
    let numbered = holders(module, rule).find_map(|holder| pattern.strip_suffix(holder)?.strip_suffix('.'));
    let whole = (rule != Rule::Suffix).then_some(pattern);
    [numbered, whole].into_iter().flatten().find_map(|name| numbered_block(prefix, name, rule))
}

/// The number in `3`, `layers.3` or `model.layers.3`.
///
/// A bare `3` is no name of one block where any ending matches: it would mean 13 and 23 as well.
fn numbered_block(prefix: &str, name: &str, rule: Rule) -> Option<usize> {
    let (list, number) = name.rsplit_once('.').unwrap_or(("", name));
    let bare = list.is_empty() && rule != Rule::EndingOfHolder;
    parse_number(number).filter(|_| bare || ends(prefix, list, Rule::Suffix))
}

/// A number as Python prints it: no sign, no leading zero.
fn parse_number(digits: &str) -> Option<usize> {
    let canonical = digits == "0" || (!digits.starts_with('0') && digits.bytes().all(|byte| byte.is_ascii_digit()));
    digits.parse().ok().filter(|_| canonical)
}

/// The place of exactly this module.
pub(super) fn place(program: &Program, name: &str) -> Option<Place> {
    program.pieces.iter().enumerate().find_map(|(index, piece)| place_in(piece, index, name))
}

fn place_in(piece: &Piece, index: usize, name: &str) -> Option<Place> {
    let at = |block: usize, name: &str, layer| {
        let module = piece.blocks.get(block)?.modules.iter().position(|module| module.name == name)?;
        Some(Place { piece: index, block, module, layer })
    };
    if !piece.is_stack() {
        return at(0, name, None);
    }
    let (number, module) = name.strip_prefix(piece.prefix.as_ref())?.strip_prefix('.')?.split_once('.')?;
    let layer = parse_number(number)?;
    let block = if piece.shared { layer } else { *piece.layers.get(layer)? };
    at(block, module, if piece.shared { None } else { Some(layer) })
}

/// The block of a stack, or the run of steps of an inventory, that has this name: piece, number.
pub(super) fn block(program: &Program, name: &str) -> Option<(usize, usize)> {
    if let Some(run) = program.recomputable.iter().position(|run| run == name) {
        return Some((0, run));
    }
    program.pieces.iter().enumerate().filter(|(_, piece)| piece.is_stack()).find_map(|(index, piece)| {
        let number = name.strip_prefix(piece.prefix.as_ref())?.strip_prefix('.')?;
        let layer = parse_number(number)?;
        (layer < piece.layers.len()).then_some((index, layer))
    })
}

/// A module's name for an error message; a stack's blocks stand once, with `*` for their number.
pub(super) fn shown(piece: &Piece, module: &Module) -> Cow<'static, str> {
    if piece.is_stack() { Cow::Owned(format!("{}.*.{}", piece.prefix, module.name)) } else { module.name.clone() }
}
