//! The histogram of what was fed since the last message.

use std::collections::{BTreeMap, HashMap};

use flopsmeter_core::facts::{ImageGrids, PackedSequences, Passes, Phase};

/// Most rows held at once; a training job has as many as it has distinct batch forms, some hundreds.
pub(crate) const MAXIMUM_ROWS: usize = 50_000;

/// Most lengths or sizes inside the passes of one row.
pub(crate) const MAXIMUM_SIZES: usize = 16_384;

/// How much of a pass there was room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// All of it.
    Enough,
    /// The pass, but not the lengths inside it.
    WithoutSizes,
    /// Nothing.
    None,
}

/// What has to be equal for passes to share a row. Whether something is known is part of it, so that one pass of which it is
/// not does not hide the others'.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::struct_excessive_bools, reason = "each is one fact of a pass, and they do not exclude one another")]
struct Form {
    model: u32,
    phase: Phase,
    gradient: bool,
    sequences: u64,
    length: u64,
    cached_length: u64,
    decoder_length: u64,
    encoder_skipped: bool,
    images: u64,
    sized_images: bool,
    packed: bool,
    adapters_disabled: bool,
    some_head_positions: bool,
    head_recomputed: bool,
    real_known: bool,
}

impl Form {
    const fn of(model: u32, passes: &Passes) -> Self {
        Self {
            model,
            phase: passes.phase,
            gradient: passes.gradient,
            sequences: passes.sequences,
            length: passes.length,
            cached_length: passes.cached_length,
            decoder_length: passes.decoder_length,
            encoder_skipped: passes.encoder_skipped,
            images: passes.images,
            sized_images: !passes.image_grid.is_empty(),
            packed: !passes.packed.is_empty(),
            adapters_disabled: passes.adapters_disabled,
            some_head_positions: passes.head_positions.is_some(),
            head_recomputed: passes.head_recomputed,
            real_known: passes.real_tokens.is_some(),
        }
    }
}

/// What adds up over the passes of a row.
#[derive(Debug, Default)]
struct Sum {
    count: u64,
    real_tokens: u64,
    head_positions: u64,
    packed: BTreeMap<u64, u64>,
    image_grid: BTreeMap<[u64; 3], u64>,
}

impl Sum {
    fn has_room_for(&self, passes: &Passes) -> bool {
        let sequences = passes.packed.iter().filter(|row| !self.packed.contains_key(&row.length)).count();
        let images = passes.image_grid.iter().filter(|row| !self.image_grid.contains_key(&row.grid)).count();
        self.packed.len() + sequences <= MAXIMUM_SIZES && self.image_grid.len() + images <= MAXIMUM_SIZES
    }

    fn add(&mut self, passes: &Passes) {
        let add = |sum: &mut u64, more: u64| *sum = sum.saturating_add(more);
        add(&mut self.count, passes.count);
        add(&mut self.real_tokens, passes.real_tokens.unwrap_or(0));
        add(&mut self.head_positions, passes.head_positions.unwrap_or(0));
        for row in &passes.packed {
            add(self.packed.entry(row.length).or_default(), row.count);
        }
        for row in &passes.image_grid {
            add(self.image_grid.entry(row.grid).or_default(), row.count);
        }
    }
}

/// Counts passes by form.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    rows: HashMap<Form, Sum>,
}

impl Tally {
    /// Adds passes of one form.
    pub(crate) fn add(&mut self, model: u32, mut passes: Passes) -> Room {
        let mut form = Form::of(model, &passes);
        let mut room = Room::Enough;
        let fits = match self.rows.get(&form) {
            Some(sum) => sum.has_room_for(&passes),
            None => Sum::default().has_room_for(&passes),
        };
        if !fits {
            // A packed pass without its lengths counts as one of long sequences, which is never less.
            (passes.packed, passes.image_grid) = (Vec::new(), Vec::new());
            form = Form::of(model, &passes);
            room = Room::WithoutSizes;
        }
        if self.rows.len() >= MAXIMUM_ROWS && !self.rows.contains_key(&form) {
            return Room::None;
        }
        self.rows.entry(form).or_default().add(&passes);
        room
    }

    /// All rows by model, in the order of their forms; the tally is empty afterwards.
    pub(crate) fn take(&mut self) -> BTreeMap<u32, Vec<Passes>> {
        let mut rows: Vec<(Form, Sum)> = self.rows.drain().collect();
        rows.sort_unstable_by_key(|(form, _)| *form);
        let mut by_model: BTreeMap<u32, Vec<Passes>> = BTreeMap::new();
        for (form, sum) in rows {
            by_model.entry(form.model).or_default().push(row(form, sum));
        }
        by_model
    }
}

fn row(form: Form, sum: Sum) -> Passes {
    Passes {
        phase: form.phase,
        gradient: form.gradient,
        sequences: form.sequences,
        length: form.length,
        cached_length: form.cached_length,
        decoder_length: form.decoder_length,
        encoder_skipped: form.encoder_skipped,
        images: form.images,
        image_grid: sum.image_grid.into_iter().map(|(grid, count)| ImageGrids { count, grid }).collect(),
        packed: sum.packed.into_iter().map(|(length, count)| PackedSequences { count, length }).collect(),
        adapters_disabled: form.adapters_disabled,
        head_positions: form.some_head_positions.then_some(sum.head_positions),
        head_recomputed: form.head_recomputed,
        count: sum.count,
        real_tokens: form.real_known.then_some(sum.real_tokens),
    }
}

#[cfg(test)]
mod tests;
