//! From lines and sums to the verdict on compute, with the other readings that bear on it.

use super::base_facts::BaseFacts;
use super::counting_basis;
use super::lines::{Case, Lines, fallback, third_of_own};
use super::yardstick::{Amounts, Yardstick};
use super::{Basis, Reading, Spent, Verdict};
use crate::rules::{FigureKey, Measure, RuleSet};
use crate::unit::Flops;

/// The verdict on compute alone.
#[derive(Clone, Debug)]
pub(super) struct Judgement {
    pub(super) verdict: Verdict,
    pub(super) basis: Basis,
    /// The sums the verdict rests on; `None` where it rests on none.
    pub(super) amounts: Option<Amounts>,
    /// Whether those sums are everything that was spent.
    pub(super) complete: bool,
    pub(super) readings: Vec<Reading>,
    /// Codes of the readings that raised `below` to `near`.
    pub(super) raised_by: Vec<String>,
}

/// Everything a judgement looks at.
#[derive(Clone, Copy)]
pub(super) struct Facts<'a, 'r> {
    pub(super) rules: &'r RuleSet,
    pub(super) lines: &'a Lines<'r>,
    pub(super) base: Option<&'a BaseFacts<'a>>,
    pub(super) spent: &'a Spent,
}

impl Facts<'_, '_> {
    /// Judges: complete sums decide; an incomplete sum is a lower bound, so only `exceeds` stands on it; a complete ceiling can
    /// prove `below` and nothing else.
    pub(super) fn judge(&self) -> Judgement {
        let sums = self.sums();
        match sums {
            Some((amounts, true)) => self.settle(amounts),
            Some((amounts, false)) if self.lines.verdict(amounts) == Verdict::Exceeds => {
                Judgement { complete: false, ..self.settle(amounts) }
            }
            _ => self.proof_by_ceiling(sums.map(|(amounts, _)| amounts)).unwrap_or_else(|| Judgement {
                verdict: Verdict::Undetermined,
                basis: Basis::None,
                amounts: None,
                complete: false,
                readings: Vec::new(),
                raised_by: Vec::new(),
            }),
        }
    }

    /// The two sums, and whether they are complete as far as the lines need them.
    fn sums(&self) -> Option<(Amounts, bool)> {
        let training = self.spent.training?;
        let cumulative = self.spent.cumulative.unwrap_or_default().max(training);
        let complete = self.spent.complete && (self.spent.cumulative.is_some() || !self.lines.needs_cumulative());
        Some((Amounts { training, cumulative }, complete))
    }

    fn settle(&self, amounts: Amounts) -> Judgement {
        let found = self.lines.verdict(amounts);
        let raising = self.of_base_figures(amounts).chain(self.of_other_counts(amounts));
        let raising: Vec<Reading> = raising.chain(self.on_other_bases(amounts)).collect();
        let raises = |reading: &&Reading| found == Verdict::Below && reading.verdict != Verdict::Below;
        let raised_by: Vec<String> = raising.iter().filter(raises).map(|reading| reading.code.clone()).collect();
        let verdict = if raised_by.is_empty() { found } else { Verdict::Near };
        let mut readings = self.of_lines(amounts);
        readings.extend(raising);
        readings.extend(self.of_highest_figure(amounts, found));
        readings.extend(self.with_excluded(amounts));
        Judgement { verdict, basis: self.spent.basis, amounts: Some(amounts), complete: true, readings, raised_by }
    }

    /// A complete ceiling that stays below every line that could apply, and every figure of the base.
    fn proof_by_ceiling(&self, counted: Option<Amounts>) -> Option<Judgement> {
        let ceiling = self.spent.ceiling.filter(|_| self.spent.ceiling_complete)?;
        // Operations above the ceiling show that one of the two is wrong, so nothing is proven.
        if counted.is_some_and(|counted| counted.training > ceiling || counted.cumulative > ceiling) {
            return None;
        }
        let most = Amounts::both(ceiling);
        let agrees = |reading: Reading| reading.verdict == Verdict::Below;
        if self.lines.verdict(most) != Verdict::Below || !self.of_base_figures(most).all(agrees) {
            return None;
        }
        let line = self.lines.headline(Verdict::Below);
        let mut readings = self.of_lines(most);
        readings.push(reading("ceiling", Verdict::Below, line, most));
        Some(Judgement {
            verdict: Verdict::Below,
            basis: Basis::Ceiling,
            amounts: None,
            complete: false,
            readings,
            raised_by: Vec::new(),
        })
    }

    /// Where several lines could apply, each by itself; where the base's risk decides between two fallbacks, the other one.
    fn of_lines(&self, amounts: Amounts) -> Vec<Reading> {
        let alone = |line: &Yardstick<'_>, code: &str| reading(code, line.verdict(amounts), Some(line), amounts);
        match self.lines.case {
            Case::UnderCriterion | Case::RoomAtMost | Case::Unknown => {
                self.lines.yardsticks.iter().map(|line| alone(line, code_of(line))).collect()
            }
            Case::Unknowable if self.base.is_some_and(|base| base.has_systemic_risk.is_none()) => {
                vec![alone(&fallback(self.rules, true), "base-with-systemic-risk")]
            }
            _ => Vec::new(),
        }
    }

    /// The figures of other sources that flag sooner: the lowest against a third, the highest in the result test.
    fn of_base_figures(&self, amounts: Amounts) -> impl Iterator<Item = Reading> {
        let lowest = self.base.and_then(|base| base.lowest);
        let third = self.other_figure(lowest, amounts, "lowest-base-figure");
        third.into_iter().chain(self.result_by_highest_figure(amounts))
    }

    /// The highest figure leaves the modification the least room; over the criterion by itself, its own third holds.
    fn result_by_highest_figure(&self, amounts: Amounts) -> Option<Reading> {
        let (base, highest) = self.base.and_then(|base| Some((base, base.highest?)))?;
        let has_result_test = self.lines.yardsticks.iter().any(|line| line.row.measure == Measure::RoomToGpaiCriterion);
        if base.flop.is_none_or(|flop| flop >= highest) || !has_result_test {
            return None;
        }
        let criterion = self.rules.flop_figure(FigureKey::GpaiCriterion);
        let line = if highest > criterion {
            third_of_own(self.rules, base, highest)
        } else {
            Yardstick::room(self.rules, criterion, highest, base.origin.clone())
        };
        Some(reading("result-test-highest-figure", line.verdict(amounts), Some(&line), amounts))
    }

    /// The highest is shown only where it says something else; it never lowers a verdict.
    fn of_highest_figure(&self, amounts: Amounts, found: Verdict) -> Option<Reading> {
        let highest = self.base.and_then(|base| base.highest);
        self.other_figure(highest, amounts, "highest-base-figure").filter(|reading| reading.verdict != found)
    }

    /// What the runs would change that somebody left out; the declaration holds, so this raises nothing.
    fn with_excluded(&self, amounts: Amounts) -> Option<Reading> {
        let excluded = self.spent.excluded.iter();
        let with_all = excluded.fold(amounts, |sum, run| {
            let training = run.training_compute.unwrap_or_default();
            let cumulative = run.cumulative_compute.unwrap_or_default().max(training);
            Amounts { training: sum.training + training, cumulative: sum.cumulative + cumulative }
        });
        if with_all.cumulative == amounts.cumulative {
            return None;
        }
        let amounts = with_all;
        let verdict = self.lines.verdict(amounts);
        Some(reading("excluded-runs-counted", verdict, self.lines.headline(verdict), amounts))
    }

    fn other_figure(&self, figure: Option<Flops>, amounts: Amounts, code: &str) -> Option<Reading> {
        let (base, figure) = (self.base?, figure?);
        let against_own = self.lines.yardsticks.iter().any(|line| line.row.measure == Measure::Base);
        if base.flop.is_none_or(|flop| flop == figure) || !against_own {
            return None;
        }
        let line = third_of_own(self.rules, base, figure);
        Some(reading(code, line.verdict(amounts), Some(&line), amounts))
    }

    fn on_other_bases(&self, amounts: Amounts) -> Vec<Reading> {
        let readings = |base| counting_basis::readings(self.rules, self.lines, base, self.spent.measures, amounts);
        self.base.map(readings).unwrap_or_default()
    }

    /// The same work counted otherwise, and with the kinds of work whose place the law leaves open.
    fn of_other_counts(&self, amounts: Amounts) -> impl Iterator<Item = Reading> {
        let debatable = self.spent.debatable.filter(|more| *more > Flops::ZERO).map(|more| {
            let training = amounts.training + more;
            ("debatable-phases-counted", Amounts { training, cumulative: amounts.cumulative.max(training) })
        });
        let others = self.spent.other_counts.iter().map(move |other| {
            // What is cumulative beyond training is not counted otherwise.
            let beyond = Flops(amounts.cumulative.0.saturating_sub(amounts.training.0));
            (other.code.as_str(), Amounts { training: other.training, cumulative: other.training + beyond })
        });
        debatable.into_iter().chain(others).map(|(code, amounts)| {
            let verdict = self.lines.verdict(amounts);
            reading(code, verdict, self.lines.headline(verdict), amounts)
        })
    }
}

fn code_of(line: &Yardstick<'_>) -> &'static str {
    match line.row.measure {
        Measure::Base => "third-of-own-compute",
        Measure::RoomToGpaiCriterion => "result-test",
        Measure::GpaiCriterion => "fallback",
        Measure::SystemicRiskPresumption => "fallback-with-systemic-risk",
    }
}

pub(super) fn reading(code: &str, verdict: Verdict, line: Option<&Yardstick<'_>>, amounts: Amounts) -> Reading {
    Reading {
        code: code.to_owned(),
        verdict,
        line: line.map(|line| line.line.clone()),
        ratio: line.and_then(|line| line.ratio(amounts)),
        citation: line.map(|line| line.line.citation.clone()),
    }
}
