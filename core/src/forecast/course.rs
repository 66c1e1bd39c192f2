//! How a sum has grown so far, and where that leads.

use serde::{Deserialize, Serialize};

use crate::unit::Flops;

/// Stretches that are kept apart; then neighbours are joined, so that each stands for more.
const MAXIMUM_STRETCHES: usize = 16;

/// Fewest stretches from which something can be said of how much they differ.
const MINIMUM_STRETCHES: usize = 2;

/// Stretches from which what is best guessed is worth saying: with fewer, two long batches look like a trend.
const SETTLED_STRETCHES: usize = 8;

/// An estimate and its ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range<T> {
    /// If the rest is like the stretch with the least so far.
    pub low: T,
    /// If the rest is like everything so far together.
    pub best: T,
    /// If the rest is like the stretch with the most so far.
    pub high: T,
}

impl<T> Range<T> {
    /// The same of each.
    pub fn map<U>(self, mut change: impl FnMut(T) -> U) -> Range<U> {
        Range { low: change(self.low), best: change(self.best), high: change(self.high) }
    }
}

/// A sum of operations over positions that rise: steps, or milliseconds.
///
/// ```
/// use flopsmeter_core::forecast::Course;
/// use flopsmeter_core::unit::Flops;
/// let mut course = Course::from(0, Flops(0));
/// course.observe(2, Flops(20));
/// course.observe(4, Flops(60));
/// let end = course.at(6).unwrap();
/// assert_eq!((end.low, end.best, end.high), (Flops(80), Flops(90), Flops(100)));
/// let reached = course.reach(Flops(120)).unwrap();
/// assert_eq!((reached.low, reached.best, reached.high), (Some(10), Some(8), Some(7)));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Course {
    origin: Point,
    last: Point,
    stretches: Vec<Stretch>,
    /// Stretches shorter than this are joined with what follows.
    span: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Point {
    position: u64,
    sum: Flops,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stretch {
    length: u64,
    grown: Flops,
}

impl Stretch {
    fn and(self, next: Self) -> Self {
        Self { length: self.length.saturating_add(next.length), grown: self.grown + next.grown }
    }

    /// Less growth for its length.
    fn is_slower_than(self, other: Self) -> bool {
        let (own, others) = (u128::from(self.length), u128::from(other.length));
        self.grown.0.saturating_mul(others) < other.grown.0.saturating_mul(own)
    }
}

impl Course {
    /// Begins at `position` with `sum`.
    pub fn from(position: u64, sum: Flops) -> Self {
        let origin = Point { position, sum };
        Self { origin, last: origin, stretches: Vec::new(), span: 1 }
    }

    /// The position that was observed last.
    pub const fn position(&self) -> u64 {
        self.last.position
    }

    /// From where it began to the position that was observed last.
    pub const fn length(&self) -> u64 {
        self.last.position.saturating_sub(self.origin.position)
    }

    /// Whether enough stretches were seen for the best guess to be more than a first impression.
    pub const fn is_settled(&self) -> bool {
        self.stretches.len() >= SETTLED_STRETCHES
    }

    /// Takes the sum at a further position; one that is not further is passed over, and what was added there belongs to the next.
    pub fn observe(&mut self, position: u64, sum: Flops) {
        if position <= self.last.position {
            return;
        }
        let length = position - self.last.position;
        let grown = Flops(sum.0.saturating_sub(self.last.sum.0));
        self.last = Point { position, sum: sum.max(self.last.sum) };
        let next = Stretch { length, grown };
        match self.stretches.last_mut() {
            Some(last) if last.length < self.span => *last = last.and(next),
            _ => self.stretches.push(next),
        }
        if self.stretches.len() > MAXIMUM_STRETCHES {
            let joined = self.stretches.chunks(2).filter_map(|pair| pair.iter().copied().reduce(Stretch::and));
            self.stretches = joined.collect();
            self.span = self.span.max(length).saturating_mul(2);
        }
    }

    /// The sum at `end`, which lies ahead (an end that was passed is now). `None` before two stretches were seen: one says nothing of
    /// how much they differ.
    pub fn at(&self, end: u64) -> Option<Range<Flops>> {
        let ahead = end.saturating_sub(self.last.position);
        let grows = |stretch: Stretch| self.last.sum + super::scaled_up(stretch.grown, ahead, stretch.length);
        Some(self.rates(MINIMUM_STRETCHES)?.map(grows))
    }

    /// The same from one stretch on, where anything is better than nothing.
    pub fn guess(&self, end: u64) -> Option<Range<Flops>> {
        let ahead = end.saturating_sub(self.last.position);
        let grows = |stretch: Stretch| self.last.sum + super::scaled_up(stretch.grown, ahead, stretch.length);
        Some(self.rates(1)?.map(grows))
    }

    /// The position at which the sum is `amount`; `None` for a rate at which it never is. `low` grows least, so it is the latest.
    pub fn reach(&self, amount: Flops) -> Option<Range<Option<u64>>> {
        let lacking = amount.0.saturating_sub(self.last.sum.0);
        let reaches = |stretch: Stretch| {
            let length = lacking.checked_mul(u128::from(stretch.length))?.checked_div(stretch.grown.0)?;
            self.last.position.checked_add(u64::try_from(length).ok()?)
        };
        Some(self.rates(MINIMUM_STRETCHES)?.map(reaches))
    }

    fn rates(&self, fewest: usize) -> Option<Range<Stretch>> {
        if self.stretches.len() < fewest {
            return None;
        }
        let slower = |one: Stretch, other: Stretch| if other.is_slower_than(one) { other } else { one };
        let faster = |one: Stretch, other: Stretch| if one.is_slower_than(other) { other } else { one };
        let low = self.stretches.iter().copied().reduce(slower)?;
        let high = self.stretches.iter().copied().reduce(faster)?;
        let best = Stretch { length: self.length(), grown: Flops(self.last.sum.0.saturating_sub(self.origin.sum.0)) };
        Some(Range { low, best, high })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_stretch_says_nothing() {
        let mut course = Course::from(5, Flops(7));
        assert_eq!(course.at(10), None);
        course.observe(6, Flops(9));
        course.observe(6, Flops(90));
        course.observe(3, Flops(900));
        assert_eq!((course.at(10), course.position()), (None, 6));
        course.observe(7, Flops(11));
        assert_eq!(course.at(7), Some(Range { low: Flops(11), best: Flops(11), high: Flops(11) }));
        assert_eq!(course.at(9).unwrap().best, Flops(15));
    }

    #[test]
    fn a_sum_that_stands_still_reaches_nothing() {
        let mut course = Course::from(0, Flops(5));
        course.observe(1, Flops(5));
        course.observe(2, Flops(5));
        assert_eq!(course.reach(Flops(6)), Some(Range { low: None, best: None, high: None }));
    }

    #[test]
    fn a_long_course_stays_small_and_evens_out() {
        let mut course = Course::from(0, Flops(0));
        let mut sum = 0;
        for step in 1..=10_000_u64 {
            sum += if step % 2 == 0 { 12 } else { 8 };
            course.observe(step, Flops(sum));
        }
        assert!(course.stretches.len() <= MAXIMUM_STRETCHES && course.is_settled());
        let end = course.at(20_000).unwrap();
        assert_eq!(end.best, Flops(200_000));
        assert!(end.low.0 > 199_000 && end.high.0 < 201_000, "{end:?}");
    }

    proptest! {
        #[test]
        fn a_range_is_in_order_and_never_below_what_is_spent(
            steps in proptest::collection::vec((1..1000_u64, 0..u128::from(u64::MAX)), 2..100),
            ahead in 0..100_000_u64,
        ) {
            let mut course = Course::from(0, Flops(0));
            let (mut position, mut sum) = (0, 0);
            for (length, grown) in steps {
                position += length;
                sum += grown;
                course.observe(position, Flops(sum));
            }
            if let Some(end) = course.at(position + ahead) {
                prop_assert!(Flops(sum) <= end.low && end.low <= end.best && end.best <= end.high);
            }
        }

        #[test]
        fn nothing_makes_it_panic(steps: Vec<(u64, u128)>, end: u64, amount: u128) {
            let mut course = Course::from(0, Flops(0));
            for (position, sum) in steps {
                course.observe(position, Flops(sum));
            }
            prop_assert_eq!(course.at(end).is_some(), course.reach(Flops(amount)).is_some());
        }
    }
}
