//! Operations of passes as a hook reported them.

use super::batch::Batch;
use super::cost::{Attention, Cost, Part, TermCost};
use super::count::Count;
use super::network::Network;
use crate::facts::{ImageGrids, Passes, TrainingFacts};
use crate::run::Term;
use crate::shape::{Mask, Quantity, Shape, Stream};
use crate::unit::Flops;

/// What a kernel does with a row in which several sequences stand behind one another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Packing {
    /// One score matrix over the whole row, of which the mask then hides most: eager, sdpa. Never counts too little.
    #[default]
    Whole,
    /// One score matrix for each sequence: variable-length flash attention.
    Apart,
}

impl Packing {
    /// What the attention kernel of this name (`config._attn_implementation`) does.
    pub fn of_kernel(name: Option<&str>) -> Self {
        // Flex attention skips blocks of 128 and not pairs, so it stays with the whole.
        if name.is_some_and(|name| name.contains("flash")) { Self::Apart } else { Self::Whole }
    }
}

/// What passes through a live model cost, whichever way it is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveCost {
    cost: Cost,
    without_adapters: Option<Cost>,
    packing: Packing,
}

impl LiveCost {
    /// From the cost of the model as it is trained, and of the same model without its adapters if it has any.
    pub const fn new(cost: Cost, without_adapters: Option<Cost>, packing: Packing) -> Self {
        Self { cost, without_adapters, packing }
    }

    /// Of a network that was made from these facts, with its adapters on and off.
    pub fn of(shape: &Shape, network: &Network, training: &TrainingFacts) -> Self {
        let has_adapters = !training.adapters.is_empty() || !training.copied.is_empty();
        let without_adapters = has_adapters.then(|| Network::from_facts(shape, &TrainingFacts::default()).0.cost());
        Self::new(network.cost(), without_adapters, Packing::of_kernel(training.attention_implementation.as_deref()))
    }

    /// Operations of these passes.
    pub fn count(&self, passes: &Passes) -> Count {
        match &self.without_adapters {
            Some(cost) if passes.adapters_disabled && !passes.gradient => count(cost, passes, self.packing),
            _ => count(&self.cost, passes, self.packing),
        }
    }
}

/// Operations of passes with a network that is not run in any other way, over whole rows.
pub fn count_passes(cost: &Cost, passes: &Passes) -> Count {
    count(cost, passes, Packing::Whole)
}

fn count(cost: &Cost, passes: &Passes, packing: Packing) -> Count {
    let mut count = Count::default();
    if batch(passes).is_empty() {
        return count;
    }
    for term in cost.terms() {
        let amount = amount(cost, term, passes, packing);
        let times = |factor: u128| Flops(factor.saturating_mul(amount));
        let backward = |factor: u128| if passes.gradient { times(factor) } else { Flops::ZERO };
        let again = if is_head(term) && passes.head_recomputed { backward(term.forward) } else { Flops::ZERO };
        count.add_term(Term {
            name: term.part.name().to_owned(),
            forward: times(term.forward),
            backward: backward(term.backward),
            recompute: backward(term.recompute) + again,
        });
    }
    count
}

/// What one of the passes is fed; pictures of several sizes are counted apart.
const fn batch(passes: &Passes) -> Batch {
    Batch {
        sequences: passes.sequences,
        length: passes.length,
        cached_length: passes.cached_length,
        decoder_length: passes.decoder_length,
        images: passes.images,
        image_grid: None,
    }
}

fn is_head(term: &TermCost) -> bool {
    let at_each_position = matches!(term.quantity, Quantity::Positions(Stream::Text | Stream::Decoder));
    term.part == Part::OutputHead && at_each_position
}

/// How much of a term's quantity all the passes are together.
fn amount(cost: &Cost, term: &TermCost, passes: &Passes, packing: Packing) -> u128 {
    let of = |batch: &Batch| batch.amount(term.quantity, cost.attention());
    let sum = |amounts: &mut dyn Iterator<Item = u128>| amounts.fold(0, u128::saturating_add);
    if passes.encoder_skipped && is_encoders(term.quantity) {
        return 0;
    }
    if let Some(positions) = passes.head_positions.filter(|_| is_head(term)) {
        return u128::from(positions);
    }
    let apart = packing == Packing::Apart || cost.attention() == Attention::Visible;
    if term.quantity.follows_grid() && !passes.image_grid.is_empty() {
        let one_row = matches!(term.quantity, Quantity::Pairs { mask: Mask::OneRow, .. });
        if one_row && !apart {
            return row_pairs(passes);
        }
        let attention = if one_row { Attention::Visible } else { cost.attention() };
        let of = |batch: &Batch| batch.amount(term.quantity, attention);
        let sized = |row: &ImageGrids| Batch { images: row.count, image_grid: Some(row.grid), ..batch(passes) };
        return sum(&mut passes.image_grid.iter().map(|row| of(&sized(row))));
    }
    // Only a batch of one row is taken apart: that is how kernels are told where sequences begin.
    if is_text_pairs(term.quantity) && apart && passes.sequences == 1 && !passes.packed.is_empty() {
        return sum(&mut passes.packed.iter().map(|row| of(&Batch::text(row.count, row.length))));
    }
    of(&batch(passes)).saturating_mul(u128::from(passes.count))
}

const fn is_encoders(quantity: Quantity) -> bool {
    matches!(quantity, Quantity::Positions(Stream::Text) | Quantity::Pairs { query: Stream::Text, .. })
}

/// Pairs of positions where the pictures of each pass lie in one row, which is multiplied as a whole. No more is known than
/// how many positions all passes have together, so each is taken to have as many as the others.
fn row_pairs(passes: &Passes) -> u128 {
    let positions = passes.image_grid.iter().fold(0_u128, |sum, row| {
        let patches = row.grid.iter().fold(1_u128, |patches, side| patches.saturating_mul(u128::from(*side)));
        sum.saturating_add(patches.saturating_mul(u128::from(row.count)))
    });
    let count = u128::from(passes.count).max(1);
    let (each, longer) = (positions / count, positions % count);
    let square = |length: u128| length.saturating_mul(length);
    let others = (count - longer).saturating_mul(square(each));
    others.saturating_add(longer.saturating_mul(square(each.saturating_add(1))))
}

const fn is_text_pairs(quantity: Quantity) -> bool {
    matches!(quantity, Quantity::Pairs { query: Stream::Text, key: Stream::Text, .. })
}

#[cfg(test)]
mod tests;
