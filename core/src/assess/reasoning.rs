//! The steps by which a result was reached.

use std::collections::BTreeMap;

use super::base_facts::BaseFacts;
use super::lines::Lines;
use super::status::Ruling;
use super::verdict::Judgement;
use super::yardstick::{Amounts, Yardstick};
use super::{Basis, Citation, Contradiction, Question, Step, SystemicRiskWatch, Verdict};
use crate::registry::FlopBound;
use crate::rules::{FigureKey, RuleSet};
use crate::unit::Flops;

/// All that was concluded.
#[derive(Clone, Copy)]
pub(super) struct Conclusion<'a, 'r> {
    pub(super) question: &'a Question<'a>,
    pub(super) base: Option<&'a BaseFacts<'a>>,
    pub(super) lines: &'a Lines<'r>,
    pub(super) judgement: &'a Judgement,
    pub(super) headline: Option<&'a Yardstick<'r>>,
    pub(super) ruling: &'a Ruling<'r>,
    pub(super) watch: &'a SystemicRiskWatch,
    pub(super) contradictions: &'a [Contradiction],
}

/// A value's serde name, for the values of a step.
pub(super) fn word<T: serde::Serialize>(value: T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => name,
        _ => String::new(),
    }
}

pub(super) fn step<const N: usize>(code: &str, values: [(&str, String); N], citation: Option<Citation>) -> Step {
    let values = values.into_iter().map(|(key, value)| (key.to_owned(), value)).collect::<BTreeMap<_, _>>();
    Step { code: code.to_owned(), values, citation }
}

fn or_missing(flops: Option<Flops>) -> String {
    flops.map_or_else(|| "missing".to_owned(), |flops| flops.to_string())
}

impl Conclusion<'_, '_> {
    fn rules(&self) -> &RuleSet {
        self.question.rules
    }

    /// The steps in order.
    pub(super) fn steps(&self) -> Vec<Step> {
        let mut steps = vec![self.rule_set(), self.base_figure()];
        let judged = self.headline.zip(self.judgement.amounts);
        steps.extend(self.headline.map(Self::line_chosen));
        steps.push(self.spent());
        steps.extend(judged.map(|(line, amounts)| Self::comparison(line, amounts)));
        steps.extend(self.headline.map(|line| self.margin(line)));
        steps.extend(self.raised());
        steps.extend(self.ceiling_proof());
        steps.push(self.verdict());
        steps.push(self.status());
        steps
    }

    fn rule_set(&self) -> Step {
        let (rules, as_of) = (self.rules(), self.question.as_of);
        let values = [
            ("rules", rules.id().to_owned()),
            ("title", rules.title().to_owned()),
            ("as_of", as_of.to_string()),
            ("in_force", rules.is_in_force(as_of).to_string()),
        ];
        step("rule-set", values, None)
    }

    fn base_figure(&self) -> Step {
        let Some(base) = self.base else { return step("base-not-named", [], None) };
        let criterion = self.rules().figure(FigureKey::GpaiCriterion);
        let is_over = base.flop.map_or("unknown", |flop| if flop.0 > criterion.value { "yes" } else { "no" });
        let bound = match base.bound {
            FlopBound::Point => "point",
            FlopBound::Lower => "lower",
        };
        let values = [
            ("base", base.name.to_owned()),
            ("flop", or_missing(base.flop)),
            ("bound", bound.to_owned()),
            ("lowest_flop", or_missing(base.lowest)),
            ("over_gpai_criterion", is_over.to_owned()),
            ("gpai_criterion", criterion.value.to_string()),
        ];
        step("base-figure", values, Some(self.rules().citation(&criterion.cite)))
    }

    fn line_chosen(headline: &Yardstick<'_>) -> Step {
        let line = &headline.line;
        let values = [
            ("rule", line.rule.clone()),
            ("kind", word(line.kind)),
            ("multiplier", line.multiplier.clone()),
            ("base_flop", line.base_flop.to_string()),
            ("line_flop", line.flop.to_string()),
            ("measure_flop", headline.measure.to_string()),
        ];
        step("line-chosen", values, Some(line.citation.clone()))
    }

    fn spent(&self) -> Step {
        let spent = &self.question.spent;
        let training = self.rules().phase("training").map(|row| self.rules().citation(&row.cite));
        let values = [
            ("training", or_missing(spent.training)),
            ("cumulative", or_missing(spent.cumulative)),
            ("debatable", or_missing(spent.debatable)),
            ("complete", spent.complete.to_string()),
            ("basis", word(spent.basis)),
        ];
        step("spent", values, training)
    }

    fn comparison(line: &Yardstick<'_>, amounts: Amounts) -> Step {
        let amount = line.amount(amounts);
        let multiplier = line.row.multiplier;
        let product = |of: Flops, factor: u64| or_missing(of.checked_mul(factor.into()));
        let exceeds = line.verdict(amounts) == Verdict::Exceeds;
        let values = [
            ("spent", amount.to_string()),
            (
                "sum",
                if line.row.spent == crate::rules::SpentKind::Training { "training" } else { "cumulative" }.to_owned(),
            ),
            ("factor", multiplier.denominator().to_string()),
            ("left", product(amount, multiplier.denominator())),
            ("right", product(line.measure, multiplier.numerator())),
            ("exceeds", exceeds.to_string()),
        ];
        step("comparison", values, Some(line.line.citation.clone()))
    }

    fn margin(&self, line: &Yardstick<'_>) -> Step {
        let margin = self.rules().margin();
        let values = [
            ("margin", margin.value.to_string()),
            ("near", line.row.near.to_string()),
            ("upper", line.row.clear.to_string()),
            ("near_edge", line.near_edge().to_string()),
            ("upper_edge", line.upper_edge().to_string()),
        ];
        step("margin", values, Some(self.rules().citation(&margin.cite)))
    }

    fn raised(&self) -> Option<Step> {
        let by = &self.judgement.raised_by;
        (!by.is_empty()).then(|| step("raised-to-near", [("readings", by.join(", "))], None))
    }

    fn ceiling_proof(&self) -> Option<Step> {
        (self.judgement.basis == Basis::Ceiling)
            .then(|| step("ceiling-proof", [("ceiling", or_missing(self.question.spent.ceiling))], None))
    }

    fn verdict(&self) -> Step {
        let citation = self.headline.map(|line| line.line.citation.clone());
        step("verdict", [("verdict", word(self.judgement.verdict)), ("basis", word(self.judgement.basis))], citation)
    }

    fn status(&self) -> Step {
        let rows = &self.ruling.rows;
        let codes = rows.iter().map(|row| row.code.as_str()).collect::<Vec<_>>().join(", ");
        let open = self.ruling.open.iter().map(|key| key.name()).collect::<Vec<_>>().join(", ");
        let citation = rows.last().map(|row| self.rules().citation(&row.cite));
        step("status", [("status", word(self.ruling.status)), ("rows", codes), ("open", open)], citation)
    }
}
