//! Runs of steps within one block that are recomputed by themselves, as the inventory of a live model has them.

use core::ops::Range;

use crate::facts::Checkpointing;

/// How such runs are recomputed where their own step does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asked<'a> {
    pub(super) kind: Option<Checkpointing>,
    /// One run in so many is, beginning with the first.
    pub(super) every: u64,
    /// Numbers of those that are not.
    pub(super) kept: &'a [usize],
}

/// The runs met so far.
#[derive(Debug)]
pub(super) struct Regions<'a> {
    asked: Asked<'a>,
    met: usize,
    open: Option<Open>,
    /// Products that are repeated, counted in the order of the forward pass.
    repeated: Vec<Range<usize>>,
}

#[derive(Debug)]
struct Open {
    kind: Option<Checkpointing>,
    first: usize,
    /// The product after the last one that a saved activation needs.
    saved: usize,
    /// Gradients neither come in nor go out.
    cut: bool,
}

impl<'a> Regions<'a> {
    pub(super) const fn new(asked: Asked<'a>) -> Self {
        Self { asked, met: 0, open: None, repeated: Vec::new() }
    }

    /// A run begins after so many products; without `entry` nothing that it takes from outside requires grad.
    pub(super) fn begin(&mut self, always: Option<Checkpointing>, entry: bool, products: usize) {
        let number = u64::try_from(self.met).unwrap_or(u64::MAX);
        let thinned = !number.is_multiple_of(self.asked.every.max(1)) || self.asked.kept.contains(&self.met);
        let asked = self.asked.kind.filter(|_| !thinned);
        self.met = self.met.saturating_add(1);
        let kind = always.or(asked);
        // A reentrant checkpoint passes no gradient on where none of its inputs requires one.
        let cut = kind == Some(Checkpointing::Reentrant) && !entry;
        self.open = Some(Open { kind: kind.filter(|_| !cut), first: products, saved: products, cut });
    }

    /// An activation is kept after so many products.
    pub(super) const fn save(&mut self, products: usize) {
        if let Some(open) = &mut self.open {
            open.saved = products;
        }
    }

    /// The run ends after so many products.
    pub(super) fn end(&mut self, products: usize) {
        let Some(open) = self.open.take() else { return };
        match open.kind {
            Some(Checkpointing::NonReentrant) => self.repeated.push(open.first..open.saved),
            Some(Checkpointing::Reentrant) => self.repeated.push(open.first..products),
            None => {}
        }
    }

    /// Whether nothing is trained here, whatever is said to be.
    pub(super) fn cuts(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.cut)
    }

    /// Whether a product is repeated.
    pub(super) fn repeats(&self, product: usize) -> bool {
        let after = self.repeated.partition_point(|range| range.start <= product);
        self.repeated.get(after.wrapping_sub(1)).is_some_and(|range| range.contains(&product))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repeated(kind: Checkpointing, always: Option<Checkpointing>, entry: bool) -> Vec<usize> {
        let mut regions = Regions::new(Asked { kind: Some(kind), every: 2, kept: &[2] });
        for first in [1, 5, 9] {
            regions.begin(always, entry, first);
            regions.save(first + 2);
            regions.end(first + 3);
        }
        (0..16).filter(|product| regions.repeats(*product)).collect()
    }

    #[test]
    fn every_second_run_that_is_not_kept_is_repeated_up_to_what_it_saved() {
        assert_eq!(repeated(Checkpointing::NonReentrant, None, true), [1, 2]);
        assert_eq!(repeated(Checkpointing::Reentrant, None, true), [1, 2, 3]);
        assert_eq!(repeated(Checkpointing::Reentrant, None, false), [0_usize; 0]);
    }

    #[test]
    fn what_the_code_asks_for_itself_is_always_done() {
        let kind = Some(Checkpointing::NonReentrant);
        assert_eq!(repeated(Checkpointing::Reentrant, kind, false), [1, 2, 5, 6, 9, 10]);
    }
}
