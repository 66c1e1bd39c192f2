//! How much may be spent until the verdict changes.

use serde::Serialize;

use crate::assess::Verdict;
use crate::unit::Flops;

/// A smallest amount with another verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Edge {
    /// The amount.
    pub flop: Flops,
    /// The verdict from there on.
    pub verdict: Verdict,
}

/// Where the verdict changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Edges {
    /// The smallest amount that is no longer `below`; `None` where nothing is, or everything.
    pub near: Option<Edge>,
    /// The smallest amount that `exceeds`; `None` where nothing does.
    pub exceeds: Option<Flops>,
}

impl Edges {
    /// Searches the amounts. A verdict never gets milder with more operations, so that halving finds the edge to the last one.
    ///
    /// ```
    /// use flopsmeter_core::assess::Verdict;
    /// use flopsmeter_core::plan::Edges;
    /// use flopsmeter_core::unit::Flops;
    /// let edges = Edges::find(|amount| match amount.0 {
    ///     0..18 => Verdict::Below,
    ///     18..=33 => Verdict::Near,
    ///     _ => Verdict::Exceeds,
    /// });
    /// assert_eq!(edges.exceeds, Some(Flops(34)));
    /// assert_eq!(edges.near.unwrap().flop, Flops(18));
    /// ```
    pub fn find(verdict_at: impl Fn(Flops) -> Verdict) -> Self {
        let exceeds = smallest(|amount| verdict_at(amount) == Verdict::Exceeds);
        let leaves = smallest(|amount| verdict_at(amount) != Verdict::Below).filter(|flop| flop.0 > 1);
        Self { near: leaves.map(|flop| Edge { flop, verdict: verdict_at(flop) }), exceeds }
    }
}

/// The smallest amount of at least one operation that `holds`; once it does, it does for every larger one.
fn smallest(holds: impl Fn(Flops) -> bool) -> Option<Flops> {
    // The first power of two that holds, so that the search costs as many questions as the answer has digits, twice.
    let above = (0..u128::BITS).map(|bits| 1_u128 << bits).find(|amount| holds(Flops(*amount)))?;
    let (mut without, mut with) = (above / 2, above);
    while with - without > 1 {
        let middle = without + (with - without) / 2;
        if holds(Flops(middle)) { with = middle } else { without = middle }
    }
    Some(Flops(with))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_verdict_that_never_changes_has_no_edges() {
        assert_eq!(Edges::find(|_| Verdict::Below), Edges::default());
        assert_eq!(Edges::find(|_| Verdict::Undetermined), Edges::default());
    }

    proptest! {
        #[test]
        fn the_edges_are_met_to_the_last_operation(near in 2_u128..1 << 100, more in 1_u128..1 << 100) {
            let line = near + more;
            let edges = Edges::find(|amount| match amount.0 {
                spent if spent < near => Verdict::Below,
                spent if spent < line => Verdict::Undetermined,
                _ => Verdict::Exceeds,
            });
            prop_assert_eq!(edges.near, Some(Edge { flop: Flops(near), verdict: Verdict::Undetermined }));
            prop_assert_eq!(edges.exceeds, Some(Flops(line)));
        }
    }
}
