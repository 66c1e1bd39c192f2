//! Blocks that a second checkpoint holds, around several of them: what a non-reentrant one repeats of them once more.
//!
//! The outer checkpoint saves what enters each inner one, so its recomputation runs every block but the last one, and that
//! too where something behind it is saved. A reentrant one repeats all, which the blocks themselves say ([`Step::Nested`]).
//!
//! [`Step::Nested`]: crate::shape::Step::Nested

use super::walk::{BlockCost, Entry};

/// What was walked of a stage so far.
#[derive(Debug, Default)]
pub(super) struct Stage {
    number: Option<u16>,
    /// Forward passes of the blocks but the latest, which are repeated if anything in the stage requires grad.
    pending: Vec<Entry>,
    latest: Vec<Entry>,
}

impl Stage {
    /// Ends the stage before a piece of another one, or at the end; books what it repeats.
    pub(super) fn enter(&mut self, number: Option<u16>, requiring_grad: u8, totals: &mut BlockCost) {
        if self.number == number {
            return;
        }
        if requiring_grad != 0 {
            self.pending.iter().for_each(|entry| totals.book(*entry));
        }
        *self = Self { number, ..Self::default() };
    }

    /// A block of the stage, or what stands alone behind its blocks.
    pub(super) fn hold(&mut self, cost: &BlockCost, is_stack: bool) {
        if self.number.is_none() {
            return;
        }
        self.pending.append(&mut self.latest);
        if is_stack {
            let again = |entry: &Entry| Entry { forward: 0, backward: 0, recompute: entry.forward, ..*entry };
            self.latest.extend(cost.entries.iter().map(again));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flops::Part;
    use crate::shape::Quantity;

    /// Operations repeated of a stage of two blocks that cost 10 and 100, and of one after it that is not held.
    fn repeated(requiring_grad: u8, ends_alone: bool) -> u128 {
        let cost = |forward| {
            let entry = Entry { part: Part::FeedForward, quantity: Quantity::Pass, forward, backward: 7, recompute: 3 };
            BlockCost { entries: vec![entry], requiring_grad, ..BlockCost::default() }
        };
        let (mut stage, mut totals) = (Stage::default(), BlockCost::default());
        stage.enter(Some(0), 0, &mut totals);
        stage.hold(&cost(10), true);
        stage.hold(&cost(100), true);
        if ends_alone {
            stage.hold(&cost(1000), false);
        }
        stage.enter(None, requiring_grad, &mut totals);
        stage.hold(&cost(10_000), true);
        stage.enter(Some(1), requiring_grad, &mut totals);
        totals.entries.iter().map(|entry| entry.recompute + entry.forward + entry.backward).sum()
    }

    #[test]
    fn all_blocks_but_the_last_are_repeated_and_that_too_if_something_follows_it() {
        assert_eq!(repeated(1, false), 10);
        assert_eq!(repeated(1, true), 110);
        assert_eq!(repeated(0, true), 0, "nothing in it is trained");
    }
}
