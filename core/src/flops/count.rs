//! Operations that were or will be done.

use core::iter::Sum;
use core::ops::{Add, AddAssign};

use super::cost::Part;
use crate::run::Term;
use crate::unit::Flops;

/// Operations of any number of passes; sums saturate, and no order of adding changes them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Forward passes.
    pub forward: Flops,
    /// Backward passes without recomputation.
    pub backward: Flops,
    /// Recomputation of activations.
    pub recompute: Flops,
    /// The same by part of the network.
    pub terms: Vec<Term>,
}

impl Count {
    /// `forward + backward`: model operations, the legal basis (Guidelines, paragraph 119, leave recomputation out).
    pub fn training(&self) -> Flops {
        self.forward + self.backward
    }

    /// `forward + backward + recompute`: what the hardware does.
    pub fn executed(&self) -> Flops {
        self.training() + self.recompute
    }

    /// That many times the same.
    #[must_use]
    pub fn times(mut self, passes: u64) -> Self {
        let scale = |flops: &mut Flops| *flops = Flops(flops.0.saturating_mul(u128::from(passes)));
        scale(&mut self.forward);
        scale(&mut self.backward);
        scale(&mut self.recompute);
        for term in &mut self.terms {
            scale(&mut term.forward);
            scale(&mut term.backward);
            scale(&mut term.recompute);
        }
        self
    }

    /// Adds operations of one part.
    pub(super) fn add_term(&mut self, term: Term) {
        self.forward += term.forward;
        self.backward += term.backward;
        self.recompute += term.recompute;
        self.file(term);
    }

    fn file(&mut self, term: Term) {
        let Some(known) = self.terms.iter_mut().find(|known| known.name == term.name) else {
            // Kept in the order of the parts, so that no order of adding shows.
            let place = self.terms.partition_point(|known| rank(&known.name) < rank(&term.name));
            self.terms.insert(place, term);
            return;
        };
        known.forward += term.forward;
        known.backward += term.backward;
        known.recompute += term.recompute;
    }
}

/// Position of a term in a listing.
fn rank(name: &str) -> usize {
    Part::ALL.iter().position(|part| part.name() == name).unwrap_or(Part::COUNT)
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.forward += other.forward;
        self.backward += other.backward;
        self.recompute += other.recompute;
        for term in other.terms {
            self.file(term);
        }
    }
}

impl Add for Count {
    type Output = Self;

    fn add(mut self, other: Self) -> Self {
        self += other;
        self
    }
}

impl Sum for Count {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self::default(), Add::add)
    }
}
