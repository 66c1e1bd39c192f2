//! Sums over one kind of work.

use std::collections::BTreeMap;

use crate::facts::{Passes, Phase};
use crate::flops::{Count, LiveCost};
use crate::run::{PhaseSummary, RunTokens, Term};
use crate::unit::{Flops, Tokens};

/// Forward, backward and recomputation.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Direction {
    pub(super) forward: Flops,
    pub(super) backward: Flops,
    pub(super) recompute: Flops,
}

impl Direction {
    fn add(&mut self, forward: Flops, backward: Flops, recompute: Flops) {
        self.forward += forward;
        self.backward += backward;
        self.recompute += recompute;
    }
}

/// One kind of work so far.
#[derive(Debug)]
pub(super) struct PhaseTotals {
    passes: u64,
    pub(super) counted_passes: u64,
    pub(super) tokens: RunTokens,
    /// Passes that a backward pass follows.
    pub(super) training: Direction,
    /// Forward operations of passes without gradient.
    pub(super) without_gradient: Flops,
    terms: BTreeMap<String, Direction>,
}

impl Default for PhaseTotals {
    fn default() -> Self {
        Self {
            passes: 0,
            counted_passes: 0,
            tokens: RunTokens { fed: Tokens(0), real: Some(Tokens(0)) },
            training: Direction::default(),
            without_gradient: Flops::ZERO,
            terms: BTreeMap::new(),
        }
    }
}

impl PhaseTotals {
    /// Adds passes of one form; false if something of them cannot be counted (the tokens are, all the same).
    pub(super) fn add(&mut self, passes: &Passes, cost: Option<&LiveCost>) -> bool {
        self.passes = self.passes.saturating_add(passes.count);
        let positions = passes.sequences.saturating_mul(passes.length).saturating_mul(passes.count);
        self.tokens.fed += Tokens(positions);
        let real = self.tokens.real.zip(passes.real_tokens);
        self.tokens.real = real.map(|(sum, more)| sum + Tokens(more));
        let Some(cost) = cost else { return false };
        self.counted_passes = self.counted_passes.saturating_add(passes.count);
        self.count(&cost.count(passes), passes.gradient);
        !cost.lacks_grids(passes)
    }

    fn count(&mut self, count: &Count, gradient: bool) {
        if gradient {
            self.training.add(count.forward, count.backward, count.recompute);
        } else {
            self.without_gradient += count.forward;
        }
        for Term { name, forward, backward, recompute } in &count.terms {
            self.terms.entry(name.clone()).or_default().add(*forward, *backward, *recompute);
        }
    }

    pub(super) fn summary(&self, phase: Phase) -> PhaseSummary {
        let term = |(name, sum): (&String, &Direction)| Term {
            name: name.clone(),
            forward: sum.forward,
            backward: sum.backward,
            recompute: sum.recompute,
        };
        PhaseSummary {
            phase,
            passes: self.passes,
            tokens: self.tokens,
            forward: self.training.forward + self.without_gradient,
            backward: self.training.backward,
            recompute: self.training.recompute,
            terms: self.terms.iter().map(term).collect(),
            treatment: None,
        }
    }
}
