//! One line, and where an amount stands against it.

use super::{Band, Line, LineKind, Origin, Verdict};
use crate::rules::{Fraction, LineKey, LineRow, RuleSet, SpentKind};
use crate::unit::Flops;

/// The two sums of a modification.
#[derive(Clone, Copy, Debug)]
pub(super) struct Amounts {
    pub(super) training: Flops,
    pub(super) cumulative: Flops,
}

impl Amounts {
    pub(super) const fn both(amount: Flops) -> Self {
        Self { training: amount, cumulative: amount }
    }

    pub(super) const fn of(self, kind: SpentKind) -> Flops {
        match kind {
            SpentKind::Training => self.training,
            SpentKind::Cumulative => self.cumulative,
        }
    }
}

/// A line of the rule set with the measure it is a fraction of.
#[derive(Clone, Debug)]
pub(super) struct Yardstick<'r> {
    pub(super) row: &'r LineRow,
    /// What the multiplier and the edges multiply.
    pub(super) measure: Flops,
    pub(super) line: Line,
}

impl<'r> Yardstick<'r> {
    /// A line whose measure is the figure of which it is a part.
    pub(super) fn part_of(rules: &'r RuleSet, key: LineKey, kind: LineKind, figure: Flops, origin: Origin) -> Self {
        Self::new(rules, key, kind, figure, figure, origin)
    }

    /// The result test: what the base leaves of the criterion is for the modification.
    pub(super) fn room(rules: &'r RuleSet, criterion: Flops, base: Flops, origin: Origin) -> Self {
        let room = Flops(criterion.0.saturating_sub(base.0));
        let kind = LineKind::ResultAboveGpaiThreshold;
        Self::new(rules, LineKey::ResultAboveGpaiCriterion, kind, room, base, origin)
    }

    fn new(rules: &'r RuleSet, key: LineKey, kind: LineKind, measure: Flops, base_flop: Flops, origin: Origin) -> Self {
        let row = rules.line(key);
        let line = Line {
            flop: row.multiplier.floor_of(measure),
            base_flop,
            multiplier: row.multiplier.to_string(),
            kind,
            rule: key.name().to_owned(),
            citation: rules.citation(&row.cite),
            origin,
        };
        Self { row, measure, line }
    }

    /// The same line where its measure is from another source.
    pub(super) fn with_origin(self, origin: Origin) -> Self {
        Self { line: Line { origin, ..self.line }, ..self }
    }

    /// The amount that is held against this line.
    pub(super) const fn amount(&self, amounts: Amounts) -> Flops {
        amounts.of(self.row.spent)
    }

    /// Strictly over the line, from the near edge on, or below.
    pub(super) fn verdict(&self, amounts: Amounts) -> Verdict {
        let amount = self.amount(amounts);
        if self.row.multiplier.is_exceeded_by(amount, self.measure) {
            Verdict::Exceeds
        } else if amount > Flops::ZERO && self.row.near.is_reached_by(amount, self.measure) {
            Verdict::Near
        } else {
            Verdict::Below
        }
    }

    /// Inside the margins on both sides of the line.
    pub(super) fn band(&self, amounts: Amounts) -> Band {
        let amount = self.amount(amounts);
        let inside =
            self.row.near.is_reached_by(amount, self.measure) && !self.row.clear.is_exceeded_by(amount, self.measure);
        if inside { Band::Inside } else { Band::Outside }
    }

    /// Smallest amount inside the margin.
    pub(super) fn near_edge(&self) -> Flops {
        let floor = self.row.near.floor_of(self.measure);
        if self.row.near.is_reached_by(floor, self.measure) { floor } else { floor + Flops(1) }
    }

    /// Largest amount inside the margin.
    pub(super) fn upper_edge(&self) -> Flops {
        self.row.clear.floor_of(self.measure)
    }

    /// Amount over the base's compute (or the fixed figure), six digits.
    pub(super) fn ratio(&self, amounts: Amounts) -> Option<String> {
        Fraction::decimal(self.amount(amounts), 1, self.line.base_flop.0, 6)
    }

    /// Share of the line in per cent, two digits.
    pub(super) fn share_percent(&self, amounts: Amounts) -> Option<String> {
        let divisor = self.measure.checked_mul(self.row.multiplier.numerator().into())?;
        let factor = self.row.multiplier.denominator().checked_mul(100)?;
        Fraction::decimal(self.amount(amounts), factor, divisor.0, 2)
    }
}
