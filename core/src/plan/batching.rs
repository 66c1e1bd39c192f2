//! How sequences become micro-batches.

use core::ops::ControlFlow;

use serde::Serialize;

use super::lengths::LengthRun;

/// How the sequences of a micro-batch are laid side by side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Batching {
    /// Each micro-batch is padded to its longest sequence, in the order of the data: what the collators of transformers do by
    /// default. The hardware multiplies the padding too, so it is counted.
    #[default]
    Padded,
    /// The data is one stream that is cut into rows of equal length; the last row is counted as a whole one. Every position of a row
    /// attends over the row, as eager and sdpa kernels compute it.
    Packed,
    /// The sequences of a micro-batch are laid end to end in one row without padding, and each attends to itself alone (kernels for
    /// sequences of varying length).
    PaddingFree,
}

/// Passes of one form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feed {
    /// Sequences in each.
    pub sequences: u64,
    /// Positions of each sequence, padding included.
    pub length: u64,
    /// How many such passes follow each other.
    pub count: u64,
    /// These sequences share their pass with those of the feed before.
    pub shares_pass: bool,
}

impl Feed {
    /// Positions of all its passes.
    pub fn tokens(&self) -> u128 {
        u128::from(self.sequences).saturating_mul(self.length.into()).saturating_mul(self.count.into())
    }
}

/// Shows the passes over `runs` in their order, until the visitor has seen enough.
pub(super) fn each_feed(
    batching: Batching,
    micro_batch: u64,
    runs: impl Iterator<Item = LengthRun>,
    mut visit: impl FnMut(Feed) -> ControlFlow<()>,
) {
    let mut maker = Maker { batching, micro_batch: micro_batch.max(1), filled: 0, longest: 0 };
    let all = || {
        for run in runs {
            maker.take(run, &mut visit)?;
        }
        maker.finish(&mut visit)
    };
    // Whether the visitor saw all or enough is the visitor's own affair.
    let (ControlFlow::Continue(()) | ControlFlow::Break(())) = all();
}

/// Fills micro-batches from runs of equal lengths.
struct Maker {
    batching: Batching,
    micro_batch: u64,
    /// Sequences of the micro-batch that is being filled.
    filled: u64,
    /// Their longest, where they are padded.
    longest: u64,
}

impl Maker {
    fn take(&mut self, run: LengthRun, visit: &mut impl FnMut(Feed) -> ControlFlow<()>) -> ControlFlow<()> {
        let mut left = run.count;
        if self.filled > 0 {
            let taken = left.min(self.micro_batch - self.filled);
            self.join(taken, run.length, visit)?;
            left -= taken;
        }
        let whole = left / self.micro_batch;
        if whole > 0 {
            visit(Feed { sequences: self.micro_batch, length: run.length, count: whole, shares_pass: false })?;
        }
        let rest = left % self.micro_batch;
        if rest > 0 { self.join(rest, run.length, visit) } else { ControlFlow::Continue(()) }
    }

    /// Puts sequences into the micro-batch that is being filled.
    fn join(
        &mut self,
        sequences: u64,
        length: u64,
        visit: &mut impl FnMut(Feed) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let shares_pass = self.filled > 0;
        self.filled += sequences;
        self.longest = self.longest.max(length);
        if self.batching == Batching::PaddingFree {
            visit(Feed { sequences, length, count: 1, shares_pass })?;
        }
        if self.filled == self.micro_batch { self.finish(visit) } else { ControlFlow::Continue(()) }
    }

    /// Closes the micro-batch that is being filled.
    fn finish(&mut self, visit: &mut impl FnMut(Feed) -> ControlFlow<()>) -> ControlFlow<()> {
        let (sequences, length) = (self.filled, self.longest);
        (self.filled, self.longest) = (0, 0);
        if sequences == 0 || self.batching == Batching::PaddingFree {
            return ControlFlow::Continue(());
        }
        visit(Feed { sequences, length, count: 1, shares_pass: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feeds(batching: Batching, micro_batch: u64, runs: &[(u64, u64)]) -> Vec<(u64, u64, u64, bool)> {
        let mut seen = Vec::new();
        let runs = runs.iter().map(|&(length, count)| LengthRun { length, count });
        each_feed(batching, micro_batch, runs, |feed| {
            seen.push((feed.sequences, feed.length, feed.count, feed.shares_pass));
            ControlFlow::Continue(())
        });
        seen
    }

    #[test]
    fn a_micro_batch_is_padded_to_its_longest() {
        let runs = [(5, 1), (9, 1), (2, 7), (3, 1)];
        // 5 9 2 2 | 2 2 2 2 | 2 3
        assert_eq!(feeds(Batching::Padded, 4, &runs), [(4, 9, 1, false), (4, 2, 1, false), (2, 3, 1, false)]);
        assert_eq!(
            feeds(Batching::Padded, 1, &runs),
            [(1, 5, 1, false), (1, 9, 1, false), (1, 2, 7, false), (1, 3, 1, false)]
        );
    }

    #[test]
    fn sequences_without_padding_keep_their_lengths() {
        let runs = [(5, 1), (9, 1), (2, 7), (3, 1)];
        assert_eq!(
            feeds(Batching::PaddingFree, 4, &runs),
            [(1, 5, 1, false), (1, 9, 1, true), (2, 2, 1, true), (4, 2, 1, false), (1, 2, 1, false), (1, 3, 1, true)]
        );
    }

    #[test]
    fn a_visitor_that_has_seen_enough_is_left_alone() {
        let mut seen = 0;
        each_feed(Batching::Padded, 1, (1..100).map(|length| LengthRun { length, count: 1 }), |_| {
            seen += 1;
            if seen == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert_eq!(seen, 3);
    }
}
