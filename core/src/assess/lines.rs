//! Which lines could apply, and what they say together.

use super::base_facts::BaseFacts;
use super::yardstick::{Amounts, Yardstick};
use super::{AnswerKey, Answers, LineKind, Origin, Verdict};
use crate::registry::FlopBound;
use crate::rules::{FigureKey, LineKey, RuleSet, SpentKind};
use crate::unit::Flops;

/// The lines that could apply; they give a verdict only where they agree.
#[derive(Clone, Debug)]
pub(super) struct Lines<'r> {
    pub(super) yardsticks: Vec<Yardstick<'r>>,
    /// A line as low as one likes could apply: the base's compute has no known lower end, or for the result test no upper one.
    pub(super) may_be_lower: bool,
    /// A line as high as one likes could apply: the base's compute has no known upper end.
    pub(super) may_be_higher: bool,
    /// What to ask where they disagree.
    pub(super) deciding: &'static [&'static str],
    pub(super) case: Case,
}

/// Why these lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Case {
    /// Nobody named a base.
    NoBase,
    /// A figure is known and one line applies.
    Known,
    /// A narrow base over the criterion: the third is indicative only.
    Narrow,
    /// The base is no general-purpose model, and only a lower bound of it is known: the result test has at most this room.
    RoomAtMost,
    /// The base is not over the criterion, and nobody declared which reading applies.
    UnderCriterion,
    /// No figure is known, and nobody declared that it cannot be known.
    Unknown,
    /// Somebody declared that it can be neither known nor estimated.
    Unknowable,
}

impl<'r> Lines<'r> {
    pub(super) fn choose(rules: &'r RuleSet, base: Option<&BaseFacts<'_>>, answers: &Answers) -> Self {
        let Some(base) = base else {
            return Self {
                may_be_lower: true,
                may_be_higher: true,
                deciding: &["base"],
                ..Self::just(Vec::new(), Case::NoBase)
            };
        };
        match base.flop {
            Some(flop) => Self::of_known(rules, base, flop),
            None if answers.value(AnswerKey::BaseUnknowable) == Some(true) => {
                let systemic = base.has_systemic_risk == Some(true);
                Self::just(vec![fallback(rules, systemic)], Case::Unknowable)
            }
            None => Self::of_unknown(rules, base),
        }
    }

    fn just(yardsticks: Vec<Yardstick<'r>>, case: Case) -> Self {
        Self { yardsticks, may_be_lower: false, may_be_higher: false, deciding: &[], case }
    }

    fn of_known(rules: &'r RuleSet, base: &BaseFacts<'_>, flop: Flops) -> Self {
        let criterion = rules.flop_figure(FigureKey::GpaiCriterion);
        let own = third_of_own(rules, base, flop);
        // A base with systemic risk is a general-purpose model whatever its compute.
        if flop > criterion || base.has_systemic_risk == Some(true) {
            let case = if base.is_gpai == Some(false) { Case::Narrow } else { Case::Known };
            return Self::just(vec![own], case);
        }
        let result = Yardstick::room(rules, criterion, flop, base.origin.clone());
        // A lower bound leaves at most this room. A base that is taken over the criterion has no room to be mistaken about.
        let may_be_lower = base.bound == FlopBound::Lower && !is_taken_over_criterion(rules, base);
        match base.is_gpai {
            Some(true) => Self::just(vec![own], Case::Known),
            Some(false) => {
                let case = if may_be_lower { Case::RoomAtMost } else { Case::Known };
                Self { may_be_lower, deciding: &["base-compute"], ..Self::just(vec![result], case) }
            }
            None => {
                let deciding: &[&str] =
                    if may_be_lower { &["base-is-gpai", "base-compute"] } else { &["base-is-gpai"] };
                Self { may_be_lower, deciding, ..Self::just(vec![own, result], Case::UnderCriterion) }
            }
        }
    }

    /// The fallback is open only once somebody declares that the figure cannot be known; until then it, and a third of every
    /// compute that the base may have had, have to agree.
    fn of_unknown(rules: &'r RuleSet, base: &BaseFacts<'_>) -> Self {
        let criterion = rules.flop_figure(FigureKey::GpaiCriterion);
        let presumption = rules.flop_figure(FigureKey::SystemicRiskPresumption);
        let own = |figure: Flops, key: LineKey, from: FigureKey| {
            let origin = Origin::Computed { from: format!("{} of the rule set", from.name()) };
            Yardstick::part_of(rules, key, LineKind::ThirdOfLowerBound, figure, origin)
        };
        let mut lines = Self { deciding: &["base-compute"], ..Self::just(Vec::new(), Case::Unknown) };
        if base.has_systemic_risk == Some(true) {
            let lowest = own(presumption, LineKey::ThirdOfSystemicRiskBase, FigureKey::SystemicRiskPresumption);
            lines.yardsticks = vec![lowest, fallback(rules, true)];
            lines.may_be_higher = true;
            return lines;
        }
        if is_taken_over_criterion(rules, base) {
            lines.yardsticks.push(own(criterion, LineKey::ThirdOfBase, FigureKey::GpaiCriterion));
        } else {
            lines.may_be_lower = true;
        }
        lines.yardsticks.push(fallback(rules, false));
        if base.has_systemic_risk == Some(false) {
            lines.yardsticks.push(own(presumption, LineKey::ThirdOfBase, FigureKey::SystemicRiskPresumption));
        } else {
            lines.yardsticks.push(fallback(rules, true));
            lines.may_be_higher = true;
            lines.deciding = &["base-compute", "base-has-systemic-risk"];
        }
        lines
    }

    /// The verdict on which all lines that could apply agree.
    pub(super) fn verdict(&self, amounts: Amounts) -> Verdict {
        if self.case == Case::NoBase {
            return Verdict::Undetermined;
        }
        let spent_something = amounts.cumulative.max(amounts.training) > Flops::ZERO;
        let lowest = (self.may_be_lower && spent_something).then_some(Verdict::Exceeds);
        let highest = self.may_be_higher.then_some(Verdict::Below);
        let mut said = self.yardsticks.iter().map(|line| line.verdict(amounts)).chain(lowest).chain(highest);
        match said.next() {
            Some(first) if said.all(|other| other == first) => first,
            _ => Verdict::Undetermined,
        }
    }

    /// The line to show: the only one, or where several agree the lowest, which is the nearest.
    pub(super) fn headline(&self, verdict: Verdict) -> Option<&Yardstick<'r>> {
        let agreed =
            verdict != Verdict::Undetermined || self.yardsticks.len() == 1 && !self.may_be_lower && !self.may_be_higher;
        // The third of its own compute is the rule; the result test stands beside it.
        let first_is_rule = self.case == Case::UnderCriterion;
        match self.yardsticks.as_slice() {
            [first, ..] if agreed && first_is_rule => Some(first),
            all if agreed => all.iter().min_by_key(|line| line.near_edge()),
            _ => None,
        }
    }

    /// Whether the cumulative sum is needed.
    pub(super) fn needs_cumulative(&self) -> bool {
        self.yardsticks.iter().any(|line| line.row.spent == SpentKind::Cumulative)
    }
}

/// A third of the base's own compute.
pub(super) fn third_of_own<'r>(rules: &'r RuleSet, base: &BaseFacts<'_>, flop: Flops) -> Yardstick<'r> {
    let key = match base.has_systemic_risk {
        Some(true) => LineKey::ThirdOfSystemicRiskBase,
        _ => LineKey::ThirdOfBase,
    };
    let kind = match base.bound {
        FlopBound::Point => LineKind::ThirdOfBase,
        FlopBound::Lower => LineKind::ThirdOfLowerBound,
    };
    Yardstick::part_of(rules, key, kind, flop, base.origin.clone())
}

/// The fixed line for a base whose compute can be neither known nor estimated.
pub(super) fn fallback(rules: &RuleSet, systemic: bool) -> Yardstick<'_> {
    let (figure, key, kind) = if systemic {
        (
            FigureKey::SystemicRiskPresumption,
            LineKey::ThirdOfSystemicRiskPresumption,
            LineKind::ThirdOfSystemicRiskThreshold,
        )
    } else {
        (FigureKey::GpaiCriterion, LineKey::ThirdOfGpaiCriterion, LineKind::ThirdOfGpaiThreshold)
    };
    let row = rules.figure(figure);
    let citation = rules.citation(&row.cite);
    let origin = Origin::Registry {
        source: format!("{}, {}", citation.instrument, citation.place),
        date: rules.from().to_string(),
    };
    Yardstick::part_of(rules, key, kind, Flops(row.value), origin)
}

/// Our reading of the criterion's reason: a model of that many parameters takes that much compute.
fn is_taken_over_criterion(rules: &RuleSet, base: &BaseFacts<'_>) -> bool {
    let parameters = rules.figure(FigureKey::GpaiCriterionParameters).value;
    match base.is_gpai {
        Some(declared) => declared,
        None => base.total_parameters.is_some_and(|own| own >= parameters),
    }
}
