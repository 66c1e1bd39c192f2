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
        let has_adapters = !training.adapters.is_empty() || !training.scaled.is_empty() || !training.copied.is_empty();
        let without_adapters = has_adapters.then(|| Network::from_facts(shape, &TrainingFacts::default()).0.cost());
        Self::new(network.cost(), without_adapters, Packing::of_kernel(training.attention_implementation.as_deref()))
    }

    /// The same with attention counted over those pairs only that the mask leaves.
    #[must_use]
    pub fn over_visible_pairs(&self) -> Self {
        let visible = |cost: &Cost| cost.clone().with_attention(Attention::Visible);
        Self { cost: visible(&self.cost), without_adapters: self.without_adapters.as_ref().map(visible), ..*self }
    }

    /// Whether images were seen whose size nobody told, and the cost depends on it: what is counted is then a lower bound.
    pub fn lacks_grids(&self, passes: &Passes) -> bool {
        let told = passes.image_grid.iter().fold(0, |sum: u64, row| sum.saturating_add(row.count));
        let seen = passes.images.saturating_mul(passes.count);
        told < seen && self.cost.terms().iter().any(|term| term.quantity.follows_grid())
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

/// Products of an encoder, and those of its output alone, which a decoder's cache holds.
const fn is_encoders(quantity: Quantity) -> bool {
    let (Quantity::Positions(stream) | Quantity::Pairs { query: stream, .. }) = quantity else { return false };
    matches!(stream, Stream::Text | Stream::Frames(_))
}

/// Pairs of positions where the pictures of each pass lie in one row, which is multiplied as a whole. Which pictures a pass
/// held is not known, only how many: with the largest beside the largest the count is never too little, and it is exact
/// for one pass and for pictures of one size.
fn row_pairs(passes: &Passes) -> u128 {
    let positions = |grid: [u64; 3]| grid.iter().fold(1_u128, |all, side| all.saturating_mul(u128::from(*side)));
    let mut sizes: Vec<_> = passes.image_grid.iter().map(|row| (positions(row.grid), u128::from(row.count))).collect();
    sizes.sort_unstable_by(|one, two| two.cmp(one));
    let images = sizes.iter().fold(0_u128, |all, (_, count)| all.saturating_add(*count));
    let each = images.div_ceil(u128::from(passes.count).max(1)).max(1);
    let square = |length: u128| length.saturating_mul(length);
    let (mut pairs, mut row, mut held) = (0_u128, 0_u128, 0_u128);
    for (length, count) in sizes {
        let beside = count.min(each - held);
        row = row.saturating_add(length.saturating_mul(beside));
        held += beside;
        if held < each {
            continue;
        }
        let rows_of_one_size = (count - beside) / each;
        let more = square(length.saturating_mul(each)).saturating_mul(rows_of_one_size);
        pairs = pairs.saturating_add(square(row)).saturating_add(more);
        held = (count - beside) % each;
        row = length.saturating_mul(held);
    }
    pairs.saturating_add(square(row))
}

const fn is_text_pairs(quantity: Quantity) -> bool {
    matches!(quantity, Quantity::Pairs { query: Stream::Text, key: Stream::Text, .. })
}

#[cfg(test)]
mod tests;
