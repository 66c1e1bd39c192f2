//! What a job is fed, what that costs, and after how much of it an amount is reached.

use core::ops::ControlFlow;
use std::collections::BTreeMap;

use serde::Serialize;

use super::batching::{Batching, Feed, each_feed};
use super::lengths::{LengthRun, Lengths};
use crate::flops::{Batch, Cost, Count};
use crate::run::Term;
use crate::unit::Flops;

/// The data of a job and how it is fed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dataset {
    /// The sequences of an epoch.
    pub lengths: Lengths,
    /// How they become micro-batches.
    pub batching: Batching,
    /// Sequences of a micro-batch.
    pub sequences: u64,
    /// Length of a row where the data is packed (there has to be one); else where longer sequences are cut, if they are.
    pub seq_len: Option<u64>,
    /// Epochs.
    pub epochs: u64,
}

/// A data set with what one epoch over it comes to, so that a file of millions of lengths is walked once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    dataset: Dataset,
    /// Passes of an epoch by their form (sequences, length, whether they share a pass). The cost is quadratic in the length, so no
    /// mean is taken.
    forms: BTreeMap<Form, u64>,
    micro_batches: u64,
    tokens: u128,
}

type Form = (u64, u64, bool);

/// Where an amount of operations is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Reach {
    /// Micro-batches from the start of the job on, the last of them the one that reaches the amount.
    #[serde(serialize_with = "as_text")]
    pub micro_batches: u128,
    /// Positions that were fed by then, padding included.
    #[serde(serialize_with = "as_text")]
    pub tokens: u128,
}

fn as_text<S: serde::Serializer>(value: &u128, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

/// What each sequence brings besides its own positions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Beside {
    /// Positions that the decoder of an encoder-decoder reads.
    pub decoder_length: u64,
    /// Images.
    pub images: u64,
    /// Time, height and width of each image in patches, before patches are merged.
    pub image_grid: Option<[u64; 3]>,
}

/// Training passes through a network: what each costs.
#[derive(Clone, Copy, Debug)]
pub struct Passes<'c> {
    pub(super) cost: &'c Cost,
    pub(super) beside: Beside,
}

impl<'c> Passes<'c> {
    /// Passes at this cost over sequences of positions alone.
    pub const fn new(cost: &'c Cost) -> Self {
        Self { cost, beside: Beside { decoder_length: 0, images: 0, image_grid: None } }
    }

    /// The same, where each sequence brings more.
    #[must_use]
    pub const fn with(self, beside: Beside) -> Self {
        Self { beside, ..self }
    }

    /// One pass over `sequences` sequences of `length` positions.
    fn pass(&self, sequences: u64, length: u64) -> Count {
        let Beside { decoder_length, images, image_grid } = self.beside;
        let images = images.saturating_mul(sequences);
        self.cost.pass(true, &Batch { decoder_length, images, image_grid, ..Batch::text(sequences, length) })
    }

    /// What is done once in each pass, whatever is fed.
    pub(super) fn done_once(&self, length: u64) -> Count {
        // Sequences do not see each other, so that a second one adds its own part alone: what is left of the first is done once.
        less(&self.pass(1, length).times(2), &self.pass(2, length))
    }

    /// What a pass adds when its sequences share it with others.
    fn addition(&self, sequences: u64, length: u64) -> Count {
        less(&self.pass(sequences, length), &self.done_once(length))
    }

    fn of(&self, feed: Feed) -> Count {
        if feed.shares_pass {
            self.addition(feed.sequences, feed.length)
        } else {
            self.pass(feed.sequences, feed.length)
        }
    }
}

/// `from` without `taken`, part by part; nothing goes below zero.
pub(super) fn less(from: &Count, taken: &Count) -> Count {
    let minus = |from: Flops, taken: Flops| Flops(from.0.saturating_sub(taken.0));
    let term = |term: &Term| {
        let other = taken.terms.iter().find(|other| other.name == term.name);
        let of = |pick: fn(&Term) -> Flops| minus(pick(term), other.map_or(Flops::ZERO, pick));
        Term {
            name: term.name.clone(),
            forward: of(|term| term.forward),
            backward: of(|term| term.backward),
            recompute: of(|term| term.recompute),
        }
    };
    Count {
        forward: minus(from.forward, taken.forward),
        backward: minus(from.backward, taken.backward),
        recompute: minus(from.recompute, taken.recompute),
        terms: from.terms.iter().map(term).collect(),
    }
}

impl Dataset {
    /// Shows the passes of one epoch in their order, until the visitor has seen enough.
    fn each_feed(&self, visit: impl FnMut(Feed) -> ControlFlow<()>) {
        let row = self.seq_len.unwrap_or(u64::MAX);
        if self.batching == Batching::Packed {
            let rows = self.lengths.tokens().div_ceil(row.max(1));
            let rows = LengthRun { length: row, count: rows };
            return each_feed(self.batching, self.sequences, core::iter::once(rows), visit);
        }
        let cut = self.lengths.runs().iter().map(|run| LengthRun { length: run.length.min(row), ..*run });
        each_feed(self.batching, self.sequences, cut, visit);
    }

    /// Each micro-batch as one sequence; `None` beyond 64 bits.
    pub(super) fn rows(&self) -> Option<Lengths> {
        let mut rows: Vec<(u64, u64)> = Vec::new();
        self.each_feed(|feed| {
            let row = feed.sequences.saturating_mul(feed.length);
            match rows.last_mut() {
                Some((last, _)) if feed.shares_pass => *last = last.saturating_add(row),
                _ => rows.push((row, feed.count)),
            }
            ControlFlow::Continue(())
        });
        Lengths::of_runs(rows)
    }

    /// The sequences as they are fed, cut where they are too long.
    pub(super) fn as_cut(&self) -> Lengths {
        self.lengths.cut(self.seq_len.unwrap_or(u64::MAX))
    }
}

impl Job {
    /// The job that is fed this.
    pub fn new(dataset: Dataset) -> Self {
        let (mut forms, mut micro_batches, mut tokens) = (BTreeMap::<Form, u64>::new(), 0_u64, 0_u128);
        dataset.each_feed(|feed| {
            let count = forms.entry((feed.sequences, feed.length, feed.shares_pass)).or_default();
            *count = count.saturating_add(feed.count);
            micro_batches = micro_batches.saturating_add(if feed.shares_pass { 0 } else { feed.count });
            tokens = tokens.saturating_add(feed.tokens());
            ControlFlow::Continue(())
        });
        Self { dataset, forms, micro_batches, tokens }
    }

    /// What it is fed.
    pub const fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    /// Passes of one epoch.
    pub const fn micro_batches(&self) -> u64 {
        self.micro_batches
    }

    /// Positions that are fed, padding included, over all epochs.
    pub fn tokens(&self) -> u128 {
        self.tokens.saturating_mul(u128::from(self.dataset.epochs))
    }

    /// Operations of the whole job.
    pub fn count(&self, passes: &Passes<'_>) -> Count {
        self.epoch_count(passes).times(self.dataset.epochs)
    }

    fn epoch_count(&self, passes: &Passes<'_>) -> Count {
        let forms = self.forms.iter().map(|(&(sequences, length, shares_pass), &count)| {
            passes.of(Feed { sequences, length, count, shares_pass }).times(count)
        });
        forms.sum()
    }

    /// After how much of the job, repeated for as many epochs as it takes, `amount` model operations are done. `None` for a job
    /// that does nothing, and beyond 128 bits.
    pub fn reach(&self, passes: &Passes<'_>, amount: Flops) -> Option<Reach> {
        let epoch = self.epoch_count(passes).training().0;
        let epochs = amount.0.saturating_sub(1).checked_div(epoch)?;
        let mut walk = Walk {
            passes,
            wanted: amount.0 - epochs * epoch,
            done: Reach { micro_batches: 0, tokens: 0 },
            spent: 0,
            open: None,
            known: BTreeMap::new(),
        };
        self.dataset.each_feed(|feed| walk.feed(feed));
        walk.close();
        Some(Reach {
            micro_batches: epochs.checked_mul(self.micro_batches.into())?.checked_add(walk.done.micro_batches)?,
            tokens: epochs.checked_mul(self.tokens)?.checked_add(walk.done.tokens)?,
        })
    }
}

/// Walks an epoch until an amount is reached; whole micro-batches alone count, for a step is not taken by halves.
struct Walk<'w> {
    passes: &'w Passes<'w>,
    wanted: u128,
    /// What was done in whole micro-batches.
    done: Reach,
    spent: u128,
    /// Operations and positions of a micro-batch that others may still join.
    open: Option<(u128, u128)>,
    known: BTreeMap<Form, u128>,
}

impl Walk<'_> {
    fn feed(&mut self, feed: Feed) -> ControlFlow<()> {
        let passes = self.passes;
        let key = (feed.sequences, feed.length, feed.shares_pass);
        let each = *self.known.entry(key).or_insert_with(|| passes.of(feed).training().0);
        let tokens = u128::from(feed.sequences).saturating_mul(feed.length.into());
        if feed.shares_pass {
            let (spent, positions) = self.open.unwrap_or_default();
            self.open = Some((spent.saturating_add(each), positions.saturating_add(tokens)));
            return ControlFlow::Continue(());
        }
        self.close();
        if self.spent >= self.wanted {
            return ControlFlow::Break(());
        }
        // All but the last of them are closed; the last one may be joined.
        let missing = (self.wanted - self.spent).div_ceil(each.max(1));
        let closed = missing.min(u128::from(feed.count)) - u128::from(missing >= u128::from(feed.count));
        self.spent = self.spent.saturating_add(each.saturating_mul(closed));
        self.done.micro_batches += closed;
        self.done.tokens = self.done.tokens.saturating_add(tokens.saturating_mul(closed));
        if self.spent >= self.wanted {
            return ControlFlow::Break(());
        }
        self.open = Some((each, tokens));
        ControlFlow::Continue(())
    }

    fn close(&mut self) {
        let Some((spent, tokens)) = self.open.take().filter(|_| self.spent < self.wanted) else { return };
        self.spent = self.spent.saturating_add(spent);
        self.done.micro_batches += 1;
        self.done.tokens = self.done.tokens.saturating_add(tokens);
    }
}

#[cfg(test)]
mod tests;
